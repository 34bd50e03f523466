"""The API as a process: it refuses to start without its secrets, logs JSON, and ends when it has answered."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from starlette.types import Message

from api import uploads
from api.batching import BusyError
from api.schemas.scenes import EXAMPLE
from api.upload_limiter import MAX_INSIDE, FileAnswer, UploadLimiter
from include.accidents.registry import promotion
from ops.local.settings import ROOT
from tests.api.world import KEY, SIGNING, World
from tests.helpers import sample_scenes

COMMAND = [sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app", "--host", "127.0.0.1"]


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


@contextmanager
def running(folder: Path) -> Iterator[tuple[str, psutil.Process, Path]]:
    """Address, process and log of the API with a model in production."""
    world, log = World(folder), folder / "log"
    promotion.promote(world.client, world.add(), SIGNING.encode(), "first")
    env = environment(ACCIDENTS_API_KEY=KEY, ACCIDENTS_SIGNING_KEY=SIGNING, MLFLOW_TRACKING_URI=world.uri)
    with log.open("wb") as out:
        process = subprocess.Popen([*COMMAND, "--port", "0"], cwd=ROOT, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        url = address(log)
        end = time.monotonic() + 60
        while httpx.get(f"{url}/ready").status_code != 200:
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield url, psutil.Process(process.pid), log
    finally:
        process.kill()
        process.wait()


def test_it_logs_json_without_personal_data_and_answers_before_it_ends(tmp_path: Path) -> None:
    with running(tmp_path) as (url, process, log):
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            client.post("/api/v1/predict", json=EXAMPLE, headers={"x-request-id": "seen-1"})
            wrong = {"people": [{"an_nais": 1234567}]}
            client.post("/api/v1/predict", json=wrong, headers={"X-Api-Key": "secret-guess"})
        body = json.dumps([EXAMPLE] * 900).encode()
        with begun(url, "/api/v1/predict", "application/json", len(body)) as asking:
            process.send_signal(signal.SIGTERM)
            asking.sendall(body)
            assert answer_of(asking).startswith(b"HTTP/1.1 200")
        # uvicorn ends itself by the signal that it was sent, after its clean end.
        assert process.wait(20) in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"request_id": "seen-1", "method": "POST", "route": "/api/v1/predict", "status": 200}.items() <= next(
        line for line in lines if line.get("request_id") == "seen-1"
    ).items()
    for private in ("1234567", "an_nais", "secret-guess", KEY, SIGNING, "127.0.0.1:"):
        said = [line for line in lines if private in json.dumps(line) and "running on" not in json.dumps(line)]
        assert not said, private


def begun(url: str, path: str, kind: str, size: int) -> socket.socket:
    """Send the head of a request; return its connection once the application waits for the body."""
    host, port = url.removeprefix("http://").split(":")
    asking = socket.create_connection((host, int(port)), timeout=60)
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n"
    asking.sendall(f"{head}Expect: 100-continue\r\nConnection: close\r\n\r\n".encode())
    assert asking.recv(25, socket.MSG_WAITALL) == b"HTTP/1.1 100 Continue\r\n\r\n"
    return asking


def answer_of(asking: socket.socket) -> bytes:
    return b"".join(iter(lambda: asking.recv(1 << 16), b""))


@pytest.fixture(scope="module")
def upload() -> bytes:
    """A merged CSV of 100,000 people, gzipped: small to send, large to predict."""
    head, people = uploads.merged(sample_scenes(2022)).split(b"\n", 1)
    times = 100_000 // people.count(b"\n")
    return gzip.compress(head + b"\n" + people * times, 1)


def predict(url: str, content: bytes) -> int:
    kind = {"content-type": "text/csv"}
    return httpx.post(f"{url}/api/v1/predict-csv", content=content, headers=kind, timeout=300).status_code


def peak(process: psutil.Process) -> int:
    """The most memory that a process ever had, in bytes."""
    told = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line.split()[1] for line in told.splitlines() if line.startswith("VmHWM"))) << 10


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from Linux's /proc")
def test_six_uploads_at_once_take_the_memory_of_one(tmp_path: Path, upload: bytes) -> None:
    with running(tmp_path) as (url, process, _):
        before = peak(process)
        assert predict(url, upload) == 200
        alone = peak(process) - before
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(lambda _: predict(url, upload), range(6))) == [200] * 6
        assert alone > 50 << 20
        assert peak(process) - before < 1.5 * alone


def test_callers_that_read_nothing_hold_neither_memory_nor_the_others(tmp_path: Path, upload: bytes) -> None:
    with running(tmp_path) as (url, process, _), ExitStack() as stack:
        assert predict(url, upload) == 200
        before = process.memory_info().rss
        deaf = [begun(url, "/api/v1/predict-csv", "text/csv", len(upload)) for _ in range(MAX_INSIDE - 1)]
        for each in deaf:
            stack.enter_context(each).sendall(upload)
        assert predict(url, upload) == 200  # in the last place that is left, after all of theirs
        assert process.memory_info().rss - before < 400 << 20  # their seven tables would be more than a gigabyte
        with begun(url, "/api/v1/predict-csv", "text/csv", len(upload)):  # the last place is taken
            told = httpx.post(f"{url}/api/v1/predict-csv", content=upload, headers={"content-type": "text/csv"})
            assert (told.status_code, told.headers["retry-after"]) == (503, "1")
            assert httpx.post(f"{url}/api/v1/predict", json=EXAMPLE).status_code == 200
        deaf[0].close()
        end = time.monotonic() + 30
        while predict(url, upload) != 200:
            assert time.monotonic() < end


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
def test_an_answer_that_nobody_reads_is_broken_off(monkeypatch: pytest.MonkeyPatch, spec_version: str) -> None:
    monkeypatch.setattr("api.upload_limiter.SENDING_SECONDS", 0.2)
    file, limiter = io.BytesIO(), UploadLimiter()
    file.write(b"a;b\n" * 100_000)
    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message["type"])
        if len(sent) > 1:
            await asyncio.Event().wait()  # as the server does while the caller's window is full

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    limiter.enter()
    answer = FileAnswer(file, limiter.leave, {}, media_type="text/csv")
    asyncio.run(answer({"type": "http", "asgi": {"spec_version": spec_version}}, receive, send))
    assert sent == ["http.response.start", "http.response.body"]
    assert file.closed
    for _ in range(MAX_INSIDE):
        limiter.enter()
    with pytest.raises(BusyError):
        limiter.enter()


def address(log: Path) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for line in log.read_text().splitlines():
            if "running on http" in line:
                return "http://" + line.partition("http://")[2].partition(" ")[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())
