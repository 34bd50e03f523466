"""Reads scenes from the body of a request, checks them and completes them.

A scene is read at once, without an object a row: at thousands of requests a second, reading is most of an answer's
cost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from api.schemas.errors import Defect, SceneError
from api.schemas.fields import (
    _NOTHING,
)
from api.schemas.flat import flat_record
from api.schemas.scenes import MAX_PEOPLE_IN_ALL, ONE, SEVERAL, ScenePayload
from include.accidents.data import communes
from include.accidents.data.columns import NOT_GIVEN
from include.accidents.data.communes import Commune
from include.accidents.data.departments import DEPARTMENTS, department_number, in_france
from include.accidents.features.arrays import DRIVER


def read(body: bytes) -> list[ScenePayload]:
    """Read one scene or a list of scenes from JSON.

    Returns
    -------
    The scenes, in which assumed people and the position of the commune are filled in.

    Raises
    ------
    pydantic.ValidationError
        For a body that is not JSON or not a scene, or has a value that is not allowed.
    SceneError
        For a flat record; a scene without people and vehicles; vehicles that share an id; people of an unknown
        vehicle; an unknown commune or a position outside France; too many people in all.
    """
    several = body.lstrip()[:1] == b"["
    try:
        scenes: list[ScenePayload] = SEVERAL.validate_json(body) if several else [ONE.validate_json(body)]
    except ValidationError as error:
        flat = flat_record(body)
        if flat is None:
            raise
        raise flat from error
    defects: list[Defect] = []
    for i, scene in enumerate(scenes):
        defects += _complete(scene, f"[{i}]." if several else "")
    total = sum(len(scene.get("people", ())) for scene in scenes)
    if total > MAX_PEOPLE_IN_ALL:
        defects.append(
            ("body", f"{total} people in all; send at most {MAX_PEOPLE_IN_ALL} at a time, or a CSV to predict-csv")
        )
    if defects:
        raise SceneError(defects)
    return scenes


def _complete(scene: ScenePayload, prefix: str) -> list[Defect]:
    """Fill in, in place, what follows from the rest of the scene; return its contradictions."""
    defects = [] if scene.get("people") else _assume_people(scene, prefix)
    accident = scene.get("accident")
    if accident and ("com" in accident or "lat" in accident or "long" in accident):
        defects += _position_defects(accident, prefix)
        if accident.get("com") is not None:
            defects += _place_in_commune(scene, accident, prefix)
    return defects + _contradictions(scene, prefix)


def _assume_people(scene: ScenePayload, prefix: str) -> list[Defect]:
    vehicles = scene.get("vehicles")
    if not vehicles:
        message = "are missing, and vehicles too; give the people, or vehicles alone: one driver in each is assumed"
        return [(f"{prefix}people", message)]
    scene["people"] = [{"vehicle": vehicle["id"], "catu": DRIVER} for vehicle in vehicles]
    scene["people_assumed"] = True
    return []


def _contradictions(scene: ScenePayload, prefix: str) -> list[Defect]:
    marks: set[str | None] = {None}
    defects = []
    for i, vehicle in enumerate(scene.get("vehicles", ())):
        if vehicle["id"] in marks:
            defects.append((f"{prefix}vehicles[{i}].id", f"two vehicles have the same id {vehicle['id']!r}"))
        marks.add(vehicle["id"])
    for i, person in enumerate(scene.get("people", ())):
        mark = person.get("vehicle")
        if mark in marks:
            continue
        if mark.strip() in _NOTHING:
            person["vehicle"] = None
        else:
            message = f"there is no vehicle {mark!r} in this scene; give a vehicle of it this id"
            defects.append((f"{prefix}people[{i}].vehicle", message))
    return defects


# --- the place ---------------------------------------------------------------------------------------------

# Two communes that belonged to Guadeloupe until 2007, with their codes in the files of those years.
_FORMER_CODES: Final[Mapping[str, str]] = {"97123": "97701", "97127": "97801"}
_CODE_OF: Final = {department_number(code): code for code in DEPARTMENTS}


def _position_defects(accident: dict[str, Any], prefix: str) -> list[Defect]:
    lat, long = accident.get("lat"), accident.get("long")
    # The files write 0 and 0, or -1 and -1, for an unknown place. Without a lat, 0 or -1 may be a longitude.
    if lat is None and "lat" in accident and long in (0, *NOT_GIVEN):
        accident["long"] = long = None
    if lat is None and long is None:
        return []
    if lat is None or long is None:
        missing, given = ("lat", "long") if lat is None else ("long", "lat")
        return [(f"{prefix}accident.{missing}", f"is missing; give it, or leave {given} out too")]
    if in_france(lat, long):
        return []
    return [(f"{prefix}accident.lat", f"lat {lat}, long {long} lies outside France; {_remedy(lat, long)}")]


def _remedy(lat: float, long: float) -> str:
    for wrong, (north, east) in {
        "lat and long are swapped": (long, lat),
        "long has lost its sign": (lat, -long),
        "lat has lost its sign": (-lat, long),
        "lat and long have lost their signs": (-lat, -long),
    }.items():
        if in_france(north, east):
            return f"{wrong}: lat {north}, long {east} lies in France"
    return "give degrees (WGS84) of a place in France or overseas, or leave both out"


def _place_in_commune(scene: ScenePayload, accident: dict[str, Any], prefix: str) -> list[Defect]:
    """Set the département and the position from the commune where they are not given."""
    code, department = accident["com"], accident.get("dep")
    commune = communes.find(_FORMER_CODES.get(code, code))
    if commune is None:
        return [(f"{prefix}accident.com", _no_such_commune(code))]
    if department is None:
        accident["dep"] = department_number(commune.department)
    elif department not in _departments(code, commune):
        lies, given = _CODE_OF[department_number(commune.department)], _CODE_OF[department]
        message = (
            f"{commune.name} ({code}) lies in département {lies} ({DEPARTMENTS[lies]}), "
            f"not in {given} ({DEPARTMENTS[given]}); correct com or dep, or leave dep out"
        )
        return [(f"{prefix}accident.com", message)]
    if accident.get("lat") is None and accident.get("long") is None and not math.isnan(commune.lat):
        accident |= {"lat": commune.lat, "long": commune.long}
        scene["position_of_commune"] = True
    return []


def _departments(code: str, commune: Commune) -> set[int | None]:
    """Return the commune's département, and that of its code, to which it belonged before it moved."""
    former = code[:3] if code.startswith(("97", "98")) else code[:2]
    return {department_number(commune.department), department_number(former)}


def _no_such_commune(code: str) -> str:
    near = ", ".join(f"{commune.code} ({commune.name})" for commune in communes.closest(code))
    remedy = f"the closest are {near}" if near else "its first two characters are the département's"
    return f"there is no commune {code}; {remedy}; give an INSEE code, not a postal code"
