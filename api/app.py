"""The application: settings, models, routes."""

from __future__ import annotations

import base64
import gc
import hashlib
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from api import metrics, problems
from api.auth import Keys
from api.batching import Batcher
from api.middleware import POLICY, RequestMiddleware
from api.routes import ROUTERS
from api.routes.shortcut import Shortcut
from api.schemas import scenes
from api.settings import ApiSettings, read_settings
from api.upload_limiter import UploadLimiter
from include.accidents.errors import SettingsError
from include.hosts import allowed

STATIC: Final = Path(__file__).parent / "static"


def create_app(settings: ApiSettings | None = None) -> FastAPI:
    """Create the application; without settings it reads the environment, and exits when a secret is missing."""
    if settings is None:
        try:
            settings = read_settings()
        except SettingsError as error:
            sys.exit(str(error))  # a message, not a traceback
        metrics.configure_logs()
    chosen = settings
    # An unreachable registry must not block a request for minutes, which is MLflow's default.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ["MLFLOW_TRACKING_URI"] = chosen.mlflow_tracking_uri

    app = FastAPIOffline(
        title="Accidents: how badly is each person hurt?",
        description="Describe the scene of a road accident; the answer is one line a person. Errors are problem "
        "details (RFC 9457) that name the field and the remedy.",
        version="1",
        lifespan=_lifespan,
        redoc_url=None,
    )
    app.state.settings, app.state.keys = chosen, Keys(chosen)
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    _describe(app)
    _show_page(app)
    app.add_middleware(Shortcut)
    app.add_middleware(  # the last one added is the outermost
        RequestMiddleware,
        hosts=allowed(chosen.allowed_hosts, "api"),
        max_body=chosen.max_body_bytes,
        max_upload=chosen.max_upload_bytes,
        docs_policy=_docs_policy(app),
    )
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load the models before the first request; end their threads after the last."""
    from api.models import Models
    from include.accidents.data import communes
    from include.accidents.models import training

    training.limit_threads()
    communes.starting_with("", 1)  # reads the table now, not with the first request that needs it
    sys.setswitchinterval(0.001)  # s; a thread that loads a model gives way five times as often as usual
    gc.set_threshold(20_000, 20, 50)  # a batch makes thousands of objects, and hardly a cycle among them
    app.state.models = Models(app.state.settings)
    app.state.batcher, app.state.upload_limiter = Batcher(), UploadLimiter()
    app.state.models.start()
    yield
    app.state.models.stop()
    await app.state.batcher.stop()


def _show_page(app: FastAPI) -> None:
    async def page(_: Any) -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.add_route("/", page, methods=["GET"], include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), "static")


def _describe(app: FastAPI) -> None:
    """Add the schemas of a scene to the OpenAPI: its routes read the body themselves."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        document = plain()
        components = document.setdefault("components", {}).setdefault("schemas", {})
        if "Scene" not in components:
            components |= scenes.schemas()
            defect = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            components |= defect.pop("$defs") | {"Problem": defect}
            for unused in ("HTTPValidationError", "ValidationError"):
                components.pop(unused, None)
        return document

    app.openapi = described  # type: ignore[method-assign]


def _docs_policy(app: FastAPI) -> bytes:
    """Return the policy that also allows the documentation page's script, by its hash, and its styles."""
    from fastapi.openapi.docs import get_swagger_ui_html

    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=app.title,
        oauth2_redirect_url=app.swagger_ui_oauth2_redirect_url,
        swagger_ui_parameters=app.swagger_ui_parameters,
    )
    html = bytes(page.body).decode()
    hashes = b"".join(
        b" 'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()) + b"'"
        for script in re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    )
    return POLICY.replace(b"script-src 'self'", b"script-src 'self'" + hashes).replace(
        b"style-src 'self'", b"style-src 'self' 'unsafe-inline'"
    )
