"""Benchmark of Airflow's cost: parsing the DAG file, imports, and the overhead of a run with models that do nothing.

    .venv/bin/python benchmarks/pipeline.py

Starts an embedded stack of its own on free ports, on a small generated sample, and stops it again (about two
minutes). Prints a line for each figure; exit status 1 when one misses its bar.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from include.accidents.synthetic.sample import write_sample
from ops import envfile
from ops.airflow_api import Airflow, TaskInstance

NOTHING = {"pipeline": [["clf", {"class": "sklearn.dummy.DummyClassifier", "params": {"strategy": "prior"}}]]}
IMPORTS = "import include.accidents.pipeline.select, mlflow, skops.io"
AIRFLOW = "Asset, AssetAlias, BaseHook, ExceptionRetryPolicy, Param, RetryRule, TriggerRule, dag, task, task_group"
# The chain of tasks of one model, from the start of a run to its end.
PATH = (
    "load_csv_to_s3", "prepare_data", "clean_data", "search_params", "train_model", "log_model", "reload_model",
    "select_best_model", "reload_best_model",
)  # fmt: skip


def main() -> int:
    """Measure and print the figures; 1 when one misses its bar."""
    figures = [*parsing(), *running()]
    for figure in figures:
        print(json.dumps(figure))
    return int(any("bar" in f and f["value"] > f["bar"] for f in figures))


def figure(name: str, value: float, unit: str, bar: float | None = None) -> dict[str, Any]:
    """Return a line of the report; smaller is better."""
    return {"name": name, "value": round(value, 3), "unit": unit, "better": "lower"} | ({"bar": bar} if bar else {})


def parsing() -> list[dict[str, Any]]:
    """Time the imports of fresh processes, the best of five."""
    # Airflow imports its names when they are first used, so they are named here, as in the DAG file.
    names = f"from airflow.sdk import {AIRFLOW}"
    airflow = best_of(names)
    both = best_of(f"{names}; import dags.ml_accidents_pipeline")
    tasks = best_of(f"{names}; {IMPORTS}")
    return [
        figure("pipeline.parse", both - airflow, "s", 0.5),
        figure("pipeline.import_airflow", airflow, "s"),
        figure("pipeline.imports_of_a_model_task", tasks - airflow, "s"),
    ]


def best_of(code: str, times: int = 5) -> float:
    """Return the seconds that a fresh interpreter takes for `code`, less those for no code."""
    return min(seconds(code) for _ in range(times)) - min(seconds("") for _ in range(times))


def seconds(code: str) -> float:
    """Return the seconds of one interpreter that runs `code`."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    return time.monotonic() - started


def running() -> list[dict[str, Any]]:
    """Run the DAG with two and with twelve models that do nothing, after a run that fills the store."""
    with TemporaryDirectory(prefix="acc") as folder:
        catalogue, sample = Path(folder) / "models.json", Path(folder) / "sample"
        env = environment(folder, catalogue)
        write_sample(sample, years=(2022, 2023), accidents_per_year=1500)
        write_catalogue(catalogue, 2)
        embedded(env, "up")
        try:
            local_env = envfile.read(Path(folder) / "local" / "env")
            airflow = Airflow(local_env["AIRFLOW_URL"], local_env["AIRFLOW_USER"], local_env["AIRFLOW_PASSWORD"])
            few_wall, few = run(airflow, sample)
            write_catalogue(catalogue, 12)
            many_wall, many = run(airflow, sample, force=True)
        finally:
            embedded(env, "down")
    own = {key: spent for key, (spent, _) in few.items()}
    path = sum(max(spent for (task, _), spent in own.items() if task == name) for name in PATH)
    work = {n: sum(spent for spent, _ in times.values()) for n, times in ((2, few), (12, many))}
    return [
        figure("pipeline.run_of_two_models", few_wall, "s"),
        figure("pipeline.overhead_a_task", (few_wall - path) / len(PATH), "s", 2),
        figure("pipeline.run_of_twelve_models", many_wall, "s"),
        # Two run side by side, so a core-second of work is half a second of wall time.
        figure(
            "pipeline.overhead_a_further_model",
            ((many_wall - few_wall) - (work[12] - work[2]) / 2) / 10,
            "s",
            6,
        ),
    ]


def environment(folder: str, catalogue: Path) -> dict[str, str]:
    """Return the environment of a separate stack on free ports."""
    sockets = [socket.socket() for _ in range(4)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    names = ("AIRFLOW", "MLFLOW", "S3", "API")
    chosen = {f"ACCIDENTS_{name}_PORT": port for name, port in zip(names, ports, strict=True)}
    chosen |= {"ACCIDENTS_LOCAL_DIR": f"{folder}/local", "ACCIDENTS_MODELS_FILE": str(catalogue)}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | chosen


def write_catalogue(path: Path, models: int) -> None:
    """Write a catalogue of models that do nothing."""
    catalogue = {"defaults": {"evaluation_folds": 2}, "models": {f"Nothing{i:02}": NOTHING for i in range(models)}}
    path.write_text(json.dumps(catalogue), encoding="utf-8")


def embedded(env: dict[str, str], command: str) -> None:
    """Call a command of the embedded stack."""
    subprocess.run([sys.executable, "-m", "ops.local", command], cwd=ROOT, env=env, check=True, stdout=sys.stderr)


def run(airflow: Airflow, sample: Path, **conf: Any) -> tuple[float, dict[tuple[str, int], tuple[float, float]]]:
    """Trigger a run; return its wall time, and the `times` of each instance, in s."""
    run_id = airflow.trigger({"raw_dir": str(sample), **conf})
    while (dag_run := airflow.run(run_id))["state"] not in ("success", "failed"):
        time.sleep(1)
    if dag_run["state"] == "failed":
        raise SystemExit(f"The run {run_id} failed.")
    wall = moment(dag_run["end_date"]) - moment(dag_run["start_date"])
    instances = airflow.task_instances(run_id)
    return wall, {(i.task_id, i.map_index): times(airflow, run_id, i) for i in instances if i.state == "success"}


def times(airflow: Airflow, run_id: str, instance: TaskInstance) -> tuple[float, float]:
    """Return the seconds of the task's own function (by the log, with its imports), and of the whole instance."""
    entries = airflow.log(run_id, instance)
    begun = next(moment(e["timestamp"]) for e in entries if e.get("event") == "::endgroup::" and e.get("timestamp"))
    ended = next(moment(e["timestamp"]) for e in entries if e.get("event") == "::group::Post Execute")
    whole = (instance.ended - instance.started).total_seconds() if instance.ended and instance.started else 0.0
    return ended - begun, whole


def moment(text: str) -> float:
    """Return the seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    sys.exit(main())
