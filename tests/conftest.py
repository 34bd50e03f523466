"""What tests of several kinds share: one thread a model, and the embedded stack."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from include.accidents.models import training
from tests.helpers import running_stack

# Who ends the tests, a time limit say, still has their stacks stopped.
signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """As in the pipeline: two cores shared by several thread pools are many times slower than one each."""
    training.limit_threads()


@pytest.fixture(autouse=True)
def _loggers_on() -> None:
    """Undo what earlier tests did to the loggers: MLflow's migrations switch them off, commands make them quiet."""
    logging.getLogger("include").setLevel(logging.NOTSET)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith(("include", "api")) and isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(scope="module")
def stack() -> Iterator[dict[str, str]]:
    """Addresses and logins of an embedded stack on free ports, as its `env` file holds them."""
    with TemporaryDirectory(prefix="acc") as folder, running_stack(Path(folder)) as env:
        yield env
