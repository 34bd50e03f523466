"""Finds the version of a registered model to serve, and loads it; no other module loads models.

A model is loaded with *our* list of types, never with its own. It is loaded only when its file has the signature that
was made at its registration: a list of types alone does not stop a hostile tree. Where it has a signed ONNX copy, which
answers alike and faster, the copy is loaded instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from include.accidents.errors import ModelError
from include.accidents.features.definitions import NAMES
from include.accidents.models import decision
from include.accidents.registry import onnx_files
from include.accidents.registry.names import ALIAS, BEST, LOADED, ONNX_FILE
from include.accidents.registry.signing import Lineage, fetch_signed, read_lineage, signed_files
from include.accidents.registry.skops_files import loads
from include.accidents.registry.tracking import quoted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from include.accidents.models.decision import Decision

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """A model that may be used."""

    estimator: Any
    name: str
    version: str
    lineage: Lineage
    metrics: Mapping[str, float]
    decision: Decision

    @property
    def engine(self) -> str:
        """The library that computes its answers."""
        return "onnxruntime" if isinstance(self.estimator, onnx_files.OnnxModel) else "scikit-learn"


def load(
    client: MlflowClient,
    name: str,
    version: str,
    key: bytes,
    features: str,
    read: Callable[[bytes], Any] = loads,
) -> LoadedModel:
    """Fetch, verify and load one version; `read` returns the model of a file, after its signature was checked.

    Returns
    -------
    The fitted estimator with its rules, lineage and metrics.

    Raises
    ------
    ModelError
        When the signature is absent or wrong, the features are not today's, a type is not on the list, or the model has
        no thresholds for the levels of knowledge.
    """
    model_version = client.get_model_version(name, version)
    lineage = read_lineage(model_version)
    estimator = _onnx_copy(model_version, lineage, key)
    content = b"" if estimator else fetch_signed(model_version, lineage, key)
    if lineage.features != features:
        raise ModelError(
            f"{name} version {version} was trained on features {lineage.features}; today's are {features}.",
            "run the pipeline once more with today's code.",
        )
    estimator = estimator or read(content)
    if estimator.n_features_in_ != len(NAMES):
        raise ModelError(f"{name} version {version} expects other columns.", "run the pipeline once more.")
    try:
        rules = decision.of(estimator)
    except ModelError as error:
        error.cause = f"{name} version {version}: {error.cause}"
        raise
    metrics = client.get_run(lineage.run_id).data.metrics
    return LoadedModel(estimator, name, str(model_version.version), lineage, metrics, rules)


def _onnx_copy(version: ModelVersion, lineage: Lineage, key: bytes) -> Any | None:
    """Return the model's ONNX copy; None when it has none, or none that may be used."""
    if ONNX_FILE not in signed_files(version):
        return None
    try:
        return onnx_files.loads(fetch_signed(version, lineage, key, ONNX_FILE))
    except ModelError as error:
        log.warning("%s version %s is used without its ONNX copy: %s", version.name, version.version, error)
        return None


def names(client: MlflowClient) -> list[str]:
    """Return the names of all registered models, the one in production first."""
    registered: list[str] = []
    token: str | None = None
    while True:
        page = client.search_registered_models(max_results=1000, page_token=token)
        registered += [model.name for model in page]
        token = page.token
        if not token:
            return sorted(registered, key=lambda name: (name != BEST, name))


def newest(client: MlflowClient, name: str) -> str | None:
    """Return the version to serve under a name: `production` of BestModel, the newest of any other model.

    Returns
    -------
    The newest is the last version of the run that read the raw files last: repeating an old run does not undo a new
    one. None when there is no version.

    Raises
    ------
    MlflowException
        When MLflow does not answer.
    """
    from mlflow.exceptions import MlflowException

    if name == BEST:
        try:
            return str(client.get_model_version_by_alias(BEST, ALIAS).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
    versions = client.search_model_versions(f"name = '{quoted(name)}'")
    last = max(versions, key=lambda v: (v.tags.get(LOADED, ""), int(v.version)), default=None)
    return None if last is None else str(last.version)


def signature(client: MlflowClient, name: str, version: str) -> str | None:
    """Return a version's signature, unchecked; None while it has none."""
    tags: dict[str, str] = client.get_model_version(name, version).tags
    return tags.get("signature")
