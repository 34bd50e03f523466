"""The lineage of a model, signed together with each of its files."""

from __future__ import annotations

import hashlib
import hmac
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from include.accidents.errors import ModelError
from include.accidents.registry.names import MODEL_FILE, ONNX_FILE
from include.accidents.registry.skops_files import MAX_MODEL_BYTES, loads

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


SIGNATURES: Final = {MODEL_FILE: "signature", ONNX_FILE: "onnx_signature"}
"""The tag with the signature of each file; not every model has an ONNX copy."""


def _signature(version: ModelVersion, lineage: Lineage, file: str, content: bytes, key: bytes) -> str:
    claims = {
        "name": version.name,
        "version": str(version.version),
        "sha256": hashlib.sha256(content).hexdigest(),
        **asdict(lineage),
        **({} if file == MODEL_FILE else {"file": file}),
    }
    return hmac.new(key, json.dumps(claims, sort_keys=True).encode(), "sha256").hexdigest()


def sign(
    client: MlflowClient,
    version: ModelVersion,
    lineage: Lineage,
    key: bytes,
    *,
    expected: Any,
    example: Floats,
    onnx: bytes | None = None,
) -> None:
    """Sign the files that the registry holds, after checking that they are those of the trained model."""
    import numpy as np

    contents = {MODEL_FILE: fetch(version)}
    alike = np.array_equal(loads(contents[MODEL_FILE]).predict_proba(example), expected.predict_proba(example))
    if onnx is not None:
        contents[ONNX_FILE] = fetch(version, ONNX_FILE)
        alike = alike and contents[ONNX_FILE] == onnx
    if not alike:
        raise ModelError(
            f"{version.name}: the model in MLflow predicts otherwise than the trained one.",
            "clear the task to try again.",
        )
    sign_tags(client, version, lineage, contents, key)


def sign_tags(
    client: MlflowClient, version: ModelVersion, lineage: Lineage, contents: Mapping[str, bytes], key: bytes
) -> None:
    """Sign a version: write its lineage and the signatures over lineage and each file as tags."""
    # The model's own signature last: a version counts as signed when it is there.
    for file in sorted(contents, key=lambda name: name == MODEL_FILE):
        tags = as_text(asdict(lineage)) if file == MODEL_FILE else {}
        tags[SIGNATURES[file]] = _signature(version, lineage, file, contents[file], key)
        for tag, value in tags.items():
            client.set_model_version_tag(version.name, version.version, tag, value)


def signed_files(version: ModelVersion) -> list[str]:
    """Return the names of the files that a version has signatures for, unchecked; that of the model always."""
    return [file for file, tag in SIGNATURES.items() if file == MODEL_FILE or tag in version.tags]


def fetch_signed(version: ModelVersion, lineage: Lineage, key: bytes, file: str = MODEL_FILE) -> bytes:
    """Download a file of a version; ModelError unless it has this installation's signature."""
    content = fetch(version, file)
    expected = _signature(version, lineage, file, content, key)
    if not hmac.compare_digest(expected, version.tags.get(SIGNATURES[file], "")):
        raise ModelError(
            f"{version.name} version {version.version}: {file} does not bear this installation's signature.",
            "register it by running the pipeline; ACCIDENTS_SIGNING_KEY must be the same everywhere.",
        )
    return content


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


def fetch(version: ModelVersion, file: str = MODEL_FILE) -> bytes:
    """Download a model's file; ModelError when it is missing, the error itself when MLflow or its store fails."""
    from mlflow.artifacts import download_artifacts, list_artifacts
    from mlflow.exceptions import MlflowException

    uri = f"models:/{version.name}/{version.version}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = Path(download_artifacts(f"{uri}/{file}", dst_path=folder))
        except (MlflowException, OSError) as error:
            if file in {Path(found.path).name for found in list_artifacts(uri)}:
                raise
            raise ModelError(
                f"{version.name} version {version.version} has no file {file} in MLflow's store.",
                "train the model again.",
            ) from error
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise ModelError(f"{version.name} version {version.version} is too large.", "make the model smaller.")
        return path.read_bytes()


def as_text(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values as texts for tags."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}
