"""What several tests need: a generated year, read as the pipeline reads it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from include.accidents.data import files, reader
from include.accidents.data.columns import Table
from include.accidents.data.scenes import Scenes
from include.accidents.features.knowledge import STATES
from include.accidents.models import decision
from include.accidents.models.decision import Rule
from include.accidents.models.evaluate import N_CLASSES
from include.accidents.synthetic import sample

DAG = "ml_accidents_pipeline_dag"
TREE = {
    "pipeline": [["clf", {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 5}}]],
    "param_grid": {"clf__min_samples_leaf": [5, 20]},
}
BAYES = {
    "pipeline": [
        ["impute", {"class": "sklearn.impute.SimpleImputer", "params": {"keep_empty_features": True}}],
        ["clf", {"class": "sklearn.naive_bayes.GaussianNB"}],
    ]
}
# It passes every check of the file, and fails when it meets a missing value.
BROKEN = {
    "pipeline": [["clf", {"class": "sklearn.naive_bayes.GaussianNB"}]],
    "param_grid": {"clf__var_smoothing": [1e-9, 1e-8]},
}

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("AIRFLOW", "MLFLOW", "S3", "API")
OTHER_NAME = "accidents.example"  # under which the services of a stack of the tests may be asked too
REAL_2021 = Path(__file__).resolve().parents[2] / "shared" / "data" / "baac-2021"
REAL_FORMATS = REAL_2021.parent / "formats"
Fitted = TypeVar("Fitted")


@cache
def sample_files(year: int, accidents: int = 400) -> dict[Table, tuple[str, bytes]]:
    """Name and content of the four generated files of a year."""
    with TemporaryDirectory() as folder:
        sample.write_sample(Path(folder), years=(year,), accidents_per_year=accidents)
        return read_folder(Path(folder))[year]


def read_folder(folder: Path) -> dict[int, dict[Table, tuple[str, bytes]]]:
    return {
        year: {table: (path.name, path.read_bytes()) for table, path in tables.items()}
        for year, tables in files.find(folder).items()
    }


@cache
def sample_scenes(year: int, accidents: int = 400) -> Scenes:
    return reader.read_year(sample_files(year, accidents), year)[0]


def rules() -> dict[str, Rule]:
    """Plausible rules for every state: people who are independent of each other, an alert from 0.5 on."""
    as_if_independent = (0.0, 1.0, *(0.0,) * (decision.NUMBERS - 2))
    asked = ("lat", "secu1", "sexe", "an_nais", "choc", "infra")
    rule = Rule(as_if_independent, as_if_independent, (1.0,) * N_CLASSES, 0.5, 0.8, 0.6, 0.4, 0.8, 0.5, asked)
    return dict.fromkeys(STATES, rule)


def with_rules(fitted: Fitted) -> Fitted:
    """Give a fitted model rules for every state, as the pipeline does before it registers one."""
    decision.attach(fitted, rules())
    return fitted


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@contextmanager
def running_stack(folder: Path) -> Iterator[dict[str, str]]:
    """Start an embedded stack in a folder, on free ports, and stop it, by the commands that a user calls."""
    models = folder / "models.json"
    models.write_text(json.dumps({"models": {"Oak": TREE, "Elm": TREE, "Broken": BROKEN}}))
    ports = {f"ACCIDENTS_{s}_PORT": str(p) for s, p in zip(SERVICES, free_ports(len(SERVICES)), strict=True)}
    chosen = {"LOCAL_DIR": f"{folder}/local", "MODELS_FILE": str(models), "ALLOWED_HOSTS": OTHER_NAME}
    env = {**os.environ, **ports, **{f"ACCIDENTS_{name}": value for name, value in chosen.items()}}
    command = [sys.executable, "-m", "ops.local"]
    try:
        up = subprocess.run(
            [*command, "up"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False
        )
        assert up.returncode == 0, up.stdout + up.stderr
        lines = (folder / "local" / "env").read_text().splitlines()
        yield dict(line.split("=", 1) for line in lines if "=" in line)
    finally:
        subprocess.run([*command, "down"], cwd=ROOT, env=env, capture_output=True, timeout=120, check=True)
