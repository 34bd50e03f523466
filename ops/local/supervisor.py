"""The process manager: starts supervisord, and talks to it over a private socket."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport  # type: ignore[import-untyped]

from include.accidents.errors import SettingsError
from ops import envfile
from ops.local.environment import common
from ops.local.launch import MARKER, SERVICE
from ops.local.services import SCHEDULER, Service
from ops.local.settings import ROOT, Settings

#: Shortest limit among the systems (macOS), less the suffix that supervisord adds while it creates the socket.
SOCKET_PATH_LIMIT: Final = 104 - 10

#: Enough for every server to shut down.
STOP_SECONDS: Final = 10

#: All services are one group, because supervisord stops one group after the other.
GROUP: Final = "stack"

_HEAD: Final = """\
[unix_http_server]
file = {socket}
chmod = 0700

[supervisord]
logfile = {logs}/supervisord.log
logfile_maxbytes = 1MB
logfile_backups = 1
pidfile = {folder}/supervisord.pid
childlogdir = {logs}
umask = 077

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[group:{group}]
programs = {names}
"""

# stopasgroup and killasgroup: the children of a service (Airflow's workers and tasks) are stopped with it.
_PROGRAM: Final = """
[program:{name}]
command = {command}
directory = {root}
autostart = false
autorestart = true
startsecs = 10
startretries = 50
stopwaitsecs = {stop_seconds}
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = {logs}/{name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 1
"""


@dataclass(frozen=True)
class Process:
    """The supervisor's report on a service.

    `state` is one of supervisor's names (RUNNING, STARTING, STOPPED, BACKOFF, EXITED, FATAL …), `started` is
    in seconds since the epoch (0 before the first start), `pid` is 0 when there is none.
    """

    name: str
    state: str
    pid: int
    started: int
    detail: str


class Supervisor:
    """The supervisord of one local folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._socket = socket_path(settings.folder)
        self._files = settings.folder / "run"

    def is_running(self) -> bool:
        """Return whether it answers."""
        try:
            self._call("getState")
        except (OSError, Fault):
            return False
        return True

    def start(self, services: Sequence[Service]) -> None:
        """Start the supervisor; it starts no service yet."""
        self._settings.logs.mkdir(mode=0o700, exist_ok=True)
        for folder in ("home", "run", "s3"):
            (self._settings.folder / folder).mkdir(mode=0o700, exist_ok=True)
        for path, text in self._contents(services).items():
            envfile.write_private(path, text)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._configuration)]
        result = subprocess.run(  # noqa: S603 (our own command)
            command, env=common(self._settings), cwd=ROOT, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise SettingsError(
                f"supervisord does not start: {_last_line(result.stderr or result.stdout)}",
                f"see {self._settings.logs / 'supervisord.log'}.",
            )
        _wait_until(self.is_running, seconds=10)

    def runs_the_same(self, services: Sequence[Service]) -> bool:
        """Return whether it was started with exactly these services."""
        contents = self._contents(services)
        return all(path.exists() and path.read_text(encoding="utf-8") == text for path, text in contents.items())

    def start_services(self, names: Iterable[str]) -> None:
        """Start services without waiting for them; those that run already are left alone."""
        for name in names:
            try:
                self._call("startProcess", f"{GROUP}:{name}", False)
            except Fault as fault:
                if fault.faultCode != Faults.ALREADY_STARTED:
                    raise

    def processes(self) -> dict[str, Process]:
        """Return the state of every service."""
        reports = cast(list[dict[str, Any]], self._call("getAllProcessInfo"))
        return {
            each["name"]: Process(
                each["name"],
                each["statename"],
                each["pid"],
                each["start"],
                each["spawnerr"] or each["description"],
            )
            for each in reports
        }

    def stop(self) -> bool:
        """Stop every process that was started here. Returns whether there was any."""
        was_running = self.is_running()
        if was_running:
            daemon = self._call("getPID")
            self._stop_scheduler()
            self._call("shutdown")
            _wait_until(lambda: not is_alive(daemon), seconds=2 * STOP_SECONDS)
        left = stray_processes(self._settings.folder)
        for process in left:
            process.kill()
        _wait_until(lambda: not any(is_alive(process.pid) for process in left), seconds=5)
        self._socket.unlink(missing_ok=True)
        return was_running or bool(left)

    def _stop_scheduler(self) -> None:
        """Stop the scheduler, which after the first signal waits for its running tasks, however long.

        After the second it releases them, so that the next scheduler resumes them at once. The tasks are killed: while
        they compute, they may ignore signals.
        """
        name = f"{GROUP}:{SCHEDULER}"
        with suppress(Fault, psutil.NoSuchProcess):  # it does not run
            self._call("stopProcess", name, False)
            _wait_until(lambda: self.processes()[SCHEDULER].state != "STOPPING", seconds=2)
            self._call("signalProcess", name, "TERM")
            for task in psutil.Process(self.processes()[SCHEDULER].pid).children(recursive=True):
                task.kill()

    @property
    def _configuration(self) -> Path:
        return self._files / "supervisord.conf"

    def _contents(self, services: Sequence[Service]) -> dict[Path, str]:
        specifications = self._files / "services.json"
        return {
            specifications: json.dumps({each.name: self._specification(each) for each in services}, indent=1),
            self._configuration: self._head(services)
            + "".join(self._program(each, specifications) for each in services),
        }

    def _specification(self, service: Service) -> dict[str, Any]:
        return {
            "command": service.command,
            "directory": str(self._settings.folder),
            "environment": {**service.environment, SERVICE: service.name},
        }

    def _head(self, services: Sequence[Service]) -> str:
        names = ",".join(each.name for each in services)
        return _HEAD.format(
            socket=self._socket,
            logs=self._settings.logs,
            folder=self._settings.folder,
            group=GROUP,
            names=names,
        )

    def _program(self, service: Service, specifications: Path) -> str:
        command = shlex.join([sys.executable, "-m", "ops.local.launch", str(specifications), service.name])
        return _PROGRAM.format(
            name=service.name, command=command, root=ROOT, logs=self._settings.logs, stop_seconds=STOP_SECONDS
        )

    def _call(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(serverurl=f"unix://{self._socket}")
        try:
            proxy = ServerProxy("http://supervisor", transport=transport, allow_none=True)
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()


def socket_path(folder: Path) -> Path:
    """Choose the path of the supervisor's socket.

    Returns
    -------
    A path in the stack's folder, or in a private temporary one if that path is too long.

    Raises
    ------
    SettingsError
        If the temporary folder belongs to somebody else.
    """
    usual = folder / "run" / "supervisor.sock"
    if len(os.fsencode(usual)) <= SOCKET_PATH_LIMIT:
        return usual
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    private = Path(tempfile.gettempdir()) / f"accidents-{os.getuid()}-{digest}"
    private.mkdir(mode=0o700, exist_ok=True)
    status = private.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) != 0o700:
        raise SettingsError(
            f"{private} is not a private folder of yours.", "remove it, or set TMPDIR to another folder."
        )
    return private / "supervisor.sock"


def stray_processes(folder: Path) -> list[psutil.Process]:
    """Find all processes of a folder's stack, by the marker in their environment."""
    return [each for each in psutil.process_iter() if _mark(each) == str(folder)]


def is_alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _mark(process: psutil.Process) -> str | None:
    try:
        environ: dict[str, str] = process.environ()
    except psutil.Error:
        return None
    return environ.get(MARKER)


def _wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]
