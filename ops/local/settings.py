"""The settings of the embedded stack, and the places of its files."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.accidents.errors import SettingsError
from ops import envfile

ROOT: Final = Path(__file__).resolve().parents[2]
HOST: Final = "127.0.0.1"
BYTES_OF_A_MODEL: Final = 2 << 30
"""Memory for a task that makes a model, with what Airflow and the services take beside it."""

Port = Annotated[int, Field(ge=1, le=65535)]

#: Service -> (default port, name of its address in the env file).
PORTS: Final = {
    "airflow": (8080, "AIRFLOW_URL"),
    "mlflow": (5000, "MLFLOW_TRACKING_URI"),
    "s3": (9000, "AWS_ENDPOINT_URL"),
    "api": (8000, "ACCIDENTS_API_URL"),
}

#: Characters with a meaning of their own in supervisor's files, in Airflow's settings or in database URLs.
_TROUBLESOME: Final = re.compile(r"""["'`$%#;?&\\\n]""")


class Settings(BaseSettings):
    """Settings from the environment, each with the prefix `ACCIDENTS_`.

    A port that is not set keeps the value of the last start; the first time, it is the default.
    """

    model_config = SettingsConfigDict(env_prefix="ACCIDENTS_", env_ignore_empty=True, frozen=True)

    local_dir: Path = Path(".local")
    raw_dir: Path = Path("data/raw")
    models_file: str = "include/models.json"
    airflow_port: Port | None = None
    mlflow_port: Port | None = None
    s3_port: Port | None = None
    api_port: Port | None = None

    @cached_property
    def folder(self) -> Path:
        """The one folder that the stack writes to."""
        return ROOT / self.local_dir

    @property
    def env_file(self) -> Path:
        """Addresses and logins of the running stack."""
        return self.folder / "env"

    @property
    def logs(self) -> Path:
        """Folder of the services' logs, a file each."""
        return self.folder / "logs"

    @property
    def airflow_home(self) -> Path:
        """Airflow's own folder: database, task logs, secrets."""
        return self.folder / "airflow"

    @cached_property
    def ports(self) -> dict[str, int]:
        """The port of each service of `PORTS`."""
        saved = envfile.read(self.env_file)
        return {
            service: getattr(self, f"{service}_port") or _port_of(saved.get(name)) or usual
            for service, (usual, name) in PORTS.items()
        }


def load() -> Settings:
    """Read the settings from the environment.

    Returns
    -------
    The checked settings: no two services have the same port.

    Raises
    ------
    SettingsError
        If a value cannot be used, or the folders have names that the services cannot take.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        detail = error.errors()[0]
        name = f"ACCIDENTS_{'_'.join(map(str, detail['loc']))}".upper()
        raise SettingsError(
            f"{name} is {detail['input']!r}: {detail['msg'].lower()}.",
            f"set {name} to a valid value or unset it.",
        ) from error
    for folder in (ROOT, settings.folder):
        if match := _TROUBLESOME.search(str(folder)):
            raise SettingsError(
                f"The path {folder} holds the character {match.group()!r}, which the services cannot take.",
                "move the project to (or set ACCIDENTS_LOCAL_DIR to) a folder without it.",
            )
    _check_distinct(settings.ports)
    return settings


def cores() -> int:
    """Count the processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def model_slots() -> int:
    """Return how many models may be made at a time: one a core, as many as the memory holds, one at least."""
    import psutil

    return max(1, min(cores(), psutil.virtual_memory().total // BYTES_OF_A_MODEL))


def variable(service: str) -> str:
    """Return the name of the environment variable that sets the port of a service."""
    return f"ACCIDENTS_{service.upper()}_PORT"


def _port_of(url: str | None) -> int | None:
    return urlsplit(url).port if url else None


def _check_distinct(ports: dict[str, int]) -> None:
    owner: dict[int, str] = {}
    for service, port in ports.items():
        if port in owner:
            raise SettingsError(
                f"{variable(service)} and {variable(owner[port])} are both {port}.",
                "give each service its own port.",
            )
        owner[port] = service
