"""Train a model."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from include.accidents.models import training
from include.accidents.pipeline.inputs import how_made, kept_catalogue, load_split, made_as, planned
from include.accidents.registry import skops_files
from include.accidents.reporting import texts
from include.accidents.storage.buckets import MODELS
from include.accidents.storage.versions import Store, megabytes

if TYPE_CHECKING:
    from include.accidents.pipeline.contracts import ModelRun

log = logging.getLogger(__name__)


def train_model(store: Store, run: ModelRun, *, force: bool) -> ModelRun:
    """Fit the model with its best parameters; store it as skops for services and as pickle for people."""
    model, version, data = run.model, run.version, run.data
    file = f"{model}_model.skops"
    if force or made_as(run, store.intact(MODELS, version)) is None:
        checked = kept_catalogue(store, run.catalogue, model)
        started = time.monotonic()
        log.info("Training %s with %s.", model, json.dumps(run.params))
        train_test = load_split(store, data, "train_test")
        content = training.train_in_time(
            planned(checked, run), checked.defaults, run.params, train_test, skops_files.dumps
        )
        facts = {
            "data_version": data.version,
            "sample": data.sample,
            **how_made(run),
            "seconds": round(time.monotonic() - started, 1),
        }
        store.write_version(MODELS, version, {file: content}, facts)
    else:
        log.info("Already trained with this data and specification: %s is used again.", version)
    for_people, loaded = f"{model}_model.pkl", data.loaded
    if store.stale(MODELS, version, [for_people], loaded):
        with store.staging(for_people) as drafts:
            training.write_pickle(skops_files.loads(store.read_version(MODELS, version, file)), drafts[for_people])
            store.publish(MODELS, version, drafts, loaded)
    manifest = store.manifest(MODELS, version) or {}
    rows = [
        ("version", version),
        *((name, json.dumps(value)) for name, value in run.params.items()),
        ("people in train_test", f"{data.rows.train_test:,}"),
        ("seconds of training", str(manifest.get("seconds", "–"))),
        ("size", megabytes(manifest["files"][file]["size"])),
    ]
    log.info("%s is trained:\n%s", model, texts.text_table(("", ""), rows))
    return run
