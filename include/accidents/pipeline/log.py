"""Evaluate a model at every level of knowledge, log it to MLflow, and register it, signed."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from include.accidents.data import split
from include.accidents.errors import ModelError
from include.accidents.features import knowledge
from include.accidents.features.levels import RECORD
from include.accidents.models import bootstrap, decision, evaluate, judging, specification, training
from include.accidents.pipeline.contracts import Json, LoggedModel, ModelRun
from include.accidents.pipeline.inputs import how_made, kept_catalogue, load_split, plan_of
from include.accidents.pipeline.judge import cross_validated, judged_over_years
from include.accidents.registry import loading, onnx_files, skops_files, tracking
from include.accidents.registry.names import DECISION, GROUPS, PLAN
from include.accidents.reporting import plots, texts
from include.accidents.storage.buckets import MODELS, TRAIN

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from include.accidents.data import dataset
    from include.accidents.models.specification import Catalogue, ModelSpec
    from include.accidents.storage.versions import Store

log = logging.getLogger(__name__)
COMPARED_PEOPLE = 1_000  # held-out people on whom an ONNX copy is compared with its model, in each state of knowledge
CALIBRATED = 0.03  # mean distance of probabilities from true shares, up to which they are called calibrated


@dataclass(frozen=True)
class Evaluated:
    """The results of an evaluation for MLflow.

    Metrics, plots and tables by file name, the candidates of the search, and the model's ONNX copy if it has one.
    """

    metrics: dict[str, float]
    plots: dict[str, Any]
    tables: dict[str, Any]
    results: list[Json]
    onnx: bytes | None


def log_model(
    store: Store,
    client: MlflowClient,
    run: ModelRun,
    dag_run_id: str,
    key: bytes,
    *,
    force: bool,
    evaluation: str = "basic",
) -> LoggedModel:
    """Cross-validate and test the model at every level of knowledge; log it as an MLflow run and register it, signed.

    The rules of the decision (thresholds) are learned from the cross-validation, and stored in the model.

    Parameters
    ----------
    evaluation
        `basic` (the metrics and the confusion matrix) or `full` (also the check over years and every plot).

    Returns
    -------
    The new version; the newest one, where nothing has changed since it was registered.
    """
    checked = kept_catalogue(store, run.catalogue, run.model)
    spec = checked.model(run.model)
    facts = _facts(run, checked, evaluation)
    kept = None if force else _unchanged(client, run, facts, _lineage(store, run)["features"], key)
    if kept is not None:
        earlier, version = kept
        tracking.use_again(client, earlier, version, dag_run_id, run.data.loaded)
        store.stale(MODELS, run.version, [_onnx_for_people(run)], run.data.loaded)  # notes that this run shows it too
        log.info("%s version %s is used again: nothing has changed since it was made.", run.model, version.version)
        return _logged(client, run.model, version.version, earlier.info.run_id)
    fitted = skops_files.loads(store.read_version(MODELS, run.version, f"{run.model}_model.skops"))
    held_out = load_split(store, run.data, "global_test")
    evaluated = _evaluate(store, checked, run, fitted, held_out, evaluation, force=force)
    registered = tracking.log_run(
        client,
        fitted,
        lineage_without_run=_lineage(store, run),
        loaded=run.data.loaded,
        key=key,
        dag_run_id=dag_run_id,
        params=_params(run),
        metrics=evaluated.metrics,
        tags={**spec.tags, **facts, "catalogue_version": run.catalogue},
        plots=evaluated.plots,
        tables=evaluated.tables,
        results=evaluated.results,
        onnx=evaluated.onnx,
        example=held_out.x[:5],
    )
    if evaluated.onnx is not None:
        store.publish(MODELS, run.version, {_onnx_for_people(run): evaluated.onnx}, run.data.loaded)
    log.info(
        "%s is version %s in MLflow, selection_score %.4f:\n%s",
        run.model,
        registered.version,
        evaluated.metrics["selection_score"],
        texts.metrics_table(evaluated.metrics),
    )
    return _logged(client, run.model, registered.version, registered.run_id)


def _logged(client: MlflowClient, model: str, version: Any, run_id: Any) -> LoggedModel:
    served = loading.newest(client, model) or ""
    return LoggedModel(model=model, registered_version=str(version), run_id=str(run_id), served_version=served)


def _facts(run: ModelRun, checked: Catalogue, evaluation: str) -> dict[str, str]:
    """Return the facts that decide the outcome of an evaluation, as tags of MLflow's run."""
    how = checked.model_dump(mode="json", by_alias=True, include={"defaults", "selection", "decision"})
    # The parameters are hashed too: they may be longer than a tag.
    digest = hashlib.sha256(json.dumps([how, how_made(run)], sort_keys=True).encode()).hexdigest()[:12]
    facts = {"model_version": run.version, "code_version": run.method}
    return {**facts, "evaluation": evaluation, "judged_as": digest}


def _unchanged(
    client: MlflowClient, run: ModelRun, facts: Mapping[str, str], features: str, key: bytes
) -> tuple[Any, ModelVersion] | None:
    """Return the run and the version of the same model and facts, if it is the newest version and may be used."""
    newest = loading.newest(client, run.model)
    alike = (tracking.run_with_tags(client, tags) for tags in _alike(run, facts))
    earlier = next((each for each in alike if each and each.data.tags["registered_version"] == newest), None)
    if earlier is None or newest is None:
        return None
    try:
        loading.load(client, run.model, newest, key, features)
    except ModelError as error:  # signed with another key, or its file is gone
        log.info("%s version %s is not used again: %s", run.model, newest, error.cause)
        return None
    return earlier, client.get_model_version(run.model, newest)


def _alike(run: ModelRun, facts: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the tags of usable runs: of the same evaluation, or of the full one, which includes the basic one."""
    return [{"model": run.model, **facts, "evaluation": each} for each in dict.fromkeys((facts["evaluation"], "full"))]


def _lineage(store: Store, run: ModelRun) -> Json:
    features = (store.manifest(TRAIN, run.data.version) or {})["features"]
    return {
        "model": run.model,
        "data_version": run.data.version,
        "features": features,
        "sample": run.data.sample,
    }


def _params(run: ModelRun) -> Json:
    chosen = {name: json.dumps(value) for name, value in run.params.items()}
    return chosen | {"max_rows": run.max_rows, "train_rows": run.data.rows.train_test, "years": run.data.years}


def _evaluate(
    store: Store,
    checked: Catalogue,
    run: ModelRun,
    fitted: Any,
    held_out: dataset.Dataset,
    evaluation: str,
    *,
    force: bool,
) -> Evaluated:
    """Evaluate a model; the rules of the decision are attached to it."""
    spec = checked.model(run.model)
    judged = cross_validated(store, checked, run, force=force)
    rules = decision.learn(judged.judged, decision.recall_by_level(checked.decision), judged.sharpen)
    decision.attach(fitted, rules)
    training.limit_threads()
    onnx = _onnx_copy(fitted, held_out, checked.defaults.seed)
    asked = onnx_files.loads(onnx) if onnx else fitted
    proba, metrics = _test(asked, rules, held_out, checked.defaults.seed)
    metrics |= judged.metrics
    if evaluation == "full":
        metrics |= judged_over_years(store, checked, run, force=force)
    metrics["selection_score"] = evaluate.selection_score(metrics, checked.selection.weights)
    _check_numbers(metrics)
    _warn_if_uncalibrated(metrics)
    best = json.loads(store.read_version(MODELS, f"{run.version}/search", "search.json"))
    drawn, importances = _plots(run.model, asked, held_out, proba, best["results"], spec, checked, evaluation)
    tables = {
        PLAN: plan_of(store, run.version),
        "search.json": {key: value for key, value in best.items() if key != "results"},
        "specification.json": specification.as_json(spec),
        GROUPS: {"rows": evaluate.recall_by_group(held_out, proba.argmax(axis=1))},
        DECISION: {state: asdict(rule) for state, rule in rules.items()},
        **({"importance.json": importances} if importances else {}),
    }
    return Evaluated(metrics, drawn, tables, best["results"], onnx)


def _onnx_for_people(run: ModelRun) -> str:
    return f"{run.model}_model.onnx"


def _onnx_copy(fitted: Any, held_out: dataset.Dataset, seed: int) -> bytes | None:
    """Return the model's ONNX copy, compared with it on held-out people in every state of knowledge."""
    rows = split.sample_accidents(np.arange(len(held_out.y)), held_out.accident, held_out.y, COMPARED_PEOPLE, seed)
    some = held_out.take(rows)
    return onnx_files.dumps(fitted, [judging.at_state(some.x, state)[0] for state in knowledge.STATES])


def _test(
    fitted: Any, rules: decision.Decision, held_out: dataset.Dataset, seed: int
) -> tuple[evaluate.Probabilities, dict[str, float]]:
    """Return the probabilities and the metrics on global_test: `test_*` with intervals, and those of every state."""
    metrics: dict[str, float] = {}
    everybody = np.arange(len(held_out.y))
    for state in knowledge.STATES:
        whole = state == RECORD.name
        rows = everybody if whole else judging.judged_rows(held_out, everybody, state, 1, seed)
        judged = judging.judge(fitted, held_out.take(rows), state)
        metrics |= {f"{state}_{name}": value for name, value in decision.metrics(judged, rules, state).items()}
        if whole:
            proba = judged.proba
    tested = evaluate.scores(held_out.y, proba)
    return proba, metrics | {f"test_{name}": value for name, value in tested.items()} | _intervals(held_out, proba)


def _intervals(held_out: dataset.Dataset, proba: evaluate.Probabilities) -> dict[str, float]:
    return {
        f"test_{name}_{end}": value
        for name, both in bootstrap.intervals(held_out.y, proba, held_out.accident).items()
        for end, value in zip(("low", "high"), both, strict=True)
    }


def _check_numbers(metrics: Mapping[str, float]) -> None:
    broken = sorted(name for name, value in metrics.items() if not math.isfinite(value))
    if broken:
        raise ModelError(
            f"The model's metrics are not numbers: {', '.join(broken)}.", "change its parameters in the catalogue."
        )


def _warn_if_uncalibrated(metrics: Mapping[str, float]) -> None:
    error = metrics["test_calibration_error"]
    if error > CALIBRATED:
        log.warning(
            "Its probabilities differ from the true shares by %.3f on average (up to %.2f is called calibrated): wrap "
            "its classifier in sklearn.calibration.CalibratedClassifierCV.",
            error,
            CALIBRATED,
        )


def _plots(
    model: str,
    fitted: Any,
    held_out: dataset.Dataset,
    proba: evaluate.Probabilities,
    results: Sequence[Json],
    spec: ModelSpec,
    checked: Catalogue,
    evaluation: str,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the plots of an evaluation by file name, and the importance of each feature (full evaluation)."""
    title = f"{model} on global_test"
    drawn = {"confusion_matrix.png": plots.confusion(held_out.y, proba.argmax(axis=1), title)}
    if results:
        drawn["cv_results.png"] = plots.search(results, spec.search.scoring or checked.defaults.scoring)
    if evaluation != "full":
        return drawn, {}
    importances = evaluate.importance(fitted, held_out, seed=checked.defaults.seed)
    drawn["precision_recall.png"] = plots.precision_recall(held_out.y, proba, title)
    drawn["reliability.png"] = plots.reliability(held_out.y, proba, title)
    drawn["importance.png"] = plots.importance(importances, title)
    return drawn, importances
