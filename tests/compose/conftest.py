"""The compose stack, built and started for real under a project name, ports and volumes of its own.

Collected only when asked for by name (`make test-compose`): it needs a Docker Engine and takes its time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from compose.demo import clients
from embedded import envfile
from include.accidents.sample import write_sample
from tests.helpers import free_ports

ROOT = Path(__file__).resolve().parents[2]
STACK = str(ROOT / "compose" / "stack.sh")
PORTS = ("AIRFLOW", "MLFLOW", "S3", "CONSOLE", "API")


def pytest_sessionstart(session: pytest.Session) -> None:
    if not any("compose" in arg for arg in session.config.args):
        return
    for command, missing in (
        (["docker", "info"], "a Docker Engine that answers"),
        (["docker", "compose", "version"], "Compose v2"),
    ):
        if shutil.which("docker") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.exit(f"These tests need {missing}: install and start it, or leave them to a machine that has it.", 1)


@dataclass(frozen=True)
class Compose:
    """The stack of one env file."""

    folder: Path
    project: str

    @property
    def env_file(self) -> Path:
        return self.folder / "env"

    @property
    def environ(self) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith(("ACCIDENTS_", "AIRFLOW_", "COMPOSE_"))},
            "ACCIDENTS_ENV_FILE": str(self.env_file),
            "COMPOSE_PROJECT_NAME": self.project,
        }

    def stack(self, *arguments: str, timeout: int = 600, **environ: str) -> subprocess.CompletedProcess[str]:
        """One of the commands behind make."""
        return subprocess.run(
            [STACK, *arguments],
            env=self.environ | environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def docker(self, *arguments: str, timeout: int = 300, check: bool = True) -> str:
        """`docker compose …`; its output."""
        command = ["docker", "compose", "--env-file", str(self.env_file), *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environ, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def containers(self, service: str) -> list[dict[str, Any]]:
        """What Docker knows of the running containers of a service."""
        ids = self.docker("ps", "--quiet", service).split()
        return list(json.loads(docker("inspect", *ids))) if ids else []

    def run_in(self, container: dict[str, Any], *command: str) -> str:
        """The output of a command in a container."""
        return docker("exec", container["Id"], *command)

    def set(self, **values: str) -> None:
        """Change lines of the env file."""
        names = tuple(f"{name}=" for name in values)
        kept = [line for line in self.env_file.read_text().splitlines() if not line.startswith(names)]
        self.env_file.write_text("\n".join([*kept, *(f"{k}={v}" for k, v in values.items())]) + "\n")

    @property
    def clients(self) -> dict[str, str]:
        """Addresses and logins."""
        return clients(envfile.read(self.env_file))

    def s3(self) -> Any:
        said = self.clients
        return boto3.client(
            "s3",
            endpoint_url=said["AWS_ENDPOINT_URL"],
            aws_access_key_id=said["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=said["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )

    def mlflow(self) -> httpx.Client:
        said = self.clients
        login = (said["MLFLOW_TRACKING_USERNAME"], said["MLFLOW_TRACKING_PASSWORD"])
        return httpx.Client(base_url=said["MLFLOW_TRACKING_URI"], auth=login, timeout=30, trust_env=False)


def docker(*arguments: str) -> str:
    """`docker …`; its output."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)  # noqa: S607
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make(folder: Path, project: str, **settings: str) -> Compose:
    """An env file as `make env` writes it, with free ports and an input of its own."""
    made = Compose(folder, project)
    written = made.stack("env")
    assert written.returncode == 0, written.stderr
    ports = {f"ACCIDENTS_{s}_PORT": str(p) for s, p in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    made.set(ACCIDENTS_TAG="test", **ports, **settings)
    return made


def up(stack: Compose, *options: str) -> None:
    done = stack.stack("up", *options, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr + stack.docker("ps", "--all", check=False)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """The whole stack with two Celery workers and two replicas of the API."""
    folder = tmp_path_factory.mktemp("compose")
    folder.chmod(0o755)
    (folder / "raw").mkdir()
    write_sample(folder / "raw", years=(2022, 2023), accidents_per_year=1500)
    (folder / "catalogue").mkdir()
    write_catalogue(folder / "catalogue" / "models.json")
    made = make(
        folder,
        f"accidents-test-{os.getpid()}",
        COMPOSE_PROFILES="celery",
        ACCIDENTS_RAW_DIR=str(folder / "raw"),
        ACCIDENTS_CATALOGUE_DIR=str(folder / "catalogue"),
        ACCIDENTS_MODEL_SLOTS="4",
        ACCIDENTS_TASK_MEMORY="3g",
    )
    try:
        up(made, "--build", "--scale", "worker=2", "--scale", "api=2")
        yield made
    finally:
        made.stack("down", "--volumes", "--timeout", "5")


def write_catalogue(path: Path, leaves: Sequence[int] = (5, 10, 20, 40)) -> None:
    """Four small models, enough for two workers with two tasks each."""
    tree = "sklearn.tree.DecisionTreeClassifier"
    models = {
        f"Tree{leaf}": {
            "pipeline": [["clf", {"class": tree, "params": {"max_depth": 5, "min_samples_leaf": leaf}}]],
            "param_grid": {"clf__max_depth": [3, 5]},
        }
        for leaf in leaves
    }
    path.write_text(json.dumps({"defaults": {"evaluation_folds": 2, "search_folds": 2}, "models": models}))
