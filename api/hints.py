"""The fields that would make an answer more certain, and the assumptions for what a scene leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from api.scene_tables import given_fields
from api.schemas.fields import ACCIDENT, PERSON, VEHICLE
from api.schemas.scenes import ScenePayload
from include.accidents.data import communes
from include.accidents.features.arrays import PEDESTRIAN

MOST: Final = 3
_PART: Final = {
    column.name: part
    for part, of in (("accident", ACCIDENT), ("vehicles", VEHICLE), ("people", PERSON))
    for column in of
}
_ON_FOOT: Final = frozenset({"locp", "actp", "etatp"})


def to_ask(scene: ScenePayload, ranked: Sequence[str]) -> list[str]:
    """Return the fields that would sharpen the answer most.

    Parameters
    ----------
    ranked
        Fields by their gain at the scene's level, the best one first, from the model's decision rules.

    Returns
    -------
    At most `MOST` names like `part.field`, the best one first; `people` comes first where they are assumed.
    """
    given = given_fields(scene)
    fields = ["people"] if "people_assumed" in scene else []
    for name in ranked:
        if len(fields) == MOST:
            break
        if name not in given and _applies(name, scene):
            fields.append(f"{_PART[name]}.{_asked_as(name, scene)}")
    return fields


def _applies(name: str, scene: ScenePayload) -> bool:
    part = _PART[name]
    if name == "lat" and "position_of_commune" in scene:
        return False  # the gain was measured against no position at all
    if part == "people" and "people_assumed" in scene:
        return False
    if part == "vehicles":
        return bool(scene.get("vehicles"))
    return name not in _ON_FOOT or any(person.get("catu") == PEDESTRIAN for person in scene["people"])


def _asked_as(name: str, scene: ScenePayload) -> str:
    """Return `com` instead of `lat` unless the commune is given: people know the commune."""
    return "com" if name == "lat" and not scene.get("accident", {}).get("com") else name


def assumed(scene: ScenePayload) -> dict[str, Any]:
    """Return what was assumed, a sentence for each of `people` and `position`; empty when nothing was."""
    sentences = {}
    if "people_assumed" in scene:
        sentences["people"] = "One driver in each vehicle, and nothing is known of anybody else."
    if "position_of_commune" in scene:
        code = scene["accident"]["com"]
        commune = communes.find(code)
        sentences["position"] = f"The usual place of accidents in {commune.name if commune else code} ({code})."
    return sentences
