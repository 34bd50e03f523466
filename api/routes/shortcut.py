"""Predictions without the framework's layers."""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api import problems
from api.routes.predictions import predict_scenes
from include.accidents.registry.names import BEST


class Shortcut:
    """Answers predictions without the layers that the framework puts around a route: these cost more than the answer.

    Any other request takes its usual way. The documented routes of predictions call the same functions.
    """

    _path: Final = re.compile(r"/api/v1/predict(?:/([A-Za-z][A-Za-z0-9_-]{0,63}))?")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a prediction, or pass the request on."""
        match = self._path.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if match is None:
            await self._app(scope, receive, send)
            return
        scope["route_path"] = "/api/v1/predict/{model}" if match[1] else "/api/v1/predict"
        try:
            response = await predict_scenes(match[1] or BEST, Request(scope, receive))
        except problems.KNOWN as error:
            response = problems.respond(error)
        await response(scope, receive, send)
