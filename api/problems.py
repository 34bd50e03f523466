"""Errors as RFC 9457 problem details: what is wrong, where, and what to do."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

TITLES = {
    401: "Unauthorized",
    404: "Not found",
    405: "Method not allowed",
    409: "Model not loaded",
    413: "Too large",
}


def install(app: FastAPI) -> None:
    """Let every error of the application be a problem document."""

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        title = TITLES.get(error.status_code, "Error")
        return problem(error.status_code, title, str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
        found = [e for e in error.errors() if "list[Scene]" not in e["loc"][1:2]] or error.errors()
        if isinstance(error.body, list):
            found = [e for e in error.errors() if "Scene" not in e["loc"][1:2]] or found
        defects = [{"field": _path(e["loc"]), "message": e["msg"].removeprefix("Value error, ")} for e in found[:50]]
        detail = "; ".join(f"{d['field']}: {d['message']}" for d in defects[:5])
        return problem(422, "Invalid request", detail, errors=defects)


def problem(
    status: int, title: str, detail: str, *, headers: dict[str, str] | None = None, **more: Any
) -> JSONResponse:
    """Return one problem document."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


def _path(location: tuple[int | str, ...]) -> str:
    """Write a place in the body as people do; which branch of "a scene or a list" was tried is not said."""
    parts = [part for part in location[1:] if part not in ("Scene", "list[Scene]")]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".") or "body"
