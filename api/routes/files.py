"""Predictions of whole files."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, BinaryIO, Final

import orjson
from fastapi import APIRouter, HTTPException, Query, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response, StreamingResponse

from api import uploads
from api.routes.common import ASKING, batcher_of, problems_of, served_by
from api.schemas import errors
from api.upload_limiter import RECEIVING_SECONDS, FileAnswer
from include.accidents.registry.loading import LoadedModel
from include.accidents.registry.names import BEST
from include.accidents.reporting import plots

router = APIRouter(prefix="/api/v1")


_ZIP: Final = "application/zip"


@router.post(
    "/predict-csv",
    summary="The same for files: the four BAAC files of a year, or a merged CSV",
    response_class=StreamingResponse,
    responses=ASKING
    | problems_of(s408="The upload took too long.")
    | {
        200: {
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                _ZIP: {"schema": {"type": "string", "format": "binary"}},
            },
            "description": "The lines, predictions appended. Where the severities (`grav`) are in the file, the header "
            "`X-Scores` gives in JSON how well the predictions fit. With `Accept: application/zip`: predictions.csv, "
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
    served, limiter = served_by(request, model), request.app.state.upload_limiter
    zipped = _ZIP in request.headers.get("accept", "")
    limiter.enter()
    try:
        async with asyncio.timeout(RECEIVING_SECONDS):
            uploaded = await _files(request)
        async with limiter.turn:
            file, scores = await _answer_files(request, served.model, uploaded, zipped=zipped)
    except TimeoutError as error:
        limiter.leave()
        raise HTTPException(
            408, f"The upload took more than {RECEIVING_SECONDS} seconds; send less at once."
        ) from error
    except BaseException:
        limiter.leave()
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
    return FileAnswer(file, limiter.leave, headers, media_type=_ZIP if zipped else "text/csv; charset=utf-8")


async def _answer_files(
    request: Request, model: LoadedModel, uploaded: Sequence[tuple[str, BinaryIO]], *, zipped: bool
) -> tuple[BinaryIO, dict[str, Any]]:
    """Return a file that holds the answer, and the scores; predictions for others go on between its parts."""
    batcher, limit = batcher_of(request), request.app.state.settings.max_upload_bytes
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
    """Return the answer with its scores and their plot as a zip file; close the answer."""
    archive: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (closed by who sends it)
    with csv, zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        csv.seek(0)
        with packed.open("predictions.csv", "w", force_zip64=True) as target:
            shutil.copyfileobj(csv, target, 1 << 20)
        if scores:
            packed.writestr("scores.json", orjson.dumps(scores, option=orjson.OPT_INDENT_2))
            packed.writestr("calibration.png", plots.png(plots.calibration(scores)))
    return archive


def _write_next(parts: Iterator[bytes], file: BinaryIO) -> bool:
    part = next(parts, None)
    file.write(part or b"")
    return part is not None


async def _files(request: Request) -> list[tuple[str, BinaryIO]]:
    """Return the files of a form, or a body that is a merged CSV; both are kept on the disk."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/csv":
        file: Any = tempfile.SpooledTemporaryFile(max_size=8 << 20)  # noqa: SIM115 (the caller closes it)
        async for chunk in request.stream():
            file.write(chunk)
        return [("the CSV", file)]
    if kind != "multipart/form-data":
        raise HTTPException(415, f"The body is {kind!r:.60}; send text/csv, or files as multipart/form-data.")
    form = await request.form(max_files=5, max_fields=5)
    files = [file for file in form.getlist("files") if isinstance(file, UploadFile)]
    if len(files) not in (1, 4) or len(form.multi_items()) != len(files):
        message = f"files sent: {len(files)}; send one merged CSV, or the four files of one year, each as `files`"
        raise errors.SceneError([("files", message)])
    return [(os.path.basename(file.filename or "the CSV"), file.file) for file in files]  # noqa: PTH119


def _read_files(uploaded: Sequence[tuple[str, BinaryIO]], limit: int) -> uploads.Upload:
    contents = {}
    for name, file in uploaded:
        file.seek(0)
        contents[name] = file.read()
    return uploads.read(contents, limit)
