"""The features: name, labels, unit, source, and whether they are codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from include.accidents.data.columns import COLUMNS, Label
from include.accidents.data.vehicles import VehicleClass

PEDESTRIAN_MASS = 75  # kg, an adult
PERSON_MASS = 75  # kg, added for each person on board: it decides for light vehicles
DRIVER, PEDESTRIAN = 1, 3
# Seats on the left and on the right (`place`), and impacts there (`choc`).
LEFT_SEATS, RIGHT_SEATS = (1, 4, 7), (2, 3, 9)
LEFT_IMPACTS, RIGHT_IMPACTS = (3, 6, 8), (2, 5, 7)
EQUIPMENT = {
    "belt": {1},
    "helmet": {2},
    "child_seat": {3},
    "vest": {4},
    "airbag": {5, 7},
    "gloves": {6, 7},
}
NO_EQUIPMENT, UNDETERMINED = 0, 8  # codes of `secu1..3`
SEATS_OF_ROLES = {1: 1, **dict.fromkeys(range(2, 10), 2), 10: 3}
"""The role (`catu`) that a seat (`place`) implies: the driver's seat, a passenger's, none of a pedestrian."""
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


def _label(name: str) -> Label:
    return next(column.label for column in COLUMNS if column.name == name)


def _codes(*names: str) -> tuple[Feature, ...]:
    return tuple(Feature(name, _label(name), name, categorical=True) for name in names)


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
PERSON_CODES = ("place", "catu", "sexe", "trajet", "locp", "actp", "etatp", "secu1", "secu2", "secu3")
OTHER_CODES = ("catv", "choc", "manv", "obs", "obsm", "motor", "senc")  # of the heaviest other vehicle
DRIVER_CODES = ("sexe", "trajet", "secu1")

COUNTED_PEOPLE = (
    *("n_people", "n_pedestrians", "on_board", "other_on_board", "in_other_vehicles"),
    *("exposed_others", "lighter_people", "lightest_other", "others_belt", "others_helmet", "others_no_equipment"),
)
"""Features that need to know who is there; missing where the drivers are only assumed (`people_assumed`)."""

FEATURES: tuple[Feature, ...] = (
    *_codes(*ACCIDENT_CODES, *VEHICLE_CODES, *PERSON_CODES),
    _f("dep", "Département", "Department", "dep"),
    _f("lat", "Latitude", "Latitude", "lat", unit="degrees"),
    _f("long", "Longitude", "Longitude", "long", unit="degrees"),
    _f("accidents_near", "Accidents par an à 3 km", "Accidents a year within some 3 km", "lat, long"),
    _f("accidents_around", "Accidents par an à 15 km", "Accidents a year within some 15 km", "lat, long"),
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
    *(
        _f(
            f"other_{name}",
            f"{_label(name).fr} (autre véhicule)",
            f"{_label(name).en} (other vehicle)",
            name,
            categorical=True,
        )
        for name in ("obs", "obsm", "motor", "senc")
    ),
    _f("other_on_board", "Occupants de l'autre véhicule", "People on board the other vehicle", "id_vehicule, catu"),
    *(
        _f(f"driver_{name}", f"{_label(name).fr} (conducteur)", f"{_label(name).en} (driver)", name, categorical=True)
        for name in DRIVER_CODES
    ),
    *(
        _f(
            f"other_driver_{name}",
            f"{_label(name).fr} (autre conducteur)",
            f"{_label(name).en} (other driver)",
            name,
            categorical=True,
        )
        for name in DRIVER_CODES
    ),
    _f(
        "impact_side",
        "Choc de son côté (1) ou de l'autre (-1)",
        "Hit on the person's side (1) or the other (-1)",
        "place, choc",
    ),
    _f("exposed", "Sans carrosserie autour", "No bodywork around: on foot or on two wheels", "catu, catv"),
    _f("exposed_others", "Autres personnes sans carrosserie", "Other people without bodywork", "catu, catv"),
    _f("lighter_people", "Personnes plus légères", "People in or on something lighter", "catv, catu"),
    _f(
        "lightest_other",
        "Masse la plus faible d'autrui",
        "Smallest mass of any other person's vehicle",
        "catv, catu",
        unit="kg",
    ),
    _f("in_other_vehicles", "Personnes hors du véhicule", "People not in the person's vehicle", "id_vehicule, catu"),
    *(
        _f(f"others_{name}", f"{fr} (autres personnes)", f"{en} (other people)", "secu1..3")
        for name, fr, en in (
            ("belt", "Ceinture", "Seat belt used"),
            ("helmet", "Casque", "Helmet worn"),
            ("no_equipment", "Aucun équipement", "No safety equipment"),
        )
    ),
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


Floats = npt.NDArray[np.float32]


def equipment_used(worn: Sequence[Floats]) -> dict[str, Floats]:
    """Return for each kind of equipment whether it was used: 1, 0, or NaN where that is not known.

    `worn` are the three slots `secu1` to `secu3`. They name what was used. The first one decides what was not: since
    2019 the others hold 0 ("none") where there is nothing to add, so a 0 there says nothing.
    """
    used = {name: np.isin(worn, list(codes)).any(axis=0) for name, codes in EQUIPMENT.items()}
    any_used = (np.stack(worn) > NO_EQUIPMENT) & (np.stack(worn) != UNDETERMINED)
    used["no_equipment"] = (worn[0] == NO_EQUIPMENT) & ~any_used.any(axis=0)
    determined = ~np.isnan(worn[0]) & (worn[0] != UNDETERMINED)
    return {
        name: np.where(found | determined, found, np.float32(np.nan)).astype(np.float32) for name, found in used.items()
    }
