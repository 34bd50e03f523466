"""Starts one of the stack's services: `python -m ops.local.launch SPECIFICATIONS SERVICE`.

The values in supervisord's own file cannot hold quotes, which rclone's keys need. So the services' commands and
environments are in a private JSON file. Imports are few, because each service starts through this module.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

#: Variables in the environment of every process of a service: the folder of its stack, and the service's name.
MARKER = "ACCIDENTS_STACK"
SERVICE = "ACCIDENTS_SERVICE"


def main(specifications: str, name: str) -> None:
    """Replace this process by the service."""
    service = json.loads(Path(specifications).read_text(encoding="utf-8"))[name]
    end_predecessor(service["environment"])
    os.chdir(service["directory"])
    os.execve(service["command"][0], service["command"], service["environment"])  # noqa: S606 (our own file)


def end_predecessor(environment: Mapping[str, str]) -> None:
    """Kill remaining processes of this service: children of a killed parent may still hold its port."""
    ours = {name: environment[name] for name in (MARKER, SERVICE)}
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            variables = process.environ()
            if ours.items() <= variables.items() and process.pid != os.getpid():
                process.kill()
                left.append(process)
    psutil.wait_procs(left, timeout=5)


if __name__ == "__main__":
    main(*sys.argv[1:])
