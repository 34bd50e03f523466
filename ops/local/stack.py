"""Starts the stack, and waits until it is ready."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from include.accidents.errors import AccidentsError
from ops import airflow_settings, ports
from ops.airflow_api import Airflow
from ops.envfile import write_private
from ops.local import environment, health, services
from ops.local.environment import Known
from ops.local.lock import held
from ops.local.services import AIRFLOW, Service
from ops.local.settings import Settings
from ops.local.supervisor import Supervisor

#: A slow machine takes a minute; longer than this means that something is wrong.
PATIENCE_SECONDS: Final = 300
LOG_LINES: Final = 20


class StackError(AccidentsError):
    """A service of the stack does not run.

    Parameters
    ----------
    cause, remedy
        As for every error.
    log
        The last lines that the service wrote.
    """

    def __init__(self, cause: str, remedy: str, log: Sequence[str] = ()) -> None:
        super().__init__(cause, remedy)
        self.log = list(log)


@dataclass
class Step:
    """A step of the start: begun once the steps of `after` are ready, then checked until it is ready."""

    name: str
    start: Callable[[], object]
    check: health.Check
    after: tuple[str, ...] = ()
    missing: str | None = "waits"
    begun: float | None = None
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """Return the seconds since it began, or from its beginning to its end."""
        return (self.ended or time.monotonic()) - self.begun if self.begun else 0.0


@dataclass
class Stack:
    """The stack of one local folder."""

    settings: Settings
    known: Known
    services: tuple[Service, ...] = field(init=False)
    supervisor: Supervisor = field(init=False)
    airflow: Airflow = field(init=False)

    def __post_init__(self) -> None:
        """Derive the services and their clients."""
        self.services = services.define(self.settings, self.known)
        self.supervisor = Supervisor(self.settings)
        self.airflow = connect(self.env)

    @property
    def env(self) -> Mapping[str, str]:
        """Addresses and logins, as `.local/env` holds them."""
        return self.known.env

    def up(self, console: Console) -> None:
        """Start what does not run, and wait until everything is ready. A start already under way is finished first.

        Raises
        ------
        SettingsError
            If a port is taken or a setting is missing.
        StackError
            If a service dies or does not become ready in time.
        """
        message = "Another start of the stack is under way: waiting for it."
        with held(self.settings.folder / "run" / "start.lock", lambda: console.print(message)):
            self._up(console)

    def _up(self, console: Console) -> None:
        rendered = airflow_settings.load(airflow_settings.FILE, environment.settings_file(self.settings, self.known))
        if self.supervisor.is_running() and not self.supervisor.runs_the_same(self.services):
            console.print("Settings have changed since the stack was started: it is restarted.")
            self.supervisor.stop()
        already = self.supervisor.is_running() and self._all_run()
        if not self.supervisor.is_running():
            self._start_supervisor()
        started = time.monotonic()
        _go_through(self._steps(rendered), self._check_alive, Console(quiet=True) if already else console)
        took = f"up ({time.monotonic() - started:.0f} s)"
        console.print(f"The stack is {'already up' if already else took}.", highlight=False)

    def _all_run(self) -> bool:
        return all(each.state == "RUNNING" for each in self.supervisor.processes().values())

    def _start_supervisor(self) -> None:
        self.supervisor.stop()
        ports.check_free(self.settings)
        self._write_password()
        self.supervisor.start(self.services)

    def _steps(self, rendered: airflow_settings.AirflowSettings) -> list[Step]:
        database = Database(self.settings, next(each for each in self.services if each.is_airflow))
        checks = {
            "s3": health.s3(self.env),
            "mlflow": health.http(f"{self.env['MLFLOW_TRACKING_URI']}/health"),
            "api": health.api(self.env["ACCIDENTS_API_URL"]),
            "airflow-api-server": health.http(f"{self.env['AIRFLOW_URL']}/api/v2/monitor/health"),
            "airflow-scheduler": self._airflow_check("scheduler"),
            "airflow-dag-processor": health.both(
                self._airflow_check("dag_processor"), health.dag(self.airflow, self._start_of("airflow-dag-processor"))
            ),
        }
        after = {"api": ("mlflow",)} | dict.fromkeys(AIRFLOW, ("airflow-database",))
        steps = [self._service_step(each.name, checks[each.name], after.get(each.name, ())) for each in self.services]
        return [
            Step("airflow-database", database.start, database.check),
            *steps,
            Step(
                "airflow-settings",
                lambda: self.airflow.apply(rendered),
                lambda: None,
                ("airflow-api-server",),
            ),
        ]

    def _service_step(self, name: str, check: health.Check, after: tuple[str, ...]) -> Step:
        return Step(name, lambda: self.supervisor.start_services([name]), check, after)

    def _airflow_check(self, part: str) -> health.Check:
        return health.airflow_part(self.airflow, part, self._start_of(f"airflow-{part.replace('_', '-')}"))

    def _start_of(self, name: str) -> Callable[[], int]:
        return lambda: self.supervisor.processes()[name].started

    def _check_alive(self) -> None:
        for process in self.supervisor.processes().values():
            if process.state in {"BACKOFF", "EXITED", "FATAL"}:
                raise self.failure(process.name, f"The service {process.name} has died: {process.detail}.")

    def failure(self, name: str, cause: str) -> StackError:
        """Return the error for a service, with the end of its log."""
        log = self.settings.logs / f"{name}.log"
        return StackError(cause, f"read {log}, then `make down` and `make up`.", tail(log, LOG_LINES))

    def _write_password(self) -> None:
        path = self.settings.airflow_home / "passwords.json"
        write_private(path, json.dumps({self.env["AIRFLOW_USER"]: self.env["AIRFLOW_PASSWORD"]}))


class Database:
    """Airflow's database: created, or migrated to the installed version, before Airflow starts."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self._service = service
        self._log = settings.logs / "airflow-database.log"
        self._stamp = settings.airflow_home / "migrated"
        self._version = version("apache-airflow")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin the migration, unless this version of Airflow has done it already."""
        if self._stamp.exists() and self._stamp.read_text(encoding="utf-8") == self._version:
            return
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own command)
                command, env=dict(self._service.environment), stdout=log, stderr=subprocess.STDOUT
            )

    def check(self) -> str | None:
        """Check whether the migration has ended.

        Returns
        -------
        Its state as text while it goes on, else None.

        Raises
        ------
        StackError
            If it failed.
        """
        if self._process:
            status = self._process.poll()
            if status is None:
                return "is being migrated"
            if status:
                cause = f"Airflow's database cannot be migrated (exit status {status})."
                raise StackError(cause, f"read {self._log}, remove the cause, `make up`.", tail(self._log, LOG_LINES))
            write_private(self._stamp, self._version)
        return None


def connect(env: Mapping[str, str]) -> Airflow:
    """Return a client of Airflow, for the address and login of an env file."""
    return Airflow(env["AIRFLOW_URL"], env["AIRFLOW_USER"], env["AIRFLOW_PASSWORD"])


def tail(path: Path, lines: int) -> list[str]:
    """Read the last lines of a log."""
    if not path.exists():
        return []
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 200 * lines))
        return stream.read().decode(errors="replace").splitlines()[-lines:]


def _go_through(steps: Sequence[Step], check_alive: Callable[[], None], console: Console) -> None:
    """Start each step once its predecessors are ready, and check the started ones until all are ready."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            _advance(steps, console)
            live.update(_table(steps), refresh=True)
            waiting = [each for each in steps if each.ended is None]
            if not waiting:
                return
            check_alive()
            if time.monotonic() > deadline:
                missing = "; ".join(f"{each.name}: {each.missing}" for each in waiting)
                raise StackError(f"After {PATIENCE_SECONDS} s the stack is not ready ({missing}).", "see `make logs`.")
            time.sleep(0.5)


def _advance(steps: Sequence[Step], console: Console) -> None:
    ready = {each.name for each in steps if each.ended is not None}
    for step in steps:
        if step.ended is not None or not ready.issuperset(step.after):
            continue
        if step.begun is None:
            step.begun = time.monotonic()
            step.start()
        step.missing = step.check()
        if step.missing is None:
            step.ended = time.monotonic()
            ready.add(step.name)
            console.print(f"[green]✔[/] {step.name} [dim]{step.seconds:.1f} s[/]", highlight=False)


def _table(steps: Sequence[Step]) -> Table:
    table = Table.grid(padding=(0, 1))
    for step in steps:
        if step.ended is None:
            table.add_row("[yellow]…[/]", step.name, f"[dim]{step.seconds:.0f} s[/]", step.missing or "")
    return table
