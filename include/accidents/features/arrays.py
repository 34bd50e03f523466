"""A scene as arrays: the values that several features share, computed once.

A pedestrian's `vehicle` is the one that hit them: it is their other vehicle, and they have none of their own. A person
of unknown role may be either, so nothing is known of their vehicle.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache, cached_property
from typing import Any, Final, TypeVar, cast

import holidays
import numpy as np
import numpy.typing as npt
import pandas as pd

from include.accidents.data.vehicles import VEHICLE_CLASSES, VehicleClass
from include.accidents.features.equipment import equipment_used

T = TypeVar("T")
Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]
Columns = pd.DataFrame | Mapping[str, npt.NDArray[Any]]

DRIVER, PEDESTRIAN = 1, 3
_MOST_CODES: Final = 100  # no column has more
PEDESTRIAN_MASS = 75  # kg, an adult
PERSON_MASS = 75  # kg, added for each person on board: it matters for light vehicles
SEATS_OF_ROLES = {1: 1, **dict.fromkeys(range(2, 10), 2), 10: 3}
"""The role (`catu`) that a seat (`place`) implies: the driver's seat, a passenger's, none of a pedestrian."""
CLASS_GROUPS: Final[Mapping[str, frozenset[VehicleClass]]] = {
    "bicycles": frozenset({VehicleClass.BICYCLE, VehicleClass.PERSONAL_MOBILITY}),
    "motorcycles": frozenset(
        {
            VehicleClass.MOPED,
            VehicleClass.LIGHT_MOTORCYCLE,
            VehicleClass.MOTORCYCLE,
            VehicleClass.TRICYCLE,
            VehicleClass.QUAD,
        }
    ),
    "cars": frozenset({VehicleClass.CAR, VehicleClass.MICROCAR, VehicleClass.VAN}),
    "heavy": frozenset({VehicleClass.TRUCK, VehicleClass.BUS, VehicleClass.TRACTOR_SPECIAL, VehicleClass.RAIL}),
}


class Table:
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

    def positions(self, name: str) -> Positions:
        """Return the positions that a column holds."""
        return np.asarray(self._columns[name], dtype=np.int64)


class SceneArrays:
    """Accidents, their vehicles and people. A value of each person has shape (people,), of each vehicle (vehicles,)."""

    def __init__(self, accidents: Columns, vehicles: Columns, people: Columns) -> None:
        self.accidents, self.vehicles, self.people = Table(accidents), Table(vehicles), Table(people)
        self.accident: Positions = self.people.positions("accident")
        self._own = self.people.positions("vehicle")
        self._of_drivers: dict[str, Floats] = {}
        self._once: dict[Callable[..., Any], Any] = {}

    def once(self, make: Callable[[SceneArrays], T]) -> T:
        """Return what a function makes of this scene; it is called once, however many features need it."""
        if make not in self._once:
            self._once[make] = make(self)
        return cast(T, self._once[make])

    # --- of a person: themselves, their vehicle, their accident ---

    def of_accident(self, name: str) -> Floats:
        """Return a column of each person's accident."""
        return self.accidents[name][self.accident]

    def of_vehicle(self, name: str) -> Floats:
        """Return a column of the vehicle that each person rides."""
        return take(self.vehicles[name], self.riding)

    def of_other(self, name: str) -> Floats:
        """Return a column of each person's other vehicle."""
        return take(self.vehicles[name], self.other)

    def of_person(self, name: str) -> Floats:
        """Return a column of each person."""
        return self.role if name == "catu" else self.people[name]

    @cached_property
    def role(self) -> Floats:
        """`catu`; where it is not given, the role that the person's seat implies."""
        catu, place = self.people["catu"], self.people["place"]
        for seat, role in SEATS_OF_ROLES.items():
            catu = np.where(np.isnan(catu) & (place == seat), np.float32(role), catu)
        return catu

    @cached_property
    def on_foot(self) -> npt.NDArray[np.bool_]:
        """Whether each person is a pedestrian."""
        return np.asarray(self.role == PEDESTRIAN)

    @cached_property
    def age(self) -> Floats:
        """The age in years, 0 to 110; missing where it would lie outside."""
        age = self.of_accident("an") - self.people["an_nais"]
        return np.where((age >= 0) & (age <= 110), age, np.float32(np.nan)).astype(np.float32)

    @cached_property
    def equipment(self) -> Mapping[str, Floats]:
        """Whether each kind of equipment was used."""
        return equipment_used([self.people[name] for name in ("secu1", "secu2", "secu3")])

    # --- vehicles ---

    @cached_property
    def _no_role(self) -> npt.NDArray[np.bool_]:
        return np.isnan(self.role)

    @cached_property
    def riding(self) -> Positions:
        """The vehicle that each person rides; -1: none, or not known."""
        return np.where(self.on_foot | self._no_role, -1, self._own)

    @cached_property
    def _aboard(self) -> Floats:
        """The number of people who ride each vehicle."""
        riding, own = self.riding, self._own
        aboard = np.bincount(riding[riding >= 0], minlength=self.vehicles.rows).astype(np.float32)
        aboard[own[self._no_role & (own >= 0)]] = np.nan
        return aboard

    @cached_property
    def _kind(self) -> Positions:
        """The code of each vehicle's kind; -1: not known."""
        catv = self.vehicles["catv"]
        return np.where(np.isnan(catv), -1, catv).astype(np.int64)

    def _by_kind(self, table: Floats) -> Floats:
        """Return the entry of each vehicle in a table by kind."""
        return np.asarray(table[self._kind])

    @cached_property
    def _mass(self) -> Floats:
        """The mass of each vehicle and the people who ride it, in kg."""
        return np.asarray(self._by_kind(_MASSES) + PERSON_MASS * self._aboard)

    @cached_property
    def other(self) -> Positions:
        """The heaviest other vehicle of each person's accident, or the one that hit them; -1: none."""
        heaviest = first_other(-self._mass, self.vehicles.positions("accident"), self.accident, self.riding)
        other = np.where(self.on_foot & (self._own >= 0), self._own, heaviest)
        other[self._no_role] = -1
        return other

    @cached_property
    def on_board(self) -> Floats:
        """The number of people who ride the person's vehicle."""
        return take(self._aboard, self.riding)

    @cached_property
    def other_on_board(self) -> Floats:
        """The number of people who ride the other vehicle."""
        return take(self._aboard, self.other)

    @cached_property
    def own_mass(self) -> Floats:
        """The mass of the person's vehicle, or of the person on foot, in kg."""
        return np.where(self.on_foot, np.float32(PEDESTRIAN_MASS), take(self._mass, self.riding))

    @cached_property
    def other_mass(self) -> Floats:
        """The mass of the other vehicle in kg."""
        return take(self._mass, self.other)

    def driver(self, name: str) -> Floats:
        """Return a value of the driver of the person's vehicle; `name` is a column of people, or `age`."""
        return take(self._of_driver(name), self.riding)

    def other_driver(self, name: str) -> Floats:
        """Return a value of the driver of the other vehicle."""
        return take(self._of_driver(name), self.other)

    def _of_driver(self, name: str) -> Floats:
        """Return a value of the driver of each vehicle."""
        if name not in self._of_drivers:
            values = self.age if name == "age" else self.people[name]
            driving, own = self._driving
            of_driver = np.full(self.vehicles.rows, np.nan, dtype=np.float32)
            of_driver[own] = values[driving]
            self._of_drivers[name] = of_driver
        return self._of_drivers[name]

    @cached_property
    def _driving(self) -> tuple[npt.NDArray[np.bool_], Positions]:
        """Whether each person drives a known vehicle, and the vehicles of these drivers."""
        driving = (self.role == DRIVER) & (self._own >= 0)
        return driving, self._own[driving]

    # --- accidents ---

    @cached_property
    def n_people(self) -> Floats:
        """The number of people of each person's accident."""
        return self.count_people()

    def count_people(self, weights: Floats | None = None) -> Floats:
        """Count the people of each person's accident; a missing weight makes the sum missing."""
        return np.bincount(self.accident, weights, minlength=self.accidents.rows).astype(np.float32)[self.accident]

    def count_vehicles(self, group: str = "") -> Floats:
        """Count the vehicles of each person's accident, or of one of `CLASS_GROUPS` (missing if a kind is unknown)."""
        weights = self._by_kind(_MEMBERSHIP[group]) if group else None
        counted = np.bincount(self.vehicles.positions("accident"), weights, minlength=self.accidents.rows)
        return counted.astype(np.float32)[self.accident]

    @cached_property
    def positions(self) -> tuple[Floats, Floats]:
        """Latitude and longitude of each accident; one coordinate alone is not a position."""
        lat, long = self.accidents["lat"], self.accidents["long"]
        unknown = np.isnan(lat) | np.isnan(long)
        return np.where(unknown, np.float32(np.nan), lat), np.where(unknown, np.float32(np.nan), long)

    @cached_property
    def date(self) -> Mapping[str, Floats]:
        """The day of the week of each accident (0: Monday), and whether it is a public holiday."""
        year, month, day = (self.accidents[name] for name in ("an", "mois", "jour"))
        known = ~(np.isnan(year) | np.isnan(month) | np.isnan(day))
        years, months = np.where(known, year, 1970).astype(np.int64), np.where(known, month, 1).astype(np.int64)
        first = ((years - 1970) * 12 + months - 1).astype("datetime64[M]").astype("datetime64[D]")
        number = (first + (np.where(known, day, 1).astype(np.int64) - 1)).astype(np.int64)
        off = _is_holiday(number, frozenset(years[known].tolist()))
        # 1970-01-01 was a Thursday.
        columns = {"weekday": (number + 3) % 7, "holiday": off}
        return {
            name: np.where(known, value, np.nan).astype(np.float32)[self.accident] for name, value in columns.items()
        }

    # --- each person against the others: somebody is hurt in every accident, mostly the lightest person ---

    def among_others(self, value: Floats) -> Floats:
        """Sum a value over the other people of the accident; missing where there are others and it is known of none."""
        known = ~np.isnan(value)
        nothing_known = (self._total(known) == 0) & (self.n_people > 1)
        return np.where(nothing_known, np.nan, self._total(np.where(known, value, 0))).astype(np.float32)

    def _total(self, value: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        summed = np.bincount(self.accident, value, minlength=self.accidents.rows)
        return np.asarray(summed[self.accident] - value)

    @cached_property
    def exposed(self) -> Floats:
        """Whether the person has no bodywork around them."""
        return np.where(self.on_foot, np.float32(1), take(self._by_kind(_EXPOSED), self.riding))

    @cached_property
    def lighter(self) -> Floats:
        """The number of people of the accident in or on something lighter."""
        order = np.lexsort((self.own_mass, self.accident))
        mass, accident, place = self.own_mass[order], self.accident[order], np.arange(len(order))
        changes = np.diff(accident, prepend=-1) != 0
        start = np.maximum.accumulate(np.where(changes, place, 0))
        first_of_equals = np.maximum.accumulate(np.where(changes | (np.diff(mass, prepend=-1) != 0), place, 0))
        lighter = np.empty(len(order), dtype=np.float32)
        lighter[order] = np.where(np.isnan(mass), np.nan, first_of_equals - start)
        return lighter

    @cached_property
    def lightest_other(self) -> Floats:
        """The smallest mass of any other person's vehicle in kg."""
        mass = self.own_mass
        return take(mass, first_other(mass, self.accident, self.accident, np.arange(len(mass))))


def take(values: Floats, at: Positions) -> Floats:
    """Return the value at each position; NaN where the position is -1."""
    if len(values) == 0:
        return np.full(len(at), np.nan, dtype=np.float32)
    return np.where(at >= 0, values[np.maximum(at, 0)], np.float32(np.nan)).astype(np.float32)


def side(codes: Floats, left: Collection[int], right: Collection[int]) -> Floats:
    """Return -1 for a code of the left, 1 for one of the right, 0 for any other; NaN where it is missing."""
    table = np.zeros(_MOST_CODES + 1, dtype=np.float32)
    table[list(left)], table[list(right)], table[-1] = -1, 1, np.nan
    return np.asarray(table[np.where(np.isnan(codes), _MOST_CODES, codes).astype(np.int64)])


def first_other(key: Floats, of_accident: Positions, accident: Positions, self_at: Positions) -> Positions:
    """Find the smallest key in each person's accident, except their own.

    Parameters
    ----------
    key, of_accident
        The key and the accident of each vehicle or person; a missing key comes last.
    accident, self_at
        The accident of each person, and the position of their own key, shape (people,).

    Returns
    -------
    Positions in `key`, shape (people,); -1 where there is none.
    """
    order = np.lexsort((key, of_accident))
    grouped = of_accident[order]
    first = np.searchsorted(grouped, accident)
    last = np.searchsorted(grouped, accident, side="right")

    def at(rank: Positions) -> Positions:
        inside = rank < last
        if len(order) == 0:
            return np.full(len(accident), -1, dtype=np.int64)
        return np.where(inside, order[np.minimum(rank, len(order) - 1)], -1).astype(np.int64)

    smallest, second = at(first), at(first + 1)
    return np.where(smallest == self_at, second, smallest)


def _table_of(value: Callable[[int], float | None]) -> Floats:
    """Return a table of values by the code of a vehicle's kind; NaN in the last entry, for code -1 (not known)."""
    table = np.full(max(VEHICLE_CLASSES) + 2, np.nan, dtype=np.float32)
    for catv in VEHICLE_CLASSES:
        number = value(catv)
        table[catv] = np.nan if number is None else number
    return table


_MASSES = _table_of(lambda catv: VEHICLE_CLASSES[catv].mass)
_EXPOSED = _table_of(
    lambda catv: float(VEHICLE_CLASSES[catv].kind in CLASS_GROUPS["bicycles"] | CLASS_GROUPS["motorcycles"])
)
_MEMBERSHIP = {
    name: _table_of(lambda catv, group=group: float(VEHICLE_CLASSES[catv].kind in group))  # type: ignore[misc]
    for name, group in CLASS_GROUPS.items()
}


def _is_holiday(days: Positions, years: frozenset[int]) -> npt.NDArray[np.bool_]:
    """Return whether each day (counted from 1970-01-01) is a public holiday; `years` are the years of the days."""
    if not years:
        return np.zeros(len(days), dtype=np.bool_)
    holiday = _holidays(years)
    return np.asarray(holiday[np.minimum(np.searchsorted(holiday, days), len(holiday) - 1)] == days)


@cache
def _holidays(years: frozenset[int]) -> Positions:
    """Return the public holidays of some years as days since 1970, sorted."""
    days = [np.datetime64(day, "D") for day in holidays.country_holidays("FR", years=years)]
    return np.sort(np.asarray(days, dtype="datetime64[D]").astype(np.int64))
