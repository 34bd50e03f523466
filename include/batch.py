"""Predict whole files: what lies in `accidents-incoming`, by the model in production, into `accidents-predictions`."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from include.accidents import evaluate, features, files, raw, registry, report, tables
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
    scenes, checked = raw.read_year(contents, batch["year"])
    table = _predictions(scenes, evaluate.probabilities(model.estimator, features.build(scenes)))
    store.write(PREDICTIONS, target, b"".join((tables.header(table), tables.text(tables.lines(table)))))
    facts = {**made_of, "people": len(table), "report": checked.as_dict()}
    store.write(PREDICTIONS, note, json.dumps(facts, indent=1).encode())
    counts = table["class"].value_counts()
    rows = [(name, int(counts.get(name, 0)), float(table[f"p_{name}"].sum())) for name in CLASSES]
    log.info(
        "%d people of %s predicted by BestModel version %s, into s3://%s/%s:\n%s",
        len(table),
        batch["name"],
        version,
        PREDICTIONS,
        target,
        report.text_table(("class", "likeliest for", "expected"), [(a, b, f"{c:,.0f}") for a, b, c in rows]),
    )
    return {"batch": batch["name"], "people": len(table), "object": target}


def _predictions(scenes: raw.Scenes, proba: evaluate.Probabilities) -> pd.DataFrame:
    """Return one row a person, in the order of the file: who, and how badly hurt."""
    people = scenes.people
    table = people[[c for c in ("id_usager", "id_vehicule", "num_veh", "place", "catu") if c in people]].copy()
    table.insert(0, "num_acc", scenes.accidents["num_acc"].to_numpy()[people["accident"].to_numpy()])
    for i, name in enumerate(CLASSES):
        table[f"p_{name}"] = proba[:, i].round(6)
    table["class"] = [CLASSES[i] for i in proba.argmax(axis=1)]
    table["p_severe"] = proba[:, evaluate.SEVERE].sum(axis=1).round(6)
    return table
