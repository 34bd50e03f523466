"""Model files are read in a process of their own.

To read a file of some thousand arrays costs a tenth of a second or more of Python, during which every answer would
wait for the interpreter's lock again and again. What the serving process gets is the finished model, which costs it a
twentieth of that. A file that crashes its reader does not crash the service, and one that takes it over gets no secret
and runs nothing here: see `registry.pickles`.
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
# How its answers begin: a pickled model, an error as JSON, or that it was short of memory.
_MODEL, _ERROR, _MEMORY = b"m", b"e", b"o"

ROOT: Final = Path(__file__).resolve().parents[1]


class ReaderDiedError(Exception):
    """The process that reads models was killed; it may go well when it is asked again."""


class Reader:
    """Reads skops files whose signature was checked, one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: Connection
        self._one_at_a_time = threading.Lock()

    def start(self) -> None:
        """Start the process, unless it runs; it takes seconds to import what models are made of."""
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()  # what is left of one that died while nobody asked it
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-m", "api.model_loader", str(theirs.fileno())]
        env = {name: value for name, value in os.environ.items() if name in _ENVIRONMENT or name.startswith("PYTHON")}
        with theirs:
            self._process = subprocess.Popen(command, cwd=ROOT, env=env, pass_fds=[theirs.fileno()])  # noqa: S603

    def read(self, content: bytes) -> Any:
        """Return the model of a file, which has predicted once.

        Raises
        ------
        ModelError
            When it holds types that are not on the list, cannot predict, or crashes its reader.
        ReaderDiedError
            When its reader was killed: that says nothing of the file.
        MemoryError
            When its reader was short of memory: nor does that.
        """
        with self._one_at_a_time:
            answer, code = self._ask(content)
            if answer is None:
                answer, code = self._ask(content)  # once more: the first may have died of something else
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
        """Return what the process answers, or None and its exit code when it ended instead."""
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
        self._pipe.close()  # it ends when nobody can ask it any more, so it does not outlive its parent either
        try:
            return process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def predict_once(estimator: Any) -> None:
    """Predict one row: a model that cannot is never served, and one that can is warm; ModelError when it cannot."""
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
    gc.freeze()  # what was imported, and a model while it is read, is not looked through for cycles
    gc.set_threshold(200_000)
    while True:
        try:
            content = pipe.recv_bytes()
        except EOFError:
            return
        try:
            made = skops_files.loads(content)
            predict_once(made)
            answer = _MODEL + pickle.dumps(made, 5)
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
