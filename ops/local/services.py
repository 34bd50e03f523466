"""The services of the stack: how each is started, and with which environment."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from include.accidents.errors import SettingsError
from ops.local import environment
from ops.local.environment import Known
from ops.local.settings import HOST, Settings

#: Airflow's parts, which need its database. Without a triggerer: no task of the project defers itself.
SCHEDULER: Final = "airflow-scheduler"
AIRFLOW: Final = ("airflow-api-server", SCHEDULER, "airflow-dag-processor")


@dataclass(frozen=True)
class Service:
    """A process under the supervisor."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    address: str = ""

    @property
    def is_airflow(self) -> bool:
        """Return whether it needs Airflow's database."""
        return self.name in AIRFLOW


def define(settings: Settings, known: Known) -> tuple[Service, ...]:
    """Define the services of the stack.

    Parameters
    ----------
    settings
        Ports and folders.
    known
        Addresses and secrets.

    Returns
    -------
    The services, in the order in which they are shown.
    """
    env = known.env
    common = environment.common(settings)
    airflow = common | environment.airflow(settings, known.airflow)
    ours = environment.settings_of_the_project(env)
    python = (sys.executable, "-m")
    return (
        Service("s3", _rclone(settings), common | environment.s3(settings, known), env["AWS_ENDPOINT_URL"]),
        Service(
            "mlflow",
            (*python, *_mlflow(settings)),
            common | ours | environment.mlflow(settings, known),
            env["MLFLOW_TRACKING_URI"],
        ),
        Service("api", (*python, *_uvicorn(settings)), common | environment.api(env), env["ACCIDENTS_API_URL"]),
        Service("airflow-api-server", (*python, "airflow", "api-server"), airflow | ours, env["AIRFLOW_URL"]),
        # The api-server reads the tasks' logs from the disk; serving them would open a port to the network.
        Service(
            SCHEDULER,
            (*python, "ops.warm_airflow", "scheduler", "--skip-serve-logs"),
            airflow | environment.tasks(settings, env),
        ),
        Service(
            "airflow-dag-processor",
            (*python, "airflow", "dag-processor"),
            airflow | ours,
        ),
    )


def rclone() -> str:
    """Find the program `rclone`.

    Returns
    -------
    Its path: beside this Python, or else on the PATH.

    Raises
    ------
    SettingsError
        If it is not installed.
    """
    scripts = sysconfig.get_path("scripts")
    program = shutil.which("rclone", path=scripts) or shutil.which("rclone")
    if not program:
        raise SettingsError(
            f"The program rclone is neither in {scripts} nor on the PATH.", "run `make up` or install it."
        )
    return program


def _rclone(settings: Settings) -> tuple[str, ...]:
    address = f"{HOST}:{settings.ports['s3']}"
    return (
        *(rclone(), "serve", "s3", "--addr", address),
        *("--auth-proxy", f"{Path(sys.executable).name} -m ops.local.s3_keys"),
        # What one pair of keys wrote is visible to the others after this time; a shorter one makes requests slow.
        *("--dir-cache-time", "100ms"),
    )


def _mlflow(settings: Settings) -> tuple[str, ...]:
    return ("ops.mlflow_server", "--host", HOST, "--port", str(settings.ports["mlflow"]))


def _uvicorn(settings: Settings) -> tuple[str, ...]:
    return (
        "uvicorn",
        "--factory",
        "api.app:create_app",
        "--host",
        HOST,
        "--port",
        str(settings.ports["api"]),
    )
