"""The pipeline's steps: keys in, domain functions, keys out. A task of the DAG calls one of them.

Each returns small JSON for XCom. What was already made of the same inputs, by the same code, is not made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.accidents import catalogue, clean, evaluate, features, pipeline, registry, search, tables
from include.accidents.catalogue import Catalogue, ModelSpec
from include.accidents.errors import InputError, ModelError
from include.accidents.sample import is_sample
from include.accidents.schema import Table
from include.storage import MODELS, TRAIN, RawFile, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

Json = dict[str, Any]
# What decides how a model is made and judged, beside the data and its specification.
MODEL_CODE = ("catalogue", "search", "evaluate", "split")


def load_raw(store: Store, folder: Path, years: Sequence[int]) -> list[Json]:
    """Upload what changed in `folder`; return the files of the years wanted (or of all) that are in the raw bucket.

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
    absent = sorted(set(years) - found.keys())
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
    """Read the four files of a year, check and link them, and store the tables, the merged CSV and the report."""

    def read() -> pipeline.Files:
        return {
            Table(table): (key, partial(store.read_raw, RawFile(key, sha256, entry["sample"])))
            for table, (key, sha256) in entry["files"].items()
        }

    return pipeline.prepare_year(store, entry, read, force=force)


def clean_data(store: Store, prepared: Sequence[Mapping[str, Any]], *, force: bool) -> Json:
    """Make features of every year, split them, and store Parquet for tasks and CSV for people."""
    return pipeline.clean_data(store, prepared, force=force)


def load_catalogue(
    store: Store, path: Path, wanted: Sequence[str] | None, *, folds: int | None, max_rows: int | None
) -> tuple[list[str], str]:
    """Read and check the catalogue; return the models to run and the version under which it was kept.

    `folds` and `max_rows` replace what the catalogue says; a model's own, lower cap of rows stays.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise catalogue.CatalogueError(
            f"{path} cannot be read ({error}).", "let ACCIDENTS_MODELS_FILE name a catalogue of models."
        ) from error
    checked = catalogue.load(text, str(path))
    if folds or max_rows:
        text = json.dumps(_limited(json.loads(text), folds, max_rows), indent=1)
    names = list(dict.fromkeys(wanted or checked.models))
    for name in names:
        checked.model(name)
    version = f"catalogue-{_digest(text)}"
    if store.manifest(MODELS, version) is None:
        store.write_version(MODELS, version, {"models.json": text.encode()}, {"source": str(path)})
    log.info("Models: %s.", ", ".join(names))
    return names, version


def _limited(said: Json, folds: int | None, max_rows: int | None) -> Json:
    defaults = {"search_folds": folds, "evaluation_folds": folds} if folds else {}
    models = said["models"]
    if max_rows:
        models = {k: {**m, "max_rows": min(m.get("max_rows") or max_rows, max_rows)} for k, m in models.items()}
    return {**said, "defaults": {**said.get("defaults", {}), **defaults}, "models": models}


def search_params(store: Store, model: str, data: Json, catalogue_version: str, *, force: bool) -> Json:
    """Search the model's grid on train_test."""
    search.limit_threads()
    checked = _catalogue(store, catalogue_version)
    spec = checked.model(model)
    version = f"{model}-{_model_digest(spec, checked, data)}"
    if force or store.manifest(MODELS, f"{version}/search") is None:
        found = search.search(spec, checked.defaults, _dataset(store, data["version"], "train_test"))
        content = json.dumps(
            {"choice": found.choice, "score": found.score, "candidates": found.candidates}, indent=1
        ).encode()
        store.write_version(MODELS, f"{version}/search", {"search.json": content}, {"data_version": data["version"]})
    else:
        log.info("Already searched with this data and specification: %s is used again.", version)
    best = json.loads(store.read_version(MODELS, f"{version}/search", "search.json"))
    params = {key: spec.param_grid[key][i] for key, i in best["choice"].items()}
    log.info("Best parameters: %s (score %s).", json.dumps(params), best["score"])
    return {
        "model": model,
        "version": version,
        "catalogue": catalogue_version,
        "data": data,
        "choice": best["choice"],
    }


def train_model(store: Store, found: Json, *, force: bool) -> Json:
    """Fit the model with its best parameters; store it as skops for services and as pickle for people."""
    search.limit_threads()
    model, version, data = found["model"], found["version"], found["data"]
    file = f"{model}_model.skops"
    if force or store.manifest(MODELS, version) is None:
        checked = _catalogue(store, found["catalogue"])
        started = time.monotonic()
        train_test = _dataset(store, data["version"], "train_test")
        fitted = search.train(checked.model(model), checked.defaults, found["choice"], train_test)
        log.info("Trained in %.1f s.", time.monotonic() - started)
        facts = {"data_version": data["version"], "sample": data["sample"], "choice": found["choice"]}
        store.write_version(MODELS, version, {file: registry.dump(fitted)}, facts)
    else:
        log.info("Already trained with this data and specification: %s is used again.", version)
    store.publish(
        MODELS,
        version,
        {f"{model}_model.pkl": lambda: search.pickled(registry.undump(store.read_version(MODELS, version, file)))},
    )
    return found


def log_model(store: Store, client: MlflowClient, found: Json, dag_run_id: str, key: bytes, *, force: bool) -> Json:
    """Cross-validate and test the model; log it as an MLflow run and register it, signed."""
    search.limit_threads()
    model, version, data = found["model"], found["version"], found["data"]
    checked = _catalogue(store, found["catalogue"])
    spec = checked.model(model)
    fitted = registry.undump(store.read_version(MODELS, version, f"{model}_model.skops"))
    held_out = _dataset(store, data["version"], "global_test")
    proba = evaluate.probabilities(fitted, held_out.x)
    metrics = _evaluation(store, checked, spec, found, force=force)
    metrics |= {f"test_{name}": value for name, value in evaluate.scores(held_out.y, proba).items()}
    metrics["selection_score"] = evaluate.selection_score(metrics, checked.selection.weights)
    best = json.loads(store.read_version(MODELS, f"{version}/search", "search.json"))
    registered = registry.log_run(
        client,
        fitted,
        lineage_without_run={
            "model": model,
            "data_version": data["version"],
            "features": features.version(),
            "sample": data["sample"],
        },
        key=key,
        dag_run_id=dag_run_id,
        params={k: json.dumps(spec.param_grid[k][i]) for k, i in found["choice"].items()}
        | {"max_rows": spec.max_rows, "train_rows": data["rows"]["train_test"], "years": data["years"]},
        metrics=metrics,
        tags={"code_version": features.code_version(MODEL_CODE), "model_version": version},
        pictures={
            "confusion_matrix.png": evaluate.confusion_picture(
                held_out.y, proba.argmax(axis=1), f"{model} on global_test"
            )
        },
        tables={"search.json": best, "specification.json": spec.model_dump()},
        example=held_out.x[:5],
    )
    log.info("%s", json.dumps({name: round(value, 4) for name, value in sorted(metrics.items())}, indent=1))
    return {"model": model, "registered_version": str(registered.version), "run_id": registered.run_id}


def select_best(
    store: Store,
    client: MlflowClient,
    names: Sequence[str],
    catalogue_version: str,
    data: Json | None,
    dag_run_id: str,
    failures: Mapping[str, str],
    key: bytes,
    *,
    promote: bool,
) -> Json:
    """Rank what this run registered, let the winner meet the reigning model, and promote it when it is better.

    Without `promote` all is compared and told, and production stays as it is.

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
    board = [{"model": r.data.tags["model"], **r.data.metrics} for r in runs]
    log.info("Leaderboard:\n%s", evaluate.leaderboard(board))
    tags = runs[0].data.tags
    winner = client.get_model_version(tags["model"], tags["registered_version"])
    promoted, reason = _judge(store, client, winner, _catalogue(store, catalogue_version), data, key)
    if promoted and not promote:
        promoted, reason = False, f"Only compared. Else: {reason}"
    log.info("%s", reason)
    if promoted:
        registry.promote(client, winner, key, reason)
    return {
        "promoted": promoted,
        "reason": reason,
        "winner": tags["model"],
        "production_version": registry.newest(client, registry.BEST),
        "failed": failed,
        "note": _note(board, failed, failures, reason),
    }


def _note(
    board: Sequence[Mapping[str, Any]], failed: Mapping[str, str], failures: Mapping[str, str], reason: str
) -> str:
    """Write the run's note: what failed, the leaderboard, the reason; Airflow takes 1,000 characters at most."""
    told = [f"- {name} failed: {why[:150]}" for name, why in failed.items()]
    told += [f"- {name} is registered, but {why[:150]}" for name, why in failures.items() if name not in failed]
    ranked = [f"{i}. {row['model']}: {row['selection_score']:.4f}" for i, row in enumerate(board, 1)]
    end = f"\n\n**{reason[:300]}**"
    lines: list[str] = []
    for line in [*told[:4], "", *ranked]:
        if len("\n".join([*lines, line])) + len(end) > 900:
            lines.append("…")
            break
        lines.append(line)
    return "\n".join(lines).strip() + end


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
    gain = evaluate.paired_gain(test.y, a, b, test.accident, checked.selection.weights)
    measured = (
        f"gain over {reigning.lineage.model} (BestModel {version}) on global_test {gain.value:+.4f}, "
        f"95 % interval {gain.low:+.4f} to {gain.high:+.4f}, needed above {checked.selection.min_gain:.4f}"
    )
    if gain.low > checked.selection.min_gain:
        return True, f"{name} version {winner.version} is promoted: {measured}."
    return False, f"{name} is not promoted: {measured}."


def _evaluation(store: Store, checked: Catalogue, spec: ModelSpec, found: Json, *, force: bool) -> dict[str, float]:
    """Return the cross-validated metrics, from an earlier run of the same model on the same data if there is one."""
    version = f"{found['version']}/evaluation"
    if force or store.manifest(MODELS, version) is None:
        made = evaluate.cross_validate(
            search.estimator(spec, checked.defaults, found["choice"]),
            _dataset(store, found["data"]["version"], "train_test"),
            n_splits=checked.defaults.evaluation_folds,
            # Other folds than the search's, which chose the parameters.
            seed=checked.defaults.seed + 1,
            max_rows=spec.max_rows,
        )
        store.write_version(MODELS, version, {"cv.json": json.dumps(made).encode()}, {})
        return made
    return dict(json.loads(store.read_version(MODELS, version, "cv.json")))


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
