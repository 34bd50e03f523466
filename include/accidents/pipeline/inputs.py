"""The inputs that the stages of a model share: the catalogue of a run, and the data."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.accidents.errors import CatalogueError, InputError, StorageError
from include.accidents.features import dataset_files
from include.accidents.features.dataset_cache import DatasetCache
from include.accidents.models import candidates, catalogue, specification
from include.accidents.reporting import texts
from include.accidents.storage.buckets import MODELS, TRAIN

if TYPE_CHECKING:
    from include.accidents.data import dataset
    from include.accidents.models.specification import Catalogue, Defaults, ModelSpec
    from include.accidents.pipeline.contracts import CleanData, Json, ModelRun
    from include.accidents.storage.versions import Store

log = logging.getLogger(__name__)


def load_catalogue(
    store: Store, address: str, chosen: Sequence[str] | None, *, folds: int | None, max_rows: int | None
) -> tuple[list[str], str]:
    """Read and check the catalogue, and store it for the tasks of the run.

    Parameters
    ----------
    address
        A path, or `s3://bucket/key`, so that a running deployment takes a new model without a new image.
    chosen
        Names of models; None or empty: all.
    folds, max_rows
        They replace the catalogue's values; a lower `max_rows` of a model stays.

    Returns
    -------
    The models to run, those that took longest before first, and the version of the stored catalogue.
    """
    from include.accidents.models.version import method_version

    text = _text_at(store, address)
    checked = catalogue.load(text, address)
    if folds or max_rows:
        text = json.dumps(_limited(json.loads(text), folds, max_rows), indent=1)
    names = list(dict.fromkeys(chosen or checked.models))
    for name in names:
        checked.model(name)
    # Computed once for each run, and stored: it takes some seconds, and every task of a model needs it.
    method = method_version()
    version = f"catalogue-{_digest(text, method)}"
    if store.intact(MODELS, version) is None:
        store.write_version(MODELS, version, {"models.json": text.encode()}, {"source": address, "method": method})
    used = catalogue.load(text, address)
    rows = [(name, *_planned(used.model(name), used.defaults)) for name in names]
    heading = ("model", "search", "candidates", "fits", "people at most", "minutes at most")
    log.info("%d models of %s:\n%s", len(names), address, texts.text_table(heading, rows))
    return longest_first(store, names), version


def longest_first(store: Store, names: Sequence[str]) -> list[str]:
    """Order models by the seconds that their last training and evaluation took, so that all end at about the same time.

    Returns
    -------
    First the models that were never made, in the order of the catalogue: nobody knows how long they take.
    """
    written = store.versions(MODELS)
    newest = {version.rpartition("-")[0]: version for version in sorted(written, key=lambda each: written[each])}

    def seconds(name: str) -> float:
        parts = (newest[name], f"{newest[name]}/evaluation") if name in newest else ()
        took = [float((store.manifest(MODELS, part) or {}).get("seconds", "inf")) for part in parts]
        return sum(took) if took else float("inf")

    return sorted(names, key=lambda name: -seconds(name))


def _planned(spec: ModelSpec, defaults: Defaults) -> tuple[Any, ...]:
    tried, fits = len(candidates.candidates(spec, defaults)), sum(candidates.n_fits(spec, defaults).values())
    minutes = spec.minutes or defaults.minutes
    return spec.search.kind if tried > 1 else "none", tried, fits, spec.max_rows or "all", f"{minutes:g}"


def _limited(document: Json, folds: int | None, max_rows: int | None) -> Json:
    defaults = {"search_folds": folds, "evaluation_folds": folds} if folds else {}
    models = document["models"]
    if max_rows:
        models = {k: {**m, "max_rows": min(m.get("max_rows") or max_rows, max_rows)} for k, m in models.items()}
    return {**document, "defaults": {**document.get("defaults", {}), **defaults}, "models": models}


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


def how_made(run: ModelRun) -> Json:
    """Return what decides a model beside its version: a longer search or time limit may change it."""
    return {"params": run.params, "max_rows": run.max_rows}


def made_as(run: ModelRun, manifest: Json | None) -> Json | None:
    """Return the manifest if it is of the same parameters and people, else None."""
    return manifest if manifest and all(manifest.get(k) == v for k, v in how_made(run).items()) else None


def planned(checked: Catalogue, run: ModelRun) -> ModelSpec:
    """Return the specification of a run's model, with the people that its time limit allows."""
    return checked.model(run.model).model_copy(update={"max_rows": run.max_rows})


def load_split(store: Store, data: CleanData, part: str) -> dataset.Dataset:
    """Return a split of the clean data: `train_test` or `global_test`."""
    name = f"{part}.parquet"

    def read() -> bytes:
        return store.read_version(TRAIN, data.version, name)

    facts = (store.manifest(TRAIN, data.version) or {"files": {}})["files"].get(name)
    if facts is None or store.cache is None:
        return dataset_files.dataset_from_parquet(read())
    return DatasetCache(store.cache, store.key).open(facts["sha256"], read)


def plan_of(store: Store, version: str) -> Json:
    """Return how many people a model learns from, and the measurements that say so."""
    plan: Json = json.loads(store.read_version(MODELS, f"{version}/plan", "plan.json"))
    return plan


def kept_catalogue(store: Store, version: str, *models: str) -> Catalogue:
    """Return the catalogue that a run stored; only these models are built again to check them."""
    return catalogue.load(store.read_version(MODELS, version, "models.json").decode(), version, built=models)


def kept_method(store: Store, version: str) -> str:
    """Return the version of the method that a run stored with its catalogue."""
    return str((store.manifest(MODELS, version) or {}).get("method", ""))


def model_digest(spec: ModelSpec, checked: Catalogue, data: CleanData, method: str) -> str:
    """Return 12 hex digits: a hash of everything that decides how a model is made."""
    from importlib.metadata import version

    xgboost = "xgboost" if sys.platform == "darwin" else "xgboost-cpu"  # as pyproject.toml has it
    libraries = [version(package) for package in ("scikit-learn", "lightgbm", xgboost, "skops")]
    described = specification.fingerprint(spec, checked.defaults)
    return _digest(data.version, described, method, libraries)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
