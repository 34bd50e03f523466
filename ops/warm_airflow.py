"""Runs a command of Airflow with the tasks' libraries loaded: `python -m ops.warm_airflow scheduler`.

Each task is forked from the process that runs tasks (the scheduler with LocalExecutor, or a Celery worker). Tasks need
not import again what that process has imported: this saves two to four seconds a task, with four tasks a model. The
project's modules are left out, so that a task runs the code on the disk, without a restart.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import Final

#: skops inspects all loaded modules, and Airflow's old names warn when they are inspected: so Airflow is loaded later.
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
    """Import the libraries that tasks import."""
    for name in (*LIBRARIES, *AIRFLOW):
        importlib.import_module(name)
    # Airflow's hook for AWS inspects the stack. The first time, Python looks at the files of all modules (0.4 s); later
    # they are cached.
    inspect.stack()


def main(command: list[str]) -> None:
    """Load the libraries, then run `airflow`."""
    load()
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", *command]
    airflow()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(sys.argv[1:])
