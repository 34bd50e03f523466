"""The defects of a catalogue and their messages: places, allowed names, the nearest name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# The number of cores, the folder of caches and the output depend on the machine: they are set in one place.
NOT_THE_MODELS_BUSINESS = frozenset({"n_jobs", "memory", "verbose", "device", "nthread", "num_threads", "verbosity"})


@dataclass
class Defects:
    """Collects the defects, each with its place."""

    messages: list[str] = field(default_factory=list)

    def add(self, pointer: str, message: str) -> None:
        """Add a defect at a JSON pointer."""
        self.messages.append(f"{pointer or '/'}: {message}")


def list_allowed(names: Sequence[str] | Mapping[str, Any]) -> str:
    """Return the names that are allowed, for the end of a message."""
    offered = sorted(name for name in names if name.rpartition("__")[2] not in NOT_THE_MODELS_BUSINESS)
    return f"; allowed: {', '.join(offered)}" if offered else ""


def pointer_to(location: Sequence[int | str]) -> str:
    """Return the JSON pointer of a place."""
    return "".join(f"/{escape(str(part))}" for part in location)


def escape(part: str) -> str:
    """Escape a name for a JSON pointer."""
    return part.replace("~", "~0").replace("/", "~1")


def closest(name: str, allowed: Sequence[str] | Mapping[str, Any], *, show: Mapping[str, str] | None = None) -> str:
    """Return " (did you mean ...?)" when an allowed name is similar, else an empty text."""
    written = {each.lower(): each for each in allowed}
    near = [written[each] for each in difflib.get_close_matches(name.lower(), written, n=1)]
    return f" (did you mean {(show or {}).get(near[0], near[0])!r}?)" if near else ""


def closest_quoted(value: Any, message: str) -> str:
    """Return the hint of `closest`, for the names that a message quotes as allowed."""
    return closest(value, re.findall(r"'([^']+)'", message.partition(" Got ")[0])) if isinstance(value, str) else ""
