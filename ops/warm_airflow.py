"""Become one of Airflow's commands with the tasks' libraries loaded: `python -m ops.warm_airflow scheduler`.

Where tasks run (LocalExecutor beside the scheduler, a Celery worker), each is forked from the process that was started.
What that has imported, no task imports again: two to four seconds for each of them, four tasks a model. Modules of the
project are left out, so that a task runs the code as it is on the disk, without a restart.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Final

#: skops looks through all that is loaded, so Airflow, whose old names warn when they are looked at, comes after it.
LIBRARIES: Final = (
    "holidays",
    "matplotlib.backends.backend_agg",
    "mlflow.artifacts",
    "mlflow.models",
    "mlflow.pyfunc",
    "mlflow.sklearn",
    "mlflow.tracking.context.registry",
    "PIL.PngImagePlugin",
    "pyarrow.csv",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "pyarrow.parquet",
    "pydantic_settings",
    "scipy.stats",
    "sklearn.calibration",
    "sklearn.ensemble",
    "sklearn.metrics",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "skops.io",
)
AIRFLOW: Final = (
    "airflow.jobs.scheduler_job_runner",
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.sdk.execution_time.task_runner",
    "boto3.s3.inject",
    "boto3.s3.transfer",
)


def load() -> None:
    """Import what tasks import."""
    for name in (*LIBRARIES, *AIRFLOW):
        importlib.import_module(name)
    # Airflow's hook for AWS looks at the stack, for which Python goes through the files of all modules: 0.4 s the first
    # time, and of what is known then nothing later.
    inspect.stack()


def main(command: list[str]) -> None:
    """Load the libraries, then do as `airflow` does."""
    load()
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", *command]
    airflow()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(sys.argv[1:])
