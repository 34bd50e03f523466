"""Follows a run of the DAG: shows its progress, and the reason when it fails."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ops.airflow_api import Airflow, AirflowError, Graph, TaskInstance

#: State of a task instance -> its sign and colour.
SIGNS: Final = {
    "success": ("✔", "green"),
    "running": ("●", "cyan"),
    "failed": ("✘", "red"),
    "upstream_failed": ("⊘", "dark_orange"),
    "up_for_retry": ("↻", "yellow"),
    "skipped": ("↷", "magenta"),
    "queued": ("◌", "yellow"),
    "scheduled": ("◌", "dim"),
}
WAITING: Final = frozenset({"none", "scheduled", "queued"})
_NO_SIGN: Final = ("·", "dim")

#: How long Airflow may be silent (during a restart, for instance) before following ends.
SILENCE_SECONDS: Final = 60
LONGEST_PAUSE: Final = 5  # s between two questions while nothing changes
LOG_LINES: Final = 5

#: A run that is queued for longer waits for another one.
QUEUED_SECONDS: Final = 5

Key = tuple[str, int]


def follow(airflow: Airflow, run_id: str, console: Console) -> bool:
    """Show a run until its end: live on a terminal, else a line for each change.

    Returns
    -------
    bool
        Whether the run succeeded.

    Raises
    ------
    AirflowError
        If Airflow does not answer for `SILENCE_SECONDS`.
    """
    graph = airflow.graph()
    view = LiveView(graph, console) if console.is_terminal else PlainView(graph, console)
    last_answer, pause = time.monotonic(), 1
    answer: tuple[dict[str, Any], list[TaskInstance]] | None = None
    with view:
        while True:
            try:
                before, answer = answer, (airflow.run(run_id), airflow.task_instances(run_id))
            except httpx.HTTPError as error:
                if time.monotonic() - last_answer > SILENCE_SECONDS:
                    raise AirflowError(
                        f"Airflow has not answered for {SILENCE_SECONDS} s ({error}).", "see `make status`."
                    ) from error
            else:
                last_answer = time.monotonic()
                view.show(*answer)
                if answer[0]["state"] in {"success", "failed"}:
                    break
                # Each question costs the server a twentieth of a second, and a fit takes minutes.
                pause = min(pause + 1, LONGEST_PAUSE) if answer == before else 1
            for _ in range(pause):
                time.sleep(1)
                if answer is not None:
                    view.show(*answer)  # the clocks go on
    run, instances = answer
    for line in reasons(airflow, run_id, graph, instances):
        console.print(line, soft_wrap=True)
    return bool(run["state"] == "success")


class LiveView:
    """A live table of the run on a terminal: a line for each task."""

    def __init__(self, graph: Graph, console: Console) -> None:
        self._graph = graph
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="visible")

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def show(self, run: Mapping[str, Any], instances: Sequence[TaskInstance]) -> None:
        """Show the newest state."""
        self._live.update(table(self._graph, run, instances, datetime.now(UTC)), refresh=True)


class PlainView:
    """A line for each change of state, for logs and pipes."""

    def __init__(self, graph: Graph, console: Console) -> None:
        self._graph = graph
        self._console = console
        self._states: dict[Key, str] = {}
        self._headline = ""

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *exception: object) -> None:
        """Do nothing: there is nothing to close."""

    def show(self, run: Mapping[str, Any], instances: Sequence[TaskInstance]) -> None:
        """Print what has changed."""
        for each, line in changes(self._graph, self._states, run, instances, datetime.now(UTC)):
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
            self._states[_key(each)] = each.state
        headline = _headline(run, datetime.now(UTC))
        if headline != self._headline:
            self._headline = headline
            self._console.print(f"{_duration(_elapsed(run, datetime.now(UTC))):>7}  {headline}")


def table(graph: Graph, run: Mapping[str, Any], instances: Sequence[TaskInstance], now: datetime) -> Table:
    """Return the run as a table: a line for each task in the graph's order, mapped instances side by side."""
    names = labels(graph, instances)
    drawn = Table.grid(padding=(0, 2))
    drawn.add_column(no_wrap=True)
    drawn.add_column()
    for task_id in graph.order:
        cell = Text("   ").join(
            _instance_text(each, names[_key(each)], now) for each in _instances_of(task_id, instances)
        )
        drawn.add_row(task_id, cell)
    drawn.add_row(Text(_headline(run, now), style="bold"), Text(_duration(_elapsed(run, now)), style="bold"))
    return drawn


def changes(
    graph: Graph,
    before: Mapping[Key, str],
    run: Mapping[str, Any],
    instances: Sequence[TaskInstance],
    now: datetime,
) -> list[tuple[TaskInstance, str]]:
    """Describe each instance whose state has changed since it was last described.

    Waiting gets no line, nor does the start of a mapped instance before Airflow has named it.

    Parameters
    ----------
    before
        The last described states, by task id and map index.

    Returns
    -------
    Each such instance with its line, in the order of the graph.
    """
    names = labels(graph, instances)
    elapsed = _duration(_elapsed(run, now))
    lines = []
    for task_id in graph.order:
        for each in _instances_of(task_id, instances):
            key = _key(each)
            nameless = each.state == "running" and names[key] == str(each.map_index)
            if each.state in WAITING or each.state == before.get(key) or nameless:
                continue
            name = f"{task_id} [{names[key]}]" if names[key] else task_id
            took = f" {_duration(each.seconds(now))}" if each.ended else ""
            lines.append((each, f"{elapsed:>7}  {name}: {each.state}{took}"))
    return lines


def labels(graph: Graph, instances: Iterable[TaskInstance]) -> dict[Key, str]:
    """Name each mapped instance as Airflow's grid does; one that has not run has its predecessor's name."""
    own = {_key(each): each.label for each in instances if each.map_index >= 0}

    def name(task_id: str, index: int) -> str:
        label = own.get((task_id, index))
        if label and label != str(index):
            return label
        inherited = (name(above, index) for above in sorted(graph.upstream[task_id]) if (above, index) in own)
        return next((each for each in inherited if each != str(index)), str(index))

    return {_key(each): name(*_key(each)) if each.map_index >= 0 else "" for each in instances}


def reasons(airflow: Airflow, run_id: str, graph: Graph, instances: Sequence[TaskInstance]) -> list[Text]:
    """Return the reason of each failed task, from its log."""
    names = labels(graph, instances)
    lines = []
    for task_id in graph.order:
        for each in _instances_of(task_id, instances):
            if each.state == "failed":
                name = f"{task_id} {names[_key(each)]}".strip()
                lines.append(Text(f"✘ {name}: {_reason(airflow, run_id, each)}", style="red"))
    return lines


def errors_of(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the errors in a task's log: the last exception, or else the last errors."""
    for entry in reversed(entries):
        if details := entry.get("error_detail"):
            last = details[0]
            return [f"{last['exc_type']}: {last['exc_value']}"]
    errors = [str(each["event"]) for each in entries if each.get("level") in {"error", "critical"}]
    return (errors or [str(each["event"]) for each in entries])[-LOG_LINES:]


def _reason(airflow: Airflow, run_id: str, instance: TaskInstance) -> str:
    try:
        return "\n".join(errors_of(airflow.log(run_id, instance))) or "its log is empty"
    except (httpx.HTTPError, AirflowError) as error:
        return f"its log cannot be read ({error})"


def _instance_text(instance: TaskInstance, name: str, now: datetime) -> Text:
    sign, style = SIGNS.get(instance.state, _NO_SIGN)
    text = Text.assemble((sign, style), f" {name}" if name else "")
    seconds = instance.seconds(now)
    return text if seconds is None else text.append(f" {_duration(seconds)}", style="dim")


def _instances_of(task_id: str, instances: Iterable[TaskInstance]) -> list[TaskInstance]:
    return sorted((each for each in instances if each.task_id == task_id), key=lambda each: each.map_index)


def _key(instance: TaskInstance) -> Key:
    return instance.task_id, instance.map_index


def _headline(run: Mapping[str, Any], now: datetime) -> str:
    queued = run["state"] == "queued" and run.get("queued_at")
    long = queued and (now - datetime.fromisoformat(queued)).total_seconds() > QUEUED_SECONDS
    return f"run {run['state']}{' until the run before it has ended' if long else ''}"


def _elapsed(run: Mapping[str, Any], now: datetime) -> float:
    begin = run.get("start_date")
    end = datetime.fromisoformat(run["end_date"]) if run.get("end_date") else now
    return (end - datetime.fromisoformat(begin)).total_seconds() if begin else 0.0


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s"
