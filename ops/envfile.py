"""Files of `KEY=value` lines, for shells (`. .local/env`) and for simple parsers."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from include.accidents.errors import SettingsError

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL


def token() -> str:
    """Generate a secret of 192 bits, as text of 32 characters."""
    return secrets.token_urlsafe(24)


def read(path: Path) -> dict[str, str]:
    """Read a file of `KEY=value` lines.

    Returns
    -------
    Unquoted values by key; empty when the file is missing.

    Raises
    ------
    SettingsError
        If a line is not of that form.
    """
    if not path.exists():
        return {}
    values = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, separator, value = line.partition("=")
        words = _words(value)
        if not separator or len(words) > 1:
            raise SettingsError(f"{path}, line {number} is not KEY=value.", f"delete {path}; it is created again.")
        values[name] = words[0] if words else ""
    return values


def render(values: Mapping[str, str]) -> str:
    """Return a line for each value that a shell reads back unchanged."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def write_private(path: Path, text: str) -> None:
    """Replace a file, in one step, by one that only its owner can ever read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, _CREATE, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    part.replace(path)


def _words(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:
        return [value, ""]
