"""The process that reads model files: what it gives back, and what happens when it cannot."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier

from api.model_loader import Reader, ReaderDiedError
from include.accidents.errors import ModelError
from include.accidents.features.definitions import NAMES
from include.accidents.registry import skops_files
from tests.api.world import World


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def model() -> Any:
    x = np.random.default_rng(0).normal(size=(300, len(NAMES))).astype(np.float32)
    return HistGradientBoostingClassifier(max_iter=20).fit(x, np.arange(300) % 4)


def process_of(reader: Reader) -> int:
    assert reader._process is not None
    return reader._process.pid


def test_the_model_comes_back_as_it_was(reader: Reader, model: Any) -> None:
    x = np.random.default_rng(1).normal(size=(50, len(NAMES)))
    back = reader.read(skops_files.dumps(model))
    np.testing.assert_array_equal(back.predict_proba(x), model.predict_proba(x))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (skops.io.dumps({"a": World.__new__(World)}), "not on the list"),
        (b"no model at all", "cannot be read"),
        (skops.io.dumps(DummyClassifier().fit(np.zeros((4, 3)), [0, 1, 2, 3])), "other columns"),
        (skops.io.dumps(DummyClassifier(strategy="wrong")), "n_features_in_"),
    ],
)
def test_what_is_no_model_of_ours_is_refused_and_the_next_one_read(
    reader: Reader, model: Any, content: bytes, told: str
) -> None:
    reader.start()
    before = process_of(reader)
    with pytest.raises(ModelError, match=told):
        reader.read(content)
    assert reader.read(skops_files.dumps(model)).n_features_in_ == len(NAMES)
    assert process_of(reader) == before


def test_a_reader_that_dies_while_idle_or_asked_is_followed_by_another(reader: Reader, model: Any) -> None:
    content = skops_files.dumps(model)
    reader.read(content)
    before = process_of(reader)
    os.kill(before, signal.SIGKILL)  # as the kernel does when memory is short, while nothing is being read
    assert reader.read(content).n_features_in_ == len(NAMES)
    assert process_of(reader) != before
    os.kill(process_of(reader), signal.SIGSTOP)  # so that it dies while it is asked
    threading.Timer(0.3, os.kill, (process_of(reader), signal.SIGKILL)).start()
    assert reader.read(content).n_features_in_ == len(NAMES)


class Dying(Reader):
    """Each of its processes dies of a signal when it is asked."""

    signal = signal.SIGKILL

    def start(self) -> None:
        super().start()
        os.kill(process_of(self), self.signal)


@pytest.mark.parametrize(("of", "error"), [(signal.SIGKILL, ReaderDiedError), (signal.SIGSEGV, ModelError)])
def test_only_a_file_that_crashes_its_readers_is_to_blame(
    model: Any, of: signal.Signals, error: type[Exception]
) -> None:
    made = Dying()
    made.signal = of
    with pytest.raises(error):
        made.read(skops_files.dumps(model))
    made.stop()


def test_it_ends_with_its_parent(model: Any) -> None:
    made = Reader()
    made.read(skops_files.dumps(model))
    process = made._process
    assert process is not None
    made._pipe.close()  # as the kernel does when the parent is killed
    assert process.wait(10) == 0


def test_it_does_not_know_the_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCIDENTS_API_KEY", "ACCIDENTS_SIGNING_KEY", "MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "k" * 32)
    made = Reader()
    made.start()
    environment = Path(f"/proc/{process_of(made)}/environ")
    end = time.monotonic() + 10
    while b"PATH=" not in environment.read_bytes() and time.monotonic() < end:
        time.sleep(0.05)
    assert b"k" * 32 not in environment.read_bytes()
    assert made.stop() is not None
