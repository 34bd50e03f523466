"""The pipeline's steps: keys in, domain functions, keys out. A task of the DAG calls one of them.

Each returns small JSON for XCom. What was already made of the same inputs, by the same code, is not made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from include.accidents import (
    bootstrap,
    catalogue,
    child,
    clean,
    decision,
    evaluate,
    features,
    pictures,
    pipeline,
    registry,
    report,
    search,
    tables,
    temporal,
)
from include.accidents.catalogue import Catalogue, Defaults, ModelSpec
from include.accidents.errors import CatalogueError, InputError, ModelError, StorageError
from include.accidents.knowledge import RECORD
from include.accidents.sample import is_sample
from include.accidents.schema import Table
from include.accidents.versions import megabytes
from include.storage import MODELS, RAW, TRAIN, RawFile, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

Json = dict[str, Any]
# What decides how a model is made and judged, beside the data and its specification.
MODEL_CODE = ("catalogue", "knowledge", "masking", "search", "evaluate", "decision", "temporal", "split")
# Artifacts of a model's run in MLflow.
GROUPS = "recall_by_group.json"
DECISION = "decision.json"
SHOWN = 10  # candidates in the log
_UPLOAD = "by `make demo RAW=folder`, or straight into the bucket"
CALIBRATED = 0.03  # mean distance of probabilities from what happened, up to which they are called calibrated


def load_raw(store: Store, folder: Path, years: Sequence[int], *, chosen: bool = False) -> list[Json]:
    """Upload what changed in `folder`; return the files of the years wanted (or of all) that are in the raw bucket.

    Raises
    ------
    InputError
        When there is no file at all, a file is unknown or missing, a wanted year is absent, or there is no such folder
        though it was chosen by the form.
    """
    if chosen and not folder.is_dir():
        raise InputError(
            f"There is no folder {folder} on the machine that runs this task.",
            "trigger with another 'Folder of CSVs', or with none to use the installation's.",
        )
    store.create_buckets()
    loaded, uploaded = datetime.now(UTC).isoformat(), []
    if folder.is_dir():
        uploaded = store.upload_raw(folder, sample=is_sample(folder))
    else:
        log.info("There is no folder %s: the files that are in the bucket are used.", folder)
    found = store.raw_years()
    absent = sorted(set(years) - found.keys())
    if absent or not found:
        have = ", ".join(map(str, found)) or "none"
        raise InputError(
            f"No files of {', '.join(map(str, absent)) or 'any year'} in {folder} or the raw bucket (years: {have}).",
            "put the four CSV files of a year into that folder, or choose among the years that are there.",
        )
    rows = [
        (year, str(table), file.key, megabytes(file.size), "uploaded now" if file.key in uploaded else "was there")
        for year, tables_ in found.items()
        for table, file in tables_.items()
    ]
    heading = ("year", "table", "file", "size", "")
    log.info("%d files uploaded; the raw bucket holds:\n%s", len(uploaded), report.text_table(heading, rows))
    return [
        {
            "year": year,
            "sample": any(file.sample for file in tables_.values()),
            "files": {str(table): [file.key, file.sha256] for table, file in tables_.items()},
            "loaded": loaded,
            "newest_year": max(found),
        }
        for year, tables_ in found.items()
        if not years or year in years
    ]


def prepare_year(store: Store, entry: Mapping[str, Any], *, force: bool) -> Json:
    """Read the four files of a year, check and link them, and store the tables, the merged CSV and the report."""

    def read() -> pipeline.Files:
        return {
            Table(table): (key, partial(store.read_raw, RawFile(key, sha256, entry["sample"])))
            for table, (key, sha256) in entry["files"].items()
        }

    try:
        return pipeline.prepare_year(store, entry, read, force=force)
    except InputError as error:
        error.remedy += (
            f" What was read lies in the bucket {RAW}: upload the corrected file ({_UPLOAD}), or delete there the four "
            f"files of {entry['year']}."
        )
        raise


def clean_data(store: Store, prepared: Sequence[Mapping[str, Any]], *, force: bool) -> Json:
    """Make features of every year, split them, and store Parquet for tasks and CSV for people."""
    return pipeline.clean_data(store, prepared, force=force)


def load_catalogue(
    store: Store, address: str, wanted: Sequence[str] | None, *, folds: int | None, max_rows: int | None
) -> tuple[list[str], str]:
    """Read and check the catalogue; return the models to run and the version under which it was kept.

    Parameters
    ----------
    address
        A path, or `s3://bucket/key`: a running deployment takes a new model without a new image.
    folds, max_rows
        Replace what the catalogue says; a model's own, lower cap of rows stays.
    """
    text = _text_at(store, address)
    checked = catalogue.load(text, address)
    if folds or max_rows:
        text = json.dumps(_limited(json.loads(text), folds, max_rows), indent=1)
    names = list(dict.fromkeys(wanted or checked.models))
    for name in names:
        checked.model(name)
    version = f"catalogue-{_digest(text)}"
    if store.intact(MODELS, version) is None:
        store.write_version(MODELS, version, {"models.json": text.encode()}, {"source": address})
    used = catalogue.load(text, address)
    rows = [(name, *_planned(used.model(name), used.defaults)) for name in names]
    heading = ("model", "search", "candidates", "fits", "people at most", "minutes at most")
    log.info("%d models of %s:\n%s", len(names), address, report.text_table(heading, rows))
    return names, version


def _planned(spec: ModelSpec, defaults: Defaults) -> tuple[Any, ...]:
    tried, fits = len(search.candidates(spec, defaults)), sum(search.n_fits(spec, defaults).values())
    minutes = spec.minutes or defaults.minutes
    return spec.search.kind if tried > 1 else "none", tried, fits, spec.max_rows or "all", f"{minutes:g}"


def _limited(said: Json, folds: int | None, max_rows: int | None) -> Json:
    defaults = {"search_folds": folds, "evaluation_folds": folds} if folds else {}
    models = said["models"]
    if max_rows:
        models = {k: {**m, "max_rows": min(m.get("max_rows") or max_rows, max_rows)} for k, m in models.items()}
    return {**said, "defaults": {**said.get("defaults", {}), **defaults}, "models": models}


def _text_at(store: Store, address: str) -> str:
    try:
        if address.startswith("s3://"):
            bucket, _, key = address.removeprefix("s3://").partition("/")
            content = store.read(bucket, key, catalogue.MAX_BYTES)
        else:
            with Path(address).open("rb") as file:
                content = file.read(catalogue.MAX_BYTES + 1)
        return catalogue.decode(content, address)
    except (OSError, StorageError, InputError) as error:
        cause = str(error) if isinstance(error, OSError) else error.cause
        raise CatalogueError(
            f"The catalogue {address} cannot be read ({cause}).",
            "let ACCIDENTS_MODELS_FILE name a catalogue of models: a path or s3://bucket/key.",
        ) from error


def search_params(store: Store, model: str, data: Json, catalogue_version: str, *, force: bool) -> Json:
    """Search the model's hyper-parameters on train_test."""
    checked = kept_catalogue(store, catalogue_version)
    spec = checked.model(model)
    version = f"{model}-{_model_digest(spec, checked, data)}"
    minutes = search.minutes(spec, checked.defaults)
    kept = store.intact(MODELS, f"{version}/search")
    # One that its time cut short is taken up again when it gets more time.
    if force or kept is None or (kept["ended"] and kept["minutes"] < minutes):
        found = search.search(spec, checked.defaults, dataset(store, data["version"], "train_test"))
        content = json.dumps(asdict(found), indent=1).encode()
        facts = {
            "data_version": data["version"],
            "params": found.params,
            "score": found.score,
            "ended": found.ended,
            "minutes": minutes,
        }
        store.write_version(MODELS, f"{version}/search", {"search.json": content}, facts)
    else:
        log.info("Already searched with this data and specification: %s is used again.", version)
    best = json.loads(store.read_version(MODELS, f"{version}/search", "search.json"))
    log.info("Best parameters of %s: %s\n%s", model, json.dumps(best["params"]), _candidates(best["results"]))
    return {
        "model": model,
        "version": version,
        "catalogue": catalogue_version,
        "data": data,
        "params": best["params"],
    }


def _candidates(results: Sequence[Json]) -> str:
    """Return the best candidates as a table; nothing where there was only one."""
    rows = [
        (r["rank_test_score"], r["mean_test_score"], r["std_test_score"], f"{r['mean_fit_time']:.1f}", r["rows"],
         r["error"] or json.dumps(r["params"]))
        for r in results[:SHOWN]
    ]  # fmt: skip
    more = [f"… and {len(results) - SHOWN} more, in MLflow's cv_results.json."] if len(results) > SHOWN else []
    heading = ("rank", "score", "std", "s a fit", "people", "parameters")
    return "\n".join([report.text_table(heading, rows), *more]) if rows else ""


def train_model(store: Store, found: Json, *, force: bool) -> Json:
    """Fit the model with its best parameters; store it as skops for services and as pickle for people."""
    model, version, data = found["model"], found["version"], found["data"]
    file = f"{model}_model.skops"
    if force or _made_with(found["params"], store.intact(MODELS, version)) is None:
        checked = kept_catalogue(store, found["catalogue"])
        started = time.monotonic()
        log.info("Training %s with %s.", model, json.dumps(found["params"]))
        train_test = dataset(store, data["version"], "train_test")
        made = search.train_in_time(checked.model(model), checked.defaults, found["params"], train_test, registry.dump)
        facts = {
            "data_version": data["version"],
            "sample": data["sample"],
            "params": found["params"],
            "seconds": round(time.monotonic() - started, 1),
        }
        store.write_version(MODELS, version, {file: made}, facts)
    else:
        log.info("Already trained with this data and specification: %s is used again.", version)
    for_people, loaded = f"{model}_model.pkl", data.get("loaded", "")
    if store.behind(MODELS, version, [for_people], loaded):
        with store.drafts(for_people) as drafts:
            search.write_pickle(registry.undump(store.read_version(MODELS, version, file)), drafts[for_people])
            store.publish(MODELS, version, drafts, loaded)
    manifest = store.manifest(MODELS, version) or {}
    rows = [
        ("version", version),
        *((name, json.dumps(value)) for name, value in found["params"].items()),
        ("people in train_test", f"{data['rows']['train_test']:,}"),
        ("seconds of training", str(manifest.get("seconds", "–"))),
        ("size", megabytes(manifest["files"][file]["size"])),
    ]
    log.info("%s is trained:\n%s", model, report.text_table(("", ""), rows))
    return found


def _made_with(params: Json, manifest: Json | None) -> Json | None:
    """Return the manifest of what was made with these very parameters: a longer search may have found others."""
    return manifest if manifest and manifest.get("params") == params else None


def log_model(
    store: Store,
    client: MlflowClient,
    found: Json,
    dag_run_id: str,
    key: bytes,
    *,
    force: bool,
    evaluation: str = "basic",
) -> Json:
    """Cross-validate and test the model at every level of knowledge; log it as an MLflow run and register it, signed.

    The rules of the decision (thresholds) are learned from the cross-validation, and kept in the model.
    `evaluation` is `basic` (the metrics and the confusion matrix) or `full` (also the check over years and every
    picture).
    """
    model, version, data = found["model"], found["version"], found["data"]
    checked = kept_catalogue(store, found["catalogue"])
    spec = checked.model(model)
    fitted = registry.undump(store.read_version(MODELS, version, f"{model}_model.skops"))
    held_out = dataset(store, data["version"], "global_test")
    cross_validated = _evaluation(store, checked, spec, found, force=force)
    rules = decision.learn(cross_validated.judged, checked.decision.by_level(), cross_validated.sharpen)
    decision.attach(fitted, rules)
    search.limit_threads()
    proba, metrics = _test(fitted, rules, held_out, checked.defaults.seed)
    metrics |= cross_validated.metrics
    if evaluation == "full":
        metrics |= judged_over_years(store, checked, model, version, found["params"], data["version"], force=force)
    metrics["selection_score"] = evaluate.selection_score(metrics, checked.selection.weights)
    _check_numbers(metrics)
    _say_calibration(metrics)
    best = json.loads(store.read_version(MODELS, f"{version}/search", "search.json"))
    drawn, importances = _pictures(model, fitted, held_out, proba, best["results"], spec, checked, evaluation)
    registered = registry.log_run(
        client,
        fitted,
        lineage_without_run={
            "model": model,
            "data_version": data["version"],
            "features": (store.manifest(TRAIN, data["version"]) or {})["features"],
            "sample": data["sample"],
        },
        loaded=data.get("loaded", ""),
        key=key,
        dag_run_id=dag_run_id,
        params={k: json.dumps(value) for k, value in found["params"].items()}
        | {"max_rows": spec.max_rows, "train_rows": data["rows"]["train_test"], "years": data["years"]},
        metrics=metrics,
        tags=spec.tags
        | {"code_version": features.code_version(MODEL_CODE), "model_version": version, "evaluation": evaluation},
        pictures=drawn,
        tables={
            "search.json": {key: value for key, value in best.items() if key != "results"},
            "specification.json": catalogue.as_json(spec),
            GROUPS: {"rows": evaluate.recall_by_group(held_out, proba.argmax(axis=1))},
            DECISION: {state: asdict(rule) for state, rule in rules.items()},
            **({"importance.json": importances} if importances else {}),
        },
        results=best["results"],
        example=held_out.x[:5],
    )
    log.info(
        "%s is version %s in MLflow, selection_score %.4f:\n%s",
        model,
        registered.version,
        metrics["selection_score"],
        report.metrics_table(metrics),
    )
    return {
        "model": model,
        "registered_version": str(registered.version),
        "run_id": registered.run_id,
        "served_version": registry.newest(client, model),
    }


def _test(
    fitted: Any, rules: decision.Decision, held_out: clean.Dataset, seed: int
) -> tuple[evaluate.Probabilities, dict[str, float]]:
    """Return the probabilities on global_test, and the metrics there: `test_*` with intervals, and of every state."""
    metrics: dict[str, float] = {}
    everybody = np.arange(len(held_out.y))
    for state in evaluate.STATES:
        whole = state == RECORD.name
        rows = everybody if whole else evaluate.judged_rows(held_out, everybody, state, 1, seed)
        judged = evaluate.judge(fitted, held_out.take(rows), state)
        metrics |= {f"{state}_{name}": value for name, value in decision.metrics(judged, rules, state).items()}
        if whole:
            proba = judged.proba
    tested = evaluate.scores(held_out.y, proba)
    return proba, metrics | {f"test_{name}": value for name, value in tested.items()} | _bounds(held_out, proba)


def _bounds(held_out: clean.Dataset, proba: evaluate.Probabilities) -> dict[str, float]:
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


def _say_calibration(metrics: Mapping[str, float]) -> None:
    error = metrics["test_calibration_error"]
    if error > CALIBRATED:
        log.warning(
            "Its probabilities lie %.3f from what happened, on average (up to %.2f is called calibrated): wrap its "
            "classifier in sklearn.calibration.CalibratedClassifierCV.",
            error,
            CALIBRATED,
        )


def _pictures(
    model: str,
    fitted: Any,
    held_out: clean.Dataset,
    proba: evaluate.Probabilities,
    results: Sequence[Json],
    spec: ModelSpec,
    checked: Catalogue,
    evaluation: str,
) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the pictures of an evaluation by file name, and how important each feature is (full evaluation)."""
    title = f"{model} on global_test"
    drawn = {"confusion_matrix.png": pictures.confusion(held_out.y, proba.argmax(axis=1), title)}
    if results:
        drawn["cv_results.png"] = search.picture(results, spec.search.scoring or checked.defaults.scoring)
    if evaluation != "full":
        return drawn, {}
    importances = evaluate.importance(fitted, held_out, seed=checked.defaults.seed)
    drawn["precision_recall.png"] = pictures.precision_recall(held_out.y, proba, title)
    drawn["reliability.png"] = pictures.reliability(held_out.y, proba, title)
    drawn["importance.png"] = pictures.importance(importances, title)
    return drawn, importances


def _evaluation(
    store: Store, checked: Catalogue, spec: ModelSpec, found: Json, *, force: bool
) -> evaluate.CrossValidated:
    """Return the cross-validation, from an earlier run of the same model on the same data if there is one."""
    version = f"{found['version']}/evaluation"
    if force or _made_with(found["params"], store.intact(MODELS, version)) is None:
        made = child.run(
            _cross_validate,
            spec,
            checked.defaults,
            found["params"],
            dataset(store, found["data"]["version"], "train_test"),
            minutes=spec.minutes or checked.defaults.minutes,
            what="The cross-validation",
            hear=log.info,
        )
        store.write_version(MODELS, version, evaluate.dumps(made), {"params": found["params"]})
    return evaluate.loads(*(store.read_version(MODELS, version, name) for name in ("cv.json", "judged.npz")))


def _cross_validate(
    spec: ModelSpec, defaults: Defaults, params: Json, train_test: clean.Dataset, tell: child.Tell
) -> evaluate.CrossValidated:
    search.limit_threads()
    return evaluate.cross_validate(
        _telling_fit(spec, defaults, params, tell, "Fold {}"),
        train_test,
        n_splits=defaults.evaluation_folds,
        # Other folds than the search's, which chose the parameters.
        seed=defaults.seed + 1,
        max_rows=spec.max_rows,
    )


def _telling_fit(spec: ModelSpec, defaults: Defaults, params: Json, tell: child.Tell, what: str) -> evaluate.Fit:
    """Return what fits the model and says so; `what` names the fit by its number."""
    done = 0

    def fit(data: clean.Dataset) -> Any:
        nonlocal done
        started = time.monotonic()
        fitted = search.fit(spec, defaults, params, data)
        done += 1
        tell(f"{what.format(done)}: fitted on {len(data.y):,} people in {time.monotonic() - started:.1f} s.")
        return fitted

    return fit


def judged_over_years(
    store: Store, checked: Catalogue, model: str, version: str, params: Json, data_version: str, *, force: bool = False
) -> dict[str, float]:
    """Return what a model is worth when it learns from earlier years and is judged on later ones, as `temporal_*`.

    Nothing when the data hold one year alone.
    """
    kept, recall = f"{version}/temporal", checked.decision.by_level()
    manifest = _made_with(params, store.intact(MODELS, kept))
    if force or manifest is None or manifest["recall"] != recall:
        spec = checked.model(model)
        made = child.run(
            _over_years,
            spec,
            checked.defaults,
            params,
            dataset(store, data_version, "train_test"),
            recall,
            minutes=spec.minutes or checked.defaults.minutes,
            what="The judgement over years",
            hear=log.info,
        )
        facts = {"params": params, "recall": recall}
        store.write_version(MODELS, kept, {"temporal.json": json.dumps(made).encode()}, facts)
    return dict(json.loads(store.read_version(MODELS, kept, "temporal.json")))


def _over_years(
    spec: ModelSpec,
    defaults: Defaults,
    params: Json,
    train_test: clean.Dataset,
    recall: Mapping[str, float],
    tell: child.Tell,
) -> dict[str, float]:
    search.limit_threads()
    fit = _telling_fit(spec, defaults, params, tell, "Earlier years, {}")
    return temporal.over_years(fit, train_test, recall, seed=defaults.seed, max_rows=spec.max_rows)


def dataset(store: Store, version: str, part: str) -> clean.Dataset:
    """Return a split of a data version."""
    return tables.dataset_from_parquet(store.read_version(TRAIN, version, f"{part}.parquet"))


def kept_catalogue(store: Store, version: str) -> Catalogue:
    """Return the catalogue as a run uses it."""
    return catalogue.load(store.read_version(MODELS, version, "models.json").decode(), version)


def _model_digest(spec: ModelSpec, checked: Catalogue, data: Json) -> str:
    from importlib.metadata import version

    libraries = [version(package) for package in ("scikit-learn", "lightgbm", "xgboost-cpu", "skops")]
    said = catalogue.fingerprint(spec, checked.defaults)
    return _digest(data["version"], said, features.code_version(MODEL_CODE), libraries)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
