"""What tests of several kinds share: one thread a model, and the embedded stack."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from include.accidents import search
from tests.helpers import BROKEN, TREE, free_ports

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("AIRFLOW", "MLFLOW", "S3", "API")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """As in the pipeline: two cores shared by several thread pools are many times slower than one each."""
    search.limit_threads()


@pytest.fixture(autouse=True)
def _loggers_on() -> None:
    """Undo what earlier tests did to the loggers: MLflow's migrations switch them off, commands make them quiet."""
    logging.getLogger("include").setLevel(logging.NOTSET)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith(("include", "api")) and isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(scope="module")
def stack() -> Iterator[dict[str, str]]:
    """Addresses and logins of an embedded stack on free ports, as its `env` file holds them.

    It is started and stopped by the commands that a user calls.
    """
    with TemporaryDirectory(prefix="acc") as folder:
        models = Path(folder) / "models.json"
        models.write_text(json.dumps({"models": {"Oak": TREE, "Elm": TREE, "Broken": BROKEN}}))
        ports = {f"ACCIDENTS_{s}_PORT": str(p) for s, p in zip(SERVICES, free_ports(len(SERVICES)), strict=True)}
        env = {
            **os.environ,
            **ports,
            "ACCIDENTS_LOCAL_DIR": f"{folder}/local",
            "ACCIDENTS_MODELS_FILE": str(models),
        }
        command = [sys.executable, "-m", "embedded"]
        try:
            up = subprocess.run(
                [*command, "up"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False
            )
            assert up.returncode == 0, up.stdout + up.stderr
            lines = (Path(folder) / "local" / "env").read_text().splitlines()
            yield dict(line.split("=", 1) for line in lines if "=" in line)
        finally:
            subprocess.run([*command, "down"], cwd=ROOT, env=env, capture_output=True, timeout=120, check=True)
