"""The routes of /api/v1, and those that tell whether the service lives and is ready."""

from __future__ import annotations

import asyncio
import math
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, BinaryIO, Final

import numpy as np
import orjson
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from mlflow.exceptions import MlflowException
from starlette.datastructures import UploadFile
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api import answers, explain, hints, problems, scenes, uploads
from api.batching import Answered, Batcher
from api.gate import RECEIVING_SECONDS, FileAnswer
from api.keys import check_key
from api.models import Models, Served
from api.observe import PREDICTIONS, metrics
from api.problems import MEDIA_TYPE
from api.reading import ReaderDiedError
from include.accidents import communes, decision, features, predictions
from include.accidents.errors import ModelError
from include.accidents.evaluate import SEVERE
from include.accidents.knowledge import LEVELS
from include.accidents.registry import BEST, LoadedModel
from include.accidents.schema import CLASSES, DEPARTMENTS, Kind

_PROBLEM = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def _problems(**told: str) -> dict[int | str, dict[str, Any]]:
    return {int(status[1:]): {"description": text, **_PROBLEM} for status, text in told.items()}


_COMMON = _problems(
    s400="The host or the request is not understood.",
    s413="The body is too large.",
    s422="A field is wrong: `errors` names each with its path.",
)
_ASKING = _COMMON | _problems(
    s404="No model of that name is loaded, or the scene has no such person.",
    s415="The body is of another type.",
    s503="No model is loaded, or too many requests wait.",
)
_KEYED = _COMMON | _problems(
    s401="The key is missing or wrong.",
    s409="The model may not be used; what was served goes on being served.",
    s429="Too many wrong keys.",
    s503="MLflow cannot be reached.",
)

router = APIRouter(prefix="/api/v1")
probes = APIRouter()

ModelName = Annotated[str, Path(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$", examples=[BEST])]

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


# --- predictions -------------------------------------------------------------------------------------------


@router.post(
    "/predict",
    summary="How badly each person is likely to be hurt, by the model in production",
    response_model=answers.Prediction,
    responses=_ASKING,
    openapi_extra=_body(_SCENES, "head-on", "crossing", "several"),
)
async def predict(request: Request) -> Response:
    """Take one scene or a list of scenes; answer one line a person."""
    return await _predict(BEST, request)


@router.post(
    "/predict/{model}",
    summary="The same, by a model of one's choice",
    response_model=answers.Prediction,
    responses=_ASKING,
    openapi_extra=_body(_SCENES, "head-on", "crossing", "several"),
)
async def predict_by(model: ModelName, request: Request) -> Response:
    """Take one scene or a list of scenes; answer one line a person."""
    return await _predict(model, request)


@router.post(
    "/explain",
    summary="Which fields moved a person's answer most",
    response_model=answers.Explanation,
    responses=_ASKING,
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

    A field is made missing and the model asked again: this works for every model of the catalogue.
    """
    said = scenes.read(await _json(request))
    if len(said) != 1:
        raise scenes.SceneError([("body", f"{len(said)} scenes were sent; send one to be explained")])
    (scene,) = said
    if person is not None and person >= len(scene["people"]):
        raise HTTPException(404, f"There is no person {person}: the scene has {len(scene['people'])}, counted from 0.")
    served = _served(request, model)
    told = await _batcher(request).run(explain.explain, served.model, scene, person)
    return _answer({"model": _origin(served.model), "method": "occlusion", **told})


_ZIP: Final = "application/zip"


@router.post(
    "/predict-csv",
    summary="The same for files: the four BAAC files of a year, or a merged CSV",
    response_class=StreamingResponse,
    responses=_ASKING
    | _problems(s408="The upload took too long.")
    | {
        200: {
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                _ZIP: {"schema": {"type": "string", "format": "binary"}},
            },
            "description": "The lines, predictions appended. Where the severities (`grav`) are in the file, the header "
            "`X-Scores` says in JSON how well the predictions fit. With `Accept: application/zip`: predictions.csv, "
            "and where they can be scored, scores.json and calibration.png.",
        }
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "text/csv": {"schema": {"type": "string", "description": "A merged CSV (df_accidents.csv)."}},
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": ["files"],
                        "properties": {
                            "files": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 4,
                                "items": {"type": "string", "format": "binary"},
                                "description": "One merged CSV, or caracteristiques, lieux, vehicules and usagers.",
                            }
                        },
                    }
                },
            },
        }
    },
)
async def predict_csv(
    request: Request, model: Annotated[str, Query(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")] = BEST
) -> Response:
    """Take files plain or gzipped, with or without the severities; answer one line a person, predictions appended.

    The lines of a merged CSV come back as they were; four files come back merged, one line a person.
    """
    served, gate = _served(request, model), request.app.state.gate
    zipped = _ZIP in request.headers.get("accept", "")
    gate.enter()
    try:
        async with asyncio.timeout(RECEIVING_SECONDS):
            uploaded = await _files(request)
        async with gate.turn:
            file, scores = await _answer_files(request, served.model, uploaded, zipped=zipped)
    except TimeoutError as error:
        gate.leave()
        raise HTTPException(
            408, f"The upload took more than {RECEIVING_SECONDS} seconds; send less at once."
        ) from error
    except BaseException:
        gate.leave()
        raise
    served.requests += 1
    headers = {
        "Content-Disposition": f'attachment; filename="predictions.{"zip" if zipped else "csv"}"',
        "X-Model": served.model.name,
        "X-Model-Version": served.model.version,
        "X-Model-Sample": str(served.model.lineage.sample).lower(),
    }
    if scores:
        headers["X-Scores"] = orjson.dumps(scores).decode()
    return FileAnswer(file, gate.leave, headers, media_type=_ZIP if zipped else "text/csv; charset=utf-8")


async def _answer_files(
    request: Request, model: LoadedModel, uploaded: Sequence[tuple[str, BinaryIO]], *, zipped: bool
) -> tuple[BinaryIO, dict[str, Any]]:
    """Return a file that holds the answer, and the scores; predictions for others go on between its parts."""
    batcher, limit = _batcher(request), request.app.state.settings.max_upload_bytes
    try:
        table = await batcher.run(_read_files, uploaded, limit)
    finally:
        for _, file in uploaded:
            file.close()
    answered: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (closed by who sends it)
    try:
        answer = uploads.Answer(model, table)
        parts = answer.parts()
        while await batcher.run(_write_next, parts, answered):
            pass
        if zipped:
            answered = await batcher.run(_zip, answered, answer.scores)
    except BaseException:
        answered.close()
        raise
    return answered, answer.scores


def _zip(csv: BinaryIO, scores: dict[str, Any]) -> BinaryIO:
    """Return the answer with its scores and their picture as a zip file; close the answer."""
    made: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (closed by who sends it)
    with csv, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        csv.seek(0)
        with packed.open("predictions.csv", "w", force_zip64=True) as target:
            shutil.copyfileobj(csv, target, 1 << 20)
        if scores:
            packed.writestr("scores.json", orjson.dumps(scores, option=orjson.OPT_INDENT_2))
            packed.writestr("calibration.png", predictions.calibration_png(scores))
    return made


def _write_next(parts: Iterator[bytes], file: BinaryIO) -> bool:
    part = next(parts, None)
    file.write(part or b"")
    return part is not None


async def _predict(name: str, request: Request) -> Response:
    said = scenes.read(await _json(request))
    served = _served(request, name)
    answered = await _batcher(request).predict(served.model, said)
    served.requests += 1
    return _answer({"model": _origin(served.model), "scenes": _lines(said, answered, served.model)})


def _lines(said: Sequence[scenes.Said], answered: Answered, model: LoadedModel) -> list[dict[str, Any]]:
    proba, decided = answered.proba, answered.decided
    classes = proba.argmax(axis=1)
    for index, count in enumerate(np.bincount(classes, minlength=len(CLASSES)).tolist()):
        if count:
            PREDICTIONS.labels(model.name, CLASSES[index]).inc(count)
    likely, rounded, severe = classes.tolist(), proba.round(6).tolist(), decided.severe.tolist()
    severes, expected = proba[:, SEVERE].sum(axis=1).round(6).tolist(), decided.expected.round(6).tolist()
    any_severe, any_killed = decided.p_any_severe.round(6).tolist(), decided.p_any_killed.round(6).tolist()
    alert = decided.alert.tolist()
    made, start = [], 0
    for i, (scene, level) in enumerate(zip(said, answered.levels, strict=True)):
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
        rule = model.decision[decision.state_of(level, people_assumed="people_assumed" in scene)]
        made.append(
            {
                "people": people,
                "worst": {key: worst[key] for key in ("person", "class", "severe_probability")},
                "expected": dict(zip(CLASSES, expected[i], strict=True)),
                "p_any_severe": any_severe[i],
                "p_any_killed": any_killed[i],
                "alert": alert[i],
                "alert_threshold": round(rule.threshold, 6),
                "alert_recall": round(rule.recall, 4),
                "alert_precision": round(rule.precision, 4),
                "severe_threshold": round(rule.person_threshold, 6),
                "level": level.name,
                "sharpen": hints.to_ask(scene, rule.sharpen),
                "assumed": hints.assumed(scene),
            }
        )
        start = end
    return made


def _severity(person: dict[str, Any]) -> float:
    return float(person["severe_probability"])


class Shortcut:
    """Answers predictions without the layers that a framework puts around a route: they cost more than the answer.

    Everything else goes its usual way, also to the documented routes of predictions: they are the same functions.
    """

    _path: Final = re.compile(r"/api/v1/predict(?:/([A-Za-z][A-Za-z0-9_-]{0,63}))?")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a prediction, or pass the request on."""
        found = self._path.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route_path"] = "/api/v1/predict/{model}" if found[1] else "/api/v1/predict"
        try:
            response = await _predict(found[1] or BEST, Request(scope, receive))
        except problems.KNOWN as error:
            response = problems.respond(error)
        await response(scope, receive, send)


# --- what is there -----------------------------------------------------------------------------------------


@router.get("/models", summary="What is loaded", responses=_COMMON)
def list_models(request: Request) -> list[answers.ModelAnswer]:
    """Tell version, origin, metrics and requests served of every loaded model."""
    return [
        answers.ModelAnswer(
            **{
                **_origin(served.model),
                "name": name,
                "data_version": served.model.lineage.data_version,
                "metrics": dict(served.model.metrics),
                "loaded_since": served.since.isoformat(timespec="seconds"),
                "requests": served.requests,
            }
        )
        for name, served in sorted(_models(request).all().items())
    ]


@router.get("/features", summary="Every field of a scene and every feature made from it", responses=_COMMON)
def list_features() -> answers.Features:
    """Tell types, codes with French and English labels, units, ranges and defaults."""
    parts = (("accident", scenes.ACCIDENT), ("vehicles", scenes.VEHICLE), ("people", scenes.PERSON))
    fields: Any = [
        {
            "name": c.name,
            "table": c.table,
            "part": part,
            "type": _type(c.name, c.kind, c.unit),
            "label": {"fr": c.label.fr, "en": c.label.en},
            "unit": "" if c.name == "hrmn" else c.unit,
            "low": None if c.name == "hrmn" else c.low,
            "high": None if c.name == "hrmn" else c.high,
            "default": None,
            "codes": _DEPARTMENTS
            if c.name == "dep"
            else [{"code": code, "fr": label.fr, "en": label.en} for code, label in c.codes.items()],
        }
        for part, columns in parts
        for c in columns
    ]
    fields.append(_COMMUNE)
    made: Any = [
        {"name": f.name, "label": {"fr": f.label.fr, "en": f.label.en}, "source": f.source, "unit": f.unit}
        for f in features.FEATURES
    ]
    levels: Any = [
        {"name": level.name, "label": {"fr": level.label.fr, "en": level.label.en}, "fields": sorted(level.fields)}
        for level in LEVELS.values()
    ]
    return answers.Features(fields=fields, features=made, levels=levels, version=features.version())


@router.get("/communes", summary="Communes whose name begins with a text", responses=_COMMON)
def list_communes(
    name: Annotated[str, Query(max_length=60, description="The beginning of the name; accents do not matter.")],
    department: Annotated[str | None, Query(max_length=3, description="INSEE code of the département.")] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> list[answers.CommuneAnswer]:
    """Tell code, name, population and position of communes, the largest first."""
    return [
        answers.CommuneAnswer(
            code=found.code,
            name=found.name,
            department=found.department,
            population=found.population,
            lat=None if math.isnan(found.lat) else found.lat,
            long=None if math.isnan(found.long) else found.long,
        )
        for found in communes.starting_with(name, limit, department)
    ]


_DEPARTMENTS: Final = [{"code": code, "fr": name, "en": name} for code, name in DEPARTMENTS.items()]


_COMMUNE: Final[dict[str, Any]] = {
    "name": "com",
    "table": "caracteristiques",
    "part": "accident",
    "type": "commune",
    "label": {"fr": "Commune (code INSEE)", "en": "Municipality (INSEE code)"},
    "unit": "",
    "low": None,
    "high": None,
    "default": None,
    "codes": [],
}


def _type(name: str, kind: Kind, unit: str) -> str:
    if name == "hrmn":
        return "time"
    if name == "dep":
        return "department"
    if kind is Kind.CODE:
        return "code"
    return "integer" if unit in scenes.WHOLE_NUMBERS else "number"


# --- with the key ------------------------------------------------------------------------------------------


@router.post(
    "/reload_model/{model}",
    dependencies=[Depends(check_key)],
    summary="Serve the registry's newest version",
    responses=_KEYED,
)
def reload_model(model: ModelName, request: Request) -> answers.Reloaded:
    """Load beside the serving, then swap; the old version stays when the new one may not be used."""
    with _registry():
        previous, version = _models(request).reload(model)
    return answers.Reloaded(model=model, previous_version=previous, version=version)


@router.post(
    "/rollback",
    dependencies=[Depends(check_key)],
    summary="Put the version before into production again",
    responses=_KEYED,
)
def rollback(request: Request) -> answers.Reloaded:
    """Let the registry's alias point to the version before, and serve it; nothing changes when it may not be used."""
    with _registry():
        previous, version = _models(request).roll_back()
    return answers.Reloaded(model=BEST, previous_version=previous, version=version)


class _registry:  # noqa: N801
    """Say what went wrong with the registry as the caller may understand it."""

    def __enter__(self) -> None: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, ModelError):
            raise HTTPException(409, str(error)) from error
        if isinstance(error, ReaderDiedError | MemoryError):
            told = f"The model could not be read now ({error}); what was served goes on being served. Ask again."
            raise HTTPException(503, told) from error
        if isinstance(error, MlflowException | OSError):
            told = f"MLflow cannot be reached ({type(error).__name__}); what was served goes on being served."
            raise HTTPException(503, told) from error


# --- probes ------------------------------------------------------------------------------------------------


@probes.get("/health", summary="The process lives", responses=_COMMON)
async def health() -> answers.Health:
    """Answer always."""
    return answers.Health(status="ok")


@probes.get("/ready", summary="A model is in production and loaded", responses=_COMMON | _problems(s503="Not yet."))
async def ready(request: Request) -> answers.Ready:
    """Answer 503 until the model in production is loaded."""
    return answers.Ready(status="ready", version=_served(request, BEST).model.version)


@probes.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses=_COMMON
    | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The metrics."}},
)
def show_metrics() -> Response:
    """Answer in Prometheus' text format."""
    return Response(metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")


# --- parts -------------------------------------------------------------------------------------------------


def _models(request: Request) -> Models:
    models: Models = request.app.state.models
    return models


def _batcher(request: Request) -> Batcher:
    batcher: Batcher = request.app.state.batcher
    return batcher


def _served(request: Request, name: str) -> Served:
    models = _models(request)
    served = models.get(name)
    if served is None and not models.looked():
        raise problems.StartingError
    if served is None and name == BEST:
        raise HTTPException(503, f"No model is in production ({BEST}): run the pipeline once, then reload it.")
    if served is None:
        raise HTTPException(404, f"No model {name!r} is loaded; loaded are: {', '.join(models.all()) or 'none'}.")
    return served


def _origin(loaded: LoadedModel) -> dict[str, Any]:
    return {
        "name": loaded.name,
        "version": loaded.version,
        "trained_as": loaded.lineage.model,
        "run_id": loaded.lineage.run_id,
        "sample": loaded.lineage.sample,
    }


def _answer(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


async def _json(request: Request) -> bytes:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, f"The body is {kind!r:.60}; send application/json.")
    return await request.body()


async def _files(request: Request) -> list[tuple[str, BinaryIO]]:
    """Take the files of a form, or a body that is a merged CSV; both wait on the disk."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/csv":
        file: Any = tempfile.SpooledTemporaryFile(max_size=8 << 20)  # noqa: SIM115 (the caller closes it)
        async for chunk in request.stream():
            file.write(chunk)
        return [("the CSV", file)]
    if kind != "multipart/form-data":
        raise HTTPException(415, f"The body is {kind!r:.60}; send text/csv, or files as multipart/form-data.")
    form = await request.form(max_files=5, max_fields=5)
    found = [file for file in form.getlist("files") if isinstance(file, UploadFile)]
    if len(found) not in (1, 4) or len(form.multi_items()) != len(found):
        told = f"files sent: {len(found)}; send one merged CSV, or the four files of one year, each as `files`"
        raise scenes.SceneError([("files", told)])
    return [(os.path.basename(file.filename or "the CSV"), file.file) for file in found]  # noqa: PTH119


def _read_files(uploaded: Sequence[tuple[str, BinaryIO]], limit: int) -> uploads.Upload:
    contents = {}
    for name, file in uploaded:
        file.seek(0)
        contents[name] = file.read()
    return uploads.read(contents, limit)
