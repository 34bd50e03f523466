"""One stack for all faults, the data folder of its S3 on a small disk of its own, and the table of what happened."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.ledger import Ledger
from tests.faults.world import World
from tests.helpers import running_stack

DISK = "256m"


@pytest.fixture(scope="session")
def ledger() -> Iterator[Ledger]:
    """What was tried; written to the file that ACCIDENTS_FAULTS_TABLE names, when it names one."""
    kept = Ledger()
    yield kept
    if path := os.environ.get("ACCIDENTS_FAULTS_TABLE"):
        Path(path).write_text(kept.page(), encoding="utf-8")


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small disk in memory at a folder; tells whether the system allows it."""
    folder.mkdir(mode=0o700, parents=True)
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "accidents-faults", str(folder)]
    try:
        mounted = subprocess.run(mounting, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607


@pytest.fixture(scope="package")  # what comes after these tests shall not share the machine with it
def world() -> Iterator[World]:
    """The stack after a first run, which is what all others are compared with."""
    with TemporaryDirectory(prefix="acc") as name:
        folder = Path(name)
        with (
            small_disk(folder / "local" / "s3") as mounted,
            running_stack(folder) as env,
            pytest.MonkeyPatch.context() as patch,
        ):
            for login in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
                patch.setenv(login, env[login])
            made = World(env, folder, small_disk=mounted)
            run_id = made.trigger()
            assert made.end(run_id) == "success", made.story(run_id)
            assert not made.wrong(run_id)
            assert not made.damage()
            made.remember(run_id)
            yield made
