"""What a stranger sees of the running stack: who listens where, who asks for what, and that no secret shows anywhere."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import httpx
import psutil
import pytest

from include.accidents.synthetic.sample import write_sample
from ops import envfile
from ops.local.supervisor import stray_processes
from tests.fuzz import corpus
from tests.helpers import DAG, OTHER_NAME, TREE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="who listens where is read from Linux's /proc")

# Not AWS_ACCESS_KEY_ID, which is the name that goes with a key: every signed link shows it.
SECRETS = re.compile(r"(PASSWORD|KEY|SECRET)$")
EVIL = "http://evil.example"
GUARDED = {
    "MLFLOW_TRACKING_URI": ("/", "/api/2.0/mlflow/experiments/search?max_results=1", "/ajax-api/2.0/mlflow/users/list"),
    "AIRFLOW_URL": ("/api/v2/dags", "/api/v2/connections", "/api/v2/config"),
    "AWS_ENDPOINT_URL": ("/", "/accidents-models", "/mlflow"),
}


@pytest.fixture(scope="module")
def local(stack: dict[str, str]) -> Path:
    return Path(stack["ACCIDENTS_MODELS_FILE"]).parent / "local"


@pytest.fixture(scope="module")
def secrets(stack: dict[str, str], local: Path) -> dict[str, str]:
    """Every secret that was made for this stack, by name."""
    internal = envfile.read(local / "airflow" / "secrets.env") | envfile.read(local / "run" / "s3.env")
    found = {name: value for name, value in {**stack, **internal}.items() if SECRETS.search(name)}
    assert len(found) == 10
    assert all(len(value) >= 20 for value in found.values())
    return found


@pytest.fixture(scope="module")
def airflow(stack: dict[str, str]) -> Iterator[httpx.Client]:
    login = {"username": stack["AIRFLOW_USER"], "password": stack["AIRFLOW_PASSWORD"]}
    token = httpx.post(f"{stack['AIRFLOW_URL']}/auth/token", json=login).raise_for_status().json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{stack['AIRFLOW_URL']}/api/v2", headers=headers, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def mlflow(stack: dict[str, str]) -> Iterator[httpx.Client]:
    login = (stack["MLFLOW_TRACKING_USERNAME"], stack["MLFLOW_TRACKING_PASSWORD"])
    with httpx.Client(base_url=f"{stack['MLFLOW_TRACKING_URI']}/api/2.0/mlflow", auth=login, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def run(stack: dict[str, str], airflow: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a run of the pipeline with one model that is promoted and one that fails."""
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder, years=(2022,), accidents_per_year=1500)
    said = {"defaults": {"evaluation_folds": 2, "search_folds": 2}, "models": {"Oak": TREE}}
    Path(stack["ACCIDENTS_MODELS_FILE"]).write_text(json.dumps(said))
    made = airflow.post(f"/dags/{DAG}/dagRuns", json={"logical_date": None, "conf": {"raw_dir": str(folder)}})
    path = f"/dags/{DAG}/dagRuns/{made.raise_for_status().json()['dag_run_id']}"
    deadline = time.monotonic() + 420
    while (found := airflow.get(path).raise_for_status().json())["state"] not in ("success", "failed"):
        assert time.monotonic() < deadline
        time.sleep(2)
    assert found["state"] == "success"
    return path


def test_nothing_listens_beyond_this_machine(local: Path, run: str) -> None:
    processes = stray_processes(local)
    listening = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # one that has ended since listens no more
            for each in process.net_connections("inet"):
                if each.status == psutil.CONN_LISTEN or each.type == socket.SOCK_DGRAM:
                    listening.add(each.laddr)
    assert len({port for _, port in listening}) >= 4
    assert {host for host, _ in listening} == {"127.0.0.1"}


def test_no_command_line_shows_a_secret(local: Path, secrets: dict[str, str]) -> None:
    for process in psutil.process_iter():
        words = words_of(process)
        assert not shown(" ".join(words), secrets), words[:1]


def test_no_file_but_the_private_ones_holds_a_secret(local: Path, secrets: dict[str, str], run: str) -> None:
    """Logs of the services, logs of the tasks, the databases, everything in the buckets."""
    private = {"env", "airflow/secrets.env", "airflow/passwords.json", "run/services.json", "run/s3.env"}
    seen = 0
    for path in local.rglob("*"):
        name = str(path.relative_to(local))
        try:
            content, mode = path.read_bytes(), path.stat().st_mode
        except OSError:  # a folder, a socket, a database's journal that is gone
            continue
        found = shown(content.decode("latin-1"), secrets)
        seen += len(content) > 0
        if name in private:
            assert mode & 0o077 == 0, name
        else:
            assert not found, f"{name} shows {found}"
    assert seen > 50


def test_neither_xcom_nor_a_log_nor_a_connection_shows_a_secret(
    airflow: httpx.Client, secrets: dict[str, str], run: str
) -> None:
    instances = airflow.get(f"{run}/taskInstances", params={"limit": 200}).raise_for_status().json()["task_instances"]
    told = [
        json.dumps(instances),
        airflow.get("/connections").text,
        airflow.get("/variables").text,
        airflow.get(run).text,
    ]
    for each in instances:
        path = f"{run}/taskInstances/{each['task_id']}"
        told.append(airflow.get(f"{path}/logs/{each['try_number']}", params={"map_index": each["map_index"]}).text)
        told.append(airflow.get(f"{path}/xcomEntries/return_value", params={"map_index": each["map_index"]}).text)
    assert len(told) > 20
    assert '"password":"***"' in told[1].replace(" ", "")
    assert not shown("\n".join(told), secrets)


def test_mlflow_holds_no_secret(mlflow: httpx.Client, secrets: dict[str, str], run: str) -> None:
    experiment = mlflow.get("/experiments/get-by-name", params={"experiment_name": "Gravite_Accidents"})
    body = {"experiment_ids": [experiment.raise_for_status().json()["experiment"]["experiment_id"]]}
    runs = mlflow.post("/runs/search", json=body).raise_for_status().text
    versions = mlflow.get("/model-versions/search").raise_for_status().text
    assert "selection_score" in runs
    assert "signature" in versions
    assert not shown(runs + versions, secrets)


@pytest.mark.parametrize(("service", "path"), [(name, path) for name, paths in GUARDED.items() for path in paths])
def test_a_stranger_is_asked_for_a_login(stack: dict[str, str], service: str, path: str) -> None:
    answer = httpx.get(stack[service] + path, follow_redirects=True)
    # To a request without a signature rclone answers 400, AuthorizationHeaderMalformed or the like.
    assert answer.status_code in ((400, 403) if service == "AWS_ENDPOINT_URL" else (401, 403))
    assert "<Error>" in answer.text or service != "AWS_ENDPOINT_URL"


def test_wrong_logins_are_refused(stack: dict[str, str]) -> None:
    path = "/api/2.0/mlflow/experiments/search?max_results=1"
    for login in (("admin", "password1234"), ("admin", ""), ("nobody", stack["MLFLOW_TRACKING_PASSWORD"])):
        assert httpx.get(stack["MLFLOW_TRACKING_URI"] + path, auth=login).status_code == 401
    wrong = {"username": "admin", "password": "admin"}
    assert httpx.post(f"{stack['AIRFLOW_URL']}/auth/token", json=wrong).status_code == 401
    for path in ("/api/v1/reload_model/Oak", "/api/v1/rollback"):
        assert httpx.post(stack["ACCIDENTS_API_URL"] + path).status_code == 401


@pytest.mark.parametrize(
    ("service", "path", "refusal"),
    [
        ("ACCIDENTS_API_URL", "/api/v1/models", 400),
        ("ACCIDENTS_API_URL", "/health", 400),
        ("MLFLOW_TRACKING_URI", "/api/2.0/mlflow/experiments/search?max_results=1", 403),
        ("AIRFLOW_URL", "/", 400),
        ("AIRFLOW_URL", "/auth/login", 400),
        ("AIRFLOW_URL", "/api/v2/monitor/health", 400),
        ("AIRFLOW_URL", "/execution/health", 400),
    ],
)
def test_a_name_that_was_bound_to_this_machine_gets_no_answer(
    stack: dict[str, str], service: str, path: str, refusal: int
) -> None:
    """DNS rebinding: a stranger's page asks under its own name, which now points to 127.0.0.1."""
    login = (stack["MLFLOW_TRACKING_USERNAME"], stack["MLFLOW_TRACKING_PASSWORD"])
    address = stack[service] + path
    for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", ""):
        assert httpx.get(address, auth=login, headers={"Host": host}).status_code == refusal, host
    for host in ("localhost", "127.0.0.1:1", OTHER_NAME, f"{OTHER_NAME}:8080"):
        assert httpx.get(address, auth=login, headers={"Host": host}).status_code in (200, 405), host


def test_s3_asks_for_a_signature_under_every_name(stack: dict[str, str]) -> None:
    assert httpx.get(f"{stack['AWS_ENDPOINT_URL']}/", headers={"Host": "evil.example"}).status_code in (400, 403)


def test_mlflows_page_works_under_a_name_that_is_told(stack: dict[str, str], mlflow: httpx.Client) -> None:
    """Its page asks by POST, with the name that it is open under as the origin."""
    for host, status in ((f"{OTHER_NAME}:5000", 200), ("evil.example", 403)):
        headers = {"Host": f"{OTHER_NAME}:5000", "Origin": f"http://{host}"}
        assert mlflow.post("/runs/search", json={"experiment_ids": ["0"]}, headers=headers).status_code == status


@pytest.mark.parametrize("service", ["ACCIDENTS_API_URL", "MLFLOW_TRACKING_URI", "AIRFLOW_URL", "AWS_ENDPOINT_URL"])
def test_no_service_lets_another_sites_page_read_or_change_anything(stack: dict[str, str], service: str) -> None:
    paths = {
        "ACCIDENTS_API_URL": "/api/v1/rollback",
        "MLFLOW_TRACKING_URI": "/api/2.0/mlflow/experiments/create",
        "AIRFLOW_URL": f"/api/v2/dags/{DAG}/dagRuns",
        "AWS_ENDPOINT_URL": "/accidents-models",
    }
    asked = {"Origin": EVIL, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for method in ("OPTIONS", "GET", "POST"):
        answer = httpx.request(method, stack[service] + paths[service], headers=asked)
        allowed = answer.headers.get("access-control-allow-origin")
        assert allowed not in ("*", EVIL), f"{method}: {allowed}"
        if method == "POST":
            assert answer.status_code >= 400


@pytest.mark.parametrize("service", ["ACCIDENTS_API_URL", "MLFLOW_TRACKING_URI", "AIRFLOW_URL"])
def test_pages_cannot_be_framed_or_misread(stack: dict[str, str], service: str) -> None:
    login = (stack["MLFLOW_TRACKING_USERNAME"], stack["MLFLOW_TRACKING_PASSWORD"])
    answer = httpx.get(f"{stack[service]}/", auth=login).raise_for_status()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] in ("DENY", "SAMEORIGIN")


def a_persons(stack: dict[str, str]) -> Any:
    return client(stack, stack["AWS_ACCESS_KEY_ID"], stack["AWS_SECRET_ACCESS_KEY"])


def client(stack: dict[str, str], key: str, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=stack["AWS_ENDPOINT_URL"],
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name=stack["AWS_DEFAULT_REGION"],
    )


@pytest.mark.parametrize("key", ["the person's", "nobody's"])
def test_a_wrong_key_opens_nothing(stack: dict[str, str], run: str, key: str) -> None:
    s3 = client(stack, stack["AWS_ACCESS_KEY_ID"] if key == "the person's" else "a" * 20, "a wrong secret")
    with pytest.raises(s3.exceptions.ClientError, match=r"SignatureDoesNotMatch|AccessDenied"):
        s3.list_buckets()


def test_a_services_keys_open_its_own_buckets_alone(stack: dict[str, str], local: Path, run: str) -> None:
    pairs = envfile.read(local / "run" / "s3.env")
    opens = {user: client(stack, pairs[f"{user}_KEY_ID"], pairs[f"{user}_SECRET"]) for user in ("MLFLOW", "TASKS")}
    everything = {each["Name"] for each in a_persons(stack).list_buckets()["Buckets"]}
    sees = {user: {each["Name"] for each in s3.list_buckets()["Buckets"]} for user, s3 in opens.items()}
    assert sees == {"MLFLOW": {"mlflow"}, "TASKS": everything - {"mlflow"}}
    for user, bucket in (("MLFLOW", "accidents-models"), ("TASKS", "mlflow")):
        (found, *_) = a_persons(stack).list_objects_v2(Bucket=bucket)["Contents"]
        s3, place = opens[user], {"Bucket": bucket, "Key": found["Key"]}
        inside = {"Bucket": min(sees[user]), "Key": f"../{bucket}/{found['Key']}"}
        for method, told in (
            (s3.list_objects_v2, {"Bucket": bucket}),
            (s3.get_object, place),
            (s3.get_object, inside),
            (s3.put_object, {**place, "Body": b"!"}),
            (s3.delete_object, place),
            (s3.create_bucket, {"Bucket": "a-new-one"}),
        ):
            with pytest.raises(s3.exceptions.ClientError):
                method(**told)
        assert a_persons(stack).head_object(Bucket=bucket, Key=found["Key"])["ContentLength"] == found["Size"]


def test_who_has_mlflows_login_does_not_reach_the_other_buckets_through_it(
    stack: dict[str, str], mlflow: httpx.Client, run: str
) -> None:
    """MLflow reads whatever place a version of a model names, with its own keys."""
    mlflow.post("/registered-models/create", json={"name": "Strange"}).raise_for_status()
    address = f"{stack['MLFLOW_TRACKING_URI']}/model-versions/get-artifact"
    try:
        for bucket, reached in (("mlflow", True), ("accidents-models", False)):
            a_persons(stack).put_object(Bucket=bucket, Key="a/place", Body=b"private")
            source = {"name": "Strange", "source": f"s3://{bucket}/a"}
            made = mlflow.post("/model-versions/create", json=source).raise_for_status().json()["model_version"]
            asked = {"name": "Strange", "version": made["version"], "path": "place"}
            answer = httpx.get(address, params=asked, auth=mlflow.auth, timeout=60)
            assert (answer.text == "private") == answer.is_success == reached, answer.text
    finally:
        mlflow.request("DELETE", "/registered-models/delete", json={"name": "Strange"})
        for bucket in ("mlflow", "accidents-models"):
            a_persons(stack).delete_object(Bucket=bucket, Key="a/place")


def test_a_bomb_sent_to_the_api_is_refused_and_the_process_stays_small(
    stack: dict[str, str], local: Path, run: str
) -> None:
    url = f"{stack['ACCIDENTS_API_URL']}/api/v1/predict-csv"
    (process,) = (p for p in stray_processes(local) if "api.app:create_app" in words_of(p))
    for made in ("a bomb of 3 GB", "a million columns", "250 MB of short lines"):
        content = corpus.HOSTILE[made](b"num_acc;id_vehicule")
        answer = httpx.post(url, content=content, headers={"Content-Type": "text/csv"}, timeout=120)
        assert answer.status_code in (413, 422), made
        assert answer.json()["detail"]
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[1]) // 1024  # type: ignore[index]
    assert peak < 1500
    assert httpx.get(f"{stack['ACCIDENTS_API_URL']}/ready").status_code == 200


def test_the_private_files_are_private(local: Path) -> None:
    assert local.stat().st_mode & 0o077 == 0
    for name in (
        "env",
        "airflow/secrets.env",
        "airflow/passwords.json",
        "run/services.json",
        "run/s3.env",
        "run/mlflow.ini",
    ):
        assert (local / name).stat().st_mode & 0o077 == 0, name


def test_the_password_of_mlflow_follows_the_env_file(tmp_path: Path) -> None:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    from ops.mlflow_server import _set_password

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    for password in ("a first password", "another password"):
        _set_password(uri, "admin", password)
        users = SqlAlchemyStore()
        users.init_db(uri)
        assert users.authenticate_user("admin", password)
    assert not users.authenticate_user("admin", "a first password")


def test_the_repository_holds_no_secret() -> None:
    root = Path(__file__).resolve().parents[2]
    files = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split()  # noqa: S607
    patterns = re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY|\bA(?:KIA|SIA)[0-9A-Z]{16}\b|\bgh[pousr]_\w{30,}|\bxox[abp]-\w{10,}"
        r"|(?i:password|secret|token|api_?key)\w*[\"']?\s*[:=]\s*[\"']?(?=[A-Za-z0-9+/_-]*[0-9])(?=[A-Za-z0-9+/_-]*[A-Z])"
        r"[A-Za-z0-9+/_-]{24,}"
    )
    assert len(files) > 100
    for name in files:
        if not name.endswith((".png", ".txt")):
            found = patterns.search((root / name).read_bytes().decode("latin-1"))
            assert not found, f"{name}: {found}"
    assert patterns.search('AIRFLOW_PASSWORD = "' + "q8XkZ0aPq2vL" * 2 + '"')
    assert not os.path.lexists(root / ".env") or ".env" not in files


def words_of(process: psutil.Process) -> list[str]:
    """Return a process's command line; nothing of one that has ended."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def shown(text: str, secrets: dict[str, str]) -> list[str]:
    """Return the names of the secrets that a text shows."""
    return [name for name, value in secrets.items() if value in text]
