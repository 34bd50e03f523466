"""Work with a firm time limit: in a child process, which can be killed during a C call.

Python's own means (signals with a handler, exceptions in threads) wait until a C call such as an SVC's fit returns.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from include.accidents.errors import AccidentsError, ModelError

OnProgress = Callable[[Any], None]

# A fork costs nothing, while a fresh interpreter imports for seconds. The libraries of macOS do not survive a fork.
METHOD = "fork" if sys.platform == "linux" else "spawn"


class OutOfTimeError(ModelError):
    """The work was killed at its time limit."""


def run(
    work: Callable[..., Any], *args: Any, minutes: float, what: str, on_progress: Callable[[Any], None] | None = None
) -> Any:
    """Call `work(*args, on_progress)` in a child process and return its result.

    Parameters
    ----------
    minutes
        Time limit; then the child is killed.
    what
        Names the work in messages.
    on_progress
        Called in the parent with each value that the child passed to its `on_progress`.

    Returns
    -------
    The result of `work`, pickled by the child.

    Raises
    ------
    OutOfTimeError
        When the limit was reached.
    ModelError
        When the work raised (with its traceback as a note) or its process died.
    """  # noqa: DOC501  (raised by a helper that makes it)
    context: Any = multiprocessing.get_context(METHOD)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, minutes * 60, work, args), daemon=True)
    deadline = time.monotonic() + minutes * 60
    # A Celery worker runs its tasks in daemons, which may have no children: these could be orphaned. Ours cannot be.
    multiprocessing.current_process().daemon = False
    process.start()
    theirs.close()
    try:
        while ours.poll(max(deadline - time.monotonic(), 0)):
            kind, value = ours.recv()
            if kind == "progress":
                if on_progress is not None:
                    on_progress(value)
            elif kind == "raised":
                raise value
            else:
                return value
        raise _out_of_time(what, minutes)
    except EOFError:
        process.join(5)
        if process.exitcode == -signal.SIGALRM:
            raise _out_of_time(what, minutes) from None
        raise ModelError(
            f"{what} died (exit code {process.exitcode}).",
            "see that the machine has memory left; give the model fewer 'max_rows'.",
        ) from None
    finally:
        process.kill()
        process.join()
        ours.close()


def _out_of_time(what: str, minutes: float) -> OutOfTimeError:
    return OutOfTimeError(
        f"{what} was killed: it did not end within {minutes:g} minutes.",
        "give the model more 'minutes', fewer 'max_rows' or a smaller grid in the catalogue.",
    )


def _child(pipe: Connection, seconds: float, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    _die_in_time(seconds)
    try:
        pipe.send(("done", work(*args, lambda value: pipe.send(("progress", value)))))
    except Exception as error:  # the parent gets whatever a model raises, and goes on
        pipe.send(("raised", _portable(error)))


def _die_in_time(seconds: float) -> None:
    """Let the kernel end this process at its limit and when its parent ends, so that no orphan goes on computing."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _portable(error: Exception) -> Exception:
    """Return an error that can be pickled: ours unchanged, others as a ModelError with name, message and traceback."""
    if isinstance(error, AccidentsError):
        return error
    portable = ModelError(f"{type(error).__name__}: {error}", "correct the model's entry in the catalogue.")
    portable.add_note(traceback.format_exc())
    return portable
