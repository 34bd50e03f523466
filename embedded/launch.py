"""Become one of the stack's services: `python -m embedded.launch SPECIFICATIONS SERVICE`.

The values in supervisord's own file cannot hold quotes, which rclone's keys need; so the services' commands
and environments lie in a private JSON file. Imports stay few: each service passes through here.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main(specifications: str, name: str) -> None:
    """Replace this process by the service."""
    service = json.loads(Path(specifications).read_text(encoding="utf-8"))[name]
    os.chdir(service["directory"])
    os.execve(service["command"][0], service["command"], service["environment"])  # noqa: S606 (our own file)


if __name__ == "__main__":
    main(*sys.argv[1:])
