"""MLflow: runs, registered models, promotion; and the only way a model is loaded.

A model is loaded with *our* list of types, never with the one it brings along, and only when its file bears the
signature that was made when it was registered: a list of types alone does not stop a hostile tree.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.accidents import arrays, decision
from include.accidents.decision import Decision
from include.accidents.errors import ModelError
from include.accidents.features import NAMES, Floats, frame

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

log = logging.getLogger(__name__)

EXPERIMENT = "Gravite_Accidents"
BEST = "BestModel"
ALIAS = "production"
LOADED = "loaded"  # tag of a version: when the run that made it looked at the raw files
SUPERSEDED = "superseded"  # tag of a run whose task was cleared and ran again
MODEL_FILE = "model.skops"
MAX_MODEL_BYTES = 2 << 30
ROLLED_BACK = "rolled_back"  # tag of a version that production was taken away from, or that it never came to
BROKE_OFF = "its promotion broke off"

# Beyond what skops trusts by itself. Each was reviewed: it holds numbers or calls nothing at load time.
TRUSTED_TYPES = (
    "collections.OrderedDict",
    "functools.partial",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "numpy.dtype",
    "sklearn._loss._loss.CyHalfMultinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
)


@dataclass(frozen=True)
class Lineage:
    """Where a model comes from; signed with its file."""

    model: str
    run_id: str
    data_version: str
    features: str
    sample: bool


@dataclass(frozen=True)
class LoadedModel:
    """A model that may be used."""

    estimator: Any
    name: str
    version: str
    lineage: Lineage
    metrics: Mapping[str, float]
    decision: Decision


def dump(fitted: Any) -> bytes:
    """Return the model as a skops file."""
    return bytes(_skops().dumps(fitted))


def undump(content: bytes) -> Any:
    """Load a skops file whose origin was checked; ModelError when it needs types that are not on our list."""
    skops_io = _skops()
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops_io.loads(content, trusted=list(TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        refused = sorted(set(skops_io.get_untrusted_types(data=content)) - set(TRUSTED_TYPES))
        raise ModelError(
            f"The model holds types that are not on the list: {', '.join(refused)}.",
            "review them and add them to TRUSTED_TYPES in include/accidents/registry.py, or change the model.",
        ) from error
    except MemoryError:  # says nothing of the file
        raise
    except Exception as error:  # whatever else is no skops file fails in a way of its own
        raise ModelError(
            f"The model cannot be read as a skops file ({type(error).__name__}: {error}).", "train it again."
        ) from error


@functools.cache
def _skops() -> Any:
    """Import skops, which looks hundreds of names up in every loaded module; Airflow's old ones warn at each."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import skops.io
    arrays.teach_skops()
    return skops.io


def log_run(
    client: MlflowClient,
    fitted: Any,
    *,
    lineage_without_run: Mapping[str, Any],
    key: bytes,
    dag_run_id: str,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    pictures: Mapping[str, Any],
    tables: Mapping[str, Any],
    example: Floats,
    results: Sequence[Mapping[str, Any]] = (),
    loaded: str = "",
) -> ModelVersion:
    """Log one model as a run of the experiment and register it, signed, under its name.

    `pictures`, `tables` and `results` (the candidates of the search, a row each) become artifacts. `loaded` is when
    the DAG's run looked at the raw files.

    A run that an earlier try of the same task left half done is deleted; a complete one, from which a model may be in
    production, is marked as superseded and stays.
    """
    import mlflow
    from mlflow.models import infer_signature

    with _quiet():
        experiment = mlflow.set_experiment(EXPERIMENT)
    name, named = str(lineage_without_run["model"]), frame(example)
    for earlier in runs_of(client, dag_run_id, name):
        if "registered_version" in earlier.data.tags:
            client.set_tag(earlier.info.run_id, SUPERSEDED, "true")
        else:
            client.delete_run(earlier.info.run_id)
    # Said once more: where two tasks make the experiment at the same moment, MLflow leaves one of them in another.
    with _quiet(), mlflow.start_run(run_name=name, experiment_id=experiment.experiment_id) as run:
        lineage = Lineage(run_id=run.info.run_id, **lineage_without_run)
        mlflow.set_tags({**tags, "model": name, "airflow.dag_run_id": dag_run_id, **_text(asdict(lineage))})
        mlflow.log_params(dict(params))
        for file, figure in pictures.items():
            mlflow.log_figure(figure, file)
        for file, table in tables.items():
            mlflow.log_dict(table, file)
        if results:
            mlflow.log_table(_columns(results), "cv_results.json")
        info = mlflow.sklearn.log_model(
            fitted,
            name="model",
            serialization_format="skops",
            skops_trusted_types=list(TRUSTED_TYPES),
            signature=infer_signature(named, fitted.predict_proba(example)),
            input_example=named,
            pyfunc_predict_fn="predict_proba",
            pip_requirements=_requirements(),
        )
        # After the model: else MLflow asks for the history of each metric, to copy it to the model.
        mlflow.log_metrics(dict(metrics), model_id=info.model_id)
        version = mlflow.register_model(info.model_uri, name)
        _sign(client, version, lineage, key, expected=fitted, example=example)
        client.set_model_version_tag(name, version.version, LOADED, loaded)
        mlflow.set_tag("registered_version", version.version)
    return client.get_model_version(name, version.version)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hush MLflow, which tells of success on the stream of errors, and tries models on frames; what fails it raises."""
    with redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X has feature names, but")
        yield


def runs_of(client: MlflowClient, dag_run_id: str, model: str | None = None) -> list[Any]:
    """Return the runs that a DAG run left in MLflow, newest first, of one model or of all; one a model."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    wanted = f"tags.`airflow.dag_run_id` = '{_quoted(dag_run_id)}'"
    if model is not None:
        wanted += f" and tags.model = '{_quoted(model)}'"
    found = client.search_runs([experiment.experiment_id], wanted, max_results=1000)
    return [run for run in found if SUPERSEDED not in run.data.tags]


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [json.dumps(v) if isinstance(v := row.get(name), dict) else v for row in rows] for name in names}


def run_before(client: MlflowClient, run: Any) -> Any | None:
    """Return the newest registered run of the same model by an earlier run of the DAG; None when there is none."""
    earlier = client.search_runs(
        [run.info.experiment_id],
        f"tags.model = '{_quoted(run.data.tags['model'])}' and attributes.start_time < {run.info.start_time}",
        order_by=["attributes.start_time DESC"],
        max_results=50,
    )
    ours = run.data.tags["airflow.dag_run_id"]
    return next(
        (r for r in earlier if "registered_version" in r.data.tags and r.data.tags["airflow.dag_run_id"] != ours), None
    )


def artifact(client: MlflowClient, run_id: str, path: str) -> bytes | None:
    """Return an artifact of a run; None when it has none of that name."""
    from mlflow.artifacts import download_artifacts

    if path not in {found.path for found in client.list_artifacts(run_id)}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        content = download_artifacts(
            run_id=run_id, artifact_path=path, dst_path=folder, tracking_uri=client.tracking_uri
        )
        return Path(content).read_bytes()


def load(
    client: MlflowClient,
    name: str,
    version: str,
    key: bytes,
    features: str,
    read: Callable[[bytes], Any] = undump,
) -> LoadedModel:
    """Fetch, verify and load one version; `read` makes the model of the file whose signature was checked.

    Raises
    ------
    ModelError
        When the signature is absent or wrong, the features are not today's, a type is not on the list, or the model has
        no thresholds for the levels of knowledge.
    """
    found = client.get_model_version(name, version)
    lineage = _lineage(found)
    content = _fetch(found)
    _check_signature(found, lineage, content, key)
    if lineage.features != features:
        raise ModelError(
            f"{name} version {version} was trained on features {lineage.features}; today's are {features}.",
            "run the pipeline once more with today's code.",
        )
    estimator = read(content)
    if estimator.n_features_in_ != len(NAMES):
        raise ModelError(f"{name} version {version} expects other columns.", "run the pipeline once more.")
    try:
        rules = decision.of(estimator)
    except ModelError as error:
        error.cause = f"{name} version {version}: {error.cause}"
        raise
    metrics = client.get_run(lineage.run_id).data.metrics
    return LoadedModel(estimator, name, str(found.version), lineage, metrics, rules)


def names(client: MlflowClient) -> list[str]:
    """Return the names of all registered models, the one in production first."""
    found: list[str] = []
    token: str | None = None
    while True:
        page = client.search_registered_models(max_results=1000, page_token=token)
        found += [model.name for model in page]
        token = page.token
        if not token:
            return sorted(found, key=lambda name: (name != BEST, name))


def newest(client: MlflowClient, name: str) -> str | None:
    """Return the version to serve under a name: `production` of BestModel, the newest of any other.

    The newest is the last one of the run that looked at the raw files last: to repeat an old run does not undo a new
    one.
    """
    from mlflow.exceptions import MlflowException

    if name == BEST:
        try:
            return str(client.get_model_version_by_alias(BEST, ALIAS).version)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
    versions = client.search_model_versions(f"name = '{_quoted(name)}'")
    last = max(versions, key=lambda v: (v.tags.get(LOADED, ""), int(v.version)), default=None)
    return None if last is None else str(last.version)


def signature(client: MlflowClient, name: str, version: str) -> str | None:
    """Return what a version bears as its signature, unchecked; None while it has none."""
    tags: dict[str, str] = client.get_model_version(name, version).tags
    return tags.get("signature")


def promote(client: MlflowClient, source: ModelVersion, key: bytes, reason: str) -> ModelVersion:
    """Copy a version to BestModel, sign it under its new name, and only then let `production` point to it."""
    lineage = _lineage(source)
    content = _fetch(source)
    _check_signature(source, lineage, content, key)
    present = int(newest(client, BEST) or 0)
    for left in client.search_model_versions(f"name = '{BEST}'"):
        if int(left.version) > present and ROLLED_BACK not in left.tags:  # a rollback shall not lead to it
            client.set_model_version_tag(BEST, left.version, ROLLED_BACK, BROKE_OFF)
    with _quiet():
        copied = client.copy_model_version(f"models:/{source.name}/{source.version}", BEST)
    _set_tags(client, copied, lineage, content, key)
    client.set_model_version_tag(BEST, copied.version, "promotion_reason", reason)
    client.set_registered_model_alias(BEST, ALIAS, copied.version)
    return copied


def reigns(client: MlflowClient, run_id: str) -> tuple[str, str] | None:
    """Return the version of BestModel and the reason of its promotion, if the model of a run is in production."""
    present = newest(client, BEST)
    if present is None:
        return None
    found = client.get_model_version(BEST, present)
    return (present, found.tags.get("promotion_reason", "")) if found.tags.get("run_id") == run_id else None


def rolled_back(client: MlflowClient) -> dict[str, str]:
    """Return why people took a model out of production, by what it was made of (tag `model_version` of its run)."""
    from mlflow.exceptions import MlflowException

    found = {}
    for version in client.search_model_versions(f"name = '{BEST}'"):
        reason = version.tags.get(ROLLED_BACK, BROKE_OFF)
        if reason != BROKE_OFF:
            try:
                tags = client.get_run(version.tags.get("run_id", "")).data.tags
            except MlflowException as error:  # removed for good
                log.warning("What %s version %s was made of is gone (%s).", BEST, version.version, error.error_code)
                continue
            found[tags.get("model_version", "")] = reason
    return found


def predecessors(client: MlflowClient, present: str) -> list[ModelVersion]:
    """Return the versions of BestModel that rollbacks from `present` would lead to, the next one first.

    Never to one that was left by a rollback, and not from real data to the generated sample.
    """
    real = client.get_model_version(BEST, present).tags.get("sample") == "false"
    found = [
        version
        for version in client.search_model_versions(f"name = '{BEST}'")
        if int(version.version) < int(present)
        and ROLLED_BACK not in version.tags
        and not (real and version.tags.get("sample") == "true")
    ]
    return sorted(found, key=lambda version: -int(version.version))


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
    read: Callable[[bytes], Any] = undump,
) -> RolledBack:
    """Let `production` point to the version of BestModel before the present one.

    A version that was left by a rollback is marked, and no later rollback returns to it; nor does one return from real
    data to the generated sample. The version that
    `production` will point to is loaded first, so that it is seen to bear the signature and to fit today's features;
    its signature, made when it was promoted, stays.

    Raises
    ------
    ModelError
        When nothing is in production, there is no earlier version, or it may not be used; nothing is changed then.
    """
    present = newest(client, BEST)
    if present is None:
        raise ModelError("No model is in production.", "run the pipeline; its best model is promoted.")
    earlier = predecessors(client, present)
    if not earlier:
        raise ModelError(
            f"There is no version of {BEST} before version {present} to return to (none that was rolled back before, "
            "and after real data none of generated ones).",
            "run the pipeline with another catalogue or other data to promote another model.",
        )
    target = str(earlier[0].version)
    loaded = load(client, BEST, target, key, features, read)
    client.set_registered_model_alias(BEST, ALIAS, target)
    client.set_model_version_tag(BEST, present, ROLLED_BACK, reason)
    log.info("%s: production went back from version %s to version %s (%s).", BEST, present, target, reason)
    return RolledBack(present, target, loaded.lineage.model)


# --- signatures --------------------------------------------------------------------------------------------


def _claims(name: str, version: str, lineage: Lineage, content: bytes) -> bytes:
    said = {
        "name": name,
        "version": str(version),
        "sha256": hashlib.sha256(content).hexdigest(),
        **asdict(lineage),
    }
    return json.dumps(said, sort_keys=True).encode()


def _sign(
    client: MlflowClient,
    version: ModelVersion,
    lineage: Lineage,
    key: bytes,
    *,
    expected: Any,
    example: Floats,
) -> None:
    """Sign what the registry really holds, once it has been seen to be the model that was trained."""
    import numpy as np

    content = _fetch(version)
    if not np.array_equal(undump(content).predict_proba(example), expected.predict_proba(example)):
        raise ModelError(f"{version.name} came back from MLflow as another model.", "clear the task to try again.")
    _set_tags(client, version, lineage, content, key)


def _set_tags(client: MlflowClient, version: ModelVersion, lineage: Lineage, content: bytes, key: bytes) -> None:
    signature = hmac.new(key, _claims(version.name, version.version, lineage, content), "sha256").hexdigest()
    for tag, value in {**_text(asdict(lineage)), "signature": signature}.items():
        client.set_model_version_tag(version.name, version.version, tag, value)


def _check_signature(version: ModelVersion, lineage: Lineage, content: bytes, key: bytes) -> None:
    expected = hmac.new(key, _claims(version.name, version.version, lineage, content), "sha256").hexdigest()
    if not hmac.compare_digest(expected, version.tags.get("signature", "")):
        raise ModelError(
            f"{version.name} version {version.version} does not bear this installation's signature.",
            "register it by running the pipeline; ACCIDENTS_SIGNING_KEY must be the same everywhere.",
        )


def _lineage(version: ModelVersion) -> Lineage:
    try:
        tags = version.tags
        return Lineage(tags["model"], tags["run_id"], tags["data_version"], tags["features"], tags["sample"] == "true")
    except KeyError as error:
        raise ModelError(
            f"{version.name} version {version.version} has no tag {error}; it was not registered by the pipeline.",
            "register models by running the pipeline.",
        ) from error


def lineage_of(version: ModelVersion) -> Lineage:
    """Return what a version's tags say of its origin (believed only once `load` has checked the signature)."""
    return _lineage(version)


def _fetch(version: ModelVersion) -> bytes:
    """Download the one file that is read; ModelError when it is gone, the error itself when MLflow or its store is."""
    from mlflow.artifacts import download_artifacts, list_artifacts
    from mlflow.exceptions import MlflowException

    uri = f"models:/{version.name}/{version.version}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            path = Path(download_artifacts(f"{uri}/{MODEL_FILE}", dst_path=folder))
        except (MlflowException, OSError) as error:
            if MODEL_FILE in {Path(found.path).name for found in list_artifacts(uri)}:
                raise
            raise ModelError(
                f"{version.name} version {version.version} has no file {MODEL_FILE} in MLflow's store.",
                "train the model again.",
            ) from error
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise ModelError(f"{version.name} version {version.version} is too large.", "make the model smaller.")
        return path.read_bytes()


def _text(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}


def _quoted(text: str) -> str:
    return text.replace("'", "")


def _requirements() -> list[str]:
    from importlib.metadata import version

    return [f"{package}=={version(package)}" for package in ("scikit-learn", "skops", "pandas", "numpy")]
