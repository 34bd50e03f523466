"""The loaded models; reload and rollback."""

from __future__ import annotations

from fastapi import APIRouter, Depends, HTTPException, Request
from mlflow.exceptions import MlflowException

from api.auth import check_key
from api.model_loader import ReaderDiedError
from api.routes.common import COMMON, KEYED, ModelName, models_of, origin_of
from api.schemas import answers
from include.accidents.errors import ModelError
from include.accidents.registry.names import BEST

router = APIRouter(prefix="/api/v1")


@router.get("/models", summary="What is loaded", responses=COMMON)
def list_models(request: Request) -> list[answers.ModelAnswer]:
    """Return version, origin, metrics and requests served of every loaded model."""
    return [
        answers.ModelAnswer(
            **{
                **origin_of(served.model),
                "name": name,
                "data_version": served.model.lineage.data_version,
                "engine": served.model.engine,
                "metrics": dict(served.model.metrics),
                "loaded_since": served.since.isoformat(timespec="seconds"),
                "requests": served.requests,
            }
        )
        for name, served in sorted(models_of(request).all().items())
    ]


@router.post(
    "/reload_model/{model}",
    dependencies=[Depends(check_key)],
    summary="Serve the registry's newest version",
    responses=KEYED,
)
def reload_model(model: ModelName, request: Request) -> answers.Reloaded:
    """Load the new version while the old one serves, then swap; the old one stays when the new one is refused."""
    with _registry():
        previous, version = models_of(request).reload(model)
    return answers.Reloaded(model=model, previous_version=previous, version=version)


@router.post(
    "/rollback",
    dependencies=[Depends(check_key)],
    summary="Put the version before into production again",
    responses=KEYED,
)
def rollback(request: Request) -> answers.Reloaded:
    """Move the registry's alias to the version before, and serve it; nothing changes when that one is refused."""
    with _registry():
        previous, version = models_of(request).roll_back()
    return answers.Reloaded(model=BEST, previous_version=previous, version=version)


class _registry:  # noqa: N801
    """Turns errors of the registry into HTTP errors."""

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, ModelError):
            raise HTTPException(409, str(error)) from error
        if isinstance(error, ReaderDiedError | MemoryError):
            message = f"The model could not be read now ({error}); what was served goes on being served. Ask again."
            raise HTTPException(503, message) from error
        if isinstance(error, MlflowException | OSError):
            message = f"MLflow cannot be reached ({type(error).__name__}); what was served goes on being served."
            raise HTTPException(503, message) from error
