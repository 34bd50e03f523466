"""Reads model files in a separate process.

Reading a file of some thousand arrays takes a tenth of a second or more of Python. In the serving process, every answer
would wait for the interpreter's lock meanwhile. It gets the finished model instead, in a twentieth of that time. A file
that crashes its reader does not crash the service. A hostile file gets no secret and runs nothing in the service: see
`registry.pickles`.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from include.accidents.errors import ModelError
from include.accidents.registry import pickles

# What the reader's process sees of the environment: no key, no password, no address.
_ENVIRONMENT: Final = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# The first byte of its answer: a pickled model, an error as JSON, or out of memory.
_MODEL, _ERROR, _MEMORY = b"m", b"e", b"o"

ROOT: Final = Path(__file__).resolve().parents[1]


class ReaderDiedError(Exception):
    """The process that reads models was killed; another try may succeed."""


class Reader:
    """Reads skops files whose signature was checked, one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection
        self._one_at_a_time = threading.Lock()

    def start(self) -> None:
        """Start the process unless it runs; its imports take seconds."""
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()  # clears up after a process that died between two requests
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-m", "api.model_loader", str(theirs.fileno())]
        env = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith("PYTHON")}
        with theirs:
            self._process = subprocess.Popen(command, cwd=ROOT, env=env, pass_fds=[theirs.fileno()])  # noqa: S603

    def read(self, content: bytes) -> Any:
        """Read a skops file in the reader process.

        Returns
        -------
        The fitted model, which has predicted once.

        Raises
        ------
        ModelError
            When it holds types that are not on the list, cannot predict, or crashes its reader.
        ReaderDiedError
            When its reader was killed. The file may be good.
        MemoryError
            When its reader was short of memory. The file may be good.
        """
        with self._one_at_a_time:
            answer, code = self._ask(content)
            if answer is None:
                answer, code = self._ask(content)  # once more: the first process may have died for another reason
        if answer is None and code == -signal.SIGKILL:
            raise ReaderDiedError("the process that reads models was killed; see that the machine has memory left")
        if answer is None:
            raise ModelError(
                f"The process that reads models ended over this one, twice (exit code {code}).",
                "train the model again.",
            )
        kind, body = answer[:1], answer[1:]
        if kind == _MODEL:
            return pickles.read(body, content)
        if kind == _MEMORY:
            raise MemoryError
        raise ModelError(*json.loads(body))

    def _ask(self, content: bytes) -> tuple[bytes | None, int | None]:
        """Return the process's answer, or None and its exit code when it ended instead."""
        self.start()
        try:
            self._pipe.send_bytes(content)
            return self._pipe.recv_bytes(), None
        except (EOFError, OSError):
            return None, self.stop()

    def stop(self) -> int | None:
        """End the process, if it runs; return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        self._pipe.close()  # the process ends when its pipe closes, so it does not outlive its parent either
        try:
            return process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def predict_once(estimator: Any) -> None:
    """Predict one row, which also warms the model up; ModelError for a model that cannot predict."""
    import numpy as np

    from include.accidents.features.definitions import NAMES
    from include.accidents.models.evaluate import probabilities

    if estimator.n_features_in_ != len(NAMES):
        raise ModelError("The model expects other columns than today's.", "run the pipeline once more.")
    try:
        probabilities(estimator, np.zeros((1, len(NAMES)), dtype=np.float32))
    except (ModelError, MemoryError):
        raise
    except Exception as error:
        raise ModelError(
            f"The model cannot predict ({type(error).__name__}: {error}).",
            "train it again with this installation's libraries.",
        ) from error


def _serve(pipe: Connection) -> None:
    from include.accidents.models import training
    from include.accidents.registry import skops_files

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this process
    training.limit_threads()
    gc.freeze()  # no search for cycles among the imports, and few while a model is read
    gc.set_threshold(200_000)
    while True:
        try:
            content = pipe.recv_bytes()
        except EOFError:
            return
        try:
            estimator = skops_files.loads(content)
            predict_once(estimator)
            answer = _MODEL + pickle.dumps(estimator, 5)
        except ModelError as error:
            answer = _ERROR + json.dumps([error.cause, error.remedy]).encode()
        except MemoryError:
            answer = _MEMORY
        except Exception as error:
            message = f"The file cannot be read ({type(error).__name__}: {error})."
            answer = _ERROR + json.dumps([message, "train the model again."]).encode()
        pipe.send_bytes(answer)


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
