"""Which old versions may go, by a rule that the user sets; never what production or its predecessors need.

A version is needed when it is among the newest `keep_last` of its kind (a year, the clean data, a model), when the
model in production or one of its last three predecessors was made of it, or when a kept version was.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from include.accidents import registry, report
from include.storage import MODELS, PREPROCESSED, TRAIN, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

Json = dict[str, Any]
PREDECESSORS = 3


def plan(store: Store, client: MlflowClient, keep_last: int | None) -> Json:
    """Return what the rule would remove; nothing when `keep_last` is None.

    Returns
    -------
    `versions`: names of versions by bucket; `runs`: ids of MLflow runs; `registered`: pairs of model and version.
    """
    if keep_last is None:
        log.info("The rule is to keep everything.")
        return {"versions": {}, "runs": [], "registered": []}
    reigning = _reigning(client)
    runs = _runs(client)
    of_models = _by(runs, lambda run: run.data.tags.get("model", ""))
    kept_runs = {lineage.run_id for lineage in reigning}
    kept_runs |= {run.info.run_id for of_model in of_models for run in of_model[:keep_last]}
    tags = [run.data.tags for run in runs if run.info.run_id in kept_runs]
    needed = {
        MODELS: {t["model_version"] for t in tags if "model_version" in t},
        TRAIN: {t["data_version"] for t in tags if "data_version" in t},
    }
    train = _surplus(store, TRAIN, keep_last, needed[TRAIN])
    kept_train = set(store.versions(TRAIN)) - set(train)
    inputs = {name for v in kept_train for name in (store.manifest(TRAIN, v) or {}).get("inputs", [])}
    gone = [run for run in runs if run.info.run_id not in kept_runs]
    names = {run.data.tags["model"] for run in gone if "model" in run.data.tags}
    gone_ids = {run.info.run_id for run in gone}
    planned: Json = {
        "versions": {
            PREPROCESSED: _surplus(store, PREPROCESSED, keep_last, inputs),
            TRAIN: train,
            MODELS: _surplus(store, MODELS, keep_last, needed[MODELS]),
        },
        "runs": sorted(gone_ids),
        "registered": [
            [version.name, str(version.version)]
            for name in sorted(names)
            for version in client.search_model_versions(f"name = '{name}'")
            if version.tags.get("run_id") in gone_ids
        ],
    }
    for bucket, versions in planned["versions"].items():
        for name in versions:
            log.info("To remove: s3://%s/versions/%s", bucket, name)
    for model, version in planned["registered"]:
        log.info("To remove: %s version %s", model, version)
    rows = [(b, len(store.versions(b)) - len(versions), len(versions)) for b, versions in planned["versions"].items()]
    rows.append(("runs in MLflow", len(kept_runs), len(gone)))
    log.info("The rule is to keep %d of a kind:\n%s", keep_last, report.text_table(("", "stay", "to remove"), rows))
    return planned


def remove(store: Store, client: MlflowClient, planned: Mapping[str, Any]) -> None:
    """Remove what a plan names: manifests first, so that no reader sees half a version."""
    from mlflow.exceptions import MlflowException

    for bucket, versions in planned["versions"].items():
        for version in versions:
            store.remove_version(bucket, version)
            log.info("Removed s3://%s/versions/%s.", bucket, version)
    for name, version in planned["registered"]:
        try:
            client.delete_model_version(name, version)
        except MlflowException as error:  # an earlier try was stopped after this one
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    for run_id in planned["runs"]:
        client.delete_run(run_id)
    rows = [(f"versions in {bucket}", len(versions)) for bucket, versions in planned["versions"].items()]
    rows += [("registered versions", len(planned["registered"])), ("runs in MLflow", len(planned["runs"]))]
    log.info("MLflow keeps removed runs in its bin; `mlflow gc` empties it.")
    log.info("Done:\n%s", report.text_table(("", "removed"), rows))


def _reigning(client: MlflowClient) -> list[registry.Lineage]:
    """Return the origin of the model in production and of its last predecessors."""
    current = registry.newest(client, registry.BEST)
    if current is None:
        return []
    versions = [client.get_model_version(registry.BEST, current), *registry.predecessors(client, current)]
    return [registry.lineage_of(version) for version in versions[: PREDECESSORS + 1]]


def _runs(client: MlflowClient) -> list[Any]:
    """Return the pipeline's runs of the experiment, newest first; what people log there themselves is theirs."""
    experiment = client.get_experiment_by_name(registry.EXPERIMENT)
    found: list[Any] = []
    token: str | None = None
    while experiment is not None:
        page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        found += [run for run in page if "airflow.dag_run_id" in run.data.tags]
        token = page.token
        if not token:
            break
    return found


def _surplus(store: Store, bucket: str, keep_last: int, needed: Iterable[str]) -> list[str]:
    """Return the versions of a bucket beyond the newest `keep_last` of each kind, less those that are needed."""
    written = store.versions(bucket)
    newest_first = sorted(written, key=lambda name: written[name], reverse=True)
    kinds = _by(newest_first, lambda name: name.rpartition("-")[0])
    return sorted({name for kind in kinds for name in kind[keep_last:]} - set(needed))


def _by(items: Iterable[Any], key: Any) -> list[list[Any]]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return list(groups.values())
