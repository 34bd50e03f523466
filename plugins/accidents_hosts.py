"""Checks the host name of every request to Airflow's server, and forbids other sites to frame its pages.

The API of this project (`api/middleware.py`) and MLflow do so by themselves, Airflow does not.
"""

from __future__ import annotations

from typing import Any, Final

from airflow.plugins_manager import AirflowPlugin

from include.accidents.settings import Settings
from include.hosts import REFUSED, allowed, is_allowed

# Airflow frames pages of its own.
HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
)


class HostMiddleware:
    """A plain ASGI middleware."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._names = allowed(Settings().allowed_hosts, "airflow-api-server")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or refuse it with status 400."""

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif is_allowed(dict(scope["headers"]).get(b"host", b"").decode("latin-1"), self._names):
            await self._app(scope, receive, send_with_headers)
        else:
            text = [(b"content-type", b"text/plain; charset=utf-8")]
            await send_with_headers({"type": "http.response.start", "status": 400, "headers": text})
            await send_with_headers({"type": "http.response.body", "body": REFUSED.encode()})


class AccidentsHosts(AirflowPlugin):
    """Registers the middleware."""

    name = "accidents_hosts"
    fastapi_root_middlewares = [{"name": "hosts", "middleware": HostMiddleware}]  # noqa: RUF012 (Airflow's interface)
