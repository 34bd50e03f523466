"""Features: a scene in, one row of numbers a person out. The same function serves training and the API.

The unit of a prediction is the accident scene: who sat in what, against what, under which circumstances.
No feature uses `grav`. A field that is not given is missing (NaN), never zero.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import util as importlib_util
from pathlib import Path
from typing import Any

import holidays
import numpy as np
import numpy.typing as npt
import pandas as pd

from include.accidents.raw import Scenes
from include.accidents.schema import VEHICLE_CLASSES, Label, VehicleClass

Floats = npt.NDArray[np.float32]

PEDESTRIAN_MASS = 75  # kg, an adult
PERSON_MASS = 75  # kg, added for each person on board: it decides for light vehicles
DRIVER, PEDESTRIAN = 1, 3
EQUIPMENT = {
    "belt": {1},
    "helmet": {2},
    "child_seat": {3},
    "vest": {4},
    "airbag": {5, 7},
    "gloves": {6, 7},
    "no_equipment": {0},
}
CLASS_GROUPS: dict[str, frozenset[VehicleClass]] = {
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


@dataclass(frozen=True)
class Feature:
    """One column of the feature matrix.

    Attributes
    ----------
    categorical
        Whether its numbers are codes without an order.
    source
        The BAAC columns it is made from.
    """

    name: str
    label: Label
    source: str
    categorical: bool = False
    unit: str = ""


def _f(name: str, fr: str, en: str, source: str, *, categorical: bool = False, unit: str = "") -> Feature:
    return Feature(name, Label(fr, en), source, categorical, unit)


def _codes(*names: str) -> tuple[Feature, ...]:
    from include.accidents.schema import COLUMNS

    labels = {column.name: column.label for column in COLUMNS}
    return tuple(Feature(name, labels[name], name, categorical=True) for name in names)


ACCIDENT_CODES = (
    "lum",
    "agg",
    "int",
    "atm",
    "col",
    "catr",
    "circ",
    "vosp",
    "prof",
    "plan",
    "surf",
    "infra",
    "situ",
)
VEHICLE_CODES = ("catv", "obs", "obsm", "choc", "manv", "motor", "senc")
PERSON_CODES = ("place", "catu", "sexe", "trajet", "locp", "actp", "etatp", "secu1")

FEATURES: tuple[Feature, ...] = (
    *_codes(*ACCIDENT_CODES, *VEHICLE_CODES, *PERSON_CODES),
    _f("dep", "Département", "Department", "dep"),
    _f("lat", "Latitude", "Latitude", "lat", unit="degrees"),
    _f("long", "Longitude", "Longitude", "long", unit="degrees"),
    _f("nbv", "Nombre de voies", "Number of lanes", "nbv"),
    _f("vma", "Vitesse maximale autorisée", "Speed limit", "vma", unit="km/h"),
    _f("larrout", "Largeur de la chaussée", "Width of the carriageway", "larrout", unit="m"),
    _f("month", "Mois", "Month", "mois"),
    _f("weekday", "Jour de la semaine (0 = lundi)", "Day of the week (0 = Monday)", "an, mois, jour"),
    _f("hour", "Heure", "Hour of the day", "hrmn", unit="h"),
    _f("holiday", "Jour férié", "Public holiday in France", "an, mois, jour"),
    _f("age", "Âge", "Age", "an, an_nais", unit="years"),
    _f("belt", "Ceinture", "Seat belt used", "secu1..3"),
    _f("helmet", "Casque", "Helmet worn", "secu1..3"),
    _f("child_seat", "Dispositif enfants", "Child restraint used", "secu1..3"),
    _f("vest", "Gilet réfléchissant", "Reflective vest worn", "secu1..3"),
    _f("airbag", "Airbag (2RM)", "Airbag (motorcycles)", "secu1..3"),
    _f("gloves", "Gants", "Gloves worn", "secu1..3"),
    _f("no_equipment", "Aucun équipement", "No safety equipment", "secu1..3"),
    _f("n_people", "Personnes impliquées", "People in the accident", "people"),
    _f("n_vehicles", "Véhicules impliqués", "Vehicles in the accident", "vehicles"),
    _f("n_pedestrians", "Piétons impliqués", "Pedestrians in the accident", "catu"),
    _f("n_bicycles", "Vélos et EDP", "Bicycles and scooters in the accident", "catv"),
    _f("n_motorcycles", "Deux-roues motorisés", "Motorcycles in the accident", "catv"),
    _f("n_cars", "Véhicules légers", "Cars and vans in the accident", "catv"),
    _f("n_heavy", "Véhicules lourds", "Heavy vehicles in the accident", "catv"),
    _f("on_board", "Personnes à bord", "People on board the person's vehicle", "id_vehicule, catu"),
    _f("own_mass", "Masse du véhicule", "Mass of the person's vehicle", "catv", unit="kg"),
    _f("other_mass", "Masse de l'autre véhicule", "Mass of the heaviest other vehicle", "catv", unit="kg"),
    _f("mass_ratio", "Rapport de masse (log)", "Log of own mass over other mass", "catv"),
    _f(
        "other_catv",
        "Catégorie de l'autre véhicule",
        "Category of the other vehicle",
        "catv",
        categorical=True,
    ),
    _f("other_choc", "Point de choc de l'autre", "Point of impact of the other", "choc", categorical=True),
    _f("other_manv", "Manœuvre de l'autre", "Manoeuvre of the other", "manv", categorical=True),
    _f(
        "driver_age",
        "Âge du conducteur",
        "Age of the driver of the person's vehicle",
        "an_nais",
        unit="years",
    ),
    _f("other_driver_age", "Âge de l'autre conducteur", "Age of the other driver", "an_nais", unit="years"),
)
"""Every feature in the order of the matrix's columns: name, labels, source, unit."""

NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
SELECTIONS: dict[str, list[int]] = {
    "@categorical": [i for i, f in enumerate(FEATURES) if f.categorical],
    "@numeric": [i for i, f in enumerate(FEATURES) if not f.categorical],
    "@all": list(range(len(FEATURES))),
    **{f"@{f.name}": [i] for i, f in enumerate(FEATURES)},
}
"""What a catalogue may write for columns of the matrix: their positions."""


def build(scenes: Scenes) -> Floats:
    """Make the features of every person.

    Parameters
    ----------
    scenes
        Canonical tables; `accident` and `vehicle` are positions.

    Returns
    -------
    Array of shape (people, features), float32, columns in the order of `NAMES`, NaN for what is not given.
    An array and no frame: pandas 3 hands out read-only views, which scikit-learn's trees refuse when a value
    is missing, and a frame costs the API time.
    """
    accidents, vehicles, people = (_Table(t) for t in (scenes.accidents, scenes.vehicles, scenes.people))
    accident, own = people.positions("accident"), people.positions("vehicle")
    catu = people["catu"]
    on_foot = catu == PEDESTRIAN

    values: dict[str, Floats] = {}
    for name in (*ACCIDENT_CODES, "dep", "lat", "long", "nbv", "vma", "larrout"):
        values[name] = accidents[name][accident]
    for name, of_accident in _dates(accidents).items():
        values[name] = of_accident[accident]
    for name in PERSON_CODES:
        values[name] = people[name]
    values |= _equipment(people)
    values["age"] = _age(accidents["an"][accident], people["an_nais"])

    # A pedestrian is attached to the vehicle that hit them: it is the other, and they have none of their own.
    riding = np.where(on_foot, -1, own)
    for name in VEHICLE_CODES:
        values[name] = _take(vehicles[name], riding)
    values |= _counts(vehicles, accident, people, len(scenes.accidents))

    aboard = np.bincount(riding[riding >= 0], minlength=vehicles.rows).astype(np.float32)
    values["on_board"] = _take(aboard, riding)
    mass = _lookup(vehicles["catv"], _MASSES) + PERSON_MASS * aboard
    other = np.where(on_foot & (own >= 0), own, _heaviest_other(mass, vehicles.positions("accident"), accident, riding))
    values["own_mass"] = np.where(on_foot, np.float32(PEDESTRIAN_MASS), _take(mass, riding))
    values["other_mass"] = _take(mass, other)
    values["mass_ratio"] = np.log(values["own_mass"] / values["other_mass"])
    for name in ("catv", "choc", "manv"):
        values[f"other_{name}"] = _take(vehicles[name], other)
    drivers = np.full(vehicles.rows, np.nan, dtype=np.float32)
    driving = (catu == DRIVER) & (own >= 0)
    drivers[own[driving]] = values["age"][driving]
    values["driver_age"] = _take(drivers, riding)
    values["other_driver_age"] = _take(drivers, other)

    matrix = np.empty((people.rows, len(NAMES)), dtype=np.float32)
    for i, name in enumerate(NAMES):
        matrix[:, i] = values[name]
    return matrix


def frame(matrix: Floats) -> pd.DataFrame:
    """Return the matrix with its columns named, for people and for files."""
    return pd.DataFrame(matrix, columns=list(NAMES), copy=False)


class _Table:
    """Columns of a frame as arrays; a column that is absent is missing everywhere."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self.rows = len(frame)

    def __getitem__(self, name: str) -> Floats:
        if name not in self._frame:
            return np.full(self.rows, np.nan, dtype=np.float32)
        return np.asarray(self._frame[name], dtype=np.float32)

    def positions(self, name: str) -> npt.NDArray[np.int64]:
        return np.asarray(self._frame[name], dtype=np.int64)


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


def _equipment(people: _Table) -> dict[str, Floats]:
    worn = [people[name] for name in ("secu1", "secu2", "secu3")]
    # 8 says "cannot be determined": nothing is known of the person's equipment.
    known = np.logical_or.reduce([~np.isnan(w) & (w != 8) for w in worn])
    return {
        name: np.where(
            known, np.logical_or.reduce([w == code for w in worn for code in codes]), np.float32(np.nan)
        ).astype(np.float32)
        for name, codes in EQUIPMENT.items()
    }


def _counts(vehicles: _Table, accident: npt.NDArray[np.int64], people: _Table, n_accidents: int) -> dict[str, Floats]:
    of_vehicle = vehicles.positions("accident")

    def count(where: npt.NDArray[np.int64], weights: Floats | None = None) -> Floats:
        return np.bincount(where, weights, minlength=n_accidents).astype(np.float32)[accident]

    counts = {
        "n_people": count(accident),
        "n_vehicles": count(of_vehicle),
        "n_pedestrians": count(accident, (people["catu"] == PEDESTRIAN).astype(np.float32)),
    }
    catv = vehicles["catv"]
    for name, table in _MEMBERSHIP.items():
        counts[f"n_{name}"] = count(of_vehicle, np.nan_to_num(_lookup(catv, table)))
    return counts


def _heaviest_other(
    mass: Floats,
    of_vehicle: npt.NDArray[np.int64],
    accident: npt.NDArray[np.int64],
    riding: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return the position of the heaviest vehicle of the accident but one's own; -1 when there is none."""
    order = np.lexsort((-np.nan_to_num(mass, nan=0.0), of_vehicle))
    grouped = of_vehicle[order]
    first = np.searchsorted(grouped, accident)
    last = np.searchsorted(grouped, accident, side="right")

    def at(rank: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        inside = rank < last
        if len(order) == 0:
            return np.full(len(accident), -1, dtype=np.int64)
        return np.where(inside, order[np.minimum(rank, len(order) - 1)], -1).astype(np.int64)

    heaviest, second = at(first), at(first + 1)
    return np.where(heaviest == riding, second, heaviest)


# --- versions ----------------------------------------------------------------------------------------------


@cache
def version() -> str:
    """Return the feature version: a hash of the code that turns raw files into features and splits.

    Comments, docstrings and layout do not count.
    """
    return code_version(("schema", "raw", "prepare", "features", "clean", "split"))


def code_version(modules: Sequence[str]) -> str:
    """Hash what the modules of this package do (their syntax trees without docstrings), 12 hex digits."""
    digest = hashlib.sha256()
    for module in modules:
        spec = importlib_util.find_spec(f"include.accidents.{module}")
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"include.accidents.{module}")
        tree = ast.parse(Path(spec.origin).read_text("utf-8"))
        for node in ast.walk(tree):
            _drop_docstrings(node)
        digest.update(ast.unparse(tree).encode())
    return digest.hexdigest()[:12]


def _drop_docstrings(node: Any) -> None:
    body = getattr(node, "body", None)
    if isinstance(body, list):
        node.body = [
            n
            for n in body
            if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) and isinstance(n.value.value, str))
        ] or [ast.Pass()]
