"""The compose stack as a team uses it: two workers, two replicas of the API, an upgrade, a disaster."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.scenes import EXAMPLE
from embedded.airflow_api import DAG_ID, Airflow
from tests.compose.conftest import Compose, docker, make, up

MODELS = {"Tree5", "Tree10", "Tree20", "Tree40"}
SERVICES = {
    *("postgres", "redis", "minio", "mlflow", "api", "nginx", "worker"),
    *(f"airflow-{part}" for part in ("api-server", "scheduler", "dag-processor", "triggerer")),
}
#: What a replica of the API says of itself, asked from inside its container.
ASK = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000{}').read().decode())"


def connect(stack: Compose) -> Airflow:
    said = stack.clients
    airflow = Airflow(said["AIRFLOW_URL"], said["AIRFLOW_USER"], said["AIRFLOW_PASSWORD"])
    airflow._http.timeout = httpx.Timeout(60)  # two cores that train models answer slowly
    return airflow


def wait_for_run(airflow: Airflow, run_id: str, seconds: int = 600) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        state = str(airflow.run(run_id)["state"])
        if state in ("success", "failed"):
            return state
        time.sleep(2)
    raise TimeoutError(f"run {run_id} is still {state}: {airflow.task_instances(run_id)}")


def run_dag(stack: Compose, **conf: Any) -> str:
    """Trigger the DAG as soon as Airflow knows it; the run's id once it has ended well."""
    airflow = connect(stack)
    deadline = time.monotonic() + 120
    while airflow.dag() is None and time.monotonic() < deadline:
        time.sleep(1)
    run_id = airflow.trigger(conf)
    state = wait_for_run(airflow, run_id)
    assert state == "success", [each for each in airflow.task_instances(run_id) if each.state != "success"]
    return run_id


def production(stack: Compose) -> str:
    with stack.mlflow() as mlflow:
        alias = {"name": "BestModel", "alias": "production"}
        found = mlflow.get("/api/2.0/mlflow/registered-models/alias", params=alias).raise_for_status().json()
    return str(found["model_version"]["version"])


def objects(stack: Compose) -> dict[str, str]:
    """ETag of every object."""
    s3 = stack.s3()
    return {
        f"{bucket['Name']}/{entry['Key']}": entry["ETag"]
        for bucket in s3.list_buckets()["Buckets"]
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"])
        for entry in page.get("Contents", [])
    }


def hosts(stack: Compose, run_id: str) -> dict[str, set[str]]:
    """The containers in which the instances of each task ran."""
    airflow = connect(stack)
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances"
    found: dict[str, set[str]] = {}
    for each in airflow._get(path, params={"limit": 200})["task_instances"]:
        found.setdefault(each["task_id"], set()).add(each["hostname"])
    return found


@pytest.fixture(scope="module")
def first(stack: Compose) -> str:
    """The first run of the DAG."""
    return run_dag(stack)


def test_every_service_is_healthy_limited_and_asks_to_be_restarted(stack: Compose) -> None:
    running = {service: stack.containers(service) for service in SERVICES}
    for service, containers in running.items():
        assert containers, f"{service} does not run"
        for each in containers:
            assert each["State"]["Health"]["Status"] == "healthy", service
            host = each["HostConfig"]
            assert host["RestartPolicy"]["Name"] == "unless-stopped"
            assert host["Memory"] > 0
            assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert len(running["worker"]) == len(running["api"]) == 2


def test_ports_are_published_on_the_machine_itself_alone(stack: Compose) -> None:
    published = [
        binding
        for service in SERVICES
        for container in stack.containers(service)
        for bindings in container["HostConfig"]["PortBindings"].values()
        for binding in bindings
    ]
    assert len(published) == 5
    assert {each["HostIp"] for each in published} == {"127.0.0.1"}


def test_our_images_run_without_root_and_the_apis_holds_no_airflow(stack: Compose) -> None:
    for service in ("api", "mlflow", "worker", "airflow-scheduler"):
        (container, *_) = stack.containers(service)
        assert stack.run_in(container, "id", "-u").strip() != "0", service
    (api, *_) = stack.containers("api")
    assert stack.run_in(api, "python", "-c", "import importlib.util as i; print(i.find_spec('airflow'))") == "None\n"


def test_mlflow_and_airflow_ask_for_a_login(stack: Compose) -> None:
    said = stack.clients
    with stack.mlflow() as mlflow:
        assert mlflow.post("/api/2.0/mlflow/experiments/search", json={"max_results": 1}).status_code == 200
        stranger = httpx.post(f"{mlflow.base_url}api/2.0/mlflow/experiments/search", json={"max_results": 1})
    assert stranger.status_code == 401
    assert httpx.get(f"{said['AIRFLOW_URL']}/api/v2/dags").status_code == 401
    wrong = {"username": "admin", "password": "admin"}
    assert httpx.post(f"{said['AIRFLOW_URL']}/auth/token", json=wrong).status_code == 401


def test_connections_and_pools_are_those_of_the_file(stack: Compose) -> None:
    airflow = connect(stack)
    found = {each["connection_id"]: each for each in airflow._get("/api/v2/connections")["connections"]}
    assert {"minio", "mlflow", "api", "airflow_api"} == found.keys()
    assert (found["mlflow"]["host"], found["mlflow"]["port"]) == ("mlflow", 5000)
    assert airflow._get("/api/v2/pools/models")["slots"] == 4


def test_mapped_models_run_on_both_workers(stack: Compose, first: str) -> None:
    ran = hosts(stack, first)
    workers = {each["Config"]["Hostname"] for each in stack.containers("worker")}
    assert len(workers) == 2
    mapped = set.union(*(ran[task] for task in ("search_params", "train_model", "log_model")))
    assert mapped == workers


def test_every_tasks_log_is_read_from_s3(stack: Compose, first: str) -> None:
    instances, deadline = connect(stack).task_instances(first), time.monotonic() + 60
    while True:  # the last task's log is written after its end is known
        kept = [key for key in objects(stack) if key.startswith("airflow-logs/") and first in key]
        if len(kept) >= len(instances):
            break
        assert time.monotonic() < deadline, kept
        time.sleep(1)
    for each in instances:
        entries = connect(stack).log(first, each)
        sources = json.dumps(entries[:3])
        assert "s3://airflow-logs" in sources, sources


def test_both_replicas_serve_the_promoted_version(stack: Compose, first: str) -> None:
    replicas = stack.containers("api")
    assert len(replicas) == 2
    wanted, deadline = {"BestModel": production(stack)} | dict.fromkeys(MODELS, "1"), time.monotonic() + 30
    for replica in replicas:
        served: dict[str, str] = {}
        while served != wanted and time.monotonic() < deadline:
            found = json.loads(stack.run_in(replica, "python", "-c", ASK.format("/api/v1/models")))
            served = {each["name"]: each["version"] for each in found}
            time.sleep(0.5)
        assert served == wanted


def test_nginx_spreads_requests_and_survives_the_loss_of_a_replica(stack: Compose, first: str) -> None:
    url = f"{stack.clients['ACCIDENTS_API_URL']}/api/v1/predict"
    for _ in range(40):
        answer = httpx.post(url, json=EXAMPLE, timeout=30)
        assert answer.json()["model"]["version"] == production(stack) if _ == 0 else answer.status_code == 200
    asked = [_requests(each) for each in stack.containers("api")]
    assert all(count >= 5 for count in asked), asked
    lost = stack.containers("api")[0]
    docker("stop", "--time", "1", lost["Id"])
    try:
        assert {httpx.post(url, json=EXAMPLE, timeout=30).status_code for _ in range(20)} == {200}
    finally:
        docker("start", lost["Id"])


def _requests(replica: dict[str, Any]) -> int:
    """How many predictions a replica's log tells of."""
    return docker("logs", replica["Id"]).count("POST /api/v1/predict")


def test_starting_again_changes_nothing(stack: Compose, first: str) -> None:
    before = {service: [each["Id"] for each in stack.containers(service)] for service in SERVICES}
    up(stack, "--scale", "worker=2", "--scale", "api=2")
    assert {service: [each["Id"] for each in stack.containers(service)] for service in SERVICES} == before
    assert connect(stack).run(first)["state"] == "success"


def test_data_survive_down_a_rebuilt_image_and_up(stack: Compose, first: str) -> None:
    stored, version = objects(stack), production(stack)
    image = stack.containers("airflow-scheduler")[0]["Image"]
    down = stack.stack("down")
    assert down.returncode == 0, down.stderr
    stack.docker("build", "--build-arg", "VERSION=later", timeout=600)
    up(stack, "--scale", "worker=2", "--scale", "api=2")
    assert stack.containers("airflow-scheduler")[0]["Image"] != image
    assert connect(stack).run(first)["state"] == "success"
    assert stored.items() <= objects(stack).items()
    assert production(stack) == version
    again = run_dag(stack)  # nothing has changed for the pipeline: it finds all that it made
    states = {each.state for each in connect(stack).task_instances(again)}
    assert states == {"success"}


def test_a_backup_brings_everything_back_after_the_volumes_are_gone(stack: Compose, first: str, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    saved = stack.stack("backup", str(folder))
    assert saved.returncode == 0, saved.stderr
    stored, version = objects(stack), production(stack)
    assert len(stored) > 50
    with stack.mlflow() as mlflow:
        runs = _runs(mlflow)
    gone = stack.stack("down", "--volumes")
    assert gone.returncode == 0, gone.stderr
    secrets = stack.env_file.read_text()
    stack.env_file.unlink()
    restored = stack.stack("restore", str(folder), timeout=600)
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert stack.env_file.read_text() == secrets
    assert stat.S_IMODE(stack.env_file.stat().st_mode) == 0o600
    assert objects(stack) == stored
    assert production(stack) == version
    with stack.mlflow() as mlflow:
        assert _runs(mlflow) == runs
    airflow = connect(stack)
    assert airflow.run(first)["state"] == "success"
    assert airflow.log(first, airflow.task_instances(first)[0])
    url, deadline = f"{stack.clients['ACCIDENTS_API_URL']}/api/v1/predict", time.monotonic() + 30
    while (answer := httpx.post(url, json=EXAMPLE, timeout=30)).status_code != 200 and time.monotonic() < deadline:
        time.sleep(1)
    assert answer.json()["model"]["version"] == version
    damaged = folder / "airflow.dump"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    refused = stack.stack("restore", str(folder))
    assert refused.returncode == 1
    assert "is damaged" in refused.stderr


def _runs(mlflow: httpx.Client) -> set[tuple[str, str]]:
    found = mlflow.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "Gravite_Accidents"})
    body = {"experiment_ids": [found.raise_for_status().json()["experiment"]["experiment_id"]], "max_results": 1000}
    runs = mlflow.post("/api/2.0/mlflow/runs/search", json=body).raise_for_status().json()["runs"]
    return {(each["info"]["run_id"], each["info"]["run_name"]) for each in runs}


# --- bad input: one line that says what to do ---


@pytest.fixture
def other(tmp_path: Path) -> Any:
    """The env file of a stack that is not started, or not for long."""
    made = make(tmp_path, f"accidents-bad-{tmp_path.name.lower().replace('_', '-')}"[:60].rstrip("-"))
    yield made
    made.stack("down", "--volumes", "--timeout", "1")


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0, done.stdout + done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_the_env_file_is_private_and_is_kept(other: Compose) -> None:
    before = other.env_file.read_text()
    assert stat.S_IMODE(other.env_file.stat().st_mode) == 0o600
    values = dict(line.split("=", 1) for line in before.splitlines() if line and not line.startswith("#"))
    secrets = [value for name, value in values.items() if not name.startswith("ACCIDENTS_") or name.endswith("KEY")]
    assert len(secrets) == len(set(secrets)) == 14
    assert all(len(value) >= 32 for value in secrets)
    other.env_file.write_text(before.replace(f"REDIS_PASSWORD={values['REDIS_PASSWORD']}\n", ""))
    assert other.stack("env").returncode == 0
    after = other.env_file.read_text()
    assert set(before.splitlines()) - set(after.splitlines()) == {f"REDIS_PASSWORD={values['REDIS_PASSWORD']}"}
    assert "REDIS_PASSWORD=" in after


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "ACCIDENTS_API_KEY", "MLFLOW_PASSWORD", "REDIS_PASSWORD"])
def test_a_missing_secret_is_named(other: Compose, name: str) -> None:
    other.set(**{name: ""})
    line = last_line(other.stack("up"))
    assert f"required variable {name} is missing a value: run `make env`" in line


@pytest.mark.parametrize(
    ("value", "told"),
    [("short-Secret-1", "is weak"), ("a" * 40, "is weak"), ("with/a+slash-and-more-9876", "holds a character")],
)
def test_a_weak_secret_is_refused_before_anything_starts(other: Compose, value: str, told: str) -> None:
    other.set(MLFLOW_PASSWORD=value)
    line = last_line(other.stack("up"))
    assert line.startswith("MLFLOW_PASSWORD in .env")
    assert told in line
    assert not other.containers("postgres")


def test_a_full_volume_is_refused_before_anything_starts(other: Compose) -> None:
    small = ["--driver", "local", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=16m"]
    label = ["--label", f"com.docker.compose.project={other.project}", "--label", "com.docker.compose.volume=minio"]
    docker("volume", "create", *small, *label, f"{other.project}_minio")
    line = last_line(other.stack("up"))
    assert line.startswith("The volume minio has 16 MB left")
    assert "docker system df" in line
    assert not other.containers("postgres")


def test_a_used_port_is_named_with_its_setting(other: Compose) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        other.set(ACCIDENTS_API_PORT=str(port))
        line = last_line(other.stack("up"))
    assert line == f"Port {port} is used by another program: stop it, or set ACCIDENTS_API_PORT in {other.env_file}."


def test_no_env_file_no_docker_and_an_old_compose_are_each_a_line(other: Compose, tmp_path: Path) -> None:
    other.env_file.unlink()
    assert "run `make env`" in last_line(other.stack("up"))
    old = tmp_path / "bin"
    old.mkdir()
    (old / "docker").write_text("#!/bin/sh\necho v2.9.0\n")
    (old / "docker").chmod(0o755)
    line = last_line(other.stack("up", PATH=f"{old}:/usr/bin:/bin"))
    assert line == "Docker Compose v2.9.0 is too old: install 2.26 or newer."
    (old / "docker").unlink()
    for tool in ("bash", "dirname", "env", "sed"):
        (old / tool).symlink_to(f"/usr/bin/{tool}")
    assert "There is no docker here" in last_line(other.stack("up", PATH=str(old)))
