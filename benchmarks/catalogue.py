"""What a further model costs a run: wall time of ten trivial models, without their imports.

Starts an embedded stack of its own on free ports, runs the DAG on a small generated sample with two and with twelve
models that predict the shares of the classes, and takes the difference. Prints one JSON line a figure; exit status 1
when a figure misses its bar. It means something on an idle machine only.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from include.accidents.sample import write_sample

EXTRA = 10
BAR = 6.0
HEAVY_TASKS = 3  # of a model's four tasks: search_params, train_model, log_model; reload_model imports little
IMPORTS = "import include.steps, include.storage, sklearn.pipeline, sklearn.model_selection, skops.io, mlflow.sklearn"


def catalogue(count: int) -> str:
    """Return a catalogue of so many trivial models."""
    model = {"pipeline": [["clf", {"class": "sklearn.dummy.DummyClassifier", "params": {"strategy": "prior"}}]]}
    return json.dumps({"defaults": {"evaluation_folds": 2}, "models": {f"Trivial{i}": model for i in range(count)}})


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def embedded(env: dict[str, str], *words: str) -> None:
    """Call a command of the embedded stack."""
    subprocess.run([sys.executable, "-m", "embedded", *words], cwd=ROOT, env=env, check=True, stdout=sys.stderr)


def seconds_of_imports() -> float:
    """Return how long a task's process spends on imports, the best of three."""
    took = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, check=True, capture_output=True)
        took.append(time.perf_counter() - started)
    return min(took)


def tell(name: str, value: float, unit: str, bar: float | None = None) -> bool:
    """Print a figure; tell whether it meets its bar."""
    line: dict[str, Any] = {"name": f"catalogue.{name}", "value": round(value, 2), "unit": unit, "better": "lower"}
    print(json.dumps(line | ({} if bar is None else {"bar": bar})), flush=True)
    return bar is None or value <= bar


def main() -> int:
    """Print every figure."""
    with TemporaryDirectory(prefix="acc") as folder:
        models, raw = Path(folder) / "models.json", Path(folder) / "raw"
        raw.mkdir()
        write_sample(raw, years=(2023,), accidents_per_year=1500)
        names = ("AIRFLOW", "MLFLOW", "S3", "API")
        ports = {f"ACCIDENTS_{n}_PORT": str(p) for n, p in zip(names, free_ports(len(names)), strict=True)}
        env = {**os.environ, **ports, "ACCIDENTS_LOCAL_DIR": f"{folder}/local", "ACCIDENTS_MODELS_FILE": str(models)}
        models.write_text(catalogue(2))
        took = []
        try:
            embedded(env, "up")
            conf = json.dumps({"raw_dir": str(raw), "force": True})
            for count in (2, 2, 2 + EXTRA):  # the first run warms everything up
                models.write_text(catalogue(count))
                started = time.perf_counter()
                embedded(env, "trigger", "--conf", conf)
                took.append(time.perf_counter() - started)
        finally:
            embedded(env, "down")
    cores = min(os.cpu_count() or 1, 2)
    a_model = (took[2] - took[1]) / EXTRA
    imports = HEAVY_TASKS * seconds_of_imports() / cores
    tell("seconds_a_model", a_model, "s")
    tell("import_seconds_a_model", imports, "s")
    return 0 if tell("overhead_seconds_a_model", a_model - imports, "s", BAR) else 1


if __name__ == "__main__":
    sys.exit(main())
