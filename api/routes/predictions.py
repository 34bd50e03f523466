"""Predictions and explanations of scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request
from starlette.responses import Response

from api import explain, hints, scene_reader
from api.batching import Answered
from api.metrics import PREDICTIONS
from api.routes.common import ASKING, ModelName, batcher_of, origin_of, respond, served_by
from api.schemas import answers, errors, scenes
from api.schemas.scenes import ScenePayload
from include.accidents.data.columns import CLASSES
from include.accidents.features.levels import Level
from include.accidents.models import decision
from include.accidents.models.evaluate import SEVERE
from include.accidents.registry.loading import LoadedModel
from include.accidents.registry.names import BEST

router = APIRouter(prefix="/api/v1")


_EXAMPLES = {
    "head-on": {"summary": "A car and a motorcycle, head-on, in codes", "value": scenes.EXAMPLE},
    "crossing": {"summary": "A pedestrian on a crossing, in French labels", "value": scenes.EXAMPLE_IN_LABELS},
    "several": {"summary": "Two scenes", "value": [scenes.EXAMPLE, {"people": [{"catu": 3}]}]},
}
_SCENE = {"$ref": "#/components/schemas/Scene"}
_SCENES = {"anyOf": [_SCENE, {"type": "array", "items": _SCENE, "minItems": 1, "maxItems": scenes.MAX_SCENES}]}


def _body(schema: dict[str, Any], *examples: str) -> dict[str, Any]:
    shown = {name: _EXAMPLES[name] for name in examples}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": shown}}}}


@router.post(
    "/predict",
    summary="How badly each person is likely to be hurt, by the model in production",
    response_model=answers.Prediction,
    responses=ASKING,
    openapi_extra=_body(_SCENES, "head-on", "crossing", "several"),
)
async def predict(request: Request) -> Response:
    """Take one scene or a list of scenes; answer one line a person."""
    return await predict_scenes(BEST, request)


@router.post(
    "/predict/{model}",
    summary="The same, by a model of one's choice",
    response_model=answers.Prediction,
    responses=ASKING,
    openapi_extra=_body(_SCENES, "head-on", "crossing", "several"),
)
async def predict_by(model: ModelName, request: Request) -> Response:
    """Take one scene or a list of scenes; answer one line a person."""
    return await predict_scenes(model, request)


@router.post(
    "/explain",
    summary="Which fields moved a person's answer most",
    response_model=answers.Explanation,
    responses=ASKING,
    openapi_extra=_body(_SCENE, "head-on", "crossing"),
)
async def explain_scene(
    request: Request,
    model: Annotated[str, Query(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")] = BEST,
    person: Annotated[
        int | None, Query(ge=0, lt=scenes.MAX_PEOPLE, description="Position of the person; else the one worst off.")
    ] = None,
) -> Response:
    """Take one scene; answer each given field with the change that it brought, strongest first.

    Each field is made missing and the model predicts again: this works for every model of the catalogue.
    """
    payloads = scene_reader.read(await _json(request))
    if len(payloads) != 1:
        raise errors.SceneError([("body", f"{len(payloads)} scenes were sent; send one to be explained")])
    (scene,) = payloads
    if person is not None and person >= len(scene["people"]):
        raise HTTPException(404, f"There is no person {person}: the scene has {len(scene['people'])}, counted from 0.")
    served = served_by(request, model)
    effects = await batcher_of(request).run(explain.explain, served.model, scene, person)
    return respond({"model": origin_of(served.model), "method": "occlusion", **effects})


async def predict_scenes(name: str, request: Request) -> Response:
    """Answer the scenes of a request with the model of this name."""
    payloads = scene_reader.read(await _json(request))
    served = served_by(request, name)
    answered = await batcher_of(request).predict(served.model, payloads)
    served.requests += 1
    return respond({"model": origin_of(served.model), "scenes": _lines(payloads, answered, served.model)})


def _lines(payloads: Sequence[ScenePayload], answered: Answered, model: LoadedModel) -> list[dict[str, Any]]:
    proba, decided = answered.proba, answered.decided
    classes = proba.argmax(axis=1)
    for index, count in enumerate(np.bincount(classes, minlength=len(CLASSES)).tolist()):
        if count:
            PREDICTIONS.labels(model.name, CLASSES[index]).inc(count)
    likely, rounded, severe = classes.tolist(), proba.round(6).tolist(), decided.severe.tolist()
    severes, expected = proba[:, SEVERE].sum(axis=1).round(6).tolist(), decided.expected.round(6).tolist()
    any_severe, any_killed = decided.p_any_severe.round(6).tolist(), decided.p_any_killed.round(6).tolist()
    alert = decided.alert.tolist()
    lines, start = [], 0
    for i, (scene, level) in enumerate(zip(payloads, answered.levels, strict=True)):
        end = start + len(scene["people"])
        people = [
            {
                "person": row - start,
                "vehicle": person.get("vehicle"),
                "class": CLASSES[likely[row]],
                "probabilities": dict(zip(CLASSES, rounded[row], strict=True)),
                "severe": severe[row],
                "severe_probability": severes[row],
            }
            for row, person in zip(range(start, end), scene["people"], strict=True)
        ]
        worst = max(people, key=_severity)
        lines.append(
            {
                "people": people,
                "worst": {key: worst[key] for key in ("person", "class", "severe_probability")},
                "expected": dict(zip(CLASSES, expected[i], strict=True)),
                "p_any_severe": any_severe[i],
                "p_any_killed": any_killed[i],
                "alert": alert[i],
                **_rule(scene, level, model),
            }
        )
        start = end
    return lines


def _rule(scene: ScenePayload, level: Level, model: LoadedModel) -> dict[str, Any]:
    """Return the decision rule of a scene, and the fields that would sharpen the answer."""
    rule = model.decision[decision.state_of(level, people_assumed="people_assumed" in scene)]
    return {
        "alert_threshold": round(rule.threshold, 6),
        "alert_recall": round(rule.recall, 4),
        "alert_precision": round(rule.precision, 4),
        "severe_threshold": round(rule.person_threshold, 6),
        "level": level.name,
        "sharpen": hints.to_ask(scene, rule.sharpen),
        "assumed": hints.assumed(scene),
    }


def _severity(person: dict[str, Any]) -> float:
    return float(person["severe_probability"])


async def _json(request: Request) -> bytes:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, f"The body is {kind!r:.60}; send application/json.")
    return await request.body()
