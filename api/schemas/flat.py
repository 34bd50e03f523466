"""Refuses a flat record, one person's fields side by side as courses send it, and shows the scene to send instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic_core import from_json

from api.schemas.errors import SceneError
from api.schemas.fields import ACCIDENT, PERSON, VEHICLE
from api.schemas.scenes import PARTS, ScenePayload
from include.accidents.data.columns import COLUMNS

_PART_OF: Final[Mapping[str, str]] = {
    name: part
    for part, of in zip(PARTS, (ACCIDENT, VEHICLE, PERSON), strict=True)
    for name in (column.name for column in of)
} | {"com": "accident"}
_LEFT_OUT: Final = {column.name for column in COLUMNS} | {"id", "vehicle"}
"""Fields of the files and of a scene's form that do not describe the accident."""

MAX_NAMES = 10  # of unknown fields that a message lists
MAX_SHOWN = 60  # characters of a value or a name that a message shows


def flat_record(body: bytes) -> SceneError | None:
    """Return the error for a body with one person's fields side by side; None for any other body."""
    try:
        content = from_json(body)
    except ValueError:
        return None
    records = content if isinstance(content, list) else [content]
    at, record = next(((i, each) for i, each in enumerate(records) if _is_flat(each)), (0, None))
    if record is None:
        return None
    scene, unknown = _nested(record)
    which = f"[{at}]" if isinstance(content, list) else "this"
    message = f"{which} is a flat record; a scene has the parts {', '.join(PARTS[:-1])} and {PARTS[-1]}. "
    message += f"Send your values as {orjson.dumps(scene).decode()}"
    if unknown:
        names = ", ".join(name[:MAX_SHOWN] for name in unknown[:MAX_NAMES])
        more = f" and {len(unknown) - MAX_NAMES} more" if len(unknown) > MAX_NAMES else ""
        message += f". Left out, as no fields of a scene: {names}{more}"
    return SceneError([("body", message)], scene)


def _is_flat(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and not any(part in record for part in PARTS)
        and any(name.casefold() in _PART_OF for name in record)
    )


def _nested(record: Mapping[str, Any]) -> tuple[ScenePayload, list[str]]:
    """Return a record's values as a scene, and the names that no scene has."""
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    unknown = []
    for key, value in record.items():
        name = key.casefold()
        if name not in _PART_OF:
            unknown += [key] if name not in _LEFT_OUT else []
        elif _is_plain(value):
            parts[_PART_OF[name]][name] = value[:MAX_SHOWN] if isinstance(value, str) else value
    accident, vehicle, person = (parts[part] for part in PARTS)
    scene: ScenePayload = {"accident": accident} if accident else {}
    if vehicle:
        scene["vehicles"] = [{"id": "A", **vehicle}]
    if person or not vehicle:
        scene["people"] = [{"vehicle": "A", **person} if vehicle else person]
    return scene, unknown


def _is_plain(value: Any) -> bool:
    """Return whether a message can show a value."""
    if isinstance(value, int | float):
        return abs(value) < 1 << 53  # not infinite, and small enough for every JSON reader
    return isinstance(value, str)
