"""Errors as RFC 9457 problem details: what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from api.batching import BusyError
from api.schemas.errors import SceneError
from include.accidents.errors import InputError, ModelError

MEDIA_TYPE = "application/problem+json"
TITLES = {
    401: "Unauthorized",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Model not loaded",
    413: "Too large",
    415: "Unsupported media type",
    422: "Invalid request",
    429: "Too many wrong keys",
    499: "Broken off",
    503: "Not available",
}
STARTING = "Starting"
MAX_DEFECTS = 50
MANY_DEFECTS = 1000  # listing more takes seconds, in which no other request is answered


class StartingError(Exception):
    """The service has not read the whole registry yet."""


class Defect(BaseModel):
    """One thing that is wrong in a request."""

    field: str = Field(examples=["people[0].catu"])
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str = Field(description="What is wrong, and what to do.")
    errors: list[Defect] | None = Field(None, description="Each defect of a request that is not valid.")
    example: dict[str, Any] | None = Field(
        None, description="The request's own values in the form that is expected, where they can be put into it."
    )


def respond(error: Exception) -> Response:  # noqa: PLR0911  (a case a kind of error)
    """Return the problem document of an error."""
    match error:
        case HTTPException():
            return problem(error.status_code, None, str(error.detail), headers=dict(error.headers or {}))
        case RequestValidationError():
            return invalid((_path(e["loc"]), _message(e)) for e in error.errors())
        case ValidationError():
            return _validation_problem(error)
        case SceneError():
            return invalid(error.defects, error.example)
        case InputError():
            return problem(422, None, str(error))
        case BusyError():
            detail = "Too many requests wait; ask again in a second, or ask for several scenes at once."
            return problem(503, "Busy", detail, headers={"Retry-After": "1"})
        case StartingError():
            detail = "The registry's models are being loaded; ask again in a few seconds."
            return problem(503, STARTING, detail, headers={"Retry-After": "2"})
        case ModelError():
            return problem(503, None, str(error))
        case ClientDisconnect():  # nobody reads it; it counts as the caller's error, not as ours
            return problem(499, None, "The caller broke the request off.")
    raise error


KNOWN: Final = (
    HTTPException,
    RequestValidationError,
    ValidationError,
    SceneError,
    InputError,
    BusyError,
    StartingError,
    ModelError,
    ClientDisconnect,
)


def _validation_problem(error: ValidationError) -> Response:
    if error.error_count() > MANY_DEFECTS:
        detail = f"{error.error_count():,} values or fields are wrong; send one scene that shows which."
        return problem(422, None, detail)
    defects = error.errors(include_url=False, include_context=False, include_input=False)
    return invalid((_path(defect["loc"]), _message(defect)) for defect in defects)


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem document."""

    async def handle(_: Request, error: Exception) -> Response:
        return respond(error)

    for kind in KNOWN:
        app.add_exception_handler(kind, handle)


def problem(
    status: int, title: str | None, detail: str, *, headers: dict[str, str] | None = None, **more: Any
) -> Response:
    """Return one problem document."""
    name = title or TITLES.get(status, "Error")
    body = {"type": "about:blank", "title": name, "status": status, "detail": detail, **more}
    return Response(orjson.dumps(body), status, headers, media_type=MEDIA_TYPE)


def invalid(defects: Iterable[tuple[str, str]], example: dict[str, Any] | None = None) -> Response:
    """Return the problem of a request with defects: pairs of field and message."""
    shown: Sequence[tuple[str, str]] = list(defects)[:MAX_DEFECTS]
    detail = "; ".join(f"{field}: {message}" for field, message in shown[:5])
    more = {} if example is None else {"example": example}
    errors = [{"field": field, "message": message} for field, message in shown]
    return problem(422, None, detail, errors=errors, **more)


def _message(defect: Any) -> str:
    kind, message = defect["type"], str(defect["msg"]).removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return "there is no such field; GET /api/v1/features lists all"
    if kind == "missing":
        return "is missing; give it"
    if kind == "json_invalid":
        return f"{message[0].lower()}{message[1:]}; send JSON in UTF-8"
    if message.startswith(("Input", "List", "String", "Field")):
        return f"{message[0].lower()}{message[1:]}; correct it"
    return message


def _path(location: Sequence[int | str]) -> str:
    """Return a place in the body as text, such as people[0].catu."""
    parts = location[1:] if location[:1] in (("body",), ("query",), ("path",), ("header",)) else location
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".") or "body"
