"""Features: a scene in, one row of numbers a person out. The same function serves training and the API.

The unit of a prediction is the accident scene: who sat in what, against what, under which circumstances.
No feature uses `grav`. A field that is not given is missing (NaN), never zero.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any

import holidays
import numpy as np
import numpy.typing as npt
import pandas as pd

from include.accidents.data.scenes import Scenes
from include.accidents.data.vehicles import VEHICLE_CLASSES
from include.accidents.features import places
from include.accidents.features.definitions import (
    ACCIDENT_CODES,
    CLASS_GROUPS,
    COUNTED_PEOPLE,
    DRIVER,
    DRIVER_CODES,
    LEFT_IMPACTS,
    LEFT_SEATS,
    NAMES,
    OTHER_CODES,
    PEDESTRIAN,
    PEDESTRIAN_MASS,
    PERSON_CODES,
    PERSON_MASS,
    RIGHT_IMPACTS,
    RIGHT_SEATS,
    SEATS_OF_ROLES,
    VEHICLE_CODES,
    Floats,
    equipment_used,
)

Columns = pd.DataFrame | Mapping[str, npt.NDArray[Any]]


def build(scenes: Scenes) -> Floats:
    """Make the features of every person; see `from_columns`."""
    return from_columns(scenes.accidents, scenes.vehicles, scenes.people)


def from_columns(accidents: Columns, vehicles: Columns, people: Columns) -> Floats:
    """Make the features of every person.

    Parameters
    ----------
    accidents, vehicles, people
        The canonical tables, as in `Scenes`: frames, or mappings of column names to arrays, which are read five
        times faster. `accident` and `vehicle` are positions. A column that is absent is missing everywhere.
        `people_assumed` of accidents: 1 where nobody has said who is there beside the drivers.

    Returns
    -------
    Array of shape (people, features), float32, columns in the order of `NAMES`, NaN for what is not given.
    An array and no frame: pandas 3 hands out read-only views, which scikit-learn's trees refuse when a value
    is missing, and a frame costs the API time.
    """
    return _build(_Table(accidents), _Table(vehicles), _Table(people))


def _build(accidents: _Table, vehicles: _Table, people: _Table) -> Floats:
    accident, own = people.positions("accident"), people.positions("vehicle")
    catu = _roles(people)
    # Column by column is how it is filled, and how it is written to files: five times faster than by row.
    matrix = np.empty((people.rows, len(NAMES)), dtype=np.float32, order="F")
    values = _Columns(matrix)
    _of_accident_and_person(values, accidents, people, accident, catu)
    # A pedestrian is attached to the vehicle that hit them: it is the other, and they have none of their own.
    # Whose role nobody knows may be either, so nothing is known of their vehicle.
    on_foot, unknown_role = catu == PEDESTRIAN, np.isnan(catu)
    riding = np.where(on_foot | unknown_role, -1, own)
    _of_own_vehicle(values, vehicles, riding)
    values.update(_counts(vehicles, accident, catu, accidents.rows))

    aboard = np.bincount(riding[riding >= 0], minlength=vehicles.rows).astype(np.float32)
    aboard[own[unknown_role & (own >= 0)]] = np.nan
    mass = _lookup(vehicles["catv"], _MASSES) + PERSON_MASS * aboard
    heaviest_other = _first_other(-mass, vehicles.positions("accident"), accident, riding)
    other = np.where(on_foot & (own >= 0), own, heaviest_other)
    other[unknown_role] = -1
    values["on_board"] = _take(aboard, riding)
    values["own_mass"] = np.where(on_foot, np.float32(PEDESTRIAN_MASS), _take(mass, riding))
    values["other_mass"] = _take(mass, other)
    values["mass_ratio"] = np.log(values["own_mass"] / values["other_mass"])
    for name in OTHER_CODES:
        values[f"other_{name}"] = _take(vehicles[name], other)
    values["other_on_board"] = _take(aboard, other)
    _of_drivers(values, vehicles.rows, np.where((catu == DRIVER) & (own >= 0), own, -1), riding, other)
    values.update(_among_others(values, vehicles["catv"], riding, on_foot, accident, accidents.rows))
    assumed = accidents["people_assumed"][accident] == 1
    for name in COUNTED_PEOPLE if assumed.any() else ():
        values[name] = np.where(assumed, np.float32(np.nan), values[name])
    return matrix


def _of_accident_and_person(
    values: _Columns, accidents: _Table, people: _Table, accident: npt.NDArray[np.int64], catu: Floats
) -> None:
    """Set what follows from the accident alone, and from the person alone."""
    for name in (*ACCIDENT_CODES, "dep", "nbv", "vma", "larrout"):
        values[name] = accidents[name][accident]
    for name, of_accident in (_dates(accidents) | _position(accidents)).items():
        values[name] = of_accident[accident]
    for name in PERSON_CODES:
        values[name] = people[name]
    values["catu"] = catu
    values.update(equipment_used([people[name] for name in ("secu1", "secu2", "secu3")]))
    values["age"] = _age(accidents["an"][accident], people["an_nais"])


def _of_own_vehicle(values: _Columns, vehicles: _Table, riding: npt.NDArray[np.int64]) -> None:
    """Set the codes of the vehicle that each person rides (-1: none), and whether it was hit on their side."""
    for name in VEHICLE_CODES:
        values[name] = _take(vehicles[name], riding)
    values["impact_side"] = _side(values["place"], LEFT_SEATS, RIGHT_SEATS) * _side(
        values["choc"], LEFT_IMPACTS, RIGHT_IMPACTS
    )


def _of_drivers(
    values: _Columns,
    n_vehicles: int,
    driven: npt.NDArray[np.int64],
    riding: npt.NDArray[np.int64],
    other: npt.NDArray[np.int64],
) -> None:
    """Set what is known of each person's driver and of the other driver; `driven` is the vehicle of each driver."""
    driving = driven >= 0
    for name in ("age", *DRIVER_CODES):
        of_driver = np.full(n_vehicles, np.nan, dtype=np.float32)
        of_driver[driven[driving]] = values[name][driving]
        values[f"driver_{name}"] = _take(of_driver, riding)
        values[f"other_driver_{name}"] = _take(of_driver, other)


def frame(matrix: Floats) -> pd.DataFrame:
    """Return the matrix with its columns named, for people and for files."""
    return pd.DataFrame(matrix, columns=list(NAMES), copy=False)


class _Columns(dict[str, Floats]):
    """The matrix's columns by name: what is set is written into the matrix at once."""

    def __init__(self, matrix: Floats) -> None:
        super().__init__({name: matrix[:, i] for i, name in enumerate(NAMES)})

    def __setitem__(self, name: str, values: Floats) -> None:
        self[name][:] = values

    def update(self, made: dict[str, Floats]) -> None:  # type: ignore[override]
        """Set several columns."""
        for name, values in made.items():
            self[name] = values


class _Table:
    """Columns of a table as arrays; a column that is absent is missing everywhere."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        if isinstance(columns, pd.DataFrame):
            self.rows = len(columns)
        else:
            self.rows = max(map(len, columns.values()), default=0)

    def __getitem__(self, name: str) -> Floats:
        if name not in self._columns:
            return np.full(self.rows, np.nan, dtype=np.float32)
        return np.asarray(self._columns[name], dtype=np.float32)

    def positions(self, name: str) -> npt.NDArray[np.int64]:
        return np.asarray(self._columns[name], dtype=np.int64)


def _take(values: Floats, at: npt.NDArray[np.int64]) -> Floats:
    """Return the value at each position; NaN where the position is -1."""
    if len(values) == 0:
        return np.full(len(at), np.nan, dtype=np.float32)
    return np.where(at >= 0, values[np.maximum(at, 0)], np.float32(np.nan)).astype(np.float32)


def _table_of(value: Callable[[int], float | None]) -> Floats:
    table = np.full(max(VEHICLE_CLASSES) + 1, np.nan, dtype=np.float32)
    for catv in VEHICLE_CLASSES:
        found = value(catv)
        table[catv] = np.nan if found is None else found
    return table


_MASSES = _table_of(lambda catv: VEHICLE_CLASSES[catv].mass)
_EXPOSED = _table_of(
    lambda catv: float(VEHICLE_CLASSES[catv].kind in CLASS_GROUPS["bicycles"] | CLASS_GROUPS["motorcycles"])
)
_MEMBERSHIP = {
    name: _table_of(lambda catv, group=group: float(VEHICLE_CLASSES[catv].kind in group))  # type: ignore[misc]
    for name, group in CLASS_GROUPS.items()
}


def _lookup(codes: Floats, table: Floats) -> Floats:
    known = ~np.isnan(codes)
    return np.where(known, table[np.where(known, codes, 0).astype(np.int64)], np.float32(np.nan)).astype(np.float32)


def _dates(accidents: _Table) -> dict[str, Floats]:
    year, month, day = accidents["an"], accidents["mois"], accidents["jour"]
    known = ~(np.isnan(year) | np.isnan(month) | np.isnan(day))
    months = (np.where(known, year, 1970).astype(np.int64) - 1970) * 12 + np.where(known, month, 1).astype(np.int64) - 1
    dates = months.astype("datetime64[M]").astype("datetime64[D]") + (np.where(known, day, 1).astype(np.int64) - 1)
    number = dates.astype(np.int64)
    weekday = np.where(known, (number + 3) % 7, np.nan).astype(np.float32)  # 1970-01-01 was a Thursday
    off = np.isin(
        number, np.concatenate([_holidays(int(y)) for y in np.unique(year[known])] or [np.empty(0, dtype=np.int64)])
    )
    holiday = np.where(known, off, np.nan).astype(np.float32)
    return {
        "month": month,
        "weekday": weekday,
        "hour": accidents["hrmn"] / np.float32(60),
        "holiday": holiday,
    }


@cache
def _holidays(year: int) -> npt.NDArray[np.int64]:
    """Return the public holidays of a year as days since 1970."""
    days = [np.datetime64(day, "D") for day in holidays.country_holidays("FR", years=year)]
    return np.asarray(days, dtype="datetime64[D]").astype(np.int64)


def _age(year: Floats, born: Floats) -> Floats:
    age = year - born
    return np.where((age >= 0) & (age <= 110), age, np.float32(np.nan)).astype(np.float32)


def _roles(people: _Table) -> Floats:
    """Return `catu`, or what the person's seat implies where it is not given."""
    catu, place = people["catu"], people["place"]
    for seat, role in SEATS_OF_ROLES.items():
        catu = np.where(np.isnan(catu) & (place == seat), np.float32(role), catu)
    return catu


def _position(accidents: _Table) -> dict[str, Floats]:
    """Return where each accident was, and how many happen near; one coordinate alone is no position."""
    lat, long = accidents["lat"], accidents["long"]
    lat, long = (np.where(np.isnan(lat) | np.isnan(long), np.float32(np.nan), each) for each in (lat, long))
    near, around = places.near(lat, long)
    return {"lat": lat, "long": long, "accidents_near": near, "accidents_around": around}


def _side(codes: Floats, left: Collection[int], right: Collection[int]) -> Floats:
    """Return -1 where a code is of the left, 1 where it is of the right, else 0."""
    side = np.isin(codes, list(right)).astype(np.float32) - np.isin(codes, list(left))
    return np.where(np.isnan(codes), np.float32(np.nan), side).astype(np.float32)


def _counts(vehicles: _Table, accident: npt.NDArray[np.int64], catu: Floats, n_accidents: int) -> dict[str, Floats]:
    """Count people and vehicles by accident; a kind is not counted where somebody's or some vehicle's is unknown."""
    of_vehicle = vehicles.positions("accident")

    def count(where: npt.NDArray[np.int64], weights: Floats | None = None) -> Floats:
        # A missing weight makes the sum missing.
        return np.bincount(where, weights, minlength=n_accidents).astype(np.float32)[accident]

    of_kind = np.where(np.isnan(catu), np.float32(np.nan), (catu == PEDESTRIAN).astype(np.float32))

    counts = {
        "n_people": count(accident),
        "n_vehicles": count(of_vehicle),
        "n_pedestrians": count(accident, of_kind),
    }
    catv = vehicles["catv"]
    for name, table in _MEMBERSHIP.items():
        counts[f"n_{name}"] = count(of_vehicle, _lookup(catv, table))
    return counts


def _among_others(
    values: Mapping[str, Floats],
    catv: Floats,
    riding: npt.NDArray[np.int64],
    on_foot: npt.NDArray[np.bool_],
    accident: npt.NDArray[np.int64],
    n_accidents: int,
) -> dict[str, Floats]:
    """Set each person against the other people of the accident: somebody is hurt in each, and mostly the lightest."""

    def total(value: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.asarray(np.bincount(accident, value, minlength=n_accidents)[accident] - value)

    def others(value: Floats) -> Floats:
        known = ~np.isnan(value)
        nothing_known = (total(known) == 0) & (values["n_people"] > 1)
        return np.where(nothing_known, np.nan, total(np.where(known, value, 0))).astype(np.float32)

    exposed = np.where(on_foot, np.float32(1), _take(_lookup(catv, _EXPOSED), riding))
    mass = values["own_mass"]
    order = np.lexsort((mass, accident))
    sorted_mass, sorted_accident = mass[order], accident[order]
    place = np.arange(len(order))
    changes = np.diff(sorted_accident, prepend=-1) != 0
    start = np.maximum.accumulate(np.where(changes, place, 0))
    first_of_equals = np.maximum.accumulate(np.where(changes | (np.diff(sorted_mass, prepend=-1) != 0), place, 0))
    lighter = np.empty(len(order), dtype=np.float32)
    lighter[order] = np.where(np.isnan(sorted_mass), np.nan, first_of_equals - start)
    elsewhere = values["n_people"] - np.where(riding < 0, np.float32(1), values["on_board"])
    elsewhere[np.isnan(values["catu"])] = np.nan
    return {
        "exposed": exposed,
        "exposed_others": others(exposed),
        "lighter_people": lighter,
        "lightest_other": _take(mass, _first_other(mass, accident, accident, place)),
        "in_other_vehicles": elsewhere,
        **{f"others_{name}": others(values[name]) for name in ("belt", "helmet", "no_equipment")},
    }


def _first_other(
    key: Floats,
    of_accident: npt.NDArray[np.int64],
    accident: npt.NDArray[np.int64],
    self_at: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return where in each person's accident the smallest key lies, but at `self_at`; -1 when there is none.

    `key` and `of_accident` describe vehicles or people; a missing key comes last.
    """
    order = np.lexsort((key, of_accident))
    grouped = of_accident[order]
    first = np.searchsorted(grouped, accident)
    last = np.searchsorted(grouped, accident, side="right")

    def at(rank: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        inside = rank < last
        if len(order) == 0:
            return np.full(len(accident), -1, dtype=np.int64)
        return np.where(inside, order[np.minimum(rank, len(order) - 1)], -1).astype(np.int64)

    smallest, second = at(first), at(first + 1)
    return np.where(smallest == self_at, second, smallest)
