"""Turns scenes into the columns that features are made from, and finds which fields a scene gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from api.schemas.fields import ACCIDENT, PERSON, VEHICLE
from api.schemas.scenes import ScenePayload
from include.accidents.features.arrays import PEDESTRIAN

Fields = dict[str, Any]
"""The fields of one accident, vehicle or person by name."""
Columns = dict[str, npt.NDArray[Any]]
"""The columns of one table by name: float32 with NaN for what is missing, links as positions (int64)."""

_OF_ACCIDENT, _OF_VEHICLE, _OF_PERSON = (
    {column.name: i for i, column in enumerate(of)} for of in (ACCIDENT, VEHICLE, PERSON)
)


def to_tables(scenes: Sequence[ScenePayload]) -> tuple[Columns, Columns, Columns]:
    """Turn scenes into the columns that features are made from.

    Returns
    -------
    The columns of accidents, of vehicles and of people, NaN where a field is not given. The accidents have one column
    more: `people_assumed`, 1 where the people were not given, else 0.
    """
    accidents: list[Fields] = []
    vehicles: list[Fields] = []
    people: list[Fields] = []
    vehicle_of: list[int] = []
    accident_of_vehicle: list[int] = []
    accident_of_person: list[int] = []
    for i, scene in enumerate(scenes):
        accidents.append(scene.get("accident", {}))
        own = scene.get("vehicles", ())
        at: dict[str | None, int] = {None: -1}
        for vehicle in own:
            at[vehicle["id"]] = len(vehicles)
            vehicles.append(vehicle)
        accident_of_vehicle += [i] * len(own)
        those = scene["people"]
        people += those
        accident_of_person += [i] * len(those)
        vehicle_of += [at[person.get("vehicle")] for person in those]
    assumed = np.array(["people_assumed" in scene for scene in scenes], dtype=np.float32)
    return (
        _columns(accidents, _OF_ACCIDENT) | {"people_assumed": assumed},
        _columns(vehicles, _OF_VEHICLE) | {"accident": _positions(accident_of_vehicle)},
        _columns(people, _OF_PERSON) | {"accident": _positions(accident_of_person), "vehicle": _positions(vehicle_of)},
    )


def _columns(records: Sequence[Fields], names: Mapping[str, int]) -> Columns:
    """Return the columns of one table; a field that was not given is missing (NaN)."""
    n = len(records)
    columns = np.full((len(names), n), np.nan, dtype=np.float32)
    at: list[int] = []
    values: list[float] = []
    for row, fields in enumerate(records):
        for name, value in fields.items():
            if value is not None and name in names:
                at.append(names[name] * n + row)
                values.append(value)
    columns.reshape(-1)[at] = values
    return dict(zip(names, columns, strict=True))


def _positions(values: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.asarray(values, dtype=np.int64)


# --- what is given -----------------------------------------------------------------------------------------

_OF_PEDESTRIANS: Final = frozenset({"locp", "actp", "etatp"})
_POSITION: Final = frozenset({"lat", "long"})
_LINKS: Final = frozenset({"id", "vehicle"})
_MORE_EQUIPMENT: Final = frozenset({"secu2", "secu3"})


def given_fields(scene: ScenePayload) -> frozenset[str]:
    """Find the fields that a scene gives.

    A field of vehicles or people counts when at least half of them give it. A field that only pedestrians have counts
    when half of the pedestrians give it (half of all people, where there is no pedestrian). Further equipment counts
    with the first. The position of a commune does not count, nor do the fields of assumed people.

    Returns
    -------
    Names of the fields, without `id` and `vehicle`.
    """
    accident = scene.get("accident", {})
    given = {name for name, value in accident.items() if value is not None}
    if "position_of_commune" in scene:
        given -= _POSITION
    given |= _given_by_half(scene.get("vehicles", ()))
    if "people_assumed" not in scene:
        people = scene["people"]
        of_people = _given_by_half(people)
        on_foot = [person for person in people if person.get("catu") == PEDESTRIAN]
        if on_foot:
            of_people = (of_people - _OF_PEDESTRIANS) | (_given_by_half(on_foot) & _OF_PEDESTRIANS)
        if "secu1" in of_people:
            of_people |= _MORE_EQUIPMENT
        given |= of_people
    return frozenset(given - _LINKS)


def _given_by_half(rows: Sequence[Fields]) -> set[str]:
    names = [name for row in rows for name, value in row.items() if value is not None]
    if len(rows) <= 2:  # of two, one is half
        return set(names)
    return {name for name, count in Counter(names).items() if 2 * count >= len(rows)}
