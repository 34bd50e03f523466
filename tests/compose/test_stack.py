"""The compose stack as a team uses it: two workers, two replicas of the API."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import httpx
import pytest

from api.schemas.scenes import EXAMPLE
from include.accidents.pipeline.names import PIPELINE
from ops import envfile
from tests.compose.running import ROOT, SERVICES, Compose, docker, inspect
from tests.helpers import OTHER_NAME

MODELS = {"Tree5", "Tree10", "Tree20", "Tree40"}
#: What a replica of the API says of itself, asked from inside its container.
ASK = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000{}').read().decode())"

pytestmark = pytest.mark.usefixtures("first")


def texts_in_image(image: str, texts: set[str]) -> set[str]:
    """Which of the texts stand in an image: its layers, its history, its environment."""
    grep = ["grep", "--text", "--only-matching", "--fixed-strings", *(f"--regexp={text}" for text in texts)]
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saving:  # noqa: S607
        found = subprocess.run(grep, stdin=saving.stdout, stdout=subprocess.PIPE, text=True, check=False)
    assert saving.returncode == 0
    return set(found.stdout.splitlines())


def run_in(container: dict[str, Any], *command: str) -> str:
    return docker("exec", container["Id"], *command)


def test_the_demo_shows_the_models_a_prediction_and_the_addresses(stack: Compose, demonstration: str) -> None:
    for model in MODELS:
        assert model in demonstration
    assert "►" in demonstration
    assert "hospitalised" in demonstration
    for name in ("AIRFLOW_URL", "ACCIDENTS_API_URL"):
        assert stack.clients[name] in demonstration
    assert stack.clients["MLFLOW_TRACKING_URI"].partition("@")[2] in demonstration
    assert not [name for name, value in stack.clients.items() if name.endswith("PASSWORD") and value in demonstration]


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


def test_all_data_lie_in_named_volumes(stack: Compose) -> None:
    mounts = [
        mount
        for service in ("preflight", "databases", "buckets", "airflow-init", *SERVICES)
        for container in stack.containers(service, all_of_them=True)
        for mount in container["Mounts"]
        if mount["Type"] == "volume"
    ]
    assert {each["Name"] for each in mounts} == {f"{stack.project}_{name}" for name in ("postgres", "minio", "redis")}


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
        assert run_in(container, "id", "-u").strip() != "0", service
    (api, *_) = stack.containers("api")
    assert run_in(api, "python", "-c", "import importlib.util as i; print(i.find_spec('airflow'))") == "None\n"


def test_our_images_hold_no_secret(stack: Compose) -> None:
    """Neither in a file of any layer nor in what an image says of itself."""
    said = envfile.read(stack.env_file) | envfile.read(ROOT / ".env")
    secrets = {value for name, value in said.items() if name.endswith(("KEY", "PASSWORD", "SECRET")) and value}
    assert len(secrets) > 10
    layers_are_read = "import mlflow"
    for service in ("api", "mlflow", "worker"):
        image = stack.containers(service)[0]["Image"]
        assert texts_in_image(image, {*secrets, layers_are_read}) == {layers_are_read}, service


def test_raw_files_and_the_catalogue_are_mounted_for_reading(stack: Compose) -> None:
    (worker, *_) = stack.containers("worker")
    mounts = {each["Destination"]: each for each in worker["Mounts"]}
    assert mounts["/app/data/raw"]["Source"] == str(stack.folder / "raw")
    assert not mounts["/app/data/raw"]["RW"]
    assert not mounts["/app/catalogue"]["RW"]


def test_mlflow_and_airflow_ask_for_a_login(stack: Compose) -> None:
    said = stack.clients
    with stack.mlflow() as mlflow:
        assert mlflow.post("/api/2.0/mlflow/experiments/search", json={"max_results": 1}).status_code == 200
        stranger = httpx.post(
            f"{said['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/search", json={"max_results": 1}
        )
    assert stranger.status_code == 401
    assert httpx.get(f"{said['AIRFLOW_URL']}/api/v2/dags").status_code == 401
    wrong = {"username": "admin", "password": "admin"}
    assert httpx.post(f"{said['AIRFLOW_URL']}/auth/token", json=wrong).status_code == 401


def test_connections_and_pools_are_those_of_the_file(stack: Compose) -> None:
    airflow = stack.airflow()
    found = {each["connection_id"]: each for each in airflow._get("/api/v2/connections")["connections"]}
    assert {"minio", "mlflow", "api", "airflow_api"} == found.keys()
    assert (found["mlflow"]["host"], found["mlflow"]["port"]) == ("mlflow", 5000)
    assert airflow._get("/api/v2/pools/models")["slots"] == 4


def test_mapped_models_run_on_both_workers(stack: Compose, first: str) -> None:
    ran = stack.hosts(first)
    workers = {each["Config"]["Hostname"] for each in stack.containers("worker")}
    assert len(workers) == 2
    mapped = set.union(*(ran[task] for task in ("search_params", "train_model", "log_model")))
    assert mapped == workers


def test_every_tasks_log_is_read_from_s3(stack: Compose, first: str) -> None:
    airflow, deadline = stack.airflow(), time.monotonic() + 60
    instances = airflow.task_instances(first)
    while True:  # the last task's log is written after its end is known
        kept = [key for key in stack.objects() if key.startswith("airflow-logs/") and first in key]
        if len(kept) >= len(instances):
            break
        assert time.monotonic() < deadline, kept
        time.sleep(1)
    for each in instances:
        entries = airflow.log(first, each)
        sources = json.dumps(entries[:3])
        assert "s3://airflow-logs" in sources, sources


def test_the_buttons_of_a_tasks_page_lead_to_where_a_browser_gets(stack: Compose, first: str) -> None:
    said, path = stack.clients, f"/api/v2/dags/{PIPELINE}/dagRuns/{first}/taskInstances"

    def button(task: str, name: str) -> str:
        found = stack.airflow()._get(f"{path}/{task}/links", params={"map_index": 0})["extra_links"]
        return str(found[name])

    def local(url: str) -> str:
        return url.replace("127.0.0.1", "localhost")

    with stack.mlflow() as mlflow:
        address = button("log_model", "MLflow")
        assert address.startswith(local(said["MLFLOW_TRACKING_URI"]) + "/#/runs/")
        assert mlflow.get(address.partition("#")[0]).is_success
    address = button("reload_model", "Model in the API")
    assert address.startswith(local(said["ACCIDENTS_API_URL"]) + "/?model=")
    assert httpx.get(address).is_success
    address = button("train_model", "Object in the bucket")
    assert address.startswith(local(said["AWS_ENDPOINT_URL"]) + "/accidents-models/")
    assert "_model.skops" in httpx.get(address).raise_for_status().text


@pytest.mark.parametrize(
    ("service", "refusal"), [("AIRFLOW_URL", 400), ("MLFLOW_TRACKING_URI", 403), ("ACCIDENTS_API_URL", 400)]
)
def test_who_asks_under_a_strange_name_gets_no_answer(stack: Compose, service: str, refusal: int) -> None:
    assert httpx.get(f"{stack.clients[service]}/", headers={"Host": "evil.example"}).status_code == refusal
    ours = httpx.get(f"{stack.clients[service]}/", headers={"Host": OTHER_NAME})
    assert ours.status_code in (200, 401)  # MLflow asks for its login


def test_both_replicas_serve_the_promoted_version(stack: Compose) -> None:
    replicas = stack.containers("api")
    assert len(replicas) == 2
    wanted, deadline = {"BestModel": stack.production()} | dict.fromkeys(MODELS, "1"), time.monotonic() + 30
    for replica in replicas:
        served: dict[str, str] = {}
        while served != wanted and time.monotonic() < deadline:
            found = json.loads(run_in(replica, "python", "-c", ASK.format("/api/v1/models")))
            served = {each["name"]: each["version"] for each in found}
            time.sleep(0.5)
        assert served == wanted


def test_nginx_spreads_requests_and_survives_the_crash_of_a_replica_that_comes_back(stack: Compose) -> None:
    assert stack.predict(EXAMPLE).json()["model"]["version"] == stack.production()
    assert {stack.predict(EXAMPLE).status_code for _ in range(40)} == {200}
    asked = [docker("logs", each["Id"]).count('"route":"/api/v1/predict"') for each in stack.containers("api")]
    assert all(count >= 5 for count in asked), asked
    lost = stack.containers("api")[0]["Id"]
    crash(lost)
    assert {stack.predict(EXAMPLE).status_code for _ in range(20)} == {200}
    deadline = time.monotonic() + 120
    while (state := inspect(lost))["State"]["Health"]["Status"] != "healthy" or not state["RestartCount"]:
        assert time.monotonic() < deadline, state["State"]
        time.sleep(1)


def crash(container: str) -> None:
    """Kill its first process; `docker kill` would be taken for the wish of a person that it stays away."""
    process = inspect(container)["State"]["Pid"]
    docker("run", "--rm", "--pid=host", "--entrypoint", "bash", "nginx:1.28-bookworm", "-c", f"kill -9 {process}")


def test_starting_again_changes_nothing_and_scaling_adds_a_replica(stack: Compose, first: str) -> None:
    before = _ids(stack)
    stack.up("--scale", "api=3", "--scale", "worker=2")
    after = _ids(stack)
    assert len(after["api"] - before["api"]) == 1
    assert {name: ids & before[name] for name, ids in after.items()} == before
    assert {name for name in after if after[name] != before[name]} == {"api"}
    assert stack.airflow().run(first)["state"] == "success"


def _ids(stack: Compose) -> dict[str, set[str]]:
    return {service: {each["Id"] for each in stack.containers(service)} for service in SERVICES}
