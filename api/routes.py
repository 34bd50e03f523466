"""The routes of /api/v1, and those that tell whether the service lives and is ready."""

from __future__ import annotations

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, HTTPException, Path, Request
from fastapi.responses import JSONResponse

from api.models import Models
from api.scenes import EXAMPLE, MAX_SCENES, Scene, to_tables
from include.accidents import features
from include.accidents.errors import ModelError
from include.accidents.evaluate import SEVERE, probabilities
from include.accidents.registry import BEST, LoadedModel
from include.accidents.schema import CLASSES, COLUMNS

router = APIRouter(prefix="/api/v1")
probes = APIRouter()


def _models(request: Request) -> Models:
    models: Models = request.app.state.models
    return models


def _check_key(request: Request, x_api_key: Annotated[str | None, Header()] = None) -> None:
    expected = request.app.state.settings.api_key.get_secret_value()
    if x_api_key is None or not secrets.compare_digest(x_api_key.encode(), expected.encode()):
        raise HTTPException(401, "The header X-Api-Key is missing or wrong.", {"WWW-Authenticate": "ApiKey"})


Served = Annotated[Models, Depends(_models)]
ModelName = Annotated[str, Path(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$", examples=[BEST])]
Request_ = Annotated[
    Scene | list[Scene],
    Body(openapi_examples={"head-on": {"summary": "A car and a motorcycle, head-on", "value": EXAMPLE}}),
]


@router.post("/predict", summary="How badly each person is likely to be hurt, by the model in production")
def predict(scenes: Request_, models: Served) -> dict[str, Any]:
    """Take one scene or a list of scenes; answer one line a person."""
    return _predict(BEST, scenes, models)


@router.post("/predict/{model}", summary="The same, by a model of one's choice")
def predict_by(model: ModelName, scenes: Request_, models: Served) -> dict[str, Any]:
    """Take one scene or a list of scenes; answer one line a person."""
    return _predict(model, scenes, models)


@router.get("/models", summary="What is loaded")
def list_models(models: Served) -> list[dict[str, Any]]:
    """Tell version, origin and metrics of every loaded model."""
    return [
        {
            "name": name,
            **_origin(served.model),
            "data_version": served.model.lineage.data_version,
            "sample": served.model.lineage.sample,
            "metrics": served.model.metrics,
            "loaded_since": served.since.isoformat(timespec="seconds"),
        }
        for name, served in sorted(models.all().items())
    ]


@router.get("/features", summary="Every field of a scene and every feature made from it")
def list_features() -> dict[str, Any]:
    """Tell codes with French and English labels, units and ranges."""
    return {
        "fields": [
            {
                "name": c.name,
                "table": c.table,
                "kind": c.kind,
                "label": {"fr": c.label.fr, "en": c.label.en},
                "unit": c.unit,
                "low": c.low,
                "high": c.high,
                "codes": [{"code": code, "fr": label.fr, "en": label.en} for code, label in c.codes.items()],
            }
            for c in COLUMNS
            if c.name != "grav"
        ],
        "features": [
            {
                "name": f.name,
                "label": {"fr": f.label.fr, "en": f.label.en},
                "source": f.source,
                "unit": f.unit,
            }
            for f in features.FEATURES
        ],
        "version": features.version(),
    }


@router.post("/reload_model/{model}", dependencies=[Depends(_check_key)], summary="Serve the registry's newest version")
def reload_model(model: ModelName, models: Served) -> dict[str, Any]:
    """Load beside the serving, then swap; the old version stays when the new one may not be used."""
    try:
        previous, version = models.reload(model)
    except ModelError as error:
        raise HTTPException(409, str(error)) from error
    return {"model": model, "previous_version": previous, "version": version}


@probes.get("/health", summary="The process lives")
def health() -> dict[str, str]:
    """Answer always."""
    return {"status": "ok"}


@probes.get("/ready", summary="A model is in production and loaded")
def ready(models: Served) -> JSONResponse:
    """Answer 503 until the model in production is loaded."""
    loaded = models.get(BEST)
    if loaded is None:
        return JSONResponse({"status": "waiting", "missing": BEST}, 503)
    return JSONResponse({"status": "ready", "version": loaded.version})


def _predict(name: str, scenes: Scene | list[Scene], models: Models) -> dict[str, Any]:
    asked = scenes if isinstance(scenes, list) else [scenes]
    if not 1 <= len(asked) <= MAX_SCENES:
        raise HTTPException(422, f"{len(asked)} scenes were sent; send 1 to {MAX_SCENES} at a time.")
    loaded = models.get(name)
    if loaded is None and name == BEST:
        raise HTTPException(503, "No model is in production yet: run the pipeline once.")
    if loaded is None:
        raise HTTPException(404, f"No model {name!r} is loaded; loaded are: {', '.join(models.all()) or 'none'}.")
    proba = probabilities(loaded.estimator, features.build(to_tables(asked)))
    answers, start = [], 0
    for scene in asked:
        lines = proba[start : start + len(scene.people)]
        start += len(scene.people)
        people = [_line(i, p.vehicle, line) for i, (p, line) in enumerate(zip(scene.people, lines, strict=True))]
        worst = max(people, key=lambda person: person["severe_probability"])
        answers.append({"people": people, "worst": {"person": worst["person"], "class": worst["class"]}})
    return {"model": {"name": name, **_origin(loaded)}, "scenes": answers}


def _line(person: int, vehicle: str | None, proba: Any) -> dict[str, Any]:
    severe = float(proba[SEVERE].sum())
    return {
        "person": person,
        "vehicle": vehicle,
        "class": CLASSES[int(proba.argmax())],
        "probabilities": {name: round(float(p), 6) for name, p in zip(CLASSES, proba, strict=True)},
        "severe": severe >= 0.5,
        "severe_probability": round(severe, 6),
    }


def _origin(loaded: LoadedModel) -> dict[str, Any]:
    return {"version": loaded.version, "trained_as": loaded.lineage.model, "run_id": loaded.lineage.run_id}
