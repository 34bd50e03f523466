"""A compose stack under a project name, ports and volumes of its own, and what a test asks of it."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx

from include.accidents.pipeline.names import PIPELINE
from ops import envfile
from ops.airflow_api import Airflow
from ops.compose.demo import clients

ROOT = Path(__file__).resolve().parents[2]
PORTS = ("AIRFLOW", "MLFLOW", "S3", "CONSOLE", "API")
LAST_LINES = 40
SERVICES = {
    *("postgres", "redis", "minio", "mlflow", "api", "nginx", "worker"),
    *(f"airflow-{part}" for part in ("api-server", "scheduler", "dag-processor", "triggerer")),
}

Done = subprocess.CompletedProcess[str]


@dataclass
class Compose:
    """The stack of one env file."""

    folder: Path
    project: str

    @property
    def env_file(self) -> Path:
        return self.folder / "env"

    def environ(self, **more: str) -> dict[str, str]:
        ours = ("ACCIDENTS_", "AIRFLOW_", "COMPOSE_")
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "ACCIDENTS_ENV_FILE": str(self.env_file),
            "COMPOSE_PROJECT_NAME": self.project,
            **more,
        }

    def stack(self, *arguments: str, timeout: int = 1200, **environ: str) -> Done:
        """One of the commands behind make."""
        return run(str(ROOT / "ops" / "compose" / "stack.sh"), *arguments, env=self.environ(**environ), timeout=timeout)

    def demo(self) -> str:
        """What `make compose-demo` shows."""
        done = run(sys.executable, "-m", "ops.compose.demo", env=self.environ(COLUMNS="200"), timeout=1800)
        assert done.returncode == 0, f"{done.stdout[-5000:]}\n{done.stderr[-5000:]}\n{self.report()}"
        return done.stdout

    def up(self, *options: str) -> None:
        done = self.stack("up", *options)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr}\n{self.report()}"

    def docker(self, *arguments: str, check: bool = True) -> str:
        """`docker compose …`; its output."""
        done = run("docker", "compose", "--env-file", str(self.env_file), *arguments, env=self.environ())
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def containers(self, service: str, *, all_of_them: bool = False) -> list[dict[str, Any]]:
        """What Docker knows of the containers of a service; of those that run, unless asked for all."""
        ids = self.docker("ps", "--quiet", *(["--all"] if all_of_them else []), service).split()
        return list(json.loads(docker("inspect", *ids))) if ids else []

    def report(self) -> str:
        """All containers, and what those wrote last that are not well."""
        sick = {
            each["Service"]
            for each in map(json.loads, self.docker("ps", "--all", "--format", "json", check=False).splitlines())
            if each["Health"] not in ("", "healthy") or each["ExitCode"]
        }
        logs = [self.docker("logs", "--no-color", f"--tail={LAST_LINES}", name, check=False) for name in sorted(sick)]
        return "\n".join([self.docker("ps", "--all", check=False), *logs])

    def set(self, **values: str) -> None:
        """Change lines of the env file."""
        names = tuple(f"{name}=" for name in values)
        kept = [line for line in self.env_file.read_text().splitlines() if not line.startswith(names)]
        self.env_file.write_text("\n".join([*kept, *(f"{k}={v}" for k, v in values.items())]) + "\n")

    @property
    def clients(self) -> dict[str, str]:
        """Addresses and logins."""
        return clients(envfile.read(self.env_file))

    def airflow(self) -> Airflow:
        said = self.clients
        airflow = Airflow(said["AIRFLOW_URL"], said["AIRFLOW_USER"], said["AIRFLOW_PASSWORD"])
        airflow._http.timeout = httpx.Timeout(60)  # two cores that train models answer slowly
        return airflow

    def mlflow(self) -> httpx.Client:
        said = self.clients
        login = (said["MLFLOW_TRACKING_USERNAME"], said["MLFLOW_TRACKING_PASSWORD"])
        return httpx.Client(base_url=said["MLFLOW_TRACKING_URI"], auth=login, timeout=30, trust_env=False)

    def predict(self, scene: Mapping[str, Any]) -> httpx.Response:
        return httpx.post(f"{self.clients['ACCIDENTS_API_URL']}/api/v1/predict", json=scene, timeout=30)

    def production(self) -> str:
        """The version of the model in production."""
        with self.mlflow() as mlflow:
            alias = {"name": "BestModel", "alias": "production"}
            found = mlflow.get("/api/2.0/mlflow/registered-models/alias", params=alias).raise_for_status().json()
        return str(found["model_version"]["version"])

    def objects(self) -> dict[str, str]:
        """ETag of every object."""
        said = self.clients
        s3 = boto3.client(
            "s3",
            endpoint_url=said["AWS_ENDPOINT_URL"],
            aws_access_key_id=said["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=said["AWS_SECRET_ACCESS_KEY"],
            region_name="us-east-1",
        )
        return {
            f"{bucket['Name']}/{entry['Key']}": entry["ETag"]
            for bucket in s3.list_buckets()["Buckets"]
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"])
            for entry in page.get("Contents", [])
        }

    def wait_for_run(self, run_id: str, seconds: int = 900) -> str:
        """The state in which a run of the DAG ends; an api-server that is away for a while is waited for."""
        airflow, deadline, state = self.airflow(), time.monotonic() + seconds, "unknown"
        while state not in ("success", "failed"):
            assert time.monotonic() < deadline, f"run {run_id} is still {state}: {airflow.task_instances(run_id)}"
            time.sleep(2)
            try:
                state = str(airflow.run(run_id)["state"])
            except httpx.HTTPError as error:
                state = f"unknown ({error})"
        return state

    def run_dag(self, **conf: Any) -> str:
        """Trigger the DAG as soon as Airflow knows it; the run's id once it has ended well."""
        airflow, deadline = self.airflow(), time.monotonic() + 120
        while airflow.dag() is None:
            assert time.monotonic() < deadline, "Airflow does not know the DAG"
            time.sleep(1)
        run_id = airflow.trigger(conf)
        state = self.wait_for_run(run_id)
        assert state == "success", self.failures(run_id)
        return run_id

    def failures(self, run_id: str) -> dict[str, str]:
        """The end of the log of each task instance that failed."""
        airflow = self.airflow()
        return {
            f"{each.task_id} {each.label}": json.dumps(airflow.log(run_id, each)[-LAST_LINES:])
            for each in airflow.task_instances(run_id)
            if each.state == "failed"
        }

    def hosts(self, run_id: str) -> dict[str, set[str]]:
        """The containers in which the instances of each task ran."""
        path = f"/api/v2/dags/{PIPELINE}/dagRuns/{run_id}/taskInstances"
        found: dict[str, set[str]] = {}
        for each in self.airflow()._get(path, params={"limit": 200})["task_instances"]:
            found.setdefault(each["task_id"], set()).add(each["hostname"])
        return found


def run(*command: str, env: Mapping[str, str] | None = None, timeout: int = 600) -> Done:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def docker(*arguments: str) -> str:
    """`docker …`; its output."""
    done = run("docker", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def inspect(container: str) -> dict[str, Any]:
    """What Docker knows of a container."""
    return dict(json.loads(docker("inspect", container))[0])


def make(folder: Path, project: str, **settings: str) -> Compose:
    """An env file as `make env` writes it, with free ports."""
    made = Compose(folder, project)
    written = made.stack("env")
    assert written.returncode == 0, written.stderr
    ports = {f"ACCIDENTS_{s}_PORT": str(p) for s, p in zip(PORTS, lasting_ports(len(PORTS)), strict=True)}
    made.set(ACCIDENTS_TAG="test", **ports, **settings)
    return made


def lasting_ports(count: int) -> list[int]:
    """Free ports in a row, as S3's and its console's usually are, below those that the kernel gives to anybody.

    They are still free when an image was built first.
    """
    while True:
        first = random.randrange(20000, 32000)  # noqa: S311
        ports = list(range(first, first + count))
        if all(map(_is_free, ports)):
            return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
