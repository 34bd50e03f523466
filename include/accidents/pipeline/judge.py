"""Judge a model by cross-validation and over years, in a child process; earlier judgements are used again."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from include.accidents.features.knowledge import STATES
from include.accidents.models import decision, isolate, judging, temporal, training
from include.accidents.pipeline.inputs import how_made, load_split, made_as, planned
from include.accidents.registry import onnx_files
from include.accidents.storage.buckets import MODELS

if TYPE_CHECKING:
    from include.accidents.data import dataset
    from include.accidents.models.specification import Catalogue, Defaults, ModelSpec
    from include.accidents.pipeline.contracts import Json, ModelRun
    from include.accidents.storage.versions import Store

log = logging.getLogger(__name__)
COMPARED = 200  # people on whom a fold's ONNX copy is compared with its model, in each state of knowledge


def cross_validated(store: Store, checked: Catalogue, run: ModelRun, *, force: bool) -> judging.CrossValidated:
    """Return the cross-validation; that of an earlier run of the same model on the same data, if there is one."""
    version, spec = f"{run.version}/evaluation", planned(checked, run)
    if force or made_as(run, store.intact(MODELS, version)) is None:
        started = time.monotonic()
        result = isolate.run(
            _cross_validate,
            spec,
            checked.defaults,
            run.params,
            load_split(store, run.data, "train_test"),
            minutes=spec.minutes or checked.defaults.minutes,
            what="The cross-validation",
            on_progress=log.info,
        )
        store.write_version(
            MODELS, version, judging.dumps(result), {**how_made(run), "seconds": round(time.monotonic() - started, 1)}
        )
    return judging.loads(*(store.read_version(MODELS, version, name) for name in ("cv.json", "judged.npz")))


def _cross_validate(
    spec: ModelSpec, defaults: Defaults, params: Json, train_test: dataset.Dataset, on_progress: isolate.OnProgress
) -> judging.CrossValidated:
    training.limit_threads()
    return judging.cross_validate(
        _reporting_fit(spec, defaults, params, on_progress, "Fold {}"),
        train_test,
        n_splits=defaults.evaluation_folds,
        # Not the folds of the search, which chose the parameters.
        seed=defaults.seed + 1,
        max_rows=spec.max_rows,
    )


def _reporting_fit(
    spec: ModelSpec, defaults: Defaults, params: Json, on_progress: isolate.OnProgress, what: str
) -> judging.Fit:
    """Return a function that fits the model and reports each fit; `what` names a fit by its number."""
    done = 0

    def fit(data: dataset.Dataset) -> Any:
        nonlocal done
        started = time.monotonic()
        fitted = training.fit(spec, defaults, params, data)
        done += 1
        on_progress(f"{what.format(done)}: fitted on {len(data.y):,} people in {time.monotonic() - started:.1f} s.")
        return onnx_files.fastest(fitted, [judging.at_state(data.x[:COMPARED], state)[0] for state in STATES])

    return fit


def judged_over_years(store: Store, checked: Catalogue, run: ModelRun, *, force: bool = False) -> dict[str, float]:
    """Return the metrics of a model that learns from earlier years and is judged on later ones.

    Returns
    -------
    By name, as `temporal_*`; empty when the data have only one year.
    """
    kept, recall = f"{run.version}/temporal", decision.recall_by_level(checked.decision)
    manifest = made_as(run, store.intact(MODELS, kept))
    if force or manifest is None or manifest["recall"] != recall:
        spec = planned(checked, run)
        metrics = isolate.run(
            _over_years,
            spec,
            checked.defaults,
            run.params,
            load_split(store, run.data, "train_test"),
            recall,
            minutes=spec.minutes or checked.defaults.minutes,
            what="The judgement over years",
            on_progress=log.info,
        )
        facts = {**how_made(run), "recall": recall}
        store.write_version(MODELS, kept, {"temporal.json": json.dumps(metrics).encode()}, facts)
    return dict(json.loads(store.read_version(MODELS, kept, "temporal.json")))


def _over_years(
    spec: ModelSpec,
    defaults: Defaults,
    params: Json,
    train_test: dataset.Dataset,
    recall: Mapping[str, float],
    on_progress: isolate.OnProgress,
) -> dict[str, float]:
    training.limit_threads()
    fit = _reporting_fit(spec, defaults, params, on_progress, "Earlier years, {}")
    return temporal.over_years(fit, train_test, recall, seed=defaults.seed, max_rows=spec.max_rows)
