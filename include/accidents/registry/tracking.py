"""Runs of MLflow's experiment: one run for each model."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.accidents.features.matrix import frame
from include.accidents.registry import skops_files
from include.accidents.registry.names import DAG_RUN, DAG_RUNS, EXPERIMENT, LOADED, ONNX_FILE, SUPERSEDED
from include.accidents.registry.signing import Lineage, as_text, sign

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from include.accidents.features.declaration import Floats

REMEMBERED = 100  # DAG runs that a tag names


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
    plots: Mapping[str, Any],
    tables: Mapping[str, Any],
    example: Floats,
    results: Sequence[Mapping[str, Any]] = (),
    onnx: bytes | None = None,
    loaded: str = "",
) -> ModelVersion:
    """Log one model as a run of the experiment and register it, signed, under its name.

    An incomplete run of an earlier try of the same task is deleted. A complete one is marked as superseded and stays:
    its model may be in production.

    Parameters
    ----------
    plots, tables, results
        They become artifacts; `results` has a row for each candidate of the search.
    onnx
        The model's ONNX copy, if it has one.
    loaded
        When the DAG's run read the raw files.

    Returns
    -------
    The registered version.
    """
    import mlflow
    from mlflow.models import infer_signature

    with quiet():
        experiment = mlflow.set_experiment(EXPERIMENT)
    name, named = str(lineage_without_run["model"]), frame(example)
    _supersede(client, dag_run_id, name)
    # The id again: when two tasks create the experiment at the same moment, MLflow may choose another for one of them.
    with quiet(), mlflow.start_run(run_name=name, experiment_id=experiment.experiment_id) as run:
        lineage = Lineage(run_id=run.info.run_id, **lineage_without_run)
        mlflow.set_tags({**tags, "model": name, DAG_RUN: dag_run_id, DAG_RUNS: dag_run_id, **as_text(asdict(lineage))})
        mlflow.log_params(dict(params))
        for file, figure in plots.items():
            mlflow.log_figure(figure, file)
        for file, table in tables.items():
            mlflow.log_dict(table, file)
        if results:
            mlflow.log_table(_columns(results), "cv_results.json")
        info = mlflow.sklearn.log_model(
            fitted,
            name="model",
            serialization_format="skops",
            skops_trusted_types=list(skops_files.TRUSTED_TYPES),
            signature=infer_signature(named, fitted.predict_proba(example)),
            input_example=named,
            pyfunc_predict_fn="predict_proba",
            pip_requirements=_requirements(),
        )
        # After the model: else MLflow asks for the history of each metric, to copy it to the model.
        mlflow.log_metrics(dict(metrics), model_id=info.model_id)
        if onnx is not None:
            _log_beside(client, info.model_id, ONNX_FILE, onnx)
        version = mlflow.register_model(info.model_uri, name)
        sign(client, version, lineage, key, expected=fitted, example=example, onnx=onnx)
        client.set_model_version_tag(name, version.version, LOADED, loaded)
        mlflow.set_tag("registered_version", version.version)
    return client.get_model_version(name, version.version)


def _supersede(client: MlflowClient, dag_run_id: str, name: str) -> None:
    """Mark the complete run of an earlier try of this task, delete an incomplete one."""
    for earlier in runs_of(client, dag_run_id, name):
        if "registered_version" in earlier.data.tags:
            client.set_tag(earlier.info.run_id, SUPERSEDED, "true")
        else:
            client.delete_run(earlier.info.run_id)


def _log_beside(client: MlflowClient, model_id: str, file: str, content: bytes) -> None:
    """Store a further file in the folder of a logged model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file
        path.write_bytes(content)
        client.log_model_artifact(model_id, str(path))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence MLflow, which reports success on stderr and warns about frames; its errors are still raised."""
    with redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X has feature names, but")
        yield


def runs_of(client: MlflowClient, dag_run_id: str, model: str | None = None) -> list[Any]:
    """Return the MLflow runs of a DAG run's models, newest first, of one model or of all; one for each model."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    condition = f"tags.`{DAG_RUNS}` LIKE '%{quoted(dag_run_id)}%'"
    if model is not None:
        condition += f" and tags.model = '{quoted(model)}'"
    runs = client.search_runs([experiment.experiment_id], condition, max_results=1000)
    return [run for run in runs if SUPERSEDED not in run.data.tags and dag_run_id in run.data.tags[DAG_RUNS].split()]


def run_with_tags(client: MlflowClient, tags: Mapping[str, str]) -> Any | None:
    """Return the newest run with these tags that registered a model; None when there is none."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return None
    condition = " and ".join(f"tags.`{name}` = '{quoted(value)}'" for name, value in tags.items())
    runs = client.search_runs([experiment.experiment_id], condition, order_by=["attributes.start_time DESC"])
    return next((r for r in runs if "registered_version" in r.data.tags and SUPERSEDED not in r.data.tags), None)


def use_again(client: MlflowClient, run: Any, version: ModelVersion, dag_run_id: str, loaded: str) -> None:
    """Note that a further DAG run uses a run's model: in the run's tags and in those of its version."""
    ids = run.data.tags.get(DAG_RUNS, "").split()
    if dag_run_id not in ids:
        client.set_tag(run.info.run_id, DAG_RUNS, " ".join([*ids[-REMEMBERED:], dag_run_id]))
    if version.tags.get(LOADED, "") < loaded:
        client.set_model_version_tag(version.name, version.version, LOADED, loaded)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [json.dumps(v) if isinstance(v := row.get(name), dict) else v for row in rows] for name in names}


def run_before(client: MlflowClient, run: Any) -> Any | None:
    """Return the newest registered run of the same model from an earlier DAG run; None when there is none."""
    earlier = client.search_runs(
        [run.info.experiment_id],
        f"tags.model = '{quoted(run.data.tags['model'])}' and attributes.start_time < {run.info.start_time}",
        order_by=["attributes.start_time DESC"],
        max_results=50,
    )
    ours = run.data.tags[DAG_RUN]
    return next((r for r in earlier if "registered_version" in r.data.tags and r.data.tags.get(DAG_RUN) != ours), None)


def artifact(client: MlflowClient, run_id: str, path: str) -> bytes | None:
    """Return an artifact of a run; None when it has none at that path."""
    from mlflow.artifacts import download_artifacts

    folder = path.rpartition("/")[0] or None
    if path not in {file.path for file in client.list_artifacts(run_id, folder)}:
        return None
    with tempfile.TemporaryDirectory() as folder:
        content = download_artifacts(
            run_id=run_id, artifact_path=path, dst_path=folder, tracking_uri=client.tracking_uri
        )
        return Path(content).read_bytes()


def quoted(text: str) -> str:
    """Return a text without quotes, for use between quotes in a filter of MLflow."""
    return text.replace("'", "")


def _requirements() -> list[str]:
    from importlib.metadata import version

    return [f"{package}=={version(package)}" for package in ("scikit-learn", "skops", "pandas", "numpy")]
