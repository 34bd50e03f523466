"""Checks each request's host and size and gives it an id; adds headers, a count and a log line to each answer.

One plain ASGI middleware, because each layer costs time at thousands of requests a second.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import Any, Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.metrics import LATENCY, REQUESTS
from api.problems import problem
from include.hosts import REFUSED, is_allowed

log = structlog.get_logger("api")

UPLOAD: Final = "/api/v1/predict-csv"
DOCS: Final = ("/docs", "/static-offline-docs")
QUIET: Final = frozenset({"/health", "/ready", "/metrics"})
_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")

POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


class TooLargeError(Exception):
    """The body is larger than the route allows."""


class RequestMiddleware:
    """The outermost layer of the application."""

    def __init__(
        self, app: ASGIApp, *, hosts: frozenset[str], max_body: int, max_upload: int, docs_policy: bytes = POLICY
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._max_body, self._max_upload = max_body, max_upload
        self._docs_policy = docs_policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless it is refused here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(8).encode()
        scope["request_id"] = request_id.decode()
        path: str = scope["path"]
        status = 500
        extra = [*_HEADERS, (b"x-request-id", request_id), (b"content-security-policy", self._policy(path))]
        limit = self._max_upload if path == UPLOAD else self._max_body
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise TooLargeError
            return message

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            await self._serve(scope, receive_counted, send_with_headers, limit)
        except Exception:
            log.exception("failed", request_id=scope["request_id"], method=scope["method"], path=path)
            if status == 500:  # nothing was sent yet
                message = "The service failed; its log explains it under the id of the header X-Request-ID."
                await problem(500, "Internal error", message)(scope, receive, send_with_headers)
        finally:
            _record_request(scope, status, time.perf_counter() - began)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        """Let the application answer, unless the host is unknown or the body has more than `limit` bytes."""
        headers = dict(scope["headers"])
        if not is_allowed(headers.get(b"host", b"").decode("latin-1"), self._hosts):
            await problem(400, "Unknown host", REFUSED)(scope, receive, send)
            return
        try:
            if _length(headers) > limit:
                raise TooLargeError
            await self._app(scope, receive, send)
        except TooLargeError:
            await _too_large(limit)(scope, receive, send)

    def _policy(self, path: str) -> bytes:
        return self._docs_policy if path.startswith(DOCS) else POLICY


def _length(headers: dict[bytes, bytes]) -> int:
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


def _too_large(limit: int) -> Any:
    return problem(413, "Too large", f"The body is larger than {limit:,} bytes; send it in parts.")


def _record_request(scope: Scope, status: int, seconds: float) -> None:
    """Count a request, observe its time, and log it unless it is a quiet one that succeeded."""
    route = scope.get("route_path") or getattr(scope.get("route"), "path", "other")
    REQUESTS.labels(route, scope["method"] if route != "other" else "other", status).inc()
    LATENCY.labels(route).observe(seconds)
    if route not in QUIET or status >= 500:
        log.info(
            "request", request_id=scope["request_id"], method=scope["method"], route=route, status=status,
            ms=round(seconds * 1000, 2),
        )  # fmt: skip
