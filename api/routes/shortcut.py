"""Predictions without the layers of a framework."""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.routes.predictions import predict_scenes
from include.accidents.registry.names import BEST


class Shortcut:
    """Answers predictions without the layers that a framework puts around a route: they cost more than the answer.

    Everything else goes its usual way, also to the documented routes of predictions: they are the same functions.
    """

    _path: Final = re.compile(r"/api/v1/predict(?:/([A-Za-z][A-Za-z0-9_-]{0,63}))?")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a prediction, or pass the request on."""
        found = self._path.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route_path"] = "/api/v1/predict/{model}" if found[1] else "/api/v1/predict"
        try:
            response = await predict_scenes(found[1] or BEST, Request(scope, receive))
        except problems.KNOWN as error:
            response = problems.respond(error)
        await response(scope, receive, send)
