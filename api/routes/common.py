"""Shared by the routes: error responses for the OpenAPI, and access to the application's parts."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import HTTPException, Path, Request
from starlette.responses import Response

from api import problems
from api.batching import Batcher
from api.models import Models, Served
from api.problems import MEDIA_TYPE
from include.accidents.registry.loading import LoadedModel
from include.accidents.registry.names import BEST

_PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def problems_of(**texts: str) -> dict[int | str, dict[str, Any]]:
    """Return error responses for the OpenAPI, by status (`s404="..."`)."""
    return {int(status[1:]): {"description": text, **_PROBLEM} for status, text in texts.items()}


COMMON = problems_of(
    s400="The host or the request is not understood.",
    s413="The body is too large.",
    s422="A field is wrong: `errors` names each with its path.",
)
ASKING = COMMON | problems_of(
    s404="No model of that name is loaded, or the scene has no such person.",
    s415="The body is of another type.",
    s503="No model is loaded, or too many requests wait.",
)
KEYED = COMMON | problems_of(
    s401="The key is missing or wrong.",
    s409="The model may not be used; what was served goes on being served.",
    s429="Too many wrong keys.",
    s503="MLflow cannot be reached.",
)

ModelName = Annotated[str, Path(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$", examples=[BEST])]


def models_of(request: Request) -> Models:
    """Return the loaded models."""
    models: Models = request.app.state.models
    return models


def batcher_of(request: Request) -> Batcher:
    """Return the batcher."""
    batcher: Batcher = request.app.state.batcher
    return batcher


def served_by(request: Request, name: str) -> Served:
    """Return the model that is served under a name; 404 or 503 when there is none."""
    models = models_of(request)
    served = models.get(name)
    if served is None and not models.looked():
        raise problems.StartingError
    if served is None and name == BEST:
        raise HTTPException(503, f"No model is in production ({BEST}): run the pipeline once, then reload it.")
    if served is None:
        raise HTTPException(404, f"No model {name!r} is loaded; loaded are: {', '.join(models.all()) or 'none'}.")
    return served


def origin_of(loaded: LoadedModel) -> dict[str, Any]:
    """Return where a model comes from, as an answer shows it."""
    return {
        "name": loaded.name,
        "version": loaded.version,
        "trained_as": loaded.lineage.model,
        "run_id": loaded.lineage.run_id,
        "sample": loaded.lineage.sample,
    }


def respond(content: Any) -> Response:
    """Return JSON as a response."""
    return Response(orjson.dumps(content), media_type="application/json")
