"""What would make an answer more certain, and what was assumed where the scene says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from api.scene_tables import given_fields
from api.schemas.errors import Given
from api.schemas.fields import ACCIDENT, PERSON, VEHICLE
from include.accidents.data import communes
from include.accidents.features.arrays import PEDESTRIAN

MOST: Final = 3
_PART: Final = {
    column.name: part
    for part, of in (("accident", ACCIDENT), ("vehicles", VEHICLE), ("people", PERSON))
    for column in of
}
_ON_FOOT: Final = frozenset({"locp", "actp", "etatp"})


def to_ask(scene: Given, ranked: Sequence[str]) -> list[str]:
    """Return the fields that would sharpen the answer most, as `part.field`, the best one first.

    Parameters
    ----------
    ranked
        Fields by what they bring at the scene's level, as the model's own rules have them.
    """
    given = given_fields(scene)
    found = ["people"] if "people_assumed" in scene else []
    for name in ranked:
        if len(found) == MOST:
            break
        if name not in given and _applies(name, scene):
            found.append(f"{_PART[name]}.{_asked_as(name, scene)}")
    return found


def _applies(name: str, scene: Given) -> bool:
    part = _PART[name]
    if part == "people" and "people_assumed" in scene:
        return False
    if part == "vehicles":
        return bool(scene.get("vehicles"))
    return name not in _ON_FOOT or any(person.get("catu") == PEDESTRIAN for person in scene["people"])


def _asked_as(name: str, scene: Given) -> str:
    """A position is asked for by the commune, which people know, unless that is given."""
    return "com" if name == "lat" and not scene.get("accident", {}).get("com") else name


def assumed(scene: Given) -> dict[str, Any]:
    """Return what was assumed, a sentence for each of `people` and `position`; empty when nothing was."""
    found = {}
    if "people_assumed" in scene:
        found["people"] = "One driver in each vehicle, and nothing is known of anybody else."
    if "position_of_commune" in scene:
        code = scene["accident"]["com"]
        commune = communes.find(code)
        found["position"] = f"The usual place of accidents in {commune.name if commune else code} ({code})."
    return found
