"""An embedded stack to break: its processes, its runs, and what must be right and still be there after a fault."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import boto3
import httpx
import mlflow
import psutil
from mlflow import MlflowClient

from api.schemas.scenes import EXAMPLE
from include.accidents.data.files import MARKER
from include.accidents.features.version import feature_version
from include.accidents.registry import loading, tracking
from include.accidents.registry.names import BEST
from include.accidents.storage.buckets import MODELS, PREPROCESSED, RAW, TRAIN
from include.accidents.synthetic.sample import write_sample
from ops import airflow_settings, envfile
from ops.airflow_api import Airflow, TaskInstance
from ops.local import environment, settings
from ops.local.supervisor import stray_processes
from tests.faults.proxy import Proxy
from tests.helpers import BAYES, DAG

T = TypeVar("T")
RUN_SECONDS = 900  # on a busy machine
NAMES = ("Bayes", "Tree")  # the instances' order
FOREST = "sklearn.ensemble.RandomForestClassifier"
CATALOGUE = {
    "defaults": {"evaluation_folds": 2, "search_folds": 2},
    # One that takes no time, and one whose tasks last for seconds: there is something to break off.
    "models": {
        "Bayes": BAYES,
        "Tree": {
            "pipeline": [["clf", {"class": FOREST, "params": {"n_estimators": 80, "max_leaf_nodes": 48}}]],
            "param_grid": {"clf__min_samples_leaf": [5, 20]},
        },
    },
}
#: How a service's process is told from the others of the stack.
COMMANDS = {
    "s3": "rclone serve s3",
    "mlflow": "ops.mlflow_server",
    "api": "api.app:create_app",
    "airflow-scheduler": "airflow scheduler",
}
PORTS = {"s3": "AWS_ENDPOINT_URL", "mlflow": "MLFLOW_TRACKING_URI", "api": "ACCIDENTS_API_URL"}


@dataclass
class World:
    """The stack, and what was seen of it when all was well."""

    env: dict[str, str]
    folder: Path
    small_disk: bool = False
    scores: dict[str, float] = field(default_factory=dict)
    verified: set[tuple[str, str]] = field(default_factory=set)
    broken: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.raw = self.folder / "raw"
        write_sample(self.raw, years=(2022,), accidents_per_year=1500)
        (self.raw / MARKER).unlink()  # they stand for real files, which are never left out
        self.catalogue = Path(self.env["ACCIDENTS_MODELS_FILE"])
        self.catalogue.write_text(json.dumps(CATALOGUE))
        self.airflow = Airflow(self.env["AIRFLOW_URL"], self.env["AIRFLOW_USER"], self.env["AIRFLOW_PASSWORD"])
        self.mlflow = MlflowClient(self.env["MLFLOW_TRACKING_URI"])
        self.s3 = boto3.client(
            "s3",
            endpoint_url=self.env["AWS_ENDPOINT_URL"],
            aws_access_key_id=self.env["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.env["AWS_SECRET_ACCESS_KEY"],
            region_name=self.env["AWS_DEFAULT_REGION"],
        )

    # --- processes

    def processes(self, text: str) -> list[psutil.Process]:
        """Return the stack's processes whose command line holds a text."""
        found = []
        for process in stray_processes(self.local):
            try:
                if text in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    @property
    def local(self) -> Path:
        return self.folder / "local"

    def service(self, name: str) -> psutil.Process:
        """Return the process of a service that the supervisor started."""
        until(lambda: self.processes(COMMANDS[name]), 180, f"no process of {name}")
        return min(self.processes(COMMANDS[name]), key=lambda process: process.create_time())

    def kill(self, name: str) -> None:
        """Kill a service as the kernel does when memory is short; the supervisor starts it again."""
        self.service(name).send_signal(signal.SIGKILL)

    def kill_task(self, run_id: str, task: str, when: Callable[[psutil.Process], Any] = bool) -> None:
        """Kill the process of an instance of a task, as soon as `when` is true of it."""
        process = self._catch_task(run_id, task)
        deadline = time.monotonic() + 60
        while not when(process):
            assert time.monotonic() < deadline, f"{task} never came to that"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)

    def _catch_task(self, run_id: str, task: str) -> psutil.Process:
        """Wait for the last instance of a task, of two models the slow one's.

        Each new process of a task stands still until it is known which it is.
        """
        seen: set[int] = set()

        def caught() -> psutil.Process | None:
            for process in self.processes("airflow worker -- "):
                title = re.fullmatch(r"airflow worker -- ([0-9a-f-]{36})", " ".join(process.cmdline()).strip())
                if title is None or process.pid in seen:
                    continue
                process.suspend()
                seen.add(process.pid)
                try:
                    path = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances"
                    found = self.airflow._get(path, params={"task_id": task, "limit": 100})["task_instances"]
                    if found and title[1] == max(found, key=lambda each: each["map_index"])["id"]:
                        return process
                finally:
                    process.resume()
            return None

        found = until(caught, 300, f"{task} never ran", pause=0.01)
        assert found is not None
        return found

    def speaks_to(self, service: str) -> Callable[[psutil.Process], bool]:
        """Return what tells whether a process has a connection to a service."""
        port = int(self.env[PORTS[service]].rpartition(":")[2])
        return lambda process: any(each.raddr and each.raddr.port == port for each in process.net_connections("tcp"))

    def log(self, service: str) -> str:
        """Return the log of a service."""
        return (self.local / "logs" / f"{service}.log").read_text(encoding="utf-8", errors="replace")

    def remember(self, run_id: str) -> None:
        """Take a run's scores for the right ones."""
        runs = tracking.runs_of(self.mlflow, run_id)
        self.scores = {run.data.tags["model"]: run.data.metrics["selection_score"] for run in runs}

    def ready(self) -> None:
        """Wait until every service answers again."""
        addresses = [f"{self.env[PORTS[name]]}/health" for name in ("mlflow", "api")]
        until(lambda: all(_answers(each) for each in addresses), 240, "MLflow or the API is not back")
        until(lambda: httpx.get(self.env[PORTS["s3"]], timeout=3) is not None, 60, "S3 is not back")

        def scheduler_beats() -> bool:
            return bool(self.airflow.health()["scheduler"]["status"] == "healthy")

        until(scheduler_beats, 240, "the scheduler is not back")

    # --- runs

    def trigger(self, **conf: Any) -> str:
        return self.airflow.trigger({"raw_dir": str(self.raw), **conf})

    def instances(self, run_id: str) -> list[TaskInstance]:
        try:
            return self.airflow.task_instances(run_id)
        except httpx.HTTPError:
            return []

    def wait_for_task(self, run_id: str, task: str) -> None:
        """Wait until an instance of a task runs."""
        until(
            lambda: any(each.task_id == task and each.state == "running" for each in self.instances(run_id)),
            300,
            f"{task} never ran",
            pause=0.1,
        )

    def end(self, run_id: str) -> str:
        """Wait for the end of a run; return its state."""
        state = ""

        def ended() -> bool:
            nonlocal state
            state = self.airflow.run(run_id)["state"]
            return state in ("success", "failed")

        try:
            until(ended, RUN_SECONDS, "")
        except TimeoutError:
            states = [(each.task_id, each.state) for each in self.instances(run_id)]
            raise TimeoutError(f"the run does not end: {states}") from None
        return state

    def story(self, run_id: str) -> str:
        """Say which tasks of a run were tried again, which failed and why."""
        told = []
        for each in self.instances(run_id):
            name = each.task_id if each.map_index < 0 or not each.label else f"{each.task_id} [{each.label}]"
            if each.state == "failed":
                told.append(f"{name} failed: {self.reason(run_id, each)}")
            elif each.state == "skipped":
                told.append(f"{name} was skipped")
            elif each.try_number > 1:
                told.append(f"{name} took {each.try_number} tries")
        return "; ".join(told) or "nothing was tried again"

    def reason(self, run_id: str, instance: TaskInstance) -> str:
        """Return the error that ended an instance, as its log has it."""
        for entry in reversed(self.airflow.log(run_id, instance)):
            for error in entry.get("error_detail") or ():
                text = f"{error['exc_type']}: {error['exc_value']}"
                return re.sub(r"\s+", " ", text)[:160].replace("|", "/")
        return "no reason in its log"

    # --- connections

    @contextmanager
    def proxied(self, service: str) -> Iterator[Proxy]:
        """Let Airflow's tasks reach a service through a proxy."""
        # S3's signature is over the header; MLflow answers under its own name alone.
        proxy = Proxy(int(self.env[PORTS[service]].rpartition(":")[2]), renames=service != "s3")
        known = environment.Known(self.env, airflow={}, s3=envfile.read(self.local / "run" / "s3.env"))
        values = environment.settings_file(settings.Settings(local_dir=self.local), known)
        names = {"s3": "AWS_ENDPOINT_URL", "mlflow": "MLFLOW_PORT", "api": "ACCIDENTS_API_PORT"}
        through = {names[service]: f"http://127.0.0.1:{proxy.port}" if service == "s3" else str(proxy.port)}
        usual = {
            "MLFLOW_PORT": self.env["MLFLOW_TRACKING_URI"].rpartition(":")[2],
            "ACCIDENTS_API_PORT": self.env["ACCIDENTS_API_URL"].rpartition(":")[2],
            "AIRFLOW_PORT": self.env["AIRFLOW_URL"].rpartition(":")[2],
        }
        try:
            self.airflow.apply(airflow_settings.load(airflow_settings.FILE, values | usual | through))
            yield proxy
        finally:
            self.airflow.apply(airflow_settings.load(airflow_settings.FILE, values | usual))
            proxy.close()

    # --- what must be right

    def files(self, bucket: str) -> Iterator[Path]:
        """Give the files behind a bucket."""
        for path in (self.local / "s3" / bucket).rglob("*"):
            if path.is_file():
                yield path

    def written_since(self, bucket: str, moment: float) -> bool:
        """Tell whether a file of a bucket was begun or written after a moment."""
        for path in self.files(bucket):
            try:
                if path.stat().st_mtime > moment:
                    return True
            except FileNotFoundError:
                return True  # it was there a moment ago: a write in progress
        return False

    def replace(self, bucket: str, pattern: str, how: Callable[[bytes], bytes | None]) -> None:
        """Put other content, or none, in the place of some objects, as whoever has the keys of S3 can."""
        root = self.local / "s3" / bucket
        for path in list(root.glob(pattern)):
            place = {"Bucket": bucket, "Key": str(path.relative_to(root))}
            content = how(path.read_bytes())
            if content is None:
                self.s3.delete_object(**place)
            else:
                self.s3.put_object(Body=content, **place)

    def damage(self) -> list[str]:
        """Return what is not as it must be: files that manifests name, raw files, registered models, what is served."""
        return [*self._damaged_objects(), *self._damaged_models(), *self._not_served()]

    def _read(self, bucket: str, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    def _damaged_objects(self) -> Iterator[str]:
        for path in sorted(self.raw.glob("*.csv")):
            if self._read(RAW, path.name) != path.read_bytes():
                yield f"{RAW}/{path.name} is not the file that was uploaded"
        for bucket in (PREPROCESSED, TRAIN, MODELS):
            root = self.local / "s3" / bucket
            keys = {str(path.relative_to(root)) for path in self.files(bucket)}
            for key in sorted(key for key in keys if key.endswith("/manifest.json")):
                folder = key.removesuffix("manifest.json")
                for name, facts in json.loads(self._read(bucket, key))["files"].items():
                    where = folder + facts.get("path", name)
                    if where not in keys or _sha256(self._read(bucket, where)) != facts["sha256"]:
                        yield f"{bucket}/{where} is not what its manifest says"
            for key in sorted(key for key in keys if key.startswith("versions/published/")):
                name = key.removeprefix("versions/published/").removesuffix(".json")
                if _sha256(self._read(bucket, name)) != json.loads(self._read(bucket, key))["sha256"]:
                    yield f"{bucket}/{name} is not what was published"

    def _damaged_models(self) -> Iterator[str]:
        signing = self.env["ACCIDENTS_SIGNING_KEY"].encode()
        mlflow.set_tracking_uri(self.env["MLFLOW_TRACKING_URI"])
        there = {
            (found.name, str(found.version))
            for name in loading.names(self.mlflow)
            for found in self.mlflow.search_model_versions(f"name = '{name}'")
            if "signature" in found.tags
        }
        for name, version in sorted(self.verified - there):
            yield f"{name} version {version} is gone from MLflow"
        for name, version in sorted(there - self.verified - self.broken):
            try:
                loading.load(self.mlflow, name, version, signing, feature_version())
                self.verified.add((name, version))
            except Exception as error:
                yield f"{name} version {version} cannot be loaded ({type(error).__name__}: {error})"

    def _not_served(self) -> Iterator[str]:
        wanted = loading.newest(self.mlflow, BEST)

        def served() -> bool:
            answer = httpx.post(f"{self.env['ACCIDENTS_API_URL']}/api/v1/predict", json=EXAMPLE, timeout=20)
            return answer.status_code == 200 and answer.json()["model"]["version"] == wanted

        try:
            until(served, 120, "")
        except TimeoutError:
            yield f"the API does not serve version {wanted} of BestModel"

    def wrong(self, run_id: str) -> list[str]:
        """Return what a run that ended well did not do as the first one did: one registered run a model, its score."""
        runs = tracking.runs_of(self.mlflow, run_id)
        scores = {run.data.tags["model"]: run.data.metrics["selection_score"] for run in runs}
        told = [f"{len(runs)} runs in MLflow for {len(NAMES)} models"] if len(runs) != len(NAMES) else []
        told += [
            f"the run of {r.data.tags.get('model')} is {r.info.status}" for r in runs if r.info.status != "FINISHED"
        ]
        if self.scores and scores != self.scores:
            told.append(f"scores {scores} instead of {self.scores}")
        return told


def until(condition: Callable[[], T], seconds: float, told: str, pause: float = 0.5) -> T:
    """Wait for a condition, and return what it gives; errors of services that are away count as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except (httpx.HTTPError, OSError, psutil.Error):
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(told)
        time.sleep(pause)


def _answers(url: str) -> bool:
    return httpx.get(url, timeout=3).is_success


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
