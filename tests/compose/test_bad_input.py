"""Bad input: one line that says what to do."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.running import Compose, Done, docker, make


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Compose]:
    """The env file of a stack that is not started, or not for long."""
    made = make(tmp_path, f"accidents-bad-{tmp_path.name.lower().replace('_', '-')}"[:60].rstrip("-"))
    yield made
    made.stack("down", "--volumes", "--timeout", "1")


def last_line(done: Done) -> str:
    assert done.returncode != 0, done.stdout + done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_the_env_file_is_private_and_is_kept(other: Compose) -> None:
    before = other.env_file.read_text()
    assert stat.S_IMODE(other.env_file.stat().st_mode) == 0o600
    values = dict(line.split("=", 1) for line in before.splitlines() if line and not line.startswith("#"))
    secrets = [value for name, value in values.items() if not name.startswith("ACCIDENTS_") or name.endswith("KEY")]
    assert len(secrets) == len(set(secrets)) == 14
    assert all(len(value) >= 32 for value in secrets)
    other.env_file.write_text(before.replace(f"REDIS_PASSWORD={values['REDIS_PASSWORD']}\n", ""))
    assert other.stack("env").returncode == 0
    after = other.env_file.read_text()
    assert set(before.splitlines()) - set(after.splitlines()) == {f"REDIS_PASSWORD={values['REDIS_PASSWORD']}"}
    assert "REDIS_PASSWORD=" in after


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "ACCIDENTS_API_KEY", "MLFLOW_PASSWORD", "REDIS_PASSWORD"])
def test_a_missing_secret_is_named(other: Compose, name: str) -> None:
    other.set(**{name: ""})
    line = last_line(other.stack("up"))
    assert f"required variable {name} is missing a value: run `make env`" in line


@pytest.mark.parametrize(
    ("value", "told"),
    [("short-Secret-1", "is weak"), ("a" * 40, "is weak"), ("with/a+slash-and-more-9876", "holds a character")],
)
def test_a_weak_secret_is_refused_before_anything_starts(other: Compose, value: str, told: str) -> None:
    other.set(MLFLOW_PASSWORD=value)
    line = last_line(other.stack("up"))
    assert line.startswith("MLFLOW_PASSWORD in .env")
    assert told in line
    assert not other.containers("postgres")


def test_a_full_volume_is_refused_before_anything_starts(other: Compose) -> None:
    small = ["--driver", "local", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=16m"]
    label = ["--label", f"com.docker.compose.project={other.project}", "--label", "com.docker.compose.volume=minio"]
    docker("volume", "create", *small, *label, f"{other.project}_minio")
    line = last_line(other.stack("up"))
    assert line.startswith("The volume minio has 16 MB left")
    assert "docker system df" in line
    assert not other.containers("postgres")


def test_a_used_port_is_named_with_its_setting(other: Compose) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        other.set(ACCIDENTS_API_PORT=str(port))
        line = last_line(other.stack("up"))
    assert line == f"Port {port} is used by another program: stop it, or set ACCIDENTS_API_PORT in {other.env_file}."


def test_no_env_file_no_docker_and_an_old_compose_are_each_a_line(other: Compose, tmp_path: Path) -> None:
    other.env_file.unlink()
    assert "run `make env`" in last_line(other.stack("up"))
    old = tmp_path / "bin"
    old.mkdir()
    (old / "docker").write_text("#!/bin/sh\necho v2.9.0\n")
    (old / "docker").chmod(0o755)
    line = last_line(other.stack("up", PATH=f"{old}:/usr/bin:/bin"))
    assert line == "Docker Compose v2.9.0 is too old: install 2.26 or newer."
    (old / "docker").unlink()
    for tool in ("bash", "dirname", "env", "sed"):
        (old / tool).symlink_to(f"/usr/bin/{tool}")
    assert "There is no docker here" in last_line(other.stack("up", PATH=str(old)))
