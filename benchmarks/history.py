"""Benchmark of the whole history: a run of the DAG on generated vintages, against one on two of them.

    .venv/bin/python benchmarks/history.py

`VINTAGES` (20) is the number of years up to 2024, `ACCIDENTS` (50000) those of each year, `MODELS_FILE` the catalogue
(the shipped one). Starts an embedded stack of its own on free ports for each run, and stops it again. Takes an hour
or more. Prints a line for each figure; exit status 1 when one misses its bar.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import psutil

from benchmarks.pipeline import embedded, environment, figure, run
from include.accidents.synthetic.sample import write_sample
from ops import envfile
from ops.airflow_api import Airflow

VINTAGES = int(os.environ.get("VINTAGES", "20"))
ACCIDENTS = int(os.environ.get("ACCIDENTS", "50000"))
MODELS_FILE = Path(os.environ.get("MODELS_FILE") or ROOT / "include" / "models.json")
NEWEST = 2024
MIB = 2**20
TASK = "airflow worker"  # the title of a process that runs a task; its children fit models


def main() -> int:
    """Measure and print the figures; 1 when one misses its bar."""
    models = len(json.loads(MODELS_FILE.read_text("utf-8"))["models"])
    few, few_peak, _ = measured(2)
    print(json.dumps(figure("history.run_of_two_years", few, "s")), flush=True)
    print(json.dumps(figure("history.memory_of_two_years", few_peak, "MiB")), flush=True)
    many, peak, registered = measured(VINTAGES)
    figures = [
        figure(f"history.run_of_{VINTAGES}_years", many, "s"),
        figure("history.growth", many / few, "x", 4),
        figure("history.memory", peak, "MiB", 6 * 1024),
        figure("history.models_missing", models - registered, "models"),
    ]
    for each in figures:
        print(json.dumps(each), flush=True)
    return int(registered < models or any("bar" in f and f["value"] > f["bar"] for f in figures))


def measured(years: int) -> tuple[float, float, int]:
    """Run the DAG on the newest generated years; return seconds, the tasks' peak in MiB, and the models logged."""
    with TemporaryDirectory(prefix="acc") as folder:
        catalogue, sample = Path(folder) / "models.json", Path(folder) / "sample"
        shutil.copy(MODELS_FILE, catalogue)
        write_sample(sample, years=tuple(range(NEWEST - years + 1, NEWEST + 1)), accidents_per_year=ACCIDENTS)
        env = environment(folder, catalogue)
        embedded(env, "up")
        try:
            local_env = envfile.read(Path(folder) / "local" / "env")
            airflow = Airflow(local_env["AIRFLOW_URL"], local_env["AIRFLOW_USER"], local_env["AIRFLOW_PASSWORD"])
            with watched() as peak:
                wall, times = run(airflow, sample)
        finally:
            embedded(env, "down")
    return wall, peak["MiB"], sum(task == "log_model" for task, _ in times)


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """Sample the memory of all tasks once a second; pages that they share count once."""
    peak, stop = {"MiB": 0.0}, threading.Event()

    def watch() -> None:
        while not stop.wait(1):
            peak["MiB"] = max(peak["MiB"], sum(map(proportional, psutil.process_iter())) / MIB)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()


def proportional(process: Any) -> float:
    """Return the bytes of a task's process, its part of shared pages among them; 0 for any other process."""
    try:
        lineage = [process, *process.parents()]
        return float(process.memory_full_info().pss) if any(is_task(each) for each in lineage) else 0.0
    except psutil.Error:
        return 0.0


def is_task(process: Any) -> bool:
    """Return whether a process runs a task."""
    return any(TASK in part for part in process.cmdline())


if __name__ == "__main__":
    sys.exit(main())
