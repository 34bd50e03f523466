"""Become one of the stack's services: `python -m ops.local.launch SPECIFICATIONS SERVICE`.

The values in supervisord's own file cannot hold quotes, which rclone's keys need; so the services' commands
and environments lie in a private JSON file. Imports stay few: each service passes through here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

#: Variables that every process of a service bears: the folder of its stack, and its name.
MARKER = "ACCIDENTS_STACK"
SERVICE = "ACCIDENTS_SERVICE"


def main(specifications: str, name: str) -> None:
    """Replace this process by the service."""
    service = json.loads(Path(specifications).read_text(encoding="utf-8"))[name]
    end_predecessor(service["environment"])
    os.chdir(service["directory"])
    os.execve(service["command"][0], service["command"], service["environment"])  # noqa: S606 (our own file)


def end_predecessor(environment: Mapping[str, str]) -> None:
    """Kill what is left of this service: a parent that was killed leaves children that hold its port."""
    ours = {name: environment[name] for name in (MARKER, SERVICE)}
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            found = process.environ()
            if ours.items() <= found.items() and process.pid != os.getpid():
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=5)


if __name__ == "__main__":
    main(*sys.argv[1:])
