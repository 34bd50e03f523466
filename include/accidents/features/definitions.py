"""The features, in the order of the matrix's columns: each with its labels, unit, source and function.

A new feature is one declaration here. The catalogue, the API and its page, explanations, masks and the levels of
knowledge read the declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from include.accidents.features import places
from include.accidents.features.arrays import CLASS_GROUPS, PEDESTRIAN, SceneArrays, side
from include.accidents.features.declaration import Feature, Features, Floats

# Seats on the left and on the right (`place`), and impacts there (`choc`).
LEFT_SEATS, RIGHT_SEATS = (1, 4, 7), (2, 3, 9)
LEFT_IMPACTS, RIGHT_IMPACTS = (3, 6, 8), (2, 5, 7)

_SECU: Final = "secu1, secu2, secu3"

_declared = Features()
feature = _declared.feature

# --- codes of the files -------------------------------------------------------------------------------------

_declared.codes(
    ("lum", "agg", "int", "atm", "col", "catr", "circ", "vosp", "prof", "plan", "surf", "infra", "situ"),
    SceneArrays.of_accident,
    of_vehicle=False,
)
_declared.codes(("catv", "obs", "obsm", "choc", "manv", "motor", "senc"), SceneArrays.of_vehicle, of_vehicle=True)
_declared.codes(("place",), SceneArrays.of_person, of_vehicle=False)
_declared.codes(("catu",), SceneArrays.of_person, of_vehicle=True)
_declared.codes(
    ("sexe", "trajet", "locp", "actp", "etatp", "secu1", "secu2", "secu3"), SceneArrays.of_person, of_vehicle=False
)

# --- the place and the road ---------------------------------------------------------------------------------


@feature("Département", "Department", "dep")
def dep(scene: SceneArrays) -> Floats:
    return scene.of_accident("dep")


@feature("Latitude", "Latitude", "lat, long", unit="degrees")
def lat(scene: SceneArrays) -> Floats:
    return scene.positions[0][scene.accident]


@feature("Longitude", "Longitude", "lat, long", unit="degrees")
def long(scene: SceneArrays) -> Floats:
    return scene.positions[1][scene.accident]


def _near(scene: SceneArrays) -> tuple[Floats, Floats]:
    return places.near(*scene.positions)


@feature("Accidents par an à 3 km", "Accidents a year within some 3 km", "lat, long")
def accidents_near(scene: SceneArrays) -> Floats:
    return scene.once(_near)[0][scene.accident]


@feature("Accidents par an à 15 km", "Accidents a year within some 15 km", "lat, long")
def accidents_around(scene: SceneArrays) -> Floats:
    return scene.once(_near)[1][scene.accident]


@feature("Nombre de voies", "Number of lanes", "nbv")
def nbv(scene: SceneArrays) -> Floats:
    return scene.of_accident("nbv")


@feature("Vitesse maximale autorisée", "Speed limit", "vma", unit="km/h")
def vma(scene: SceneArrays) -> Floats:
    return scene.of_accident("vma")


@feature("Largeur de la chaussée", "Width of the carriageway", "larrout", unit="m")
def larrout(scene: SceneArrays) -> Floats:
    return scene.of_accident("larrout")


# --- the moment ---------------------------------------------------------------------------------------------


@feature("Mois", "Month", "mois")
def month(scene: SceneArrays) -> Floats:
    return scene.of_accident("mois")


@feature("Jour de la semaine (0 = lundi)", "Day of the week (0 = Monday)", "an, mois, jour")
def weekday(scene: SceneArrays) -> Floats:
    return scene.date["weekday"]


@feature("Heure", "Hour of the day", "hrmn", unit="h")
def hour(scene: SceneArrays) -> Floats:
    return scene.of_accident("hrmn") / np.float32(60)


@feature("Jour férié", "Public holiday in France", "an, mois, jour")
def holiday(scene: SceneArrays) -> Floats:
    return scene.date["holiday"]


# --- the person ---------------------------------------------------------------------------------------------


@feature("Âge", "Age", "an, an_nais", unit="years")
def age(scene: SceneArrays) -> Floats:
    return scene.age


@feature("Ceinture", "Seat belt used", _SECU, partly=True)
def belt(scene: SceneArrays) -> Floats:
    return scene.equipment["belt"]


@feature("Casque", "Helmet worn", _SECU, partly=True)
def helmet(scene: SceneArrays) -> Floats:
    return scene.equipment["helmet"]


@feature("Dispositif enfants", "Child restraint used", _SECU, partly=True)
def child_seat(scene: SceneArrays) -> Floats:
    return scene.equipment["child_seat"]


@feature("Gilet réfléchissant", "Reflective vest worn", _SECU, partly=True)
def vest(scene: SceneArrays) -> Floats:
    return scene.equipment["vest"]


@feature("Airbag (2RM)", "Airbag (motorcycles)", _SECU, partly=True)
def airbag(scene: SceneArrays) -> Floats:
    return scene.equipment["airbag"]


@feature("Gants", "Gloves worn", _SECU, partly=True)
def gloves(scene: SceneArrays) -> Floats:
    return scene.equipment["gloves"]


@feature("Aucun équipement", "No safety equipment", _SECU, partly=True)
def no_equipment(scene: SceneArrays) -> Floats:
    return scene.equipment["no_equipment"]


# --- the people and vehicles of the accident ----------------------------------------------------------------


@feature("Personnes impliquées", "People in the accident", "people", of_everybody=True)
def n_people(scene: SceneArrays) -> Floats:
    return scene.n_people


@feature("Véhicules impliqués", "Vehicles in the accident", "vehicles")
def n_vehicles(scene: SceneArrays) -> Floats:
    return scene.count_vehicles()


@feature("Piétons impliqués", "Pedestrians in the accident", "catu", partly=True, of_vehicle=True, of_everybody=True)
def n_pedestrians(scene: SceneArrays) -> Floats:
    # One person of unknown role makes the number unknown.
    return scene.count_people(np.where(np.isnan(scene.role), np.float32(np.nan), (scene.role == PEDESTRIAN)))


@feature("Vélos et EDP", "Bicycles and scooters in the accident", "catv")
def n_bicycles(scene: SceneArrays) -> Floats:
    return scene.count_vehicles("bicycles")


@feature("Deux-roues motorisés", "Motorcycles in the accident", "catv")
def n_motorcycles(scene: SceneArrays) -> Floats:
    return scene.count_vehicles("motorcycles")


@feature("Véhicules légers", "Cars and vans in the accident", "catv")
def n_cars(scene: SceneArrays) -> Floats:
    return scene.count_vehicles("cars")


@feature("Véhicules lourds", "Heavy vehicles in the accident", "catv")
def n_heavy(scene: SceneArrays) -> Floats:
    return scene.count_vehicles("heavy")


# --- the person's vehicle and the other one -----------------------------------------------------------------


@feature(
    "Personnes à bord",
    "People on board the person's vehicle",
    "id_vehicule, catu",
    partly=True,
    of_vehicle=True,
    of_everybody=True,
)
def on_board(scene: SceneArrays) -> Floats:
    return scene.on_board


@feature("Masse du véhicule", "Mass of the person's vehicle", "catv", unit="kg", partly=True, of_vehicle=True)
def own_mass(scene: SceneArrays) -> Floats:
    return scene.own_mass


@feature("Masse de l'autre véhicule", "Mass of the heaviest other vehicle", "catv", unit="kg", of_vehicle=True)
def other_mass(scene: SceneArrays) -> Floats:
    return scene.other_mass


@feature("Rapport de masse (log)", "Log of own mass over other mass", "catv", of_vehicle=True)
def mass_ratio(scene: SceneArrays) -> Floats:
    return np.asarray(np.log(scene.own_mass / scene.other_mass))


@feature("Catégorie de l'autre véhicule", "Category of the other vehicle", "catv", categorical=True, of_vehicle=True)
def other_catv(scene: SceneArrays) -> Floats:
    return scene.of_other("catv")


@feature("Point de choc de l'autre", "Point of impact of the other", "choc", categorical=True, of_vehicle=True)
def other_choc(scene: SceneArrays) -> Floats:
    return scene.of_other("choc")


@feature("Manœuvre de l'autre", "Manoeuvre of the other", "manv", categorical=True, of_vehicle=True)
def other_manv(scene: SceneArrays) -> Floats:
    return scene.of_other("manv")


@feature("Âge du conducteur", "Age of the driver of the person's vehicle", "an, an_nais", unit="years", of_vehicle=True)
def driver_age(scene: SceneArrays) -> Floats:
    return scene.driver("age")


@feature("Âge de l'autre conducteur", "Age of the other driver", "an, an_nais", unit="years", of_vehicle=True)
def other_driver_age(scene: SceneArrays) -> Floats:
    return scene.other_driver("age")


_declared.codes_of(("other", "autre véhicule", "other vehicle"), ("obs", "obsm", "motor", "senc"), SceneArrays.of_other)


@feature(
    "Occupants de l'autre véhicule",
    "People on board the other vehicle",
    "id_vehicule, catu",
    partly=True,
    of_vehicle=True,
    of_everybody=True,
)
def other_on_board(scene: SceneArrays) -> Floats:
    return scene.other_on_board


_declared.codes_of(("driver", "conducteur", "driver"), ("sexe", "trajet", "secu1"), SceneArrays.driver)
_declared.codes_of(
    ("other_driver", "autre conducteur", "other driver"), ("sexe", "trajet", "secu1"), SceneArrays.other_driver
)


@feature(
    "Choc de son côté (1) ou de l'autre (-1)",
    "Hit on the person's side (1) or the other (-1)",
    "place, choc",
    of_vehicle=True,
)
def impact_side(scene: SceneArrays) -> Floats:
    seat, impact = scene.of_person("place"), scene.of_vehicle("choc")
    return np.asarray(side(seat, LEFT_SEATS, RIGHT_SEATS) * side(impact, LEFT_IMPACTS, RIGHT_IMPACTS))


# --- each person against the others: somebody is hurt in every accident, mostly the lightest person ---------


@feature(
    "Sans carrosserie autour",
    "No bodywork around: on foot or on two wheels",
    "catu, catv",
    partly=True,
    of_vehicle=True,
)
def exposed(scene: SceneArrays) -> Floats:
    return scene.exposed


@feature(
    "Autres personnes sans carrosserie",
    "Other people without bodywork",
    "catu, catv",
    partly=True,
    of_vehicle=True,
    of_everybody=True,
)
def exposed_others(scene: SceneArrays) -> Floats:
    return scene.among_others(scene.exposed)


@feature(
    "Personnes plus légères",
    "People in or on something lighter",
    "catv, catu",
    partly=True,
    of_vehicle=True,
    of_everybody=True,
)
def lighter_people(scene: SceneArrays) -> Floats:
    return scene.lighter


@feature(
    "Masse la plus faible d'autrui",
    "Smallest mass of any other person's vehicle",
    "catv, catu",
    unit="kg",
    partly=True,
    of_vehicle=True,
    of_everybody=True,
)
def lightest_other(scene: SceneArrays) -> Floats:
    return scene.lightest_other


@feature(
    "Personnes hors du véhicule",
    "People not in the person's vehicle",
    "id_vehicule, catu",
    partly=True,
    of_vehicle=True,
    of_everybody=True,
)
def in_other_vehicles(scene: SceneArrays) -> Floats:
    elsewhere = scene.n_people - np.where(scene.riding < 0, np.float32(1), scene.on_board)
    return np.where(np.isnan(scene.role), np.float32(np.nan), elsewhere)


@feature("Ceinture (autres personnes)", "Seat belt used (other people)", _SECU, partly=True, of_everybody=True)
def others_belt(scene: SceneArrays) -> Floats:
    return scene.among_others(scene.equipment["belt"])


@feature("Casque (autres personnes)", "Helmet worn (other people)", _SECU, partly=True, of_everybody=True)
def others_helmet(scene: SceneArrays) -> Floats:
    return scene.among_others(scene.equipment["helmet"])


@feature(
    "Aucun équipement (autres personnes)", "No safety equipment (other people)", _SECU, partly=True, of_everybody=True
)
def others_no_equipment(scene: SceneArrays) -> Floats:
    return scene.among_others(scene.equipment["no_equipment"])


# --- all of them --------------------------------------------------------------------------------------------

FEATURES: Final[tuple[Feature, ...]] = tuple(_declared.values())
"""Every feature in the order of the matrix's columns."""

NAMES: Final[tuple[str, ...]] = tuple(_declared)
COUNTED_PEOPLE: Final[tuple[str, ...]] = tuple(each.name for each in FEATURES if each.of_everybody)
"""Features that need the complete list of people; missing where it is assumed (`people_assumed`)."""

SELECTIONS: Final[Mapping[str, list[int]]] = {
    "@categorical": [i for i, each in enumerate(FEATURES) if each.categorical],
    "@numeric": [i for i, each in enumerate(FEATURES) if not each.categorical],
    "@all": list(range(len(FEATURES))),
    **{f"@{each.name}": [i] for i, each in enumerate(FEATURES)},
}
"""The positions of the matrix's columns, by the name that a catalogue may write for them."""

_ungrouped = set(CLASS_GROUPS) - {name.removeprefix("n_") for name in NAMES}
if _ungrouped:
    raise ImportError(f"no feature counts the vehicles of {_ungrouped}")
