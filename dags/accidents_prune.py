"""Remove old versions of objects and old MLflow runs, by a rule that the user sets.

The rule is the number of newest versions to keep of each kind (a year, the clean data, a model); without a number
everything is kept. What the model in production and its last three predecessors need is always kept. The first run
only plans: read its log, then trigger again with `dry_run` off, while the pipeline does not run.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from dags.common import DEFAULTS, mlflow_client, store
from include.accidents.pipeline.names import PRUNE

Json = dict[str, Any]

PARAMS = {
    "keep_last": Param(
        None,
        type=["null", "integer"],
        minimum=1,
        title="Versions to keep",
        description="The number of newest ones of each kind; empty: keep everything.",
    ),
    "dry_run": Param(True, type="boolean", title="Only plan", description="Off: remove what the plan lists, for good."),
}


@task(execution_timeout=timedelta(minutes=30))
def plan_removal() -> Json:
    """List what the rule would remove.

    - **Reads** the versions in the buckets, and the runs and models in MLflow.
    - **When it fails**, the S3 server or MLflow cannot be reached: clear the task.
    """
    from include.accidents.pipeline import prune

    return prune.plan(store(), mlflow_client(), get_current_context()["params"]["keep_last"]).to_json()


@task(execution_timeout=timedelta(hours=1))
def remove_planned(planned: Json) -> None:
    """Remove what the plan lists.

    - **Writes** nothing; removes versions, registered models' versions and runs.
    - **When it is skipped**, `dry_run` is on. **When it fails**, clear it: it goes on where it stopped.
    """
    from include.accidents.pipeline import prune
    from include.accidents.pipeline.contracts import Removal

    if get_current_context()["params"]["dry_run"]:
        raise AirflowSkipException("Nothing is removed: dry_run is on. See the plan in the log of plan_removal.")
    prune.remove(store(), mlflow_client(), Removal.from_json(planned))


@dag(
    dag_id=PRUNE,
    schedule=None,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params=PARAMS,
    default_args=DEFAULTS,
    doc_md=__doc__,
    tags=["accidents", "upkeep"],
)
def accidents_prune() -> None:
    """Wire the tasks."""
    planned: Any = plan_removal()
    remove_planned(planned)


accidents_prune()
