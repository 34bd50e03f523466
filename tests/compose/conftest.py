"""The compose stack, built and started for real, once for all tests.

Collected only when asked for by name (`make test-compose`): it needs a Docker Engine and takes its time.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest

from include.accidents.synthetic.sample import write_sample
from tests.compose.running import Compose, make, run
from tests.helpers import OTHER_NAME


def pytest_sessionstart(session: pytest.Session) -> None:
    if not any("compose" in arg for arg in session.config.args):
        return
    for command, missing in (
        (["docker", "info"], "a Docker Engine that answers"),
        (["docker", "compose", "version"], "Compose v2"),
    ):
        if shutil.which("docker") is None or run(*command).returncode:
            pytest.exit(f"These tests need {missing}: install and start it, or leave them to a machine that has it.", 1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the containers beside a failure, and the logs of those that are not well."""
    report = yield
    stack = item.funcargs.get("stack")
    if report.failed and isinstance(stack, Compose):
        report.sections.append(("containers", stack.report()))
    return report


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    """The whole stack with two Celery workers and two replicas of the API, for `demonstration` to start."""
    folder = tmp_path_factory.mktemp("compose")
    folder.chmod(0o755)
    (folder / "raw").mkdir()
    write_sample(folder / "raw", years=(2022, 2023), accidents_per_year=1500)
    (folder / "catalogue").mkdir()
    write_catalogue(folder / "catalogue" / "models.json")
    made = make(
        folder,
        f"accidents-test-{os.getpid()}",
        COMPOSE_PROFILES="celery",
        ACCIDENTS_WORKERS="2",
        ACCIDENTS_API_REPLICAS="2",
        ACCIDENTS_RAW_DIR=str(folder / "raw"),
        ACCIDENTS_CATALOGUE_DIR=str(folder / "catalogue"),
        ACCIDENTS_MODEL_SLOTS="4",
        ACCIDENTS_TASK_MEMORY="3g",
        AIRFLOW_HEARTBEAT_TIMEOUT="40",
        ACCIDENTS_ALLOWED_HOSTS=OTHER_NAME,
    )
    yield made
    made.stack("down", "--volumes", "--timeout", "5")


@pytest.fixture(scope="session")
def demonstration(stack: Compose) -> str:
    """What `make compose-demo` shows: the stack is built and started, and the DAG has run once."""
    try:
        return stack.demo()
    except AssertionError as error:  # all else would fail for the same reason
        pytest.exit(str(error), 1)


@pytest.fixture(scope="session")
def first(demonstration: str) -> str:
    """The id of that run."""
    found = re.search(r"Models of (\S+)", demonstration)
    assert found, demonstration
    return found.group(1)


def write_catalogue(path: Path, leaves: Sequence[int] = (5, 10, 20, 40)) -> None:
    """Four small models, enough for two workers with two tasks each."""
    tree = "sklearn.tree.DecisionTreeClassifier"
    models = {
        f"Tree{leaf}": {
            "pipeline": [["clf", {"class": tree, "params": {"max_depth": 5, "min_samples_leaf": leaf}}]],
            "param_grid": {"clf__max_depth": [3, 5]},
        }
        for leaf in leaves
    }
    path.write_text(json.dumps({"defaults": {"evaluation_folds": 2, "search_folds": 2}, "models": models}))
