from __future__ import annotations

import multiprocessing
import os
from typing import Any

import pytest

from include.accidents.errors import InputError, ModelError
from include.accidents.models import isolate


def _double(value: int, on_progress: isolate.OnProgress) -> int:
    on_progress("halfway")
    return 2 * value


def _never_returns(on_progress: isolate.OnProgress) -> None:
    """Spend minutes inside one C call that looks at no signal."""
    on_progress(os.getpid())
    sum(range(10**12))


def _raises(error: Exception, on_progress: isolate.OnProgress) -> None:
    raise error


def _dies(on_progress: isolate.OnProgress) -> None:
    os._exit(3)


def test_the_result_and_what_was_told_come_back() -> None:
    heard: list[Any] = []
    assert isolate.run(_double, 21, minutes=1, what="It", on_progress=heard.append) == 42
    assert heard == ["halfway"]


def _answer(pipe: Any) -> None:
    pipe.send(isolate.run(_double, 21, minutes=1, what="It"))


def test_it_works_in_a_daemon_as_the_tasks_of_a_celery_worker_are() -> None:
    context: Any = multiprocessing.get_context(isolate.METHOD)
    ours, theirs = context.Pipe(duplex=False)
    daemon = context.Process(target=_answer, args=(theirs,), daemon=True)
    daemon.start()
    theirs.close()
    assert ours.poll(30)
    assert ours.recv() == 42
    daemon.join()


def test_a_c_call_is_killed_at_the_limit_and_nothing_is_left_running() -> None:
    pids: list[int] = []
    with pytest.raises(isolate.OutOfTimeError, match=r"The fit was killed: it did not end within 0\.1 minutes"):
        isolate.run(_never_returns, minutes=0.1, what="The fit", on_progress=pids.append)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_the_time_limit_of_a_task_ends_a_c_call_in_its_child_too() -> None:
    from airflow.sdk.exceptions import AirflowTaskTimeout
    from airflow.sdk.execution_time.timeout import timeout

    pids: list[int] = []
    with pytest.raises(AirflowTaskTimeout), timeout(6):
        isolate.run(_never_returns, minutes=5, what="The fit", on_progress=pids.append)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_what_the_work_raises_is_told_with_its_name() -> None:
    with pytest.raises(ModelError, match="ValueError: no such leaf"):
        isolate.run(_raises, ValueError("no such leaf"), minutes=1, what="It")
    with pytest.raises(InputError, match="the file"):
        isolate.run(_raises, InputError("the file", "mend it"), minutes=1, what="It")


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(ModelError, match=r"The fit died \(exit code 3\)"):
        isolate.run(_dies, minutes=1, what="The fit")
