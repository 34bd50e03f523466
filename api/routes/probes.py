"""Whether the service lives and is ready, and its metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.metrics import metrics
from api.routes.common import COMMON, problems_of, served_by
from api.schemas import answers
from include.accidents.registry.names import BEST

router = APIRouter()


@router.get("/health", summary="The process lives", responses=COMMON)
async def health() -> answers.Health:
    """Answer always."""
    return answers.Health(status="ok")


@router.get("/ready", summary="A model is in production and loaded", responses=COMMON | problems_of(s503="Not yet."))
async def ready(request: Request) -> answers.Ready:
    """Answer 503 until the model in production is loaded."""
    return answers.Ready(status="ready", version=served_by(request, BEST).model.version)


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses=COMMON
    | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The metrics."}},
)
def show_metrics() -> Response:
    """Answer in Prometheus' text format."""
    return Response(metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")
