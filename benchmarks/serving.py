"""Benchmark of the API's speed, against `mlflow models serve` and against the bare model in a process.

`RAW` names a folder of the publisher's CSVs (with 2021, that year is used); without it, a year is generated. A shipped
model is trained twice and promoted in a temporary MLflow (SQLite, files). Each server is pinned to one core, the load
(`wrk`, from Debian) to another; the scenes that it asks differ from each other. Prints one JSON line for each figure;
exit status 1 when one misses its bar.

SECONDS (10) is the duration of each load, RELOADS (100) the number of reloads under load, MODEL the model that answers
(LightGBM).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import httpx
import numpy as np

SECONDS, RELOADS = int(os.environ.get("SECONDS", "10")), int(os.environ.get("RELOADS", "100"))
LASTS = max(10, RELOADS * 60 // 100)  # s of load during the reloads: a minute for a hundred
MODEL = os.environ.get("MODEL", "LightGBM")
SERVER_CORE, LOAD_CORE = "0", "1"
KEY, SIGNING = "benchmark-key-of-the-api", "benchmark-key-of-models"
PEOPLE = 100_000
PLAIN = "Plain"  # the model as its library computes it
missed = False


def print_figure(name: str, value: float, unit: str, better: str, bar: float | None = None) -> None:
    """Print a figure, and set `missed` when it misses its bar."""
    global missed  # noqa: PLW0603
    line: dict[str, Any] = {"name": f"serving.{name}", "value": round(value, 3), "unit": unit, "better": better}
    if bar is not None:
        line["bar"] = bar
        missed |= value < bar if better == "higher" else value > bar
    print(json.dumps(line), flush=True)


# --- the model ---------------------------------------------------------------------------------------------


def prepare(folder: Path, raw_folder: Path | None) -> Any:
    """Train and promote two versions, write the merged CSV; return the training data."""
    import mlflow
    from mlflow import MlflowClient

    from api import uploads
    from include.accidents.data import files, reader
    from include.accidents.features import clean
    from include.accidents.models import training
    from include.accidents.registry import promotion, signing
    from include.accidents.registry.names import ALIAS, BEST, EXPERIMENT, MODEL_FILE, ONNX_FILE
    from include.accidents.synthetic import sample

    training.limit_threads()
    if raw_folder is None:
        raw_folder = folder / "raw"
        sample.write_sample(raw_folder, years=(2021,), accidents_per_year=56_000)
    years = files.find(raw_folder)
    year = 2021 if 2021 in years else max(years)
    scenes, _ = reader.read_year({t: (p.name, p.read_bytes()) for t, p in years[year].items()}, year)
    lines = uploads.merged(scenes).splitlines(keepends=True)
    (folder / "merged.csv").write_bytes(b"".join(lines[: PEOPLE + 1]))
    data, _ = clean.clean(scenes)
    train, _ = clean.hold_out(data)
    uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    mlflow.create_experiment(EXPERIMENT, artifact_location=(folder / "artifacts").as_uri())
    client = MlflowClient(uri)
    half = np.arange(len(train.y)) % 2 == 1
    for seed, data in ((1, train), (2, train.take(half))):  # two models that answer differently
        version = register(client, MODEL, data, seed)
        promotion.promote(client, version, SIGNING.encode(), "benchmark")
    # The same model without its ONNX copy.
    client.create_registered_model(PLAIN)
    plain = client.copy_model_version(f"models:/{MODEL}/1", PLAIN)
    source = client.get_model_version(MODEL, "1")
    files_of = {MODEL_FILE: signing.fetch(source)}
    signing.sign_tags(client, plain, signing.read_lineage(source), files_of, SIGNING.encode())
    client.delete_model_version_tag(PLAIN, plain.version, signing.SIGNATURES[ONNX_FILE])
    client.set_registered_model_alias(BEST, ALIAS, "1")
    return train


def register(client: Any, name: str, data: Any, seed: int) -> Any:
    """Train a shipped model, with the first parameters of its search, and register it as the pipeline does."""
    from include.accidents.features import knowledge
    from include.accidents.features.version import feature_version
    from include.accidents.models import candidates, catalogue, decision, judging, training
    from include.accidents.registry import onnx_files, tracking

    checked = catalogue.load((ROOT / "include/models.json").read_text(), "include/models.json")
    spec, defaults = checked.model(name), checked.defaults.model_copy(update={"seed": seed})
    fitted = training.train(spec, defaults, candidates.candidates(spec, defaults)[0], data)
    some = data.take(np.arange(min(len(data.y), 5000)))  # the quality of the rules does not matter here
    judged = {state: judging.judge(fitted, some, state) for state in knowledge.STATES}
    decision.attach(fitted, decision.learn(judged, decision.recall_by_level(checked.decision), {}))
    lineage = {"model": name, "data_version": "benchmark", "features": feature_version(), "sample": False}
    return tracking.log_run(
        client, fitted, lineage_without_run=lineage, key=SIGNING.encode(), dag_run_id=f"benchmark-{seed}",
        params={}, metrics={}, tags={}, plots={}, tables={}, example=data.x[:5],
        onnx=onnx_files.dumps(fitted, [some.x]),
    )  # fmt: skip


def bare(folder: Path) -> None:
    """Measure features and probabilities in a process of its own: of one scene, and of 100,000 people."""
    from mlflow import MlflowClient

    from api import scene_reader, scene_tables, uploads
    from include.accidents.features import definitions, matrix
    from include.accidents.models import training
    from include.accidents.registry import signing, skops_files
    from include.accidents.registry.names import BEST

    training.limit_threads()
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    model = skops_files.loads(signing.fetch(client.get_model_version(BEST, "1")))  # the library's own, not the copy
    took, rows = [], []
    for payload in [scene_reader.read(json.dumps(scene).encode()) for scene in varied()]:
        began = time.perf_counter()
        x = matrix.from_columns(*scene_tables.to_tables(payload))
        model.predict_proba(x)
        took.append(time.perf_counter() - began)
        rows.append({"dataframe_split": {"columns": list(definitions.NAMES), "data": [_json(x[0])]}})
    read = uploads.columns("merged.csv", (folder / "merged.csv").read_bytes())
    began = time.perf_counter()
    proba = model.predict_proba(matrix.from_columns(*read))
    batch = time.perf_counter() - began
    print(json.dumps({"one": float(np.median(took)), "batch": batch, "people": len(proba), "rows": rows}))


def _json(row: Any) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in row]


# --- servers and load --------------------------------------------------------------------------------------


def pinned(core: str, *command: str) -> list[str]:
    """Return the command, bound to one core."""
    return ["taskset", "-c", core, *command]


def free_port() -> str:
    """Return a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@contextmanager
def server(command: list[str], url: str, folder: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server, wait until it answers, and end it afterwards."""
    log = folder / f"{re.sub(r'[^a-z]', '', command[-1].lower())[:20] or 'server'}.log"
    # A process group of its own: a server's workers end with it.
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, cwd=ROOT, env=os.environ | env, start_new_session=True
        )
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise RuntimeError(f"{command} ended: {log.read_text()[-2000:]}")
            try:
                if httpx.get(url, trust_env=False, timeout=5).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        else:
            raise RuntimeError(f"{url} does not answer: {log.read_text()[-2000:]}")
        yield process
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


def varied(count: int = 300) -> list[dict[str, Any]]:
    """Return different scenes like the example: the same one again and again would find its trees in the cache."""
    from api.schemas.scenes import EXAMPLE

    random, scenes = np.random.default_rng(0), []
    choices = {
        "accident": {
            "mois": range(1, 13), "jour": range(1, 29), "com": ["59350", "75056", "13055", "33063", "97411"],
            "agg": [1, 2], "lum": range(1, 6), "atm": range(1, 9), "int": range(1, 9), "col": range(1, 7),
            "catr": range(1, 6), "surf": [1, 2, 5], "vma": [30, 50, 80, 90, 130],
        },
        "vehicles": {"catv": [1, 7, 10, 14, 30, 33, 37], "choc": range(1, 9), "manv": range(1, 20)},
        "people": {"sexe": [1, 2], "an_nais": range(1940, 2008), "secu1": range(9)},
    }  # fmt: skip
    for _ in range(count):
        scene = json.loads(json.dumps(EXAMPLE))
        for part, fields in choices.items():
            for row in [scene[part]] if part == "accident" else scene[part]:
                row |= {name: list(values)[random.integers(len(values))] for name, values in fields.items()}
        scenes.append(scene)
    return scenes


def wrk(
    url: str, bodies: list[dict[str, Any]], folder: Path, connections: int, seconds: int = SECONDS
) -> dict[str, float]:
    """Put load on a URL; return requests per second, p50 and p99 in ms, and the number of failed answers."""
    script = folder / "post.lua"
    texts = ",".join(f"[==[{json.dumps(body)}]==]" for body in bodies)
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"local bodies, asked, at = {{{texts}}}, {{}}, 0\n"
        "init = function() for i, body in ipairs(bodies) do asked[i] = wrk.format(nil, nil, nil, body) end end\n"
        "request = function() at = at % #asked + 1; return asked[at] end\n"
        "done = function(summary, latency)\n"
        "local e = summary.errors\n"
        'io.write(string.format("FIGURES %f %f %f %d\\n", summary.requests / summary.duration * 1e6, '
        "latency:percentile(50) / 1000, latency:percentile(99) / 1000, "
        "e.status + e.connect + e.read + e.write + e.timeout))\nend\n"
    )
    command = pinned(
        LOAD_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script)
    )
    output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    rate, p50, p99, failed = re.search(r"FIGURES (\S+) (\S+) (\S+) (\d+)", output).groups()  # type: ignore[union-attr]
    return {"rate": float(rate), "p50": float(p50), "p99": float(p99), "failed": int(failed)}


def memory(process: subprocess.Popen[bytes], field: str) -> float:
    """Return VmRSS or VmHWM of a process in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1000  # type: ignore[index]


# --- the figures -------------------------------------------------------------------------------------------


def measure_mlflow(folder: Path, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Put load on `mlflow models serve`, with features computed before."""
    port = free_port()
    command = pinned(
        SERVER_CORE, sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/BestModel/1",
        "--env-manager", "local", "--port", port,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with server(command, f"{url}/ping", folder, MLFLOW_TRACKING_URI=f"sqlite:///{folder}/mlflow.db", PATH=path):
        httpx.post(f"{url}/invocations", json=rows[0], trust_env=False, timeout=60).raise_for_status()
        return wrk(f"{url}/invocations", rows, folder, 64)


def measure_ours(folder: Path, baseline: dict[str, float], alone: dict[str, Any], train: Any) -> None:
    """Put load on the API: scenes, a file, scenes during reloads; ask every model for explanations."""
    registry_port, port = free_port(), free_port()
    registry_url, url = f"http://127.0.0.1:{registry_port}", f"http://127.0.0.1:{port}"
    registry = pinned(
        LOAD_CORE, sys.executable, "-m", "mlflow", "server", "--port", registry_port, "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "artifacts"),
    )  # fmt: skip
    api = pinned(SERVER_CORE, sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", "--port", port)
    env = {
        "MLFLOW_TRACKING_URI": registry_url, "ACCIDENTS_API_KEY": KEY, "ACCIDENTS_SIGNING_KEY": SIGNING,
        "ACCIDENTS_REGISTRY_POLL_SECONDS": "3600",
    }  # fmt: skip
    with (
        # Without MLflow's processes for jobs, which the project's stacks do not run either.
        server(registry, f"{registry_url}/health", folder, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
        server(api, f"{url}/ready", folder, **env) as process,
        httpx.Client(base_url=url, trust_env=False, timeout=120) as client,
    ):
        idle = memory(process, "VmRSS")
        predict, scenes = f"{url}/api/v1/predict", varied()
        check_engines(client)
        wrk(predict, scenes, folder, 64, 2)
        calm = wrk(predict, scenes, folder, 64)
        print_figure("rate", calm["rate"], "requests/s", "higher")
        print_figure("speedup", calm["rate"] / baseline["rate"], "x", "higher", 150)
        plain = wrk(f"{predict}/{PLAIN}", scenes, folder, 64)
        print_figure("rate_against_library", calm["rate"] / plain["rate"], "x", "higher", 2.5)
        print_figure("p99", calm["p99"], "ms", "lower")
        print_figure("p99_share", calm["p99"] / baseline["p99"], "x", "lower", 0.1)
        one = wrk(predict, scenes, folder, 1)
        print_figure("one_p50", one["p50"], "ms", "lower")
        print_figure("one_against_bare", one["p50"] / 1000 / alone["one"], "x", "lower", 0.5)
        measure_file(client, folder, alone, process, idle)
        measure_reloads(client, registry_url, folder, calm)
        measure_explanations(client, registry_url, train)
        print_figure("memory_of_all_models", memory(process, "VmRSS"), "MB", "lower")


def check_engines(client: httpx.Client) -> None:
    """Wait until all models are loaded; RuntimeError unless the promoted one is served by its copy, `PLAIN` is not."""
    expected = {"BestModel": "onnxruntime", MODEL: "onnxruntime", PLAIN: "scikit-learn"}
    for _ in range(60):
        engines = {each["name"]: each["engine"] for each in client.get("/api/v1/models").json()}
        if len(engines) == len(expected):
            break
        time.sleep(1)
    if engines != expected:
        raise RuntimeError(f"the models are served by {engines}")


def measure_file(
    client: httpx.Client, folder: Path, alone: dict[str, Any], process: subprocess.Popen[bytes], idle: float
) -> None:
    """Send a merged CSV of 100,000 people."""
    content = (folder / "merged.csv").read_bytes()
    began = time.perf_counter()
    answer = client.post("/api/v1/predict-csv", content=content, headers={"content-type": "text/csv"})
    took = time.perf_counter() - began
    lines = answer.text.count("\n") - 1
    if answer.status_code != 200 or lines != alone["people"]:
        raise RuntimeError(f"predict-csv answered {answer.status_code} with {lines} of {alone['people']} lines")
    print_figure("batch", took, "s", "lower")
    print_figure("batch_against_bare", took / alone["batch"], "x", "lower", 0.4)
    print_figure("batch_memory", memory(process, "VmHWM") - idle, "MB", "lower", 500)


def measure_reloads(client: httpx.Client, registry_url: str, folder: Path, calm: dict[str, float]) -> None:  # noqa: PLR0915
    """Alternate between two versions under load; a watcher checks each answer."""
    from mlflow import MlflowClient

    from api.schemas.scenes import EXAMPLE

    os.environ["MLFLOW_TRACKING_URI"] = registry_url
    registry, key = MlflowClient(registry_url), {"X-Api-Key": KEY}
    live: list[tuple[float, float, str]] = []  # begin, end and version of each reload
    right: dict[str, Any] = {}

    def reload(version: str) -> None:
        registry.set_registered_model_alias("BestModel", "production", version)
        began = time.monotonic()
        response = client.post("/api/v1/reload_model/BestModel", headers=key)
        response.raise_for_status()
        if response.json()["version"] != version:
            raise RuntimeError(f"{response.json()} instead of version {version}")
        # During the reload either version may answer.
        live.append((began, time.monotonic(), version))

    for version in ("2", "1"):
        reload(version)
        right[version] = client.post("/api/v1/predict", json=EXAMPLE).json()["scenes"]
    live.clear()
    live.append((time.monotonic(), time.monotonic(), "1"))
    stop, wrong, watched = threading.Event(), [], 0

    def watch() -> None:
        nonlocal watched
        with httpx.Client(base_url=client.base_url, trust_env=False, timeout=30) as watcher:
            while not stop.is_set():
                began = time.monotonic()
                answer = watcher.post("/api/v1/predict", json=EXAMPLE)
                ended = time.monotonic()
                time.sleep(0.002)  # so that the reload's end is known
                body = answer.json() if answer.status_code == 200 else {}
                version = body.get("model", {}).get("version")
                seen.append((began, ended, version))
                if answer.status_code != 200 or body["scenes"] != right[version]:
                    wrong.append(answer.text)
                watched += 1

    seen: list[tuple[float, float, str]] = []
    result: dict[str, float] = {}
    loaded = threading.Thread(
        target=lambda: result.update(wrk(f"{client.base_url}/api/v1/predict", varied(), folder, 64, LASTS))
    )
    watcher = threading.Thread(target=watch)
    loaded.start()
    watcher.start()
    began = time.monotonic()
    for i in range(RELOADS):
        reload("21"[i % 2])
        time.sleep(max(0.0, began + (i + 1) * (LASTS - 2) / RELOADS - time.monotonic()))
    took = time.monotonic() - began
    stop.set()
    watcher.join()
    loaded.join()
    dead = sum(not _was_live(live, *each) for each in seen)
    print_figure("reloads", len(live) - 1, "", "higher", RELOADS)
    print_figure("reloads_took", took, "s", "lower", LASTS)
    print_figure("reload_failed", result["failed"], "answers", "lower", 0)
    print_figure("reload_mixed", len(wrong) + dead, f"of {watched} answers", "lower", 0)
    print_figure("reload_rate", result["rate"], "requests/s", "higher")
    print_figure("reload_p99", result["p99"], "ms", "lower")
    print_figure("reload_p99_growth", result["p99"] / calm["p99"], "x", "lower", 1.5)


def _was_live(live: list[tuple[float, float, str]], began: float, ended: float, version: str) -> bool:
    """Return whether a version was live between `began` and `ended`: from its reload's start to the next one's end."""
    for i, (since, _, of) in enumerate(live):
        until = live[i + 1][1] if i + 1 < len(live) else float("inf")
        if of == version and since <= ended and began <= until:
            return True
    return False


def measure_explanations(client: httpx.Client, registry_url: str, train: Any) -> None:
    """Ask every model of the shipped catalogue for explanations, also of forty people; the slowest answer counts."""
    import mlflow
    from mlflow import MlflowClient

    from api.schemas.scenes import EXAMPLE

    mlflow.set_tracking_uri(registry_url)
    crash = EXAMPLE | {
        "vehicles": [EXAMPLE["vehicles"][0] | {"id": str(i)} for i in range(20)],
        "people": [EXAMPLE["people"][0] | {"vehicle": str(i // 2), "place": 1 + i % 2} for i in range(40)],
    }
    slowest = 0.0
    for name in json.loads((ROOT / "include/models.json").read_text())["models"]:
        register(MlflowClient(registry_url), name, train, seed=3)
        client.post(f"/api/v1/reload_model/{name}", headers={"X-Api-Key": KEY}).raise_for_status()
        took = []
        for scene in [EXAMPLE] * 10 + [crash] * 10:
            began = time.perf_counter()
            client.post("/api/v1/explain", params={"model": name}, json=scene).raise_for_status()
            took.append(time.perf_counter() - began)
        print_figure(f"explain_{name}", max(took) * 1000, "ms", "lower")
        slowest = max(slowest, *took)
    print_figure("explain_slowest", slowest, "s", "lower", 1)


def main() -> int:
    """Measure everything, in a temporary folder."""
    for program in ("wrk", "taskset"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not on the PATH: install it (on Debian: apt-get install wrk util-linux).")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # only figures are printed
    given = os.environ.get("RAW")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train = prepare(folder, Path(given) if given else None)
        own = pinned(SERVER_CORE, sys.executable, __file__, "--bare", name)
        alone = json.loads(subprocess.run(own, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        print_figure("bare_one", alone["one"] * 1000, "ms", "lower")
        print_figure("bare_batch", alone["batch"], "s", "lower")
        baseline = measure_mlflow(folder, alone["rows"])
        print_figure("mlflow_rate", baseline["rate"], "requests/s", "higher")
        print_figure("mlflow_p99", baseline["p99"], "ms", "lower")
        measure_ours(folder, baseline, alone, train)
    return int(missed)


if __name__ == "__main__":
    if "--bare" in sys.argv:
        bare(Path(sys.argv[-1]))
    else:
        sys.exit(main())
