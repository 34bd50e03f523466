"""Benchmark of long and wide load: ten minutes of traffic, with reloads and a registry that dies; 200 models in a run.

    .venv/bin/python benchmarks/load.py [traffic] [models] [--table docs/load.md]

`traffic` starts an MLflow and the API, `models` an embedded stack, all on free ports of 127.0.0.1. SECONDS (600) is the
duration of the traffic, MODELS (10,50,200) are the numbers of trivial models in the runs. Prints a line for each
figure; exit status 1 when one misses its bar. benchmarks/data.py (`growth`) measures the stages of the data with 2.5
million people.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import httpx
import numpy as np
import psutil

ASKERS = 4
RELOAD_EVERY = 2.0  # s
POLL = 2.0  # s between the API's own looks at the registry
# The events of the registry, as shares of the duration.
KILLED, BACK, FROZEN, THAWED = 0.25, 0.45, 0.6, 0.75
lines: list[dict[str, Any]] = []


def print_figure(name: str, value: float, unit: str, better: str, bar: float | None = None) -> None:
    """Print a figure and keep it."""
    line: dict[str, Any] = {"name": f"load.{name}", "value": round(value, 3), "unit": unit, "better": better}
    lines.append(line | ({} if bar is None else {"bar": bar}))
    print(json.dumps(lines[-1]), flush=True)


def missed(line: dict[str, Any]) -> bool:
    """Return whether a figure misses its bar."""
    if "bar" not in line:
        return False
    return bool(line["value"] < line["bar"] if line["better"] == "higher" else line["value"] > line["bar"])


def main() -> int:
    """Measure the parts on the command line; 1 when a figure misses its bar."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the services are stopped then too
    table = Path(sys.argv.pop(sys.argv.index("--table") + 1)) if "--table" in sys.argv else None
    parts = [each for each in sys.argv[1:] if not each.startswith("-")] or ["traffic", "models"]
    if "traffic" in parts:
        traffic(float(os.environ.get("SECONDS", "600")))
    if "models" in parts:
        models([int(each) for each in os.environ.get("MODELS", "10,50,200").split(",")])
    if table:
        table.write_text(page(), encoding="utf-8")
    return int(any(map(missed, lines)))


def page() -> str:
    """Return the figures as a page of the documentation."""
    head = (
        "# Load\n\nWritten by `make load`. `benchmarks/load.py` defines each figure; `benchmarks/data.py` "
        "(`data.growth`) measures the stages of the data with 2.5 million people.\n\n"
        "| figure | measured | bar |\n|---|---|---|\n"
    )
    rows = [
        f"| `{x['name']}` | {x['value']:g} {x['unit']}{' **missed**' if missed(x) else ''} | {x.get('bar', '')} |"
        for x in lines
    ]
    return head + "\n".join(rows) + "\n"


# --- traffic -----------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """The answers to the askers: when each was asked for and how long it took, failures, and wrong answers."""

    answers: list[tuple[float, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def traffic(seconds: float) -> None:
    """Ask the API without a pause, while its model is reloaded and its registry is killed, restarted and frozen."""
    from tests.api.world import KEY, SIGNING, World

    with TemporaryDirectory(prefix="acc") as name:
        folder = Path(name)
        world = World(folder)
        from include.accidents.registry import promotion

        for seed in (1, 2):
            promotion.promote(world.client, world.add(seed=seed), SIGNING.encode(), "load")
        registry_port, port = free_ports(2)
        store = (
            sys.executable, "-m", "mlflow", "server", "--port", str(registry_port), "--workers", "1",
            "--backend-store-uri", world.uri, "--artifacts-destination", str(folder / "artifacts"),
        )  # fmt: skip
        env = {
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{registry_port}", "ACCIDENTS_API_KEY": KEY,
            "ACCIDENTS_SIGNING_KEY": SIGNING, "ACCIDENTS_REGISTRY_POLL_SECONDS": str(POLL),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }  # fmt: skip
        serving = (sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", "--port", str(port))
        registry_url, url = f"http://127.0.0.1:{registry_port}", f"http://127.0.0.1:{port}"
        with (
            Service(store, f"{registry_url}/health", folder, {}) as mlflow,
            Service(serving, f"{url}/ready", folder, env) as api,
        ):
            _traffic(seconds, mlflow, api, url, KEY, world)


def _traffic(seconds: float, mlflow: Service, api: Service, url: str, key: str, world: Any) -> None:
    from api.schemas.scenes import EXAMPLE

    def promote(version: str) -> None:
        """Let production point to a version in the registry's database, which works without its server."""
        world.client.set_registered_model_alias("BestModel", "production", version)

    client = httpx.Client(base_url=url, trust_env=False, timeout=150)
    right: dict[str, Any] = {}
    for version in ("2", "1"):
        promote(version)
        client.post("/api/v1/reload_model/BestModel", headers={"X-Api-Key": key}).raise_for_status()
        right[version] = client.post("/api/v1/predict", json=EXAMPLE).json()["scenes"]
    seen, stop, began = Seen(), threading.Event(), time.monotonic()

    def ask() -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as asker:
            while not stop.is_set():
                asked = time.monotonic()
                try:
                    answer = asker.post("/api/v1/predict", json=EXAMPLE)
                except httpx.HTTPError as error:
                    seen.failed.append(repr(error))
                    continue
                seen.answers.append((asked - began, time.monotonic() - asked))
                if answer.status_code != 200:
                    seen.failed.append(answer.text)
                elif answer.json()["scenes"] != right[answer.json()["model"]["version"]]:
                    seen.wrong.append(answer.text)

    reloads: list[tuple[float, float, int]] = []  # when, how long, status

    def reload() -> None:
        turn = 0
        while not stop.wait(RELOAD_EVERY):
            turn += 1
            promote("21"[turn % 2])
            asked = time.monotonic()
            answer = client.post("/api/v1/reload_model/BestModel", headers={"X-Api-Key": key})
            reloads.append((asked - began, time.monotonic() - asked, answer.status_code))

    def weigh() -> None:
        memory.append(psutil.Process(api.process.pid).memory_info().rss / 1e6)

    memory: list[float] = []
    threads = [threading.Thread(target=ask) for _ in range(ASKERS)] + [threading.Thread(target=reload)]
    for each in threads:
        each.start()
    acts = {0.1: weigh, KILLED: mlflow.kill, BACK: mlflow.start, FROZEN: mlflow.freeze, THAWED: mlflow.thaw, 1: weigh}
    done: dict[float, float] = {}
    for share, act in acts.items():
        time.sleep(max(0.0, began + share * seconds - time.monotonic()))
        act()
        done[share] = time.monotonic() - began
    stop.set()
    for each in threads:
        each.join()
    _report(seen, reloads, memory, done)
    _follow(client, promote)


def _follow(client: httpx.Client, promote: Callable[[str], None]) -> None:
    """Measure how long the API takes to follow the registry by itself."""
    from api.schemas.scenes import EXAMPLE

    def served() -> str:
        return str(client.post("/api/v1/predict", json=EXAMPLE).json()["model"]["version"])

    other = "2" if served() == "1" else "1"
    promote(other)
    changed = time.monotonic()
    while served() != other and time.monotonic() < changed + 60:
        time.sleep(0.1)
    print_figure("followed_by_itself_after", time.monotonic() - changed, "s", "lower", 10)


def _report(seen: Seen, reloads: list[tuple[float, float, int]], memory: list[float], done: dict[float, float]) -> None:
    """Print the figures of the traffic; `done` holds when each event of the registry happened, in s."""

    def p99(start: float, end: float) -> float:
        took = [lasted for asked, lasted in seen.answers if start <= asked < end]
        return float(np.percentile(took, 99)) * 1000 if took else 0.0

    def was_away(asked: float, took: float) -> bool:
        away = ((done[KILLED], done[BACK]), (done[FROZEN], done[THAWED]))
        return any(asked < end + 1 and asked + took > start - 1 for start, end in away)

    good = [took for asked, took, status in reloads if status == 200]
    refused = [took for asked, took, status in reloads if status == 503]
    strange = [r for r in reloads if r[2] not in (200, 503) or (r[2] == 503 and not was_away(r[0], r[1]))]
    print_figure("traffic_seconds", done[1], "s", "higher")
    print_figure("requests", len(seen.answers), "requests", "higher")
    print_figure("requests_failed", len(seen.failed), "requests", "lower", 0)
    print_figure("answers_wrong_or_mixed", len(seen.wrong), "answers", "lower", 0)
    print_figure("p99_all_well", p99(0, done[KILLED]), "ms", "lower")
    print_figure("p99_registry_dead", p99(done[KILLED], done[BACK]), "ms", "lower")
    print_figure("p99_registry_frozen", p99(done[FROZEN], done[THAWED]), "ms", "lower")
    print_figure("reloads_done", len(good), "reloads", "higher", 1)
    print_figure("reloads_refused_while_away", len(refused), "reloads", "higher")
    print_figure("longest_refusal", max(refused, default=0.0), "s", "lower")
    print_figure("reloads_wrong", len(strange), "reloads", "lower", 0)
    print_figure("memory_growth", memory[1] - memory[0], "MB", "lower", 50)
    for each in [*seen.failed[:3], *seen.wrong[:3], *map(str, strange[:3])]:
        print(each, file=sys.stderr)


class Service:
    """A server in a process group of its own, which can be killed, started again, and frozen."""

    def __init__(self, command: tuple[str, ...], ready: str, folder: Path, env: dict[str, str]) -> None:
        self._command, self._ready, self._env = command, ready, {**os.environ, **env}
        self._log = (folder / f"{free_ports(1)[0]}.log").open("wb")
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Service:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self.process = subprocess.Popen(
            self._command, cwd=ROOT, env=self._env, stdout=self._log, stderr=self._log, start_new_session=True
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(httpx.HTTPError):
                if httpx.get(self._ready, trust_env=False, timeout=5).is_success:
                    return
            time.sleep(0.5)
        raise SystemExit(f"{self._command[2]} does not start: {Path(self._log.name).read_text()[-2000:]}")

    def kill(self) -> None:
        """Kill the server and all processes that it started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def freeze(self) -> None:
        """Suspend the server: its connections stay, and nothing answers."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Resume the server."""
        os.killpg(self.process.pid, signal.SIGCONT)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


# --- many models -------------------------------------------------------------------------------------------


def models(counts: list[int]) -> None:
    """Run the DAG with more and more models that do nothing; open each run's pages in a browser."""
    from benchmarks import pipeline
    from include.accidents.synthetic.sample import write_sample
    from ops import envfile
    from ops.airflow_api import Airflow

    with TemporaryDirectory(prefix="acc") as folder:
        catalogue, sample = Path(folder) / "models.json", Path(folder) / "sample"
        env = pipeline.environment(folder, catalogue)
        write_sample(sample, years=(2022,), accidents_per_year=1500)
        pipeline.write_catalogue(catalogue, 2)
        try:
            pipeline.embedded(env, "up")
            local_env = envfile.read(Path(folder) / "local" / "env")
            airflow = Airflow(local_env["AIRFLOW_URL"], local_env["AIRFLOW_USER"], local_env["AIRFLOW_PASSWORD"])
            pipeline.run(airflow, sample)  # fills the store
            before, wall_before = 0, 0.0
            for count in counts:
                pipeline.write_catalogue(catalogue, count)
                run_id, wall, busy = _wide_run(airflow, sample)
                print_figure(f"run_of_{count}_models", wall, "s", "lower")
                print_figure(f"task_seconds_a_model_of_{count}", busy / count, "s", "lower")
                if before:
                    print_figure(
                        f"a_further_model_from_{before}_to_{count}",
                        (wall - wall_before) / (count - before),
                        "s",
                        "lower",
                    )
                before, wall_before = count, wall
                _pages(local_env, run_id, count)
        finally:
            pipeline.embedded(env, "down")
    steps = [line["value"] for line in lines if line["name"].startswith("load.a_further_model")]
    if len(steps) > 1:
        print_figure("growth_of_a_further_model", steps[-1] / steps[0], "x", "lower", 1.5)


def _wide_run(airflow: Any, sample: Path) -> tuple[str, float, float]:
    """Run once with `force`; return the run's id, its wall time, and the total time of the models' instances."""
    from benchmarks.pipeline import moment

    run_id = airflow.trigger({"raw_dir": str(sample), "force": True})
    dag_run: dict[str, Any] = {}
    while dag_run.get("state") not in ("success", "failed"):
        time.sleep(2)
        with suppress(httpx.TimeoutException):  # a busy machine
            dag_run = airflow.run(run_id)
    instances = airflow.task_instances(run_id)
    states = {(each.task_id, each.map_index): each.state for each in instances}
    if dag_run["state"] == "failed" or set(states.values()) != {"success"}:
        raise SystemExit(f"The run {run_id} did not succeed: { {k: v for k, v in states.items() if v != 'success'} }")
    busy = sum((each.ended - each.started).total_seconds() for each in instances if each.map_index >= 0)
    return run_id, moment(dag_run["end_date"]) - moment(dag_run["start_date"]), busy


def _pages(local_env: dict[str, str], run_id: str, count: int) -> None:
    """Measure the grid and the list of instances of a run in a headless Chromium."""
    from playwright.sync_api import sync_playwright

    from include.accidents.pipeline.names import PIPELINE
    from tests.browser.chromium import CHROMIUM, FLAGS

    if CHROMIUM is None:
        print("There is no Chromium on the PATH: the pages were not measured.", file=sys.stderr)
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(60_000)
        page.goto(local_env["AIRFLOW_URL"])
        page.fill("input[name=username]", local_env["AIRFLOW_USER"])
        page.fill("input[name=password]", local_env["AIRFLOW_PASSWORD"])
        page.keyboard.press("Enter")
        page.wait_for_url(lambda url: "login" not in url)

        def seconds(path: str, shown: Callable[[], Any]) -> float:
            began = time.monotonic()
            page.goto(f"{local_env['AIRFLOW_URL']}{path}")
            shown()
            return time.monotonic() - began

        # The grid counts as loaded when it shows this task.
        grid = f"/dags/{PIPELINE}/runs/{quote(run_id)}"
        first = seconds(grid, page.get_by_text("select_best_model").first.wait_for)
        again = seconds(grid, page.get_by_text("select_best_model").first.wait_for)
        mapped = seconds(
            f"{grid}/tasks/search_params/mapped",
            lambda: page.locator("table tbody tr").nth(min(count, 20) - 1).wait_for(),
        )
        browser.close()
    print_figure(f"grid_of_{count}_models_first", first, "s", "lower", 10)
    print_figure(f"grid_of_{count}_models_again", again, "s", "lower", 5)
    print_figure(f"instances_of_{count}_models", mapped, "s", "lower", 5)


if __name__ == "__main__":
    sys.exit(main())
