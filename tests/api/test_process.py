"""The API as a process: it refuses to start without its secrets, logs JSON, and ends when it has answered."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

from api.scenes import EXAMPLE
from embedded.settings import ROOT
from include.accidents import registry
from tests.api.world import KEY, SIGNING, World

COMMAND = [sys.executable, "-m", "uvicorn", "--factory", "api.main:create_app", "--host", "127.0.0.1"]


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("ACCIDENTS_")} | more


def test_without_a_key_it_says_how_to_set_one_and_does_not_start() -> None:
    ended = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env=environment(MLFLOW_TRACKING_URI="sqlite://"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "ACCIDENTS_API_KEY is not set" in ended.stderr
    assert 'export ACCIDENTS_API_KEY="$(openssl rand -hex 32)"' in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_logs_json_without_personal_data_and_answers_before_it_ends(tmp_path: Path) -> None:
    world = World(tmp_path)
    registry.promote(world.client, world.add(), SIGNING.encode(), "first")
    log = tmp_path / "log"
    env = environment(ACCIDENTS_API_KEY=KEY, ACCIDENTS_SIGNING_KEY=SIGNING, MLFLOW_TRACKING_URI=world.uri)
    with log.open("wb") as out:
        process = subprocess.Popen([*COMMAND, "--port", "0"], cwd=ROOT, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        url = address(log)
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            while client.get("/ready").status_code != 200:
                time.sleep(0.1)
            client.post("/api/v1/predict", json=EXAMPLE, headers={"x-request-id": "seen-1"})
            client.post(
                "/api/v1/predict", json={"people": [{"an_nais": 1234567}]}, headers={"X-Api-Key": "secret-guess"}
            )
            answers: list[int] = []
            bulk = [EXAMPLE] * 900
            asking = threading.Thread(
                target=lambda: answers.append(client.post("/api/v1/predict", json=bulk).status_code)
            )
            asking.start()
            time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            asking.join()
        assert answers == [200]
        # uvicorn ends itself by the signal that it was sent, after its clean end.
        assert process.wait(20) in (0, -signal.SIGTERM)
    finally:
        process.kill()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"request_id": "seen-1", "method": "POST", "route": "/api/v1/predict", "status": 200}.items() <= next(
        line for line in lines if line.get("request_id") == "seen-1"
    ).items()
    for private in ("1234567", "an_nais", "secret-guess", KEY, SIGNING, "127.0.0.1:"):
        said = [line for line in lines if private in json.dumps(line) and "running on" not in json.dumps(line)]
        assert not said, private


def address(log: Path) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for line in log.read_text().splitlines():
            if "running on http" in line:
                return "http://" + line.partition("http://")[2].partition(" ")[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())
