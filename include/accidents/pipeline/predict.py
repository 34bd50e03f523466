"""Predict whole files of `accidents-incoming` by the model in production, into `accidents-predictions`."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from include.accidents.data import csvtext, files, reader
from include.accidents.data.columns import CLASSES, Table
from include.accidents.errors import ModelError
from include.accidents.features import matrix
from include.accidents.features.version import feature_version
from include.accidents.models import predictions
from include.accidents.pipeline.contracts import Batch, PredictedBatch
from include.accidents.pipeline.names import PIPELINE
from include.accidents.registry import loading
from include.accidents.registry.names import BEST
from include.accidents.reporting import plots, texts
from include.accidents.storage.buckets import INCOMING, PREDICTIONS
from include.accidents.storage.versions import Store, megabytes

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from include.accidents.data.scenes import Scenes

log = logging.getLogger(__name__)


def find_batches(store: Store) -> list[Batch]:
    """Return the complete batches: the four BAAC files of a year in one folder of the bucket.

    Returns
    -------
    Sorted by folder and year. Unknown files and batches that are not complete stay, and the log names them.
    """
    keys_of: dict[tuple[str, int], dict[str, list[str]]] = {}
    for key in store.objects(INCOMING):
        folder, _, name = key.rpartition("/")
        recognised = files.recognise(name)
        if recognised is None:
            log.warning("s3://%s/%s is skipped: accepted names are %s.", INCOMING, key, files.ACCEPTED_FORMS)
            continue
        table, year = recognised
        keys_of.setdefault((folder, year), {}).setdefault(str(table), []).append(key)
    batches, rows = [], []
    for (folder, year), keys in sorted(keys_of.items()):
        name = f"{folder}/{year}".lstrip("/")
        waits = [f"for {table}" for table in Table if str(table) not in keys]
        waits += [f"until one of {' and '.join(names)} is deleted" for names in keys.values() if len(names) > 1]
        rows.append((name, f"waits {', '.join(waits)}" if waits else "complete"))
        if waits:
            log.warning("%s waits %s.", name, ", ".join(waits))
        else:
            files_of = {table: names[0] for table, names in keys.items()}
            batches.append(Batch(name=name, folder=folder, year=year, files=files_of))
    shown = f":\n{texts.text_table(('batch', ''), rows)}" if rows else f": s3://{INCOMING} holds none."
    log.info("%d batches to predict%s", len(batches), shown)
    return batches


def predict_batch(store: Store, client: MlflowClient, key: bytes, batch: Batch) -> PredictedBatch:
    """Predict the people of a batch, unless this model has already predicted the same files.

    Returns
    -------
    The number of people, and the key of the predictions.

    Raises
    ------
    ModelError
        When no model is in production, or it may not be used.
    InputError
        When a file cannot be read.
    """
    version = loading.newest(client, BEST)
    if version is None:
        raise ModelError("No model is in production.", f"run {PIPELINE} first.")
    contents = {
        Table(table): (key_, store.read(INCOMING, key_, files.MAX_BYTES)) for table, key_ in batch.files.items()
    }
    inputs = {name: hashlib.sha256(content).hexdigest() for name, content in contents.values()}
    origin = {"inputs": inputs, "model": BEST, "model_version": version, "features": feature_version()}
    target, note = batch.object("predictions", "csv"), batch.object("predictions", "json")
    before = store.read_json(PREDICTIONS, note) or {}
    if {name: before.get(name) for name in origin} == origin and store.etag(PREDICTIONS, target) is not None:
        log.info("%s is predicted already by BestModel version %s.", batch.name, version)
        return PredictedBatch(batch=batch.name, people=before["people"], object=target)
    model = loading.load(client, BEST, version, key, feature_version())
    log.info("Read: %s.", ", ".join(f"{n} ({megabytes(len(content))})" for n, content in contents.values()))
    scenes, checked = reader.read_year(contents, batch.year, need_severity=False)
    predicted = predictions.predict(model, matrix.build(scenes), scenes.people["accident"].to_numpy())
    scores = predictions.score(predicted, scenes.people["grav"].to_numpy())
    store.write(PREDICTIONS, target, _csv(scenes, predicted))
    calibration = batch.object("calibration", "png")
    if scores:
        store.write(PREDICTIONS, calibration, plots.png(plots.calibration(scores)))
    else:
        store.delete(PREDICTIONS, [calibration])  # of files that held severities before
    facts = {**origin, "people": len(predicted.proba), "scores": scores, "report": checked.as_dict()}
    store.write(PREDICTIONS, note, json.dumps(facts, indent=1).encode())
    _report(batch, version, target, predicted, scores)
    return PredictedBatch(batch=batch.name, people=len(predicted.proba), object=target)


def _report(
    batch: Batch, version: str, target: str, predicted: predictions.Predicted, scores: Mapping[str, Any] | None
) -> None:
    """Log the predictions, and their scores where the files hold severities."""
    likeliest = np.bincount(predicted.proba.argmax(axis=1), minlength=len(CLASSES))
    rows = [
        (name, int(n), f"{p:,.0f}") for name, n, p in zip(CLASSES, likeliest, predicted.proba.sum(axis=0), strict=True)
    ]
    log.info(
        "%d people of %s predicted by BestModel version %s, into s3://%s/%s; %d of %d accidents are alerts:\n%s",
        len(predicted.proba),
        batch.name,
        version,
        PREDICTIONS,
        target,
        int(predicted.decided.alert.sum()),
        len(predicted.level),
        texts.text_table(("class", "likeliest for", "expected"), rows),
    )
    if scores:
        shown = [(name, value) for name, value in scores.items() if name != "calibration"]
        log.info("Against the severities in the files:\n%s", texts.text_table(("", ""), shown))
    else:
        log.info("The files hold no severity: the predictions are not scored.")


def _csv(scenes: Scenes, predicted: predictions.Predicted) -> bytes:
    """Return one row for each person, in the order of the file: their identity and the predictions."""
    people = scenes.people
    who = people[[c for c in ("id_usager", "id_vehicule", "num_veh", "place", "catu") if c in people]].copy()
    who.insert(0, "num_acc", scenes.accidents["num_acc"].to_numpy()[people["accident"].to_numpy()])
    first = bytes(csvtext.header(who.columns)).strip() + predictions.header(b";")
    left = bytes(csvtext.text(csvtext.lines(who))).splitlines()
    return b"\n".join(
        [first, *(b"%b;%b" % both for both in zip(left, predictions.lines(predicted, ";"), strict=True)), b""]
    )
