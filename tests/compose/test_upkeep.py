"""What the compose stack has stored outlives an upgrade, and, with a backup, the loss of its volumes."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import httpx

from api.schemas.scenes import EXAMPLE
from tests.compose.running import Compose


def test_data_survive_down_a_rebuilt_image_and_up(stack: Compose, first: str) -> None:
    stored, version, runs = stack.objects(), stack.production(), runs_of(stack)
    image = stack.containers("airflow-scheduler")[0]["Image"]
    down = stack.stack("down")
    assert down.returncode == 0, down.stderr
    stack.docker("build", "--build-arg", "VERSION=later")
    stack.up("--scale", "worker=1", "--scale", "api=1")
    assert stack.containers("airflow-scheduler")[0]["Image"] != image
    assert stack.airflow().run(first)["state"] == "success"
    assert stored.items() <= stack.objects().items()
    assert (stack.production(), runs_of(stack)) == (version, runs)
    assert served(stack) == version


def test_a_backup_brings_everything_back_after_the_volumes_are_gone(stack: Compose, first: str, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    saved = stack.stack("backup", str(folder))
    assert saved.returncode == 0, saved.stderr
    stored, version, runs = stack.objects(), stack.production(), runs_of(stack)
    assert len(stored) > 50
    gone = stack.stack("down", "--volumes")
    assert gone.returncode == 0, gone.stderr
    secrets = stack.env_file.read_text()
    stack.env_file.unlink()
    restored = stack.stack("restore", str(folder))
    assert restored.returncode == 0, f"{restored.stdout[-3000:]}\n{restored.stderr[-3000:]}\n{stack.report()}"
    assert stack.env_file.read_text() == secrets
    assert stat.S_IMODE(stack.env_file.stat().st_mode) == 0o600
    assert stack.objects() == stored
    assert (stack.production(), runs_of(stack)) == (version, runs)
    airflow = stack.airflow()
    assert airflow.run(first)["state"] == "success"
    assert airflow.log(first, airflow.task_instances(first)[0])
    assert served(stack) == version
    again = stack.run_dag()  # nothing has changed for the pipeline: it finds all that it made
    assert {each.state for each in airflow.task_instances(again)} == {"success"}
    assert stored.keys() <= stack.objects().keys()


def test_a_damaged_backup_is_refused_before_anything_stops(stack: Compose, first: str, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    assert stack.stack("backup", str(folder)).returncode == 0
    damaged = folder / "airflow.dump"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    refused = stack.stack("restore", str(folder))
    assert refused.returncode == 1
    assert "is damaged" in refused.stderr
    assert stack.airflow().run(first)["state"] == "success"


def served(stack: Compose) -> str:
    """The version that the API answers with, as soon as it has one."""
    deadline = time.monotonic() + 30
    while (answer := stack.predict(EXAMPLE)).status_code != httpx.codes.OK:
        assert time.monotonic() < deadline, answer.text
        time.sleep(1)
    return str(answer.json()["model"]["version"])


def runs_of(stack: Compose) -> set[tuple[str, str]]:
    """Id and name of every run in MLflow's experiment."""
    with stack.mlflow() as mlflow:
        named = {"experiment_name": "Gravite_Accidents"}
        found = mlflow.get("/api/2.0/mlflow/experiments/get-by-name", params=named).raise_for_status().json()
        body = {"experiment_ids": [found["experiment"]["experiment_id"]], "max_results": 1000}
        runs = mlflow.post("/api/2.0/mlflow/runs/search", json=body).raise_for_status().json()["runs"]
    return {(each["info"]["run_id"], each["info"]["run_name"]) for each in runs}
