"""The pipeline's steps: keys in, domain functions, keys out. A task of the DAG calls one of them.

Each returns small JSON for XCom. What was already made of the same inputs, by the same code, is not made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.accidents import (
    bootstrap,
    catalogue,
    child,
    clean,
    evaluate,
    features,
    pictures,
    prepare,
    raw,
    registry,
    report,
    search,
    tables,
)
from include.accidents.catalogue import Catalogue, Defaults, ModelSpec
from include.accidents.errors import InputError, ModelError, StorageError
from include.accidents.sample import is_sample
from include.accidents.schema import Table
from include.storage import MODELS, PREPROCESSED, TRAIN, RawFile, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

Json = dict[str, Any]
# What decides how a model is made and judged, beside the data and its specification.
MODEL_CODE = ("catalogue", "search", "evaluate", "split")
# Artifacts of a model's run in MLflow; the last two stand in the run of the best model.
GROUPS = "recall_by_group.json"
PICTURES = ("confusion_matrix.png", "cv_results.png", "precision_recall.png", "reliability.png", "importance.png")
REPORT = "report.html"
MODEL_CARD = "model_card.html"
CALIBRATED = 0.03  # mean distance of probabilities from what happened, up to which they are called calibrated


def load_raw(store: Store, folder: Path, years: Sequence[int] | None) -> list[Json]:
    """Upload what changed in `folder`; return the files of each year that is in the raw bucket.

    Raises
    ------
    InputError
        When there is no file at all, a file is unknown or missing, or a wanted year is absent.
    """
    store.create_buckets()
    if folder.is_dir():
        uploaded = store.upload_raw(folder, sample=is_sample(folder))
        log.info("%d files uploaded from %s.", len(uploaded), folder)
    else:
        log.info("There is no folder %s: the files that are in the bucket are used.", folder)
    found = store.raw_years()
    absent = sorted(set(years or ()) - found.keys())
    if absent or not found:
        have = ", ".join(map(str, found)) or "none"
        raise InputError(
            f"No files of {', '.join(map(str, absent)) or 'any year'} in {folder} or the raw bucket (years: {have}).",
            "put the four CSV files of a year into that folder, or choose among the years that are there.",
        )
    log.info("Years in the raw bucket: %s.", ", ".join(map(str, found)))
    return [
        {
            "year": year,
            "sample": any(file.sample for file in tables_.values()),
            "files": {str(table): [file.key, file.sha256] for table, file in tables_.items()},
        }
        for year, tables_ in found.items()
        if not years or year in years
    ]


def prepare_year(store: Store, entry: Mapping[str, Any], *, force: bool) -> Json:
    """Read the four files of a year, check and link them, and store the tables and the merged CSV."""
    year = entry["year"]
    version = f"{year}-{_digest(entry, features.version())}"
    manifest = None if force else store.manifest(PREPROCESSED, version)
    if manifest is None:
        contents = {
            Table(table): (key, store.read_raw(RawFile(key, sha256, entry["sample"])))
            for table, (key, sha256) in entry["files"].items()
        }
        scenes, report = raw.read_year(contents, year)
        manifest = store.write_version(
            PREPROCESSED,
            version,
            tables.scenes_to_files(scenes),
            {
                "inputs": dict(entry["files"].values()),
                "sample": entry["sample"],
                "features": features.version(),
                "people": len(scenes.people),
                "report": report.as_dict(),
            },
        )
    else:
        log.info("Year %s did not change: version %s is used again.", year, version)
    store.publish(
        PREPROCESSED,
        version,
        {f"df_accidents_{year}.csv": lambda: tables.to_csv(prepare.merge(_scenes(store, version)))},
    )
    log.info("%s", json.dumps(manifest["report"], indent=1, ensure_ascii=False))
    return {"year": year, "version": version, "sample": entry["sample"], "people": manifest["people"]}


def clean_data(store: Store, prepared: Sequence[Mapping[str, Any]], *, force: bool) -> Json:
    """Make features of every year, split them, and store Parquet for tasks and CSV for people."""
    years = sorted(prepared, key=lambda p: p["year"])
    version = _digest([p["version"] for p in years], features.version())
    sample = any(p["sample"] for p in years)
    manifest = None if force else store.manifest(TRAIN, version)
    if manifest is None:
        made = [clean.clean(_scenes(store, p["version"])) for p in years]
        train_test, global_test = clean.hold_out(clean.join([data for data, _ in made]))
        dropped = {str(p["year"]): reasons for p, (_, reasons) in zip(years, made, strict=True)}
        manifest = store.write_version(
            TRAIN,
            version,
            {
                "train_test.parquet": tables.dataset_to_parquet(train_test),
                "global_test.parquet": tables.dataset_to_parquet(global_test),
            },
            {
                "inputs": [p["version"] for p in years],
                "sample": sample,
                "features": features.version(),
                "rows": {
                    "in": sum(p["people"] for p in years),
                    "train_test": len(train_test.y),
                    "global_test": len(global_test.y),
                    "dropped": dropped,
                },
            },
        )
    else:
        log.info("Nothing changed: data version %s is used again.", version)
    _publish_clean(store, version, [p["version"] for p in years])
    log.info("Rows: %s", json.dumps(manifest["rows"]))
    return {
        "version": version,
        "sample": sample,
        "rows": manifest["rows"],
        "years": [p["year"] for p in years],
    }


def _publish_clean(store: Store, version: str, years: Sequence[str]) -> None:
    def merged() -> bytes:
        parts = [tables.to_csv(prepare.merge(_scenes(store, year))) for year in years]
        return parts[0] + b"".join(part.partition(b"\n")[2] for part in parts[1:])

    def whole() -> bytes:
        data = clean.join([_dataset(store, version, part) for part in ("train_test", "global_test")])
        table = features.frame(data.x)
        table[["num_acc", "grav_class"]] = data.target()
        return tables.to_csv(table)

    store.publish(PREPROCESSED, version, {"df_accidents.csv": merged, "df_accident_clean.csv": whole})
    splits: dict[str, Callable[[], bytes]] = {}
    for part in ("train_test", "global_test"):
        splits[f"X_{part}.csv"] = lambda p=part: tables.to_csv(features.frame(_dataset(store, version, p).x))
        splits[f"y_{part}.csv"] = lambda p=part: tables.to_csv(_dataset(store, version, p).target())
    store.publish(TRAIN, version, splits)


def load_catalogue(store: Store, address: str, wanted: Sequence[str] | None) -> tuple[list[str], str]:
    """Read and check the catalogue; return the models to run and the version under which it was kept.

    Parameters
    ----------
    address
        A path, or `s3://bucket/key`: a running deployment takes a new model without a new image.
    """
    text = _text_at(store, address)
    checked = catalogue.load(text, address)
    names = list(dict.fromkeys(wanted or checked.models))
    for name in names:
        checked.model(name)
    version = f"catalogue-{_digest(text)}"
    if store.manifest(MODELS, version) is None:
        store.write_version(MODELS, version, {"models.json": text.encode()}, {"source": address})
    log.info("Models of %s: %s.", address, ", ".join(names))
    return names, version


def _text_at(store: Store, address: str) -> str:
    try:
        if address.startswith("s3://"):
            bucket, _, key = address.removeprefix("s3://").partition("/")
            return store.read(bucket, key).decode()
        return Path(address).read_text("utf-8")
    except (OSError, UnicodeDecodeError, StorageError) as error:
        cause = error.cause if isinstance(error, StorageError) else str(error)
        raise catalogue.CatalogueError(
            f"The catalogue {address} cannot be read ({cause}).",
            "let ACCIDENTS_MODELS_FILE name a catalogue of models: a path or s3://bucket/key.",
        ) from error


def search_params(store: Store, model: str, data: Json, catalogue_version: str, *, force: bool) -> Json:
    """Search the model's hyper-parameters on train_test."""
    checked = _catalogue(store, catalogue_version)
    spec = checked.model(model)
    version = f"{model}-{_model_digest(spec, checked, data)}"
    if force or store.manifest(MODELS, f"{version}/search") is None:
        found = search.search(spec, checked.defaults, _dataset(store, data["version"], "train_test"))
        content = json.dumps(asdict(found), indent=1).encode()
        store.write_version(MODELS, f"{version}/search", {"search.json": content}, {"data_version": data["version"]})
    else:
        log.info("Already searched with this data and specification: %s is used again.", version)
    best = json.loads(store.read_version(MODELS, f"{version}/search", "search.json"))
    log.info("Best parameters: %s (score %s).", json.dumps(best["params"]), best["score"])
    return {
        "model": model,
        "version": version,
        "catalogue": catalogue_version,
        "data": data,
        "params": best["params"],
    }


def train_model(store: Store, found: Json, *, force: bool) -> Json:
    """Fit the model with its best parameters; store it as skops for services and as pickle for people."""
    model, version, data = found["model"], found["version"], found["data"]
    file = f"{model}_model.skops"
    if force or store.manifest(MODELS, version) is None:
        checked = _catalogue(store, found["catalogue"])
        started = time.monotonic()
        train_test = _dataset(store, data["version"], "train_test")
        made = search.train_in_time(checked.model(model), checked.defaults, found["params"], train_test, registry.dump)
        log.info("Trained in %.1f s.", time.monotonic() - started)
        facts = {"data_version": data["version"], "sample": data["sample"], "params": found["params"]}
        store.write_version(MODELS, version, {file: made}, facts)
    else:
        log.info("Already trained with this data and specification: %s is used again.", version)
    store.publish(
        MODELS,
        version,
        {f"{model}_model.pkl": lambda: search.pickled(registry.undump(store.read_version(MODELS, version, file)))},
    )
    return found


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
    """Cross-validate and test the model; log it as an MLflow run and register it, signed.

    `evaluation` is `basic` (the metrics and the confusion matrix) or `full` (also the check over time and every
    picture).
    """
    model, version, data = found["model"], found["version"], found["data"]
    checked = _catalogue(store, found["catalogue"])
    spec = checked.model(model)
    fitted = registry.undump(store.read_version(MODELS, version, f"{model}_model.skops"))
    held_out = _dataset(store, data["version"], "global_test")
    cross_validated = _evaluation(store, checked, spec, found, full=evaluation == "full", force=force)
    search.limit_threads()
    proba = evaluate.probabilities(fitted, held_out.x)
    tested = evaluate.scores(held_out.y, proba)
    metrics = (
        cross_validated
        | {f"test_{name}": value for name, value in tested.items()}
        | _bounds(held_out, proba)
        | evaluate.at_call(fitted, held_out)
    )
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
            **({"importance.json": importances} if importances else {}),
        },
        results=best["results"],
        example=held_out.x[:5],
    )
    log.info("%s", json.dumps({name: round(value, 4) for name, value in sorted(metrics.items())}, indent=1))
    return {"model": model, "registered_version": str(registered.version), "run_id": registered.run_id}


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


def select_best(
    store: Store,
    client: MlflowClient,
    names: Sequence[str],
    catalogue_version: str,
    data: Json | None,
    dag_run_id: str,
    failures: Mapping[str, str],
    key: bytes,
) -> Json:
    """Rank what this run registered, let the winner meet the reigning model, and promote it when it is better.

    Returns
    -------
    The model that is in production afterwards, whether it was promoted now, why, and the run's note.

    Raises
    ------
    ModelError
        When no model of this run was registered.
    """
    failed = _failed_models(names, failures, registry.runs_of(client, dag_run_id))
    runs = [r for r in registry.runs_of(client, dag_run_id) if "registered_version" in r.data.tags]
    runs = [r for r in runs if r.data.tags["model"] in names]
    for name, reason in failed.items():
        log.error("%s failed: %s", name, reason)
    if not runs or data is None:
        told = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise ModelError(f"No model of this run was registered ({told}).", "see the red tasks' logs, then clear them.")
    runs.sort(key=lambda r: -r.data.metrics["selection_score"])
    checked = _catalogue(store, catalogue_version)
    board = [{"model": r.data.tags["model"], **r.data.metrics} for r in runs]
    board = sorted([*board, _dummy(store, checked, data)], key=lambda row: -row["selection_score"])
    log.info("Leaderboard:\n%s", report.leaderboard(board))
    best = runs[0]
    winner = client.get_model_version(best.data.tags["model"], best.data.tags["registered_version"])
    promoted, reason = _judge(store, client, winner, checked, data, key)
    log.info("%s", reason)
    client.set_tag(best.info.run_id, "selection_reason", reason)
    client.set_model_version_tag(winner.name, winner.version, "selection_reason", reason)
    if promoted:
        version = registry.promote(client, winner, key, reason)
        client.log_text(best.info.run_id, _card(client, best, str(version.version), reason, data), MODEL_CARD)
    client.log_text(best.info.run_id, _page(client, runs, board, reason, failed, data), REPORT)
    note = "\n".join(
        [f"**{reason}**", "", *(f"- {name} failed: {why[:150]}" for name, why in failed.items())]
        + [f"- {row['model']}: {row['selection_score']:.4f}" for row in board]
        + ["", f"Report: {REPORT} in the MLflow run {winner.name} ({best.info.run_id})"]
    )
    return {
        "promoted": promoted,
        "reason": reason,
        "winner": winner.name,
        "production_version": registry.newest(client, registry.BEST),
        "report": f"runs:/{best.info.run_id}/{REPORT}",
        "failed": failed,
        "note": note[:1000],
    }


def _dummy(store: Store, checked: Catalogue, data: Json) -> Json:
    """Return the leaderboard's row of a prediction that knows nothing of the accident; it is never promoted."""
    found = evaluate.baseline(
        _dataset(store, data["version"], "train_test"),
        _dataset(store, data["version"], "global_test"),
        n_splits=checked.defaults.evaluation_folds,
        seed=checked.defaults.seed + 1,
    )
    score = evaluate.selection_score(found, checked.selection.weights)
    return {"model": "Dummy", "trained": False, **found, "selection_score": score}


def _groups(client: MlflowClient, run: Any) -> list[Json]:
    content = registry.artifact(client, run.info.run_id, GROUPS)
    return list(json.loads(content)["rows"]) if content else []


def _card(client: MlflowClient, run: Any, version: str, reason: str, data: Json) -> str:
    specification = registry.artifact(client, run.info.run_id, "specification.json") or b""
    return report.model_card(
        model=run.data.tags["model"],
        version=version,
        reason=reason,
        specification=specification.decode(),
        params={name: value for name, value in run.data.params.items() if "__" in name},
        metrics=run.data.metrics,
        tags=run.data.tags,
        data=data,
        groups=_groups(client, run),
    )


def _page(
    client: MlflowClient,
    runs: Sequence[Any],
    board: Sequence[Json],
    reason: str,
    failed: Mapping[str, str],
    data: Json,
) -> str:
    """Return the report of a run: leaderboard, what changed since each model's run before, the winner's pictures."""
    before = {r.data.tags["model"]: found for r in runs if (found := registry.run_before(client, r)) is not None}
    shown = {"Models with 95 % intervals": report.png(pictures.leaderboard(board))}
    best = runs[0]
    for path in PICTURES:
        content = registry.artifact(client, best.info.run_id, path)
        if content is not None:
            shown[f"{best.data.tags['model']}: {path.removesuffix('.png').replace('_', ' ')}"] = content
    return report.page(
        dag_run_id=best.data.tags["airflow.dag_run_id"],
        reason=reason,
        rows=board,
        before={name: run.data.metrics for name, run in before.items()},
        failed=failed,
        data=data,
        groups=_groups(client, best),
        pictures=shown,
    )


def _failed_models(names: Sequence[str], failures: Mapping[str, str], runs: Sequence[Any]) -> dict[str, str]:
    registered = {r.data.tags["model"] for r in runs if "registered_version" in r.data.tags}
    return {
        name: failures.get(name, "it ended without a reason; see its log") for name in names if name not in registered
    }


def _judge(
    store: Store, client: MlflowClient, winner: Any, checked: Catalogue, data: Json, key: bytes
) -> tuple[bool, str]:
    """Tell whether the winner replaces the reigning model, and why."""
    version = registry.newest(client, registry.BEST)
    name = winner.name
    if version is None:
        return True, f"{name} version {winner.version} is promoted: no model reigned before."
    reigning_sample = registry.lineage_of(client.get_model_version(registry.BEST, version)).sample
    if data["sample"] and not reigning_sample:
        return (
            False,
            f"{name} is not promoted: it was trained on generated data, the reigning model on real data.",
        )
    if reigning_sample and not data["sample"]:
        return (
            True,
            f"{name} version {winner.version} is promoted: the reigning model was trained on generated data.",
        )
    try:
        reigning = registry.load(client, registry.BEST, version, key, features.version())
    except ModelError as error:
        return (
            True,
            f"{name} version {winner.version} is promoted: the reigning model cannot be used. {error.cause}",
        )
    challenger = registry.load(client, name, str(winner.version), key, features.version())
    test = _dataset(store, data["version"], "global_test")
    a, b = (evaluate.probabilities(m.estimator, test.x).argmax(axis=1) for m in (challenger, reigning))
    gain = bootstrap.paired_gain(test.y, a, b, test.accident, checked.selection.weights)
    measured = (
        f"gain over {reigning.lineage.model} (BestModel {version}) on global_test {gain.value:+.4f}, "
        f"95 % interval {gain.low:+.4f} to {gain.high:+.4f}, needed above {checked.selection.min_gain:.4f}"
    )
    if gain.low > checked.selection.min_gain:
        return True, f"{name} version {winner.version} is promoted: {measured}."
    return False, f"{name} is not promoted: {measured}."


def _evaluation(
    store: Store, checked: Catalogue, spec: ModelSpec, found: Json, *, full: bool, force: bool
) -> dict[str, float]:
    """Return the cross-validated metrics, from an earlier run of the same model on the same data if there is one.

    The full evaluation also holds the check over time.
    """
    version = f"{found['version']}/evaluation{'-full' if full else ''}"
    if force or store.manifest(MODELS, version) is None:
        made = child.run(
            _fit_and_judge,
            spec,
            checked.defaults,
            found["params"],
            _dataset(store, found["data"]["version"], "train_test"),
            full,
            minutes=spec.minutes or checked.defaults.minutes,
            what="The cross-validation",
        )
        store.write_version(MODELS, version, {"cv.json": json.dumps(made).encode()}, {})
    return dict(json.loads(store.read_version(MODELS, version, "cv.json")))


def _fit_and_judge(
    spec: ModelSpec, defaults: Defaults, params: Json, train_test: clean.Dataset, full: bool, tell: child.Tell
) -> dict[str, float]:
    search.limit_threads()

    def fit(data: clean.Dataset) -> Any:
        return search.fit(spec, defaults, params, data)

    found = evaluate.cross_validate(
        fit,
        train_test,
        n_splits=defaults.evaluation_folds,
        # Other folds than the search's, which chose the parameters.
        seed=defaults.seed + 1,
        max_rows=spec.max_rows,
    )
    if full:
        found |= evaluate.temporal(fit, train_test, seed=defaults.seed, max_rows=spec.max_rows)
    return found


def _scenes(store: Store, version: str) -> raw.Scenes:
    accidents, vehicles, people = (
        tables.from_parquet(store.read_version(PREPROCESSED, version, f"{name}.parquet"))
        for name in ("accidents", "vehicles", "people")
    )
    return raw.Scenes(accidents, vehicles, people)


def _dataset(store: Store, version: str, part: str) -> clean.Dataset:
    return tables.dataset_from_parquet(store.read_version(TRAIN, version, f"{part}.parquet"))


def _catalogue(store: Store, version: str) -> Catalogue:
    return catalogue.load(store.read_version(MODELS, version, "models.json").decode(), version)


def _model_digest(spec: ModelSpec, checked: Catalogue, data: Json) -> str:
    from importlib.metadata import version

    libraries = [version(package) for package in ("scikit-learn", "lightgbm", "xgboost-cpu", "skops")]
    said = catalogue.fingerprint(spec, checked.defaults)
    return _digest(data["version"], said, features.code_version(MODEL_CODE), libraries)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
