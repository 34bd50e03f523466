"""Promotion to production, and rollback."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from include.accidents.errors import ModelError
from include.accidents.registry.loading import load, newest
from include.accidents.registry.names import ALIAS, BEST, PROMOTED_BY, ROLLED_BACK
from include.accidents.registry.signing import fetch_signed, read_lineage, sign_tags, signed_files
from include.accidents.registry.skops_files import loads
from include.accidents.registry.tracking import quiet

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)
BROKE_OFF = "its promotion broke off"


def promote(client: MlflowClient, source: ModelVersion, key: bytes, reason: str, dag_run_id: str = "") -> ModelVersion:
    """Copy a version to BestModel, sign it under its new name, and only then let `production` point to it.

    Parameters
    ----------
    dag_run_id
        The run of the DAG that promotes it, if any.

    Returns
    -------
    The new version of BestModel.
    """
    lineage = read_lineage(source)
    contents = {file: fetch_signed(source, lineage, key, file) for file in signed_files(source)}
    present = int(newest(client, BEST) or 0)
    for left in client.search_model_versions(f"name = '{BEST}'"):
        if int(left.version) > present and ROLLED_BACK not in left.tags:  # a rollback must not return to it
            client.set_model_version_tag(BEST, left.version, ROLLED_BACK, BROKE_OFF)
    with quiet():
        copied = client.copy_model_version(f"models:/{source.name}/{source.version}", BEST)
    sign_tags(client, copied, lineage, contents, key)
    client.set_model_version_tag(BEST, copied.version, "promotion_reason", reason)
    client.set_model_version_tag(BEST, copied.version, PROMOTED_BY, dag_run_id)
    client.set_registered_model_alias(BEST, ALIAS, copied.version)
    return copied


def in_production(client: MlflowClient, run_id: str) -> ModelVersion | None:
    """Return the version of BestModel in production, if it is the model of this MLflow run."""
    present = newest(client, BEST)
    if present is None:
        return None
    version = client.get_model_version(BEST, present)
    return version if version.tags.get("run_id") == run_id else None


def rolled_back(client: MlflowClient) -> dict[str, str]:
    """Return the reasons of rollbacks, by the model that was rolled back (tag `model_version` of its run)."""
    from mlflow.exceptions import MlflowException

    reasons = {}
    for version in client.search_model_versions(f"name = '{BEST}'"):
        reason = version.tags.get(ROLLED_BACK, BROKE_OFF)
        if reason != BROKE_OFF:
            try:
                tags = client.get_run(version.tags.get("run_id", "")).data.tags
            except MlflowException as error:  # removed for good
                log.warning("The run of %s version %s was deleted (%s).", BEST, version.version, error.error_code)
                continue
            reasons[tags.get("model_version", "")] = reason
    return reasons


def predecessors(client: MlflowClient, present: str) -> list[ModelVersion]:
    """Return the versions of BestModel that rollbacks from `present` would return to.

    Returns
    -------
    The next one first, without versions that a rollback left, and without the generated sample when `present` is of
    real data.
    """
    real = client.get_model_version(BEST, present).tags.get("sample") == "false"
    earlier = [
        version
        for version in client.search_model_versions(f"name = '{BEST}'")
        if int(version.version) < int(present)
        and ROLLED_BACK not in version.tags
        and not (real and version.tags.get("sample") == "true")
    ]
    return sorted(earlier, key=lambda version: -int(version.version))


@dataclass(frozen=True)
class RolledBack:
    """What a rollback changed: `production` left version `left` of BestModel for version `version`."""

    left: str
    version: str
    model: str


def rollback(
    client: MlflowClient,
    key: bytes,
    features: str,
    *,
    reason: str = "by hand",
    read: Callable[[bytes], Any] = loads,
) -> RolledBack:
    """Let `production` point to the version of BestModel before the present one.

    A version that a rollback left is marked, and no later rollback returns to it. Nor does one return from real data
    to the generated sample. The version that `production` will point to is loaded first: that checks its signature and
    its features. Its signature, made at its promotion, stays.

    Returns
    -------
    The version that was left, and the one in production now.

    Raises
    ------
    ModelError
        When nothing is in production, there is no earlier version, or it may not be used. Nothing changes then.
    """
    present = newest(client, BEST)
    if present is None:
        raise ModelError("No model is in production.", "run the pipeline; its best model is promoted.")
    earlier = predecessors(client, present)
    if not earlier:
        raise ModelError(
            f"There is no version of {BEST} before version {present} to return to (versions that were rolled back do "
            "not count, nor do generated data after real ones).",
            "run the pipeline with another catalogue or other data to promote another model.",
        )
    target = str(earlier[0].version)
    loaded = load(client, BEST, target, key, features, read)
    client.set_registered_model_alias(BEST, ALIAS, target)
    client.set_model_version_tag(BEST, present, ROLLED_BACK, reason)
    log.info("%s: production went back from version %s to version %s (%s).", BEST, present, target, reason)
    return RolledBack(present, target, loaded.lineage.model)
