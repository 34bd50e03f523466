"""The embedded stack without its servers: settings, secrets, ports, services, progress."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from rich.console import Console, RenderableType

from include.accidents.data.files import MARKER
from include.accidents.errors import SettingsError
from ops import demo, envfile, follow, ports
from ops.airflow_api import Airflow, AirflowError, Graph, TaskInstance
from ops.local import environment, launch, lock, services, settings, stack, supervisor

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def said_by(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def shown(drawing: RenderableType) -> str:
    console = Console(width=100, file=StringIO())
    console.print(drawing)
    return said_by(console)


@pytest.fixture(autouse=True)
def local_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give each test a folder of its own, and no setting of the shell's."""
    for name in [each for each in os.environ if each.startswith(("ACCIDENTS_", "AIRFLOW", "AWS_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "local"
    monkeypatch.setenv("ACCIDENTS_LOCAL_DIR", str(folder))
    return folder


# --- the env file


def test_secrets_stay_when_addresses_change(monkeypatch: pytest.MonkeyPatch) -> None:
    before = environment.prepare(settings.load())
    monkeypatch.setenv("ACCIDENTS_API_PORT", "8123")
    after = environment.prepare(settings.load())

    assert after.env["ACCIDENTS_API_URL"] == "http://127.0.0.1:8123"
    assert (after.airflow, after.s3) == (before.airflow, before.s3)
    assert {name for name in before.env if before.env[name] != after.env[name]} == {"ACCIDENTS_API_URL"}


def test_secrets_are_long_and_differ_from_each_other() -> None:
    known = environment.prepare(settings.load())
    made = {**known.env, **known.airflow, **known.s3}
    secrets = [value for name, value in made.items() if name.endswith(("PASSWORD", "KEY", "SECRET"))]

    assert len(secrets) == 10
    assert len(set(secrets)) == 10
    assert all(len(secret) >= 32 for secret in secrets)


def test_the_env_file_is_private_and_a_shell_reads_it(local_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCIDENTS_RAW_DIR", "/a folder/of files")
    env = environment.prepare(settings.load()).env
    said = subprocess.run(
        ["/bin/sh", "-c", '. "$1"; printf %s "$ACCIDENTS_RAW_DIR|$AIRFLOW_PASSWORD"', "sh", local_dir / "env"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert said == f"/a folder/of files|{env['AIRFLOW_PASSWORD']}"
    assert stat.S_IMODE(local_dir.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in local_dir.rglob("*env")} == {0o600}
    assert envfile.read(local_dir / "env") == env


def test_a_spoilt_env_file_is_named_with_its_line(local_dir: Path) -> None:
    envfile.write_private(local_dir / "env", "A=1\nnonsense\n")
    with pytest.raises(SettingsError, match=r"env, line 2 .*delete"):
        envfile.read(local_dir / "env")


# --- settings


def test_a_port_stays_what_it_was_last_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCIDENTS_MLFLOW_PORT", "5123")
    environment.prepare(settings.load())
    monkeypatch.delenv("ACCIDENTS_MLFLOW_PORT")

    assert settings.load().ports == {"airflow": 8080, "mlflow": 5123, "s3": 9000, "api": 8000}


@pytest.mark.parametrize("value", ["none", "0", "65536", "-1"])
def test_a_port_that_is_none_is_refused_by_name(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCIDENTS_S3_PORT", value)
    with pytest.raises(SettingsError, match=f"ACCIDENTS_S3_PORT is '{value}'"):
        settings.load()


def test_two_services_on_one_port_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCIDENTS_API_PORT", "8080")
    with pytest.raises(SettingsError, match="ACCIDENTS_API_PORT and ACCIDENTS_AIRFLOW_PORT are both 8080"):
        settings.load()


def test_a_folder_with_a_quote_in_its_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCIDENTS_LOCAL_DIR", str(tmp_path / "l'été"))
    with pytest.raises(SettingsError, match="ACCIDENTS_LOCAL_DIR"):
        settings.load()


def test_a_used_port_is_named_with_its_service_and_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCIDENTS_S3_PORT", "9123")
    monkeypatch.setattr(ports, "is_free", lambda port: port != 9123)
    with pytest.raises(SettingsError, match=r"Port 9123, which s3 needs, .*ACCIDENTS_S3_PORT=\d+ make up"):
        ports.check_free(settings.load())


def test_a_port_is_free_until_somebody_listens() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen()
        assert not ports.is_free(port)
    assert ports.is_free(port)


# --- the services


def defined() -> dict[str, services.Service]:
    chosen = settings.load()
    return {each.name: each for each in services.define(chosen, environment.prepare(chosen))}


def test_no_secret_stands_on_a_command_line(local_dir: Path) -> None:
    found = defined()
    secrets = [
        value
        for path in local_dir.rglob("*env")
        for name, value in envfile.read(path).items()
        if name.endswith(("PASSWORD", "KEY", "SECRET", "KEY_ID"))
    ]
    words = " ".join(word for each in found.values() for word in each.command)
    assert len(secrets) == 13
    assert not any(secret in words for secret in secrets)


def test_each_service_knows_only_the_secrets_that_it_needs() -> None:
    secret = ("_SECRET", "_PASSWORD", "_KEY", "KEY_ID", "_OPENS")
    knows = {
        name: {each for each in service.environment if each.endswith(secret)} for name, service in defined().items()
    }
    airflow = {"AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET"}
    assert knows == {
        "s3": {"ACCIDENTS_S3_OPENS"},
        "mlflow": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_AUTH_ADMIN_PASSWORD"},
        "api": {"ACCIDENTS_API_KEY", "ACCIDENTS_SIGNING_KEY", "MLFLOW_TRACKING_PASSWORD"},
        "airflow-api-server": airflow,
        "airflow-scheduler": airflow | {"ACCIDENTS_SIGNING_KEY"},
        "airflow-dag-processor": airflow,
    }


def asked_by_rclone(key: str) -> subprocess.CompletedProcess[str]:
    s3 = defined()["s3"]
    program = s3.command[s3.command.index("--auth-proxy") + 1].split()
    said = json.dumps({"user": key, "client_ip": "127.0.0.1"})
    env = dict(s3.environment)
    return subprocess.run(program, input=said, env=env, capture_output=True, text=True, check=False)


def test_a_services_pair_of_keys_opens_the_buckets_that_it_needs(
    local_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCIDENTS_MODELS_FILE", "s3://catalogues/models.json")
    known = environment.prepare(settings.load())
    opened = {user: json.loads(asked_by_rclone(known.s3[f"{user}_KEY_ID"]).stdout) for user in ("MLFLOW", "TASKS")}

    assert opened["MLFLOW"]["upstreams"] == f'"mlflow={local_dir}/s3/mlflow"'
    assert "accidents-raw-csv=" in opened["TASKS"]["upstreams"]
    assert "catalogues=" in opened["TASKS"]["upstreams"]
    assert "mlflow" not in opened["TASKS"]["upstreams"]
    assert {user: each["_secret_access_key"] for user, each in opened.items()} == {
        user: known.s3[f"{user}_SECRET"] for user in opened
    }
    a_persons = json.loads(asked_by_rclone(known.env["AWS_ACCESS_KEY_ID"]).stdout)
    assert (a_persons["type"], a_persons["_root"]) == ("local", f"{local_dir}/s3")


def test_a_key_that_nobody_was_given_opens_nothing() -> None:
    answer = asked_by_rclone("AKIA-nobody")
    assert (answer.returncode, answer.stdout) == (1, "")


def test_the_shell_reaches_the_services_only_where_it_is_meant_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_HOST", "mail.example")
    monkeypatch.setenv("ACCIDENTS_REGISTRY_POLL_SECONDS", "3")
    found = defined()

    assert not any({"AWS_PROFILE", "PYTHONDONTWRITEBYTECODE"} & set(each.environment) for each in found.values())
    assert found["airflow-scheduler"].environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert found["airflow-scheduler"].environment["AIRFLOW__SMTP__SMTP_HOST"] == "mail.example"
    assert found["api"].environment["ACCIDENTS_REGISTRY_POLL_SECONDS"] == "3"


def test_a_long_path_gets_its_socket_in_a_private_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    short, long = Path("/srv/local"), Path("/srv") / ("deep/" * 30)

    assert supervisor.socket_path(short) == short / "run" / "supervisor.sock"
    chosen = supervisor.socket_path(long)
    assert chosen.parent.parent == tmp_path
    assert stat.S_IMODE(chosen.parent.stat().st_mode) == 0o700
    assert supervisor.socket_path(long) == chosen != supervisor.socket_path(long / "er")


def test_a_temporary_folder_open_to_others_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    long = Path("/srv") / ("deep/" * 30)
    supervisor.socket_path(long).parent.chmod(0o755)
    with pytest.raises(SettingsError, match="not a private folder"):
        supervisor.socket_path(long)


def test_processes_of_a_stack_are_found_by_their_mark(tmp_path: Path) -> None:
    marked = {**os.environ, launch.MARKER: str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=marked) as child:
        try:
            found = supervisor.stray_processes(tmp_path)
            assert [each.pid for each in found] == [child.pid]
            assert supervisor.stray_processes(tmp_path / "other") == []
        finally:
            child.kill()
    assert not supervisor.is_alive(child.pid)


def test_a_service_that_starts_ends_what_its_killed_predecessor_left(tmp_path: Path) -> None:
    def orphan(service: str) -> subprocess.Popen[bytes]:
        marks = {launch.MARKER: str(tmp_path), launch.SERVICE: service}
        return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={**os.environ, **marks})

    left, other = orphan("mlflow"), orphan("api")
    try:
        launch.end_predecessor({launch.MARKER: str(tmp_path), launch.SERVICE: "mlflow"})
        assert left.poll() is not None
        assert other.poll() is None
    finally:
        for each in (left, other):
            each.kill()
            each.wait()


# --- bringing it up


def step(name: str, answers: list[str | None], after: tuple[str, ...] = (), begun: list[str] | None = None) -> Any:
    return stack.Step(name, lambda: (begun if begun is not None else []).append(name), lambda: answers.pop(0), after)


def test_a_step_starts_when_those_before_it_are_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    begun: list[str] = []
    steps = [step("second", [None], ("first",), begun), step("first", ["not yet", None], (), begun)]

    stack._go_through(steps, lambda: None, Console(quiet=True))

    assert begun == ["first", "second"]


def test_a_stack_that_never_gets_ready_is_given_up_with_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "PATIENCE_SECONDS", -1)
    with pytest.raises(stack.StackError, match=r"not ready \(api: no answer yet\)"):
        stack._go_through([step("api", ["no answer yet"])], lambda: None, Console(quiet=True))


def test_the_end_of_a_log_is_read_without_the_whole(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text("".join(f"line {i}\n" for i in range(100_000)))
    assert stack.tail(log, 3) == ["line 99997", "line 99998", "line 99999"]
    assert stack.tail(tmp_path / "none.log", 3) == []


@pytest.mark.parametrize(("command", "said"), [("status", "make up"), ("trigger", "make up")])
def test_a_command_says_in_two_lines_that_the_stack_is_down(command: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.local", command], cwd=settings.ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 2  # what is wrong, and what to do
    assert not done.stdout


def test_down_is_no_error_when_nothing_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops.local", "down"], cwd=settings.ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "The stack is not running.\n")


# --- following a run

GRAPH = Graph(
    ("names", "search", "train", "select"),
    {
        "names": frozenset(),
        "search": frozenset({"names"}),
        "train": frozenset({"search"}),
        "select": frozenset({"train"}),
    },
)
RUN = {"state": "running", "start_date": (NOW - timedelta(seconds=75)).isoformat(), "end_date": None}


def instance(task_id: str, state: str, index: int = -1, label: str | None = None, took: float | None = None) -> Any:
    started = None if state in {"none", "scheduled", "queued", "upstream_failed"} else NOW - timedelta(seconds=30)
    ended = started + timedelta(seconds=took) if started and took is not None else None
    return TaskInstance(task_id, index, label, state, 1, started, ended)


RECORDED = [
    instance("names", "success", took=1.5),
    instance("search", "success", 0, "Forest", took=12),
    instance("search", "failed", 1, "SVC", took=3),
    instance("train", "running", 0, "Forest"),
    instance("train", "upstream_failed", 1, "1"),
    instance("select", "none"),
]


def test_an_instance_that_never_ran_bears_the_name_of_the_one_before_it() -> None:
    names = follow.labels(GRAPH, RECORDED)
    assert names["train", 1] == "SVC"
    assert names["train", 0] == "Forest"
    assert names["select", -1] == ""


def test_the_table_has_a_line_a_task_in_the_order_of_the_graph() -> None:
    assert [line.rstrip() for line in shown(follow.table(GRAPH, RUN, RECORDED, NOW)).splitlines()] == [
        "names        ✔ 1.5s",
        "search       ✔ Forest 12.0s   ✘ SVC 3.0s",
        "train        ● Forest 30.0s   ⊘ SVC",
        "select       ·",
        "run running  1m15s",
    ]


def test_without_a_terminal_each_change_is_a_line_once() -> None:
    said = [line for _, line in follow.changes(GRAPH, {}, RUN, RECORDED, NOW)]
    assert said == [
        "  1m15s  names: success 1.5s",
        "  1m15s  search [Forest]: success 12.0s",
        "  1m15s  search [SVC]: failed 3.0s",
        "  1m15s  train [Forest]: running",
        "  1m15s  train [SVC]: upstream_failed",
    ]
    before = {(each.task_id, each.map_index): each.state for each in RECORDED}
    assert follow.changes(GRAPH, before, RUN, RECORDED, NOW) == []


def test_a_mapped_instance_is_announced_once_it_has_a_name() -> None:
    assert follow.changes(GRAPH, {}, RUN, [instance("search", "running", 0)], NOW) == []
    assert len(follow.changes(GRAPH, {}, RUN, [instance("search", "running", 0, "Forest")], NOW)) == 1


def test_the_reason_of_a_failure_is_the_exception_of_the_log() -> None:
    entries = [
        {"event": "Reading", "level": "info"},
        {"event": "Task failed", "level": "error", "error_detail": [{"exc_type": "InputError", "exc_value": "No."}]},
        {"event": "Post", "level": "info"},
    ]
    assert follow.errors_of(entries) == ["InputError: No."]
    assert follow.errors_of([{"event": "killed", "level": "error"}, {"event": "bye"}]) == ["killed"]
    assert follow.errors_of([{"event": "only"}]) == ["only"]


def airflow_that_answers(handler: Any) -> Airflow:
    airflow = Airflow("http://airflow.example", "admin", "right")
    airflow._http = httpx.Client(base_url="http://airflow.example", transport=httpx.MockTransport(handler))
    return airflow


def test_an_expired_token_is_renewed() -> None:
    tokens = ["first", "second"]

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": tokens[0]})
        valid = request.headers["Authorization"] == f"Bearer {tokens[0]}"
        return httpx.Response(200, json={"state": "success"}) if valid else httpx.Response(401, json={})

    airflow = airflow_that_answers(answer)
    airflow.run("r")
    tokens.pop(0)
    assert airflow.run("r")["state"] == "success"


def test_all_pages_of_instances_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        offset = int(request.url.params["offset"])
        page = [
            {
                "task_id": "search",
                "map_index": index,
                "rendered_map_index": None,
                "state": None,
                "try_number": 0,
                "start_date": None,
                "end_date": None,
            }
            for index in range(offset, min(offset + 100, 250))
        ]
        return httpx.Response(200, json={"task_instances": page, "total_entries": 250})

    found = airflow_that_answers(answer).task_instances("r")
    assert [each.map_index for each in found] == list(range(250))


def airflow_with_a_form(triggered: Any) -> Airflow:
    """An Airflow whose trigger form knows two values, and that answers to a trigger as it is told."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/auth/token":
            return httpx.Response(201, json={"access_token": "t"})
        if request.url.path.endswith("/details"):
            return httpx.Response(200, json={"params": {"years": {}, "promote": {}}})
        return triggered(json.loads(request.content))  # type: ignore[no-any-return]

    return airflow_that_answers(answer)


def test_what_airflow_refuses_is_said_with_its_reason_alone() -> None:
    detail = "Invalid input for param years: 'x' is not of type 'array'\n\nFailed validating 'type' in schema:\n    {}"
    airflow = airflow_with_a_form(lambda _: httpx.Response(400, json={"detail": detail}))
    with pytest.raises(AirflowError) as caught:
        airflow.trigger({"years": "x"})
    assert caught.value.cause == "Airflow refuses the run: Invalid input for param years: 'x' is not of type 'array'."
    assert "trigger form" in caught.value.remedy


def test_a_value_that_the_form_does_not_know_starts_nothing() -> None:
    airflow = airflow_with_a_form(lambda _: pytest.fail("a run was started"))
    with pytest.raises(AirflowError, match=r"no 'promot' \(did you mean 'promote'\?\).*name years, promote"):
        airflow.trigger({"promot": False})


@pytest.mark.parametrize("first", ["an error", "no answer"])
@pytest.mark.parametrize("heard", [False, True])
def test_a_trigger_that_fails_is_tried_again_and_starts_one_run(
    first: str, heard: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    started: list[str] = []

    def triggered(body: dict[str, Any]) -> httpx.Response:
        if body["dag_run_id"] in started:
            return httpx.Response(409, json={"detail": "it is there"})
        tries.append(body)
        if len(tries) > 1 or heard:
            started.append(body["dag_run_id"])
        if len(tries) > 1:
            return httpx.Response(200, json={"dag_run_id": body["dag_run_id"]})
        if first == "no answer":
            raise httpx.ReadTimeout("late")
        return httpx.Response(500, text="database is locked")

    tries: list[dict[str, Any]] = []
    run_id = airflow_with_a_form(triggered).trigger({"years": [2021]})
    assert started == [run_id]
    assert run_id.startswith("manual__20")


def test_a_second_start_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with lock.held(tmp_path / "run" / "lock", lambda: order.append("waits")):
            order.append("second")

    with lock.held(tmp_path / "run" / "lock"):
        other = threading.Thread(target=second)
        other.start()
        end = time.monotonic() + 30
        while not order and time.monotonic() < end:
            time.sleep(0.01)
        order.append("first")
    other.join()
    assert order == ["waits", "first", "second"]


# --- the demo


def test_it_says_what_the_models_learned_from(tmp_path: Path) -> None:
    def told(years: str, sample: bool) -> str:
        model = demo.LoggedModel("1", "Tree", {}, years, sample)
        return demo.origin(demo.Results("run", [model], [], None), tmp_path)

    assert told("[2021]", False) == "Learned from real accidents: 2021."
    assert "GENERATED accidents (2022, 2023)" in told("[2022, 2023]", True)
    (tmp_path / MARKER).touch()
    assert f"the generated ones of {tmp_path} were left out" in told("[2021]", False)


@pytest.mark.parametrize(("share", "shown"), [(0, "0%"), (0.004, "< 1%"), (0.42, "42%"), (0.997, "> 99%"), (1, "100%")])
def test_a_small_probability_is_not_none(share: float, shown: str) -> None:
    assert demo._share(share) == shown


def test_the_input_is_the_given_folder_then_the_raw_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, given = tmp_path / "raw", tmp_path / "given"
    for folder in (raw, given):
        folder.mkdir()
        (folder / "lieux-2021.csv.gz").touch()
    monkeypatch.setenv("ACCIDENTS_RAW_DIR", str(raw))
    console = Console(quiet=True)

    assert demo.find_input(given, settings.load(), console) == given
    assert demo.find_input(None, settings.load(), console) == raw
    with pytest.raises(SettingsError, match="holds no CSV"):
        demo.find_input(tmp_path / "empty", settings.load(), console)


def test_without_a_network_the_sample_is_generated_once_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def write_sample(folder: Path) -> None:
        written.append(folder)
        folder.mkdir(parents=True)
        (folder / "lieux-2022.csv").touch()

    monkeypatch.setenv("ACCIDENTS_RAW_DIR", str(tmp_path / "none"))
    monkeypatch.setattr("include.accidents.data.download.reachable", lambda _: False)
    monkeypatch.setattr("include.accidents.synthetic.sample.write_sample", write_sample)
    console = Console(file=StringIO())
    chosen = settings.load()

    assert demo.find_input(None, chosen, console) == demo.find_input(None, chosen, console) == chosen.folder / "sample"
    assert written == [chosen.folder / "sample"]
    assert "GENERATED" in said_by(console)


def test_a_download_that_was_cut_goes_on_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Path] = []

    def fetch(folder: Path, _url: str, _console: Console) -> None:
        fetched.append(folder)
        (folder / "lieux-2024.csv").touch()
        if len(fetched) == 1:
            raise KeyboardInterrupt

    monkeypatch.setenv("ACCIDENTS_RAW_DIR", str(tmp_path / "raw"))
    monkeypatch.setattr("include.accidents.data.download.reachable", lambda _: True)
    monkeypatch.setattr(demo, "fetch", fetch)
    console = Console(quiet=True)
    with pytest.raises(KeyboardInterrupt):
        demo.find_input(None, settings.load(), console)
    for _ in range(2):
        assert demo.find_input(None, settings.load(), console) == tmp_path / "raw"
    assert len(fetched) == 2


@pytest.mark.parametrize(("alert", "word"), [(True, "Alert:"), (False, "No alert:")])
def test_the_decision_says_what_an_alert_promises(alert: bool, word: str) -> None:
    said = demo.decision(
        {"p_any_severe": 0.571, "alert": alert, "alert_threshold": 0.332, "alert_recall": 0.8, "alert_precision": 0.654,
         "level": "on_scene"}
    )  # fmt: skip
    assert "57%" in said
    assert word in said
    assert "finds 80%" in said
    assert "65% of the alerts are right" in said


def test_the_prediction_shows_each_person_with_the_likeliest_outcome_first() -> None:
    shares = {"unharmed": 0.1, "light": 0.6, "hospitalised": 0.25, "killed": 0.05}
    text = shown(demo.prediction_table([{"vehicle": "A", "probabilities": shares}]))
    assert sorted(shares, key=text.index) == ["light", "hospitalised", "unharmed", "killed"]
    assert "60%" in text


@pytest.mark.parametrize(("gib", "cores", "slots"), [(24, 2, 2), (8, 16, 4), (3, 2, 1), (1, 8, 1)])
def test_as_many_models_are_made_at_a_time_as_there_are_cores_and_memory_for(
    gib: int, cores: int, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "cores", lambda: cores)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(total=gib << 30))
    assert settings.model_slots() == slots
