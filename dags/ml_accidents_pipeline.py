"""The DAG: raw CSVs → S3 → merged years → clean splits → per model search, train, log, reload → the best, promoted.

The tasks have a few lines; their work is in `include/accidents/pipeline/`. Heavy imports are inside the tasks, so that
parsing is fast. The wiring at the end follows the README's diagram.
"""

from __future__ import annotations

import difflib
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import BaseHook, Param, TriggerRule, dag, get_current_context, task, task_group
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException, AirflowTaskTimeout

from dags.common import CLEAN_DATA, DEFAULTS, PROMOTED_MODEL, PROMOTION, mlflow_client, store, url
from include.accidents.errors import InputError, ModelError
from include.accidents.pipeline.names import PIPELINE
from include.accidents.settings import Settings

DOC = """### From CSVs to a served model

1. `load_csv_to_s3` → `prepare_data` (each year) → `clean_data`; beside them `load_model_names`.
2. Each model: `search_params` → `train_model` → `log_model` → `reload_model`.
3. `select_best_model` → `reload_best_model`.

- **Reads** the CSVs of the folder `data/raw` and of the bucket `accidents-raw-csv`, and the catalogue of models.
- **Writes** clean data and models to the buckets, a run a model to MLflow's experiment `Gravite_Accidents`, and the
  best model to `BestModel`, which the API serves.
- **To run it**, press *Trigger*: an empty form takes every year and every model. Unchanged data and models are used
  again. A second run waits for the first.
- **The run's note** lists the models that failed, the leaderboard, why one was promoted or not, and how many cores
  the models used.
- **When a task fails**, its log ends with the reason and what to fix; each task has a page like this one. Then clear
  that task: it goes on from there, with this run's data. To read changed CSVs, trigger a new run.
"""
HEAVY = "models"  # the pool of work that fills a core
Json = dict[str, Any]


def _suggested_models() -> list[str]:
    """Return the catalogue's names for the form; the task reads the catalogue again when it runs."""
    try:
        return list(json.loads(Path(Settings().models_file).read_text("utf-8"))["models"])
    except (OSError, ValueError, LookupError, TypeError):
        return []  # `load_model_names` reports what is wrong with it


PARAMS = {
    "models": Param(
        None,
        type=["null", "array"],
        items={"type": "string"},
        examples=_suggested_models(),
        title="Models",
        description="Names from the catalogue of models; empty: all that it holds when the run starts.",
    ),
    "years": Param(
        None,
        type=["null", "array"],
        # The form's list gives texts, callers of the REST API may also send numbers.
        items={"type": ["integer", "string"], "pattern": "^20[0-9][0-9]$", "minimum": 2005, "maximum": 2099},
        examples=[str(year) for year in range(datetime.now(UTC).year, 2004, -1)],
        title="Years",
        description="Empty: every year whose files are found.",
    ),
    "raw_dir": Param(
        None,
        type=["null", "string"],
        title="Folder of CSVs",
        description="Where the raw files lie on the machine that runs the tasks; empty: the installation's folder.",
    ),
    "folds": Param(
        None,
        type=["null", "integer"],
        minimum=2,
        maximum=10,
        title="Folds",
        description="Of the search and of the cross-validation; empty: as the catalogue says.",
    ),
    "max_rows": Param(
        None,
        type=["null", "integer"],
        minimum=1000,
        title="Cap of rows",
        description="People that each model trains on at most (whole accidents); empty: as the catalogue says.",
    ),
    "promote": Param(
        True,
        type="boolean",
        title="Promote when better",
        description="Off: the models are only compared; production stays as it is.",
    ),
    "evaluation": Param(
        "basic",
        type="string",
        enum=["basic", "full"],
        title="Evaluation",
        description="basic: metrics and confusion matrix; full: also the check over time and every plot.",
    ),
    "force": Param(
        False,
        type="boolean",
        title="Make everything again",
        description="Do not use results of earlier runs again.",
    ),
}


def _params() -> Json:
    """Return the form's values; InputError for an unknown name, which Airflow itself accepts."""
    context = get_current_context()
    for name in context["dag_run"].conf or {}:
        if name not in PARAMS:
            near = difflib.get_close_matches(name, PARAMS, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(f"The run was given {name!r}, which is not known{hint}.", f"name {', '.join(PARAMS)}.")
    return dict(context["params"])


def _api_key() -> str:
    return BaseHook.get_connection("api").password or ""


@contextmanager
def _reported(model: str) -> Iterator[None]:
    """Store in XCom, for the selection and the note, how long the model's task computed, and the reason if it fails."""
    try:
        yield
    except (Exception, AirflowTaskTimeout) as error:
        reason = {"model": model, "reason": f"{type(error).__name__}: {error}"[:500]}
        get_current_context()["ti"].xcom_push("failure", reason)
        raise
    finally:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        get_current_context()["ti"].xcom_push("processor", sum(each.ru_utime + each.ru_stime for each in used))


@task(execution_timeout=timedelta(minutes=30))
def load_csv_to_s3() -> list[Json]:
    """Upload the CSVs that changed; return the files of each year.

    - **Reads** the folder of CSVs (`data/raw`, or the form's), and the files in the raw bucket.
    - **Writes** `accidents-raw-csv`: a file is uploaded when its SHA-256 is new.
    - **When it fails**, a file is missing, a duplicate or has an unknown name: the message says which. Correct the
      folder, clear this task.
    """
    from include.accidents.pipeline import ingest

    params = _params()
    folder = Path(params["raw_dir"] or Settings().raw_dir)
    years = [int(year) for year in params["years"] or ()]
    return [year.to_json() for year in ingest.load_raw(store(), folder, years, chosen=bool(params["raw_dir"]))]


@task(map_index_template="{{ task.op_kwargs['entry']['year'] }}", execution_timeout=timedelta(minutes=30))
def prepare_data(entry: Json) -> Json:
    """Read, check, link and merge the four files of one year.

    - **Reads** the year's files in `accidents-raw-csv`.
    - **Writes** `accidents-preprocessed-csv`: the year's tables as a version, `df_accidents_{year}.csv` for people.
      A year whose files did not change keeps its version.
    - **When it fails**, a file cannot be read: the message names file, line and column. Correct the file, trigger
      a new run.
    """
    from include.accidents.pipeline import prepare
    from include.accidents.pipeline.contracts import RawYear

    year = RawYear.from_json(entry)
    return prepare.prepare_loaded_year(store(), year, force=_params()["force"]).to_json()


@task(execution_timeout=timedelta(minutes=60), outlets=[CLEAN_DATA])
def clean_data(prepared: list[Json]) -> Json:
    """Make the features of all years, and split them into train_test and global_test by accident.

    - **Reads** the versions that `prepare_data` announced.
    - **Writes** `accidents-train-csv`: the splits as a version, `X_*.csv` and `y_*.csv` for people; and the merged
      and the clean CSV in `accidents-preprocessed-csv`.
    - **When it fails**, a severity has no people in one of the splits: add years.
    """
    from include.accidents.pipeline import clean
    from include.accidents.pipeline.contracts import PreparedYear

    years = [PreparedYear.from_json(year) for year in prepared]
    return clean.clean_data(store(), years, force=_params()["force"]).to_json()


@task(execution_timeout=timedelta(minutes=5))
def load_model_names() -> list[str]:
    """Read the catalogue of models, store it for the later tasks of this run, and return the models' names.

    - **Reads** `include/models.json` (or `ACCIDENTS_MODELS_FILE`) and the form's folds and cap of rows.
    - **Writes** the catalogue as this run uses it to `accidents-models`.
    - **When it fails**, the file has defects: the message lists each with its place. Correct the file, clear this
      task.
    """
    from include.accidents.pipeline import inputs

    stored, params = store(), _params()
    stored.create_buckets()
    names, version = inputs.load_catalogue(
        stored, Settings().models_file, params["models"], folds=params["folds"], max_rows=params["max_rows"]
    )
    get_current_context()["ti"].xcom_push("catalogue", version)
    return names


@task(map_index_template="{{ task.op_kwargs['model_name'] }}", pool=HEAVY, execution_timeout=timedelta(hours=6))
def search_params(model_name: str, data: Json, catalogue: str) -> Json:
    """Plan how many people the model learns from in its time; search its grid by cross-validation on whole accidents.

    - **Reads** `train_test` of this run's data version, and the catalogue that this run stored.
    - **Writes** the plan, and the candidates with their scores, to `accidents-models`.
    - **When it fails**, the model cannot be fitted as the catalogue says, or its `minutes` are too few; the other
      models go on.
    """
    with _reported(model_name):
        from include.accidents.pipeline import search
        from include.accidents.pipeline.contracts import CleanData

        clean = CleanData.from_json(data)
        return search.search_params(store(), model_name, clean, catalogue, force=_params()["force"]).to_json()


@task(map_index_template="{{ task.op_kwargs['searched']['model'] }}", pool=HEAVY, execution_timeout=timedelta(hours=6))
def train_model(searched: Json) -> Json:
    """Fit the model with its best parameters on train_test.

    - **Reads** `train_test` and the parameters that `search_params` found.
    - **Writes** `{model}_model.skops` for services as a version, `{model}_model.pkl` for people.
    - **When it fails**, see the log for the library's reason; the other models go on.
    """
    with _reported(searched["model"]):
        from include.accidents.pipeline import train
        from include.accidents.pipeline.contracts import ModelRun

        return train.train_model(store(), ModelRun.from_json(searched), force=_params()["force"]).to_json()


@task(map_index_template="{{ task.op_kwargs['trained']['model'] }}", pool=HEAVY, execution_timeout=timedelta(hours=6))
def log_model(trained: Json) -> Json:
    """Judge the model, log it to MLflow and register it, signed.

    - **Reads** the trained model, `train_test` for the cross-validation, `global_test` for the test.
    - **Writes** an MLflow run of experiment `Gravite_Accidents` and a version of the registered model; for a model
      with an ONNX copy also `{model}_model.onnx` for people.
    - **When it fails**, MLflow or its store could not be reached (clear the task), or the model predicts NaN.
    """
    with _reported(trained["model"]):
        from include.accidents.pipeline import log
        from include.accidents.pipeline.contracts import ModelRun

        params, key = _params(), Settings().signing_secret()
        return log.log_model(
            store(),
            mlflow_client(),
            ModelRun.from_json(trained),
            get_current_context()["dag_run"].run_id,
            key,
            force=params["force"],
            evaluation=params["evaluation"],
        ).to_json()


@task(map_index_template="{{ task.op_kwargs['logged']['model'] }}", execution_timeout=timedelta(minutes=10))
def reload_model(logged: Json) -> Json:
    """Let the API serve the version that was just registered.

    - **Calls** the API with the key of connection `api`, and checks that it serves exactly this version.
    - **When it fails**, the API is down or refuses the model, and keeps serving the version before. The selection
      does not wait for it. **When it is skipped**, an old run was repeated: the API keeps a later run's model.
    """
    if logged.get("served_version", logged["registered_version"]) != logged["registered_version"]:
        raise AirflowSkipException(f"A later run registered version {logged['served_version']}: the API keeps that.")
    with _reported(logged["model"]):
        from include.accidents.pipeline import services

        return services.reload_model(url("api"), _api_key(), logged["model"], logged["registered_version"])


@task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, execution_timeout=timedelta(minutes=30), outlets=[PROMOTION])
def select_best_model() -> Json:
    """Choose the best model by its weighted score, and promote it when it beats the champion.

    - **Reads** the models that this run registered, even when others failed, and `global_test`.
    - **Writes** a version of `BestModel` with the alias `production` when the gain is more than noise; the run's note.
    - **When it fails**, no model was registered: the message gives each model's reason.
    """
    from include.accidents.pipeline import select
    from include.accidents.pipeline.contracts import CleanData

    context = get_current_context()
    run_id, key = context["dag_run"].run_id, Settings().signing_secret()
    # Pulled here instead of passed in: this task also runs after failed tasks, and reports what is missing.
    names, catalogue, data = (
        context["ti"].xcom_pull(task_ids=task_id, key=xcom)
        for task_id, xcom in (
            ("load_model_names", "return_value"),
            ("load_model_names", "catalogue"),
            ("clean_data", "return_value"),
        )
    )
    if not names or not data:
        raise ModelError("There is no model or no data to select from.", "fix the red task before, and clear it.")
    selected = select.select_best(
        store(),
        mlflow_client(),
        names,
        catalogue,
        CleanData.from_json(data),
        run_id,
        _failures(context["ti"], len(names)),
        key,
        promote=_params()["promote"],
    )
    selected = selected.model_copy(update={"note": f"{selected.note}\n\n{_busy(context, len(names))}"})
    _write_note(run_id, selected.note)
    if selected.promoted:
        context["outlet_events"][PROMOTION].add(PROMOTED_MODEL, extra={"version": selected.production_version})
    return selected.to_json()


@task(execution_timeout=timedelta(minutes=10))
def reload_best_model(selected: Json) -> Json:
    """Let the API serve the model in production.

    - **Calls** the API as `reload_model` does.
    - **When it is skipped**, no model was ever promoted, or the API could not be reached: it follows the registry by
      itself when it is back. **When it fails**, the API refuses the model: see its log.
    """
    import httpx

    from include.accidents.pipeline import services
    from include.accidents.registry.names import BEST

    if selected["production_version"] is None:
        raise AirflowSkipException("No model is in production: this run only compared.")
    try:
        return services.reload_model(url("api"), _api_key(), BEST, selected["production_version"])
    except httpx.TransportError as error:
        context = get_current_context()
        if context["ti"].try_number <= context["ti"].max_tries:
            raise
        hint = f"The API could not be reached ({type(error).__name__}): it will serve the model when it is back."
        _write_note(context["dag_run"].run_id, f"{selected['note']}\n\n{hint}")
        raise AirflowSkipException(hint) from error


def _failures(instance: Any, n_models: int) -> dict[str, str]:
    """Return the reason that each failed instance stored, by model."""
    reasons = {}
    for task_id in ("search_params", "train_model", "log_model", "reload_model"):
        for index in range(n_models):
            failure = instance.xcom_pull(task_ids=task_id, key="failure", map_indexes=index)
            if failure:
                reasons[failure["model"]] = f"{task_id}: {failure['reason']}"
    return reasons


def _busy(context: Any, n_models: int) -> str:
    """Say how many cores the tasks of the models used, on average over the run."""
    spent = [
        context["ti"].xcom_pull(task_ids=task_id, key="processor", map_indexes=index) or 0.0
        for task_id in ("search_params", "train_model", "log_model")
        for index in range(n_models)
    ]
    wall = (datetime.now(UTC) - context["dag_run"].start_date).total_seconds()
    return f"The models' tasks used {sum(spent) / wall:.1f} cores on average ({sum(spent) / 60:.0f} min of processor)."


def _write_note(run_id: str, note: str) -> None:
    """Write the run's note; a failure is logged, and the task goes on."""
    import logging

    import httpx

    from ops.airflow_api import Airflow, AirflowError

    try:
        login = BaseHook.get_connection("airflow_api")
        Airflow(url("airflow_api"), login.login or "", login.password or "").write_note(run_id, note)
    except (httpx.HTTPError, AirflowError, AirflowNotFoundException, ValueError, KeyError) as error:
        logging.getLogger(__name__).warning("The run's note could not be written: %s", error)


@dag(
    dag_id=PIPELINE,
    schedule=None,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params=PARAMS,
    default_args=DEFAULTS,
    doc_md=DOC,
    tags=["accidents", "mlops"],
)
def ml_accidents_pipeline() -> None:
    """Wire the tasks."""

    @task_group(prefix_group_id=False)
    def model(model_name: str, data: Json, catalogue: str) -> None:
        searched: Any = search_params(model_name=model_name, data=data, catalogue=catalogue)
        trained: Any = train_model(searched=searched)
        logged: Any = log_model(trained=trained)
        reload_model(logged=logged)

    # Airflow's `XComArg` stands for what a task returns.
    years: Any = load_csv_to_s3()
    # Airflow shows the docstring of a plain task as its page; for an expanded task, `doc_md` sets it.
    prepared: Any = prepare_data.override(doc_md=prepare_data.function.__doc__).expand(entry=years)
    data: Any = clean_data(prepared)
    names: Any = load_model_names()
    models = model.partial(data=data, catalogue=names["catalogue"]).expand(model_name=names)
    selected: Any = select_best_model()
    [names, data, models] >> selected
    reload_best_model(selected)


ml_accidents_pipeline()
