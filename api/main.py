"""The application: settings, models, routes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import problems, routes
from api.settings import ApiSettings, read_settings


def create_app(settings: ApiSettings | None = None) -> FastAPI:
    """Make the application; SettingsError when a secret is missing."""
    chosen = settings or read_settings()
    # A registry that is away must not hold a request for MLflow's usual minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ["MLFLOW_TRACKING_URI"] = chosen.mlflow_tracking_uri

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        from api.models import Models

        app.state.models = Models(chosen)
        app.state.models.start()
        yield
        app.state.models.stop()

    app = FastAPI(
        title="Accidents: how badly is each person hurt?",
        description="Describe the scene of a road accident; the answer is one line a person.",
        version="1",
        lifespan=lifespan,
    )
    app.state.settings = chosen
    problems.install(app)
    app.include_router(routes.router)
    app.include_router(routes.probes)
    return app
