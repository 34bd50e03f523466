"""Predict whole files: what lies in `accidents-incoming`, by the model in production, into `accidents-predictions`."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from include.accidents import features, files, predictions, raw, registry, report, tables
from include.accidents.errors import ModelError
from include.accidents.schema import CLASSES, Table
from include.accidents.versions import megabytes
from include.storage import INCOMING, PREDICTIONS, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

Json = dict[str, Any]


def find_batches(store: Store) -> list[Json]:
    """Return the complete batches: the four BAAC files of a year in one folder of the bucket.

    What is unknown or not yet complete waits, and is named in the log.
    """
    found: dict[tuple[str, int], dict[str, list[str]]] = {}
    for key in store.keys(INCOMING):
        folder, _, name = key.rpartition("/")
        recognised = files.recognise(name)
        if recognised is None:
            log.warning("s3://%s/%s is passed over: accepted names are %s.", INCOMING, key, files.ACCEPTED_FORMS)
            continue
        table, year = recognised
        found.setdefault((folder, year), {}).setdefault(str(table), []).append(key)
    batches, rows = [], []
    for (folder, year), keys in sorted(found.items()):
        name = f"{folder}/{year}".lstrip("/")
        waits = [f"for {table}" for table in Table if str(table) not in keys]
        waits += [f"until one of {' and '.join(names)} is deleted" for names in keys.values() if len(names) > 1]
        rows.append((name, f"waits {', '.join(waits)}" if waits else "complete"))
        if waits:
            log.warning("%s waits %s.", name, ", ".join(waits))
        else:
            files_of = {table: names[0] for table, names in keys.items()}
            batches.append({"name": name, "folder": folder, "year": year, "files": files_of})
    table = f":\n{report.text_table(('batch', ''), rows)}" if rows else f": s3://{INCOMING} holds none."
    log.info("%d batches to predict%s", len(batches), table)
    return batches


def predict_batch(store: Store, client: MlflowClient, key: bytes, batch: Mapping[str, Any]) -> Json:
    """Predict the people of a batch, unless this model has already predicted these very files.

    Raises
    ------
    ModelError
        When no model is in production, or it may not be used.
    InputError
        When a file cannot be read.
    """
    version = registry.newest(client, registry.BEST)
    if version is None:
        raise ModelError("No model is in production.", "run ml_accidents_pipeline_dag first.")
    contents = {
        Table(table): (name, store.read(INCOMING, name, files.MAX_BYTES)) for table, name in batch["files"].items()
    }
    inputs = {name: hashlib.sha256(content).hexdigest() for name, content in contents.values()}
    prefix = f"{batch['folder']}/" if batch["folder"] else ""
    target, note = f"{prefix}predictions_{batch['year']}.csv", f"{prefix}predictions_{batch['year']}.json"
    made_of = {"inputs": inputs, "model": registry.BEST, "model_version": version, "features": features.version()}
    before = store.read_json(PREDICTIONS, note) or {}
    if {name: before.get(name) for name in made_of} == made_of and store.etag(PREDICTIONS, target) is not None:
        log.info("%s is predicted already by BestModel version %s.", batch["name"], version)
        return {"batch": batch["name"], "people": before["people"], "object": target}
    model = registry.load(client, registry.BEST, version, key, features.version())
    log.info("Read: %s.", ", ".join(f"{n} ({megabytes(len(content))})" for n, content in contents.values()))
    scenes, checked = raw.read_year(contents, batch["year"], need_severity=False)
    made = predictions.predict(model, features.build(scenes), scenes.people["accident"].to_numpy())
    scores = predictions.score(made, scenes.people["grav"].to_numpy())
    store.write(PREDICTIONS, target, _csv(scenes, made))
    if scores:
        store.write(PREDICTIONS, f"{prefix}calibration_{batch['year']}.png", predictions.calibration_png(scores))
    people = len(made.proba)
    facts = {**made_of, "people": people, "scores": scores, "report": checked.as_dict()}
    store.write(PREDICTIONS, note, json.dumps(facts, indent=1).encode())
    likeliest = np.bincount(made.proba.argmax(axis=1), minlength=len(CLASSES))
    rows = [(name, int(n), f"{p:,.0f}") for name, n, p in zip(CLASSES, likeliest, made.proba.sum(axis=0), strict=True)]
    log.info(
        "%d people of %s predicted by BestModel version %s, into s3://%s/%s; %d of %d accidents are alerts:\n%s",
        people,
        batch["name"],
        version,
        PREDICTIONS,
        target,
        int(made.decided.alert.sum()),
        len(made.level),
        report.text_table(("class", "likeliest for", "expected"), rows),
    )
    if scores:
        shown = [(name, value) for name, value in scores.items() if name != "calibration"]
        log.info("Against the severities in the files:\n%s", report.text_table(("", ""), shown))
    else:
        log.info("The files hold no severity: the predictions are not scored.")
    return {"batch": batch["name"], "people": people, "object": target}


def _csv(scenes: raw.Scenes, made: predictions.Predicted) -> bytes:
    """Return one row a person, in the order of the file: who, and what is predicted."""
    people = scenes.people
    who = people[[c for c in ("id_usager", "id_vehicule", "num_veh", "place", "catu") if c in people]].copy()
    who.insert(0, "num_acc", scenes.accidents["num_acc"].to_numpy()[people["accident"].to_numpy()])
    first = bytes(tables.header(who.columns)).strip() + predictions.header(b";")
    left = bytes(tables.text(tables.lines(who))).splitlines()
    return b"\n".join([first, *(b"%b;%b" % both for both in zip(left, predictions.lines(made, ";"), strict=True)), b""])
