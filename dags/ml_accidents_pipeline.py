"""The DAG: raw CSVs → S3 → merged years → clean splits → per model search, train, log, reload → the best, promoted.

Tasks of a few lines; what they do is in `include/steps.py`. Heavy imports stay inside tasks, so that parsing is
cheap. The wiring at the end reads like the README's picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import (
    BaseHook,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    TriggerRule,
    dag,
    get_current_context,
    task,
    task_group,
)

from include.accidents.errors import AccidentsError

DAG_ID = "ml_accidents_pipeline_dag"
HEAVY = "models"  # the pool of work that fills a core
Json = dict[str, Any]

PARAMS = {
    "raw_dir": Param(
        None,
        type=["null", "string"],
        title="Folder of CSVs",
        description="Where the raw files lie on the machine that runs the tasks; empty: the installation's folder.",
    ),
    "years": Param(
        None,
        type=["null", "array"],
        items={"type": "integer"},
        title="Years",
        description="Empty: every year found.",
    ),
    "models": Param(
        None,
        type=["null", "array"],
        items={"type": "string"},
        title="Models",
        description="Names from the catalogue (include/models.json); empty: all of them.",
    ),
    "evaluation": Param(
        "basic",
        type="string",
        enum=["basic", "full"],
        title="Evaluation",
        description="basic: metrics and confusion matrix; full: also the check over time and every picture.",
    ),
    "force": Param(
        False,
        type="boolean",
        title="Make everything anew",
        description="Do not use results of earlier runs again.",
    ),
}

# Bad input stays bad: only what may pass (network, services) is tried again.
RETRIES = ExceptionRetryPolicy(
    rules=[RetryRule(exception=[AccidentsError, ValueError, TypeError, ArithmeticError], action=RetryAction.FAIL)]
)


def _params() -> Json:
    return dict(get_current_context()["params"])


def _url(connection_id: str) -> str:
    connection = BaseHook.get_connection(connection_id)
    return f"{connection.schema or 'http'}://{connection.host}:{connection.port}"


def _mlflow() -> Any:
    import mlflow

    mlflow.set_tracking_uri(_url("mlflow"))
    return mlflow.MlflowClient()


@contextmanager
def _instance_of(model: str) -> Iterator[None]:
    """Show the instance under its model's name, and leave the reason behind when it fails."""
    context = get_current_context()
    context["model_name"] = model  # type: ignore[literal-required]
    try:
        yield
    except Exception as error:
        context["ti"].xcom_push("failure", {"model": model, "reason": f"{type(error).__name__}: {error}"[:500]})
        raise


@task(execution_timeout=timedelta(minutes=30))
def load_csv_to_s3() -> list[Json]:
    """Upload the CSVs that changed to `accidents-raw-csv`; return the files of each year."""
    from include import steps
    from include.accidents.settings import Settings
    from include.storage import Store

    params = _params()
    folder = Path(params["raw_dir"] or Settings().raw_dir)
    return steps.load_raw(Store(), folder, params["years"])


@task(map_index_template="{{ year }}", execution_timeout=timedelta(minutes=30))
def prepare_data(entry: Json) -> Json:
    """Read, check, link and merge the four files of one year."""
    get_current_context()["year"] = entry["year"]  # type: ignore[literal-required]
    from include import steps
    from include.storage import Store

    return steps.prepare_year(Store(), entry, force=_params()["force"])


@task(execution_timeout=timedelta(minutes=60))
def clean_data(prepared: list[Json]) -> Json:
    """Make the features of all years and split them into train_test and global_test."""
    from include import steps
    from include.storage import Store

    return steps.clean_data(Store(), list(prepared), force=_params()["force"])


@task(execution_timeout=timedelta(minutes=5))
def load_model_names() -> list[str]:
    """Read the catalogue, now; keep it for the tasks that follow; return the models' names."""
    from include import steps
    from include.accidents.settings import Settings
    from include.storage import Store

    store = Store()
    store.create_buckets()
    names, version = steps.load_catalogue(store, Settings().models_file, _params()["models"])
    get_current_context()["ti"].xcom_push("catalogue", version)
    return names


@task(map_index_template="{{ model_name }}", pool=HEAVY, execution_timeout=timedelta(hours=6))
def search_params(model_name: str, data: Json, catalogue: str) -> Json:
    """Search the model's grid by cross-validation on whole accidents."""
    with _instance_of(model_name):
        from include import steps
        from include.storage import Store

        return steps.search_params(Store(), model_name, data, catalogue, force=_params()["force"])


@task(map_index_template="{{ model_name }}", pool=HEAVY, execution_timeout=timedelta(hours=6))
def train_model(found: Json) -> Json:
    """Fit the model with its best parameters."""
    with _instance_of(found["model"]):
        from include import steps
        from include.storage import Store

        return steps.train_model(Store(), found, force=_params()["force"])


@task(map_index_template="{{ model_name }}", pool=HEAVY, execution_timeout=timedelta(hours=6))
def log_model(trained: Json) -> Json:
    """Judge the model, log it to MLflow and register it."""
    with _instance_of(trained["model"]):
        from include import steps
        from include.accidents.settings import Settings
        from include.storage import Store

        context = get_current_context()
        key, run_id = Settings().signing_secret(), context["dag_run"].run_id
        params = _params()
        force, evaluation = params["force"], params["evaluation"]
        return steps.log_model(Store(), _mlflow(), trained, run_id, key, force=force, evaluation=evaluation)


@task(map_index_template="{{ model_name }}", execution_timeout=timedelta(minutes=10))
def reload_model(logged: Json) -> Json:
    """Let the API serve the version that was just registered."""
    with _instance_of(logged["model"]):
        from include import services

        key = BaseHook.get_connection("api").password or ""
        return services.reload_model(_url("api"), key, logged["model"], logged["registered_version"])


@task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, execution_timeout=timedelta(minutes=30))
def select_best_model(names: list[str], data: Json, catalogue: str) -> Json:
    """Choose the best model by its weighted score, and promote it when it beats the reigning one."""
    from include import steps
    from include.accidents.settings import Settings
    from include.storage import Store

    context = get_current_context()
    run_id, key = context["dag_run"].run_id, Settings().signing_secret()
    failures = _failures(context["ti"], len(names))
    selected = steps.select_best(Store(), _mlflow(), names, catalogue, data, run_id, failures, key)
    _write_note(run_id, selected["note"])
    return selected


@task(execution_timeout=timedelta(minutes=10))
def reload_best_model(selected: Json) -> Json:
    """Let the API serve the model in production."""
    from include import services

    key = BaseHook.get_connection("api").password or ""
    return services.reload_model(_url("api"), key, "BestModel", selected["production_version"])


def _failures(instance: Any, n_models: int) -> dict[str, str]:
    """Return the reason that each failed instance left behind, by model."""
    found = {}
    for task_id in ("search_params", "train_model", "log_model"):
        for index in range(n_models):
            failure = instance.xcom_pull(task_ids=task_id, key="failure", map_indexes=index)
            if failure:
                found[failure["model"]] = f"{task_id}: {failure['reason']}"
    return found


def _write_note(run_id: str, note: str) -> None:
    """Write the run's note; a note that cannot be written is reported, and stops nothing."""
    import logging

    import httpx

    from include import services

    login = BaseHook.get_connection("airflow_api")
    try:
        services.write_note(_url("airflow_api"), login.login or "", login.password or "", DAG_ID, run_id, note)
    except httpx.HTTPError as error:
        logging.getLogger(__name__).warning("The run's note could not be written: %s", error)


@dag(
    dag_id=DAG_ID,
    schedule=None,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params=PARAMS,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=2),
        "retry_policy": RETRIES,
    },
    doc_md=__doc__,
    tags=["accidents", "mlops"],
)
def ml_accidents_pipeline() -> None:
    """Wire the tasks."""

    @task_group(prefix_group_id=False)
    def model(model_name: str, data: Json, catalogue: str) -> None:
        found = search_params(model_name, data, catalogue)
        reload_model(log_model(train_model(found)))

    years = load_csv_to_s3()
    data = clean_data(prepare_data.expand(entry=years))
    names = load_model_names()
    models = model.partial(data=data, catalogue=names["catalogue"]).expand(model_name=names)
    selected = select_best_model(names, data, names["catalogue"])
    models >> selected
    reload_best_model(selected)


ml_accidents_pipeline()
