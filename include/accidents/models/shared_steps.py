"""Steps that several models of a catalogue share: written once under `steps`, and named in the pipelines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from include.accidents.models.defects import closest, list_allowed, pointer_to

Place = tuple[str | int, ...]


def resolve(document: Any) -> tuple[Any, dict[str, str]]:
    """Replace the names of shared steps by the steps; an unknown name stays, and `unknown` reports it.

    Returns
    -------
    The catalogue, and the JSON pointer of the shared step by that of each place it filled.
    """
    steps = document.get("steps") if isinstance(document, dict) else None
    if not isinstance(steps, dict):
        return document, {}
    resolved, filled = json.loads(json.dumps(document)), {}
    for place, step in _named(resolved):
        if step[1] in steps:
            filled[pointer_to((*place, 1))] = pointer_to(("steps", step[1]))
            step[1] = json.loads(json.dumps(steps[step[1]]))
    return resolved, filled


def unknown(document: Any) -> dict[str, str]:
    """Return a defect for each name of a shared step that a resolved catalogue still holds, by JSON pointer."""
    steps = document.get("steps") if isinstance(document, dict) else None
    known = list(steps) if isinstance(steps, dict) else []
    return {
        pointer_to((*place, 1)): f"there is no shared step {step[1]!r}{closest(step[1], known)}{list_allowed(known)}"
        for place, step in _named(document)
    }


def at_shared_places(defects: Sequence[str], filled: dict[str, str]) -> list[str]:
    """Return the defects, those of a shared step once and at its own place, where a person corrects them."""
    placed = []
    for defect in defects:
        pointer, _, message = defect.partition(": ")
        used = next((place for place in filled if pointer == place or pointer.startswith(f"{place}/")), None)
        placed.append(defect if used is None else f"{filled[used]}{pointer.removeprefix(used)}: {message}")
    return list(dict.fromkeys(placed))


def _named(document: Any) -> Iterator[tuple[Place, list[Any]]]:
    """Yield the steps that name a shared step, with their places."""
    models = document.get("models") if isinstance(document, dict) else None
    for name, model in models.items() if isinstance(models, dict) else ():
        steps = model.get("pipeline") if isinstance(model, dict) else None
        for i, step in enumerate(steps if isinstance(steps, list) else ()):
            if isinstance(step, list) and len(step) == 2 and isinstance(step[1], str):
                yield ("models", name, "pipeline", i), step
