"""Remove old versions by a rule that the user sets, but none that production or its predecessors need.

A version is needed when it is among the newest `keep_last` of its kind (a year, the clean data, a model), or when the
model in production, one of its last three predecessors or another kept version was made of it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from include.accidents.pipeline.contracts import Removal
from include.accidents.registry import loading, promotion, signing
from include.accidents.registry.names import BEST, DAG_RUN, EXPERIMENT
from include.accidents.reporting import texts
from include.accidents.storage.buckets import MODELS, PREPROCESSED, TRAIN

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from include.accidents.storage.versions import Store

log = logging.getLogger(__name__)
PREDECESSORS = 3


def plan(store: Store, client: MlflowClient, keep_last: int | None) -> Removal:
    """Return the objects that the rule removes; none when `keep_last` is None."""
    if keep_last is None:
        log.info("The rule is to keep everything.")
        return Removal(versions={}, registered=[], runs=[])
    runs = _runs(client)
    kept = _kept_runs(client, runs, keep_last)
    surplus = [run for run in runs if run.info.run_id not in kept]
    planned = Removal(
        versions=_versions(store, [run.data.tags for run in runs if run.info.run_id in kept], keep_last),
        registered=_registered(client, surplus),
        runs=sorted(run.info.run_id for run in surplus),
    )
    for bucket, versions in planned.versions.items():
        for name in versions:
            log.info("To remove: s3://%s/versions/%s", bucket, name)
    for model, version in planned.registered:
        log.info("To remove: %s version %s", model, version)
    rows = [(b, len(store.versions(b)) - len(versions), len(versions)) for b, versions in planned.versions.items()]
    rows.append(("runs in MLflow", len(kept), len(surplus)))
    log.info("The rule is to keep %d of a kind:\n%s", keep_last, texts.text_table(("", "stay", "to remove"), rows))
    return planned


def _kept_runs(client: MlflowClient, runs: Sequence[Any], keep_last: int) -> set[str]:
    """Return the ids of the runs that production needs, and of the newest `keep_last` of each model."""
    of_models = _by(runs, lambda run: run.data.tags.get("model", ""))
    kept = {lineage.run_id for lineage in _champions(client)}
    return kept | {run.info.run_id for of_model in of_models for run in of_model[:keep_last]}


def _versions(store: Store, tags: Sequence[Mapping[str, str]], keep_last: int) -> dict[str, list[str]]:
    """Return the versions to remove, by bucket; `tags` are those of the kept runs."""
    train = _surplus(store, TRAIN, keep_last, {t["data_version"] for t in tags if "data_version" in t})
    kept_train = set(store.versions(TRAIN)) - set(train)
    inputs = {name for v in kept_train for name in (store.manifest(TRAIN, v) or {}).get("inputs", [])}
    models = {t["model_version"] for t in tags if "model_version" in t}
    catalogues = {t["catalogue_version"] for t in tags if "catalogue_version" in t}
    return {
        PREPROCESSED: _surplus(store, PREPROCESSED, keep_last, inputs),
        TRAIN: train,
        MODELS: _surplus(store, MODELS, keep_last, models | catalogues),
    }


def _registered(client: MlflowClient, surplus: Sequence[Any]) -> list[tuple[str, str]]:
    """Return the registered versions of the runs to remove, as (model, version)."""
    ids = {run.info.run_id for run in surplus}
    names = {run.data.tags["model"] for run in surplus if "model" in run.data.tags}
    return [
        (version.name, str(version.version))
        for name in sorted(names)
        for version in client.search_model_versions(f"name = '{name}'")
        if version.tags.get("run_id") in ids
    ]


def remove(store: Store, client: MlflowClient, planned: Removal) -> None:
    """Remove the objects of a plan: manifests first, so that no reader sees half a version."""
    from mlflow.exceptions import MlflowException

    for bucket, versions in planned.versions.items():
        for version in versions:
            store.remove_version(bucket, version)
            log.info("Removed s3://%s/versions/%s.", bucket, version)
    for name, version in planned.registered:
        try:
            client.delete_model_version(name, version)
        except MlflowException as error:  # an earlier try removed it, and was stopped later
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    for run_id in planned.runs:
        client.delete_run(run_id)
    rows = [(f"versions in {bucket}", len(versions)) for bucket, versions in planned.versions.items()]
    rows += [("registered versions", len(planned.registered)), ("runs in MLflow", len(planned.runs))]
    log.info("MLflow keeps removed runs in its bin; `mlflow gc` empties it.")
    log.info("Done:\n%s", texts.text_table(("", "removed"), rows))


def _champions(client: MlflowClient) -> list[signing.Lineage]:
    """Return the lineage of the model in production and of its last predecessors."""
    current = loading.newest(client, BEST)
    if current is None:
        return []
    versions = [client.get_model_version(BEST, current), *promotion.predecessors(client, current)]
    return [signing.lineage_of(version) for version in versions[: PREDECESSORS + 1]]


def _runs(client: MlflowClient) -> list[Any]:
    """Return the pipeline's runs of the experiment, newest first; runs that people log there themselves are kept."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs: list[Any] = []
    token: str | None = None
    while experiment is not None:
        page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        runs += [run for run in page if DAG_RUN in run.data.tags]
        token = page.token
        if not token:
            break
    return runs


def _surplus(store: Store, bucket: str, keep_last: int, needed: Iterable[str]) -> list[str]:
    """Return the versions of a bucket beyond the newest `keep_last` of each kind, except those that are needed."""
    written = store.versions(bucket)
    newest_first = sorted(written, key=lambda name: written[name], reverse=True)
    kinds = _by(newest_first, lambda name: name.rpartition("-")[0])
    return sorted({name for kind in kinds for name in kind[keep_last:]} - set(needed))


def _by(items: Iterable[Any], key: Any) -> list[list[Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return list(groups.values())
