"""The stack broken in every way that was thought of: each ends in the right result, or in a failure that a re-run repairs.

`make test-faults` tries all; `make test` those that are not marked `long`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from include.accidents.registry import loading
from include.accidents.registry.names import BEST, LOADED
from include.accidents.storage.buckets import MODELS, PREPROCESSED, RAW, TRAIN
from include.accidents.synthetic.sample import write_sample
from tests.faults.ledger import REPAIRED, WELL, Ledger
from tests.faults.world import World, until

long = pytest.mark.long
SERVICES = ("s3", "mlflow", "api", "airflow-scheduler")
#: In the midst of what a service is killed, and how that moment is recognised.
WRITES = {"s3": TRAIN, "mlflow": "mlflow"}
WRITTEN_BY = {"prepare_data": PREPROCESSED, "clean_data": TRAIN, "log_model": "mlflow"}


def survive(
    world: World,
    ledger: Ledger,
    fault: str,
    stage: str,
    strike: Callable[[str], Any],
    *,
    heal: Callable[[], Any] = lambda: None,
    must_fail: str | None = None,
    **conf: Any,
) -> None:
    """Trigger a run, strike, and see that it or the next one ends right and that nothing is lost."""
    row = ledger.begin(fault, stage)
    run_id = world.trigger(**conf)
    strike(run_id)
    state = world.end(run_id)
    world.ready()
    row.story = world.story(run_id)
    if state == "success" and not world.wrong(run_id):
        assert must_fail is None, "the fault was not noticed"
        row.outcome = WELL
        heal()
    else:
        assert must_fail is None or must_fail in row.story, row.story
        heal()
        again = world.trigger(**{name: value for name, value in conf.items() if name != "force"})
        assert world.end(again) == "success", (row.story, world.story(again))
        assert not world.wrong(again), (row.story, world.wrong(again))
        row.outcome = REPAIRED
    row.lost = world.damage()
    assert not row.lost, (row.story, row.lost)


# --- killed services and tasks -----------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["s3", pytest.param("mlflow", marks=long)])
def test_a_store_is_killed_in_the_midst_of_a_write(world: World, ledger: Ledger, service: str) -> None:
    def strike(run_id: str) -> None:
        begun = time.time()
        until(lambda: world.written_since(WRITES[service], begun), 180, f"{service} wrote nothing", pause=0.002)
        world.kill(service)

    survive(world, ledger, f"kill -9 of {service}", "during a write", strike, force=True)


@pytest.mark.parametrize("task", ["log_model", "select_best_model"])
@long
def test_mlflow_is_killed_under_a_task(world: World, ledger: Ledger, task: str) -> None:
    survive(
        world, ledger, "kill -9 of mlflow", f"while {task} runs",
        lambda run_id: (world.wait_for_task(run_id, task), world.kill("mlflow")), force=True,
    )  # fmt: skip


@long
def test_mlflow_is_killed_just_after_a_promotion(world: World, ledger: Ledger) -> None:
    """The next try knows that the promotion happened, and says so."""
    before = loading.newest(world.mlflow, BEST)
    world.mlflow.set_model_version_tag(BEST, before, "signature", "broken")  # so that the winner is promoted
    world.broken.add((BEST, str(before)))
    world.verified.discard((BEST, str(before)))

    def strike(run_id: str) -> None:
        until(lambda: loading.newest(world.mlflow, BEST) != before, 600, "nothing was promoted", pause=0.01)
        world.kill("mlflow")
        world.end(run_id)
        assert "is promoted" in world.airflow.run(run_id)["note"]

    survive(world, ledger, "kill -9 of mlflow", "just after the promotion", strike, force=True)
    assert loading.newest(world.mlflow, BEST) == str(int(before or 0) + 1), "it was promoted twice"


@pytest.mark.parametrize("service", SERVICES)
@long
def test_a_service_is_killed_before_the_run(world: World, ledger: Ledger, service: str) -> None:
    world.kill(service)
    survive(world, ledger, f"kill -9 of {service}", "just before the run", lambda _: None, force=True)


@pytest.mark.parametrize("service", SERVICES)
@long
def test_a_service_is_killed_after_the_run(world: World, ledger: Ledger, service: str) -> None:
    def strike(run_id: str) -> None:
        assert world.end(run_id) == "success"
        world.kill(service)

    survive(world, ledger, f"kill -9 of {service}", "just after the run", strike, force=True)


@long
def test_the_api_is_killed_while_it_reloads(world: World, ledger: Ledger) -> None:
    def strike(run_id: str) -> None:
        process = world.service("api")
        port = int(world.env["ACCIDENTS_API_URL"].rpartition(":")[2])

        def asked() -> bool:
            return any(each.status == "ESTABLISHED" and each.laddr.port == port for each in process.net_connections())

        until(asked, 180, "nobody asked the API", pause=0.005)
        process.send_signal(signal.SIGKILL)

    survive(world, ledger, "kill -9 of api", "while it loads a model", strike, force=True)


@pytest.mark.parametrize("task", ["prepare_data", "search_params", "select_best_model"])
@long
def test_the_scheduler_is_killed_with_a_running_task(world: World, ledger: Ledger, task: str) -> None:
    survive(
        world, ledger, "kill -9 of airflow-scheduler", f"while {task} runs",
        lambda run_id: (world.wait_for_task(run_id, task), world.kill("airflow-scheduler")), force=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "task",
    [
        pytest.param("load_csv_to_s3", marks=long),
        pytest.param("prepare_data", marks=long),
        pytest.param("clean_data", marks=long),
        pytest.param("search_params", marks=long),
        pytest.param("train_model", marks=long),
        "log_model",
        pytest.param("reload_model", marks=long),
        pytest.param("select_best_model", marks=long),
    ],
)
def test_a_task_is_killed(world: World, ledger: Ledger, task: str) -> None:
    begun = time.time()
    midst: dict[str, Callable[[psutil.Process], Any]] = {
        "load_csv_to_s3": world.speaks_to("s3"),
        "search_params": psutil.Process.children,  # in which it fits
        "train_model": psutil.Process.children,
        "reload_model": world.speaks_to("api"),
        "select_best_model": world.speaks_to("mlflow"),
    }
    for name, bucket in WRITTEN_BY.items():
        midst[name] = lambda _, bucket=bucket: world.written_since(bucket, begun)
    survive(
        world, ledger, "kill -9 of a task's process", f"in the midst of {task}",
        lambda run_id: world.kill_task(run_id, task, midst[task]), force=True,
    )  # fmt: skip


# --- connections and disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "task"), [("s3", "search_params"), ("mlflow", "log_model"), ("api", "reload_model")]
)
@long
def test_a_connection_hangs(world: World, ledger: Ledger, service: str, task: str) -> None:
    with world.proxied(service) as proxy:

        def strike(run_id: str) -> None:
            world.wait_for_task(run_id, task)
            proxy.hang()
            until(lambda: proxy.swallowed, 120, "nothing was swallowed")
            time.sleep(10)
            proxy.heal()

        survive(world, ledger, f"connections to {service} hang for 10 s and stay deaf", task, strike, force=True)


@long
def test_s3_is_slow(world: World, ledger: Ledger) -> None:
    with world.proxied("s3") as proxy:
        proxy.rate = 100_000
        survive(world, ledger, "S3 at 100 kB/s", "the whole run", lambda _: None, force=True)


@pytest.mark.parametrize("freed", ["while it is tried again", "after the run"])
@long
def test_the_disk_is_full(world: World, ledger: Ledger, freed: str) -> None:
    if not world.small_disk:
        pytest.skip("mounting a small disk is not allowed here")
    filler = world.local / "s3" / ".filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 4096)

    def strike(run_id: str) -> None:
        fill()
        if freed == "while it is tried again":
            until(lambda: any(each.try_number > 1 for each in world.instances(run_id)), 120, "nothing was tried again")
            filler.unlink()

    try:
        survive(
            world, ledger, "S3's disk is full", f"freed {freed}", strike,
            heal=lambda: filler.unlink(missing_ok=True), force=True,
        )  # fmt: skip
    finally:
        filler.unlink(missing_ok=True)


# --- objects -----------------------------------------------------------------------------------------------


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def alter(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def remove(_: bytes) -> None:
    return None


How = Callable[[bytes], bytes | None]


OBJECTS = {
    "the train_test of tasks": (TRAIN, "versions/*/**/train_test.parquet"),
    "a year's tables": (PREPROCESSED, "versions/*/**/people.parquet"),
    "a manifest": (TRAIN, "versions/*/manifest.json"),
    "a trained model": (MODELS, "versions/*/**/*_model.skops"),
    "a CSV for people": (TRAIN, "X_train_test.csv"),
    "a raw file": (RAW, "usagers-2022.csv"),
    "the index of raw files": (RAW, "manifest.json"),
}


@pytest.mark.parametrize("how", [truncate, alter, remove], ids=lambda f: f.__name__)
@long
def test_objects_are_damaged_before_a_run(world: World, ledger: Ledger, how: How) -> None:
    for bucket, pattern in OBJECTS.values():
        world.replace(bucket, pattern, how)
    told = {"truncate": "truncated", "alter": "altered by a byte", "remove": "removed"}[how.__name__]
    survive(world, ledger, f"objects {told}: {', '.join(OBJECTS)}", "before the run", lambda _: None)


@long
def test_an_object_is_altered_between_two_tasks(world: World, ledger: Ledger) -> None:
    def strike(run_id: str) -> None:
        world.wait_for_task(run_id, "search_params")
        world.replace(TRAIN, "versions/*/**/*.parquet", alter)

    survive(
        world, ledger, "the splits altered by a byte", "while search_params runs", strike,
        must_fail="is not what its manifest says (SHA-256 differs)", force=True,
    )  # fmt: skip


@long
def test_an_upload_breaks_off(world: World, ledger: Ledger, tmp_path: Path) -> None:
    for path in write_sample(tmp_path, years=(2021,), accidents_per_year=30_000):
        path.rename(world.raw / path.name)
    begun = time.time()

    def strike(run_id: str) -> None:
        world.kill_task(run_id, "load_csv_to_s3", lambda _: world.written_since(RAW, begun))

    try:
        survive(world, ledger, "kill -9 of a task's process", "during the upload of a raw file", strike, years=[2022])
    finally:
        for path in world.raw.glob("*-2021.csv"):
            world.s3.delete_object(Bucket=RAW, Key=path.name)
            path.unlink()


@pytest.mark.parametrize("half", ["three files of four", "a file cut in the middle of a line"])
@long
def test_a_year_is_put_half_into_the_bucket(world: World, ledger: Ledger, tmp_path: Path, half: str) -> None:
    write_sample(tmp_path, years=(2021,), accidents_per_year=300)
    contents = {path.name: path.read_bytes() for path in tmp_path.glob("*.csv")}

    def put(name: str, content: bytes) -> None:
        world.s3.put_object(Bucket=RAW, Key=name, Body=content)

    for name, content in contents.items():
        if "usagers" not in name:
            put(name, content)
        elif half != "three files of four":
            put(name, content[: len(content) // 2])

    def finish() -> None:
        for name in contents:
            world.s3.delete_object(Bucket=RAW, Key=name)

    survive(
        world, ledger, f"a year half put into the raw bucket: {half}", "before the run", lambda _: None,
        heal=finish, must_fail="2021",
    )  # fmt: skip


@long
def test_more_runs_at_once(world: World, ledger: Ledger) -> None:
    others: list[str] = []

    def strike(_: str) -> None:
        with ThreadPoolExecutor(3) as people:
            others.extend(people.map(lambda _: world.trigger(force=True), range(3)))

    survive(world, ledger, "three more runs are triggered", "at the same moment", strike, force=True)
    assert len(set(others)) == 3
    for other in others:
        assert world.end(other) == "success"
        assert not world.wrong(other)


# --- the registry ------------------------------------------------------------------------------------------


@long
def test_the_production_model_is_broken_and_the_api_starts_anew(world: World, ledger: Ledger) -> None:
    """The API says why it serves nothing; the next run promotes a good model."""
    row = ledger.begin("the file of the model in production is truncated", "and the API is killed")
    world.replace("mlflow", "**/model.skops", truncate)
    world.verified.clear()
    world.kill("api")
    world.ready()
    url = world.env["ACCIDENTS_API_URL"]
    until(lambda: "BestModel" in world.log("api") and "signature" in world.log("api"), 60, "the API says nothing")
    assert httpx.get(f"{url}/ready").status_code == 503
    for name in loading.names(world.mlflow):  # they cannot be mended, and are known to be broken
        for version in world.mlflow.search_model_versions(f"name = '{name}'"):
            world.broken.add((name, str(version.version)))
    run_id = world.trigger()
    assert world.end(run_id) == "success", world.story(run_id)
    assert not world.wrong(run_id)
    row.story = "the API refused it, /ready answered 503; the next run promoted a model in its place"
    row.outcome, row.lost = REPAIRED, world.damage()
    assert not row.lost


def served(world: World, name: str) -> str | None:
    found = httpx.get(f"{world.env['ACCIDENTS_API_URL']}/api/v1/models").raise_for_status().json()
    return {each["name"]: each["version"] for each in found}.get(name)


@long
def test_the_newest_version_is_a_strangers(world: World, ledger: Ledger) -> None:
    row = ledger.begin("the newest version of a model bears no signature", "and is asked to be reloaded")
    newest = loading.newest(world.mlflow, "Tree")
    until(lambda: served(world, "Tree") == newest, 60, "the API does not serve the newest version")
    source = world.mlflow.get_model_version("Tree", newest).source
    last = {LOADED: "9999-12-31T23:59:59+00:00"}  # or nobody would take it for the newest
    strange = world.mlflow.create_model_version("Tree", source, model_id=source.removeprefix("models:/"), tags=last)
    url, key = world.env["ACCIDENTS_API_URL"], {"X-Api-Key": world.env["ACCIDENTS_API_KEY"]}
    answer = httpx.post(f"{url}/api/v1/reload_model/Tree", headers=key, timeout=60)
    assert answer.status_code == 409, answer.text
    assert served(world, "Tree") == newest
    world.mlflow.delete_model_version("Tree", strange.version)
    row.story = f"the API refused it ({answer.json()['detail'][:80]}…) and went on serving version {newest}"
    row.outcome, row.lost = WELL, world.damage()
    assert not row.lost


def test_nothing_is_left_behind_in_the_buckets(world: World) -> None:
    """Temporary files of a killed S3 server are no objects."""
    for bucket in (RAW, PREPROCESSED, TRAIN, MODELS):
        keys = {each["Key"] for each in world.s3.list_objects_v2(Bucket=bucket).get("Contents", [])}
        assert not {key for key in keys if "rclone_temp" in key}, bucket
