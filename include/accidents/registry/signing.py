"""The lineage of a model, signed together with its file."""

from __future__ import annotations

import hashlib
import hmac
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.accidents.errors import ModelError
from include.accidents.registry.skops_files import MAX_MODEL_BYTES, MODEL_FILE, loads

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from include.accidents.features.declaration import Floats


@dataclass(frozen=True)
class Lineage:
    """Where a model comes from; signed with its file."""

    model: str
    run_id: str
    data_version: str
    features: str
    sample: bool


def _claims(name: str, version: str, lineage: Lineage, content: bytes) -> bytes:
    claims = {
        "name": name,
        "version": str(version),
        "sha256": hashlib.sha256(content).hexdigest(),
        **asdict(lineage),
    }
    return json.dumps(claims, sort_keys=True).encode()


def sign(
    client: MlflowClient,
    version: ModelVersion,
    lineage: Lineage,
    key: bytes,
    *,
    expected: Any,
    example: Floats,
) -> None:
    """Sign the file that the registry holds, after checking that it predicts like the trained model."""
    import numpy as np

    content = fetch(version)
    if not np.array_equal(loads(content).predict_proba(example), expected.predict_proba(example)):
        raise ModelError(
            f"{version.name}: the model in MLflow predicts otherwise than the trained one.",
            "clear the task to try again.",
        )
    sign_tags(client, version, lineage, content, key)


def sign_tags(client: MlflowClient, version: ModelVersion, lineage: Lineage, content: bytes, key: bytes) -> None:
    """Sign a version: write its lineage and the signature over lineage and file as tags."""
    signature = hmac.new(key, _claims(version.name, version.version, lineage, content), "sha256").hexdigest()
    for tag, value in {**as_text(asdict(lineage)), "signature": signature}.items():
        client.set_model_version_tag(version.name, version.version, tag, value)


def check_signature(version: ModelVersion, lineage: Lineage, content: bytes, key: bytes) -> None:
    """Raise ModelError unless a version has this installation's signature."""
    expected = hmac.new(key, _claims(version.name, version.version, lineage, content), "sha256").hexdigest()
    if not hmac.compare_digest(expected, version.tags.get("signature", "")):
        raise ModelError(
            f"{version.name} version {version.version} does not bear this installation's signature.",
            "register it by running the pipeline; ACCIDENTS_SIGNING_KEY must be the same everywhere.",
        )


def read_lineage(version: ModelVersion) -> Lineage:
    """Return the lineage in a version's tags; ModelError when it has none."""
    try:
        tags = version.tags
        return Lineage(tags["model"], tags["run_id"], tags["data_version"], tags["features"], tags["sample"] == "true")
    except KeyError as error:
        raise ModelError(
            f"{version.name} version {version.version} has no tag {error}; it was not registered by the pipeline.",
            "register models by running the pipeline.",
        ) from error


def lineage_of(version: ModelVersion) -> Lineage:
    """Return the lineage in a version's tags (trusted only after `load` has checked the signature)."""
    return read_lineage(version)


def fetch(version: ModelVersion) -> bytes:
    """Download a model's file; ModelError when it is missing, the error itself when MLflow or its store fails."""
    from mlflow.artifacts import download_artifacts, list_artifacts
    from mlflow.exceptions import MlflowException

    uri = f"models:/{version.name}/{version.version}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = Path(download_artifacts(f"{uri}/{MODEL_FILE}", dst_path=folder))
        except (MlflowException, OSError) as error:
            if MODEL_FILE in {Path(file.path).name for file in list_artifacts(uri)}:
                raise
            raise ModelError(
                f"{version.name} version {version.version} has no file {MODEL_FILE} in MLflow's store.",
                "train the model again.",
            ) from error
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise ModelError(f"{version.name} version {version.version} is too large.", "make the model smaller.")
        return path.read_bytes()


def as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values as texts for tags."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}
