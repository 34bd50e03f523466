"""Random accidents: codes, shares and couplings of real ones, and a severity that can partly be learnt.

No row is real. The tables of weights give the shares of the year 2021 in round figures, by setting, place and class of
vehicle: a reader of the real files meets the same kinds of values. Severity is drawn from a hidden score of its known
causes (mass ratio, protection, age, speed, kind of collision, light), plus chance for the accident and for the
person. The cuts between the classes give the real shares.
"""

from __future__ import annotations

import numpy as np

from include.accidents.data.columns import Table
from include.accidents.data.departments import DEPARTMENTS
from include.accidents.data.vehicles import VehicleClass
from include.accidents.synthetic.drawing import draw, draw_by, draw_by_class, draw_index, rank_within, vehicle_classes
from include.accidents.synthetic.severity import severities
from include.accidents.synthetic.shares import (
    ACTP,
    AGE_SHARES,
    ALONE,
    ATM,
    BELTED,
    BUS_OCCUPANTS,
    CATR,
    CATV,
    CATV_PLACES,
    CHILD,
    CHOC,
    CIRC,
    COL,
    COL_OF_MANY,
    CYCLES,
    DARK,
    DRIVER,
    DRIVER_AGES,
    ETATP,
    FEW_PASSENGERS,
    FIRST_YEAR_OF_FLED,
    FLED_SHARE,
    FLED_UNKNOWN_SHARE,
    HOURS,
    INFRA,
    INT,
    LOCP,
    MALE_DRIVERS,
    MANV,
    MINUTES_OF_DAYLIGHT,
    MONTHS,
    MOST_ACCIDENTS,
    MOTOR,
    NBV,
    OBS,
    OBSM,
    ON_CYCLE,
    ON_FOOT,
    ON_TWO_WHEELER,
    OTHER_DEPARTMENT,
    OTHER_DRIVER_AGES,
    OTHER_MALE_DRIVERS,
    OTHER_MOTOR,
    OVERSEAS,
    PASSENGER,
    PASSENGER_AGES,
    PASSENGERS,
    PEDESTRIAN,
    PEDESTRIAN_AGES,
    PEDESTRIANS,
    PLAN,
    PROF,
    RURAL,
    SEATS,
    SECU1,
    SECU2,
    SECU3,
    SENC,
    SETTINGS,
    SITU,
    SOLAR_NOON,
    SURF,
    TERRITORIES_SINCE,
    TRAJET,
    TWILIGHT,
    TWO_WHEELERS,
    UNKNOWN_BIRTH_SHARE,
    URBAN,
    URBAN_SHARE,
    VEHICLES,
    VMA,
    VOSP,
    WALKER,
    Columns,
    Tables,
    Values,
)


def simulate(year: int, accidents: int, seed: int) -> Tables:
    """Draw a year of accidents.

    Parameters
    ----------
    year, seed
        The same two give the same accidents, whichever other years are drawn.
    accidents
        Number of accidents, at least one.

    Returns
    -------
    The four tables as columns under today's names, one row an accident in `caracteristiques` and `lieux`.
    Codes are integers, -1 for not given; `hrmn` in minutes since midnight; `num_acc`, `id_vehicule` and
    `id_usager` are row numbers that start at 0; `num_veh` counts from 0 within the accident; `com` counts
    within the department; `lat` and `long` in degrees.
    """
    rng = np.random.default_rng([seed, year])
    setting = draw(rng, SETTINGS, accidents)
    vehicle_count = draw_by(rng, VEHICLES, setting)
    circumstances = _circumstances(rng, year, setting, vehicle_count)
    road = _road(rng, circumstances["agg"], circumstances["atm"])
    vehicles = _vehicles(rng, setting, circumstances["agg"], vehicle_count)
    people = _people(rng, year, setting, vehicles)
    people["grav"] = severities(rng, circumstances | road, vehicles, people)
    if year >= FIRST_YEAR_OF_FLED:
        _flee(rng, setting, vehicles, people)
    return {
        Table.CARACTERISTIQUES: circumstances,
        Table.LIEUX: road,
        Table.VEHICULES: vehicles,
        Table.USAGERS: people,
    }


# --- place and time


def _circumstances(rng: np.random.Generator, year: int, setting: Values, vehicle_count: Values) -> Columns:
    """Return the columns of `caracteristiques`."""
    size = len(setting)
    month = 1 + draw_index(rng, np.array(MONTHS, dtype=float), size)
    minute = _minutes(rng, size)
    urban_share = np.array([URBAN_SHARE[kind] for kind in sorted(URBAN_SHARE)])
    agg = np.where(rng.random(size) < urban_share[setting], URBAN, RURAL)
    collision = draw_by(rng, COL, setting)
    many = np.flatnonzero(vehicle_count > 2)
    collision[many] = draw(rng, COL_OF_MANY, len(many))
    return {
        "num_acc": np.arange(size),
        "jour": 1 + np.floor(rng.random(size) * _days(year, month)).astype(np.int64),
        "mois": month,
        "an": np.full(size, year),
        "hrmn": minute,
        "lum": _light(rng, month, minute, agg),
        **_position(rng, year, size),
        "agg": agg,
        "int": draw_by(rng, INT, agg),
        "atm": draw(rng, ATM, size),
        "col": collision,
    }


def _minutes(rng: np.random.Generator, size: int) -> Values:
    """Return times of day in minutes: officers round most of them to a quarter of an hour."""
    hour = draw_index(rng, np.array(HOURS, dtype=float), size)
    exact = rng.integers(0, 60, size)
    return 60 * hour + np.where(rng.random(size) < 0.6, exact // 15 * 15, exact // 5 * 5)


def _days(year: int, month: Values) -> Values:
    """Return the number of days of each month."""
    first = np.datetime64(f"{year}-01", "M") + (month - 1)
    days: Values = ((first + 1).astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.int64)
    return days


def _light(rng: np.random.Generator, month: Values, minute: Values, agg: Values) -> Values:
    """Return `lum`, by the sun in the middle of the month, and by the street's lighting."""
    from_noon = np.abs(minute - SOLAR_NOON)
    half_day = np.array(MINUTES_OF_DAYLIGHT)[month - 1] // 2
    light = draw_by(rng, DARK, agg)
    light[from_noon <= half_day + TWILIGHT] = 2
    light[from_noon <= half_day] = 1
    return light


def _position(rng: np.random.Generator, year: int, size: int) -> Columns:
    """Return department, municipality, coordinates; metropolitan coordinates are independent of the department."""
    codes = np.array([code for code in DEPARTMENTS if year >= TERRITORIES_SINCE.get(code, 0)])
    weights = np.array([MOST_ACCIDENTS.get(code, OTHER_DEPARTMENT) for code in codes])
    department = codes[draw_index(rng, weights, size)]
    latitude, longitude = rng.uniform(43.3, 50.5, size), rng.uniform(-1.0, 6.5, size)
    for code, (north, east) in OVERSEAS.items():
        rows = np.flatnonzero(department == code)
        latitude[rows] = north + rng.normal(0, 0.05, len(rows))
        longitude[rows] = east + rng.normal(0, 0.05, len(rows))
    return {"dep": department, "com": rng.integers(1, 400, size), "lat": latitude, "long": longitude}


def _road(rng: np.random.Generator, agg: Values, atm: Values) -> Columns:
    """Return the columns of `lieux`."""
    size = len(agg)
    category = draw_by(rng, CATR, agg)
    listed = np.isin(category, [road for _, road in VMA])
    limits = {10 * place + road: weights for (place, road), weights in VMA.items()}
    with_markers = rng.random(size) < 0.65
    return {
        "num_acc": np.arange(size),
        "catr": category,
        "voie": rng.integers(1, 1000, size),
        "circ": draw_by(rng, CIRC, category),
        "nbv": draw_by(rng, NBV, category),
        "vosp": draw_by(rng, VOSP, agg),
        "prof": draw_by(rng, PROF, agg),
        "pr": np.where(with_markers, rng.integers(0, 60, size), -1),
        "pr1": np.where(with_markers, rng.integers(0, 20, size) * 50, -1),
        "plan": draw_by(rng, PLAN, agg),
        "lartpc": np.where(rng.random(size) < 0.01, rng.integers(5, 70, size) / 10, -1),
        "larrout": np.where(rng.random(size) < 0.05, rng.integers(30, 140, size) / 10, -1),
        "surf": draw_by(rng, SURF, atm),
        "infra": draw_by(rng, INFRA, agg),
        "situ": draw_by(rng, SITU, agg),
        "vma": draw_by(rng, limits, 10 * agg + np.where(listed, category, 9)),
    }


# --- vehicles


def _vehicles(rng: np.random.Generator, setting: Values, agg: Values, count: Values) -> Columns:
    """Return the columns of `vehicules`, sorted by accident."""
    accident = np.repeat(np.arange(len(count)), count)
    size = len(accident)
    setting_of_vehicle = setting[accident]
    category = _categories(rng, setting_of_vehicle, agg[accident])
    classes = vehicle_classes(category)
    in_public_transport = np.isin(classes, (VehicleClass.BUS, VehicleClass.RAIL))
    return {
        "num_acc": accident,
        "id_vehicule": np.arange(size),
        "num_veh": rank_within(accident),
        "senc": draw(rng, SENC, size),
        "catv": category,
        "obs": draw_by(rng, OBS, setting_of_vehicle),
        "obsm": draw_by(rng, OBSM, setting_of_vehicle),
        "choc": draw_by(rng, CHOC, setting_of_vehicle),
        "manv": draw_by(rng, MANV, setting_of_vehicle),
        "motor": draw_by_class(rng, MOTOR, OTHER_MOTOR, classes),
        "occutc": np.where(in_public_transport, draw(rng, BUS_OCCUPANTS, size), -1),
    }


def _categories(rng: np.random.Generator, setting: Values, agg: Values) -> Values:
    """Draw `catv` by setting and place."""
    tables = {
        10 * kind + place: {catv: shares[column] for catv, shares in CATV.items()}
        for column, (kind, place) in enumerate(CATV_PLACES)
    }
    return draw_by(rng, tables, 10 * setting + agg)


# --- people


def _people(rng: np.random.Generator, year: int, setting: Values, vehicles: Columns) -> Columns:
    """Return the columns of `usagers` except `grav`, sorted by vehicle; pedestrians belong to the first vehicle."""
    vehicle, role = _roles(rng, setting, vehicles)
    size = len(vehicle)
    classes = vehicle_classes(vehicles["catv"])[vehicle]
    age = _ages(rng, classes, role)
    outfit = _outfits(classes, role, age)
    walks = role == WALKER
    male = _draw_male(rng, classes, role)
    return {
        "num_acc": vehicles["num_acc"][vehicle],
        "id_usager": np.arange(size),
        "id_vehicule": vehicle,
        "num_veh": vehicles["num_veh"][vehicle],
        "place": _seats(vehicle, role),
        "catu": role,
        "sexe": np.where(male, 1, 2),
        "an_nais": np.where(rng.random(size) < UNKNOWN_BIRTH_SHARE, -1, year - age),
        "trajet": draw_by(rng, TRAJET, role),
        "secu1": draw_by(rng, SECU1, outfit),
        "secu2": draw_by(rng, SECU2, outfit),
        "secu3": draw(rng, SECU3, size),
        "locp": np.where(walks, draw(rng, LOCP, size), _not_walking(rng, size)),
        "actp": np.where(walks, draw(rng, ACTP, size), _not_walking(rng, size)),
        "etatp": np.where(walks, draw(rng, ETATP, size), -1),
    }


def _roles(rng: np.random.Generator, setting: Values, vehicles: Columns) -> tuple[Values, Values]:
    """Return vehicle and role of every person: each vehicle's driver, then its passengers, then pedestrians."""
    classes = vehicle_classes(vehicles["catv"])
    passengers = draw_by_class(rng, PASSENGERS, FEW_PASSENGERS, classes)
    hits = (vehicles["num_veh"] == 0) & (setting[vehicles["num_acc"]] == PEDESTRIAN)
    pedestrians = np.where(hits, draw(rng, PEDESTRIANS, len(hits)), 0)
    vehicle = np.repeat(np.arange(len(classes)), 1 + passengers + pedestrians)
    rank = rank_within(vehicle)
    role = np.where(rank > passengers[vehicle], WALKER, np.where(rank == 0, DRIVER, PASSENGER))
    return vehicle, role


def _ages(rng: np.random.Generator, classes: Values, role: Values) -> Values:
    """Draw ages in whole years, by the quantiles of the role."""
    share = rng.random(len(role))
    age = np.interp(share, AGE_SHARES, OTHER_DRIVER_AGES)
    for kind, quantiles in DRIVER_AGES.items():
        members = classes == kind
        age[members] = np.interp(share[members], AGE_SHARES, quantiles)
    age = np.where(role == PASSENGER, np.interp(share, AGE_SHARES, PASSENGER_AGES), age)
    age = np.where(role == WALKER, np.interp(share, AGE_SHARES, PEDESTRIAN_AGES), age)
    return age.astype(np.int64)


def _draw_male(rng: np.random.Generator, classes: Values, role: Values) -> Values:
    share = np.full(len(role), OTHER_MALE_DRIVERS)
    for kind, males in MALE_DRIVERS.items():
        share[classes == kind] = males
    share[role != DRIVER] = 0.5
    return rng.random(len(role)) < share


def _outfits(classes: Values, role: Values, age: Values) -> Values:
    """Return each person's group, which decides the equipment that they can wear."""
    outfit = np.full(len(role), BELTED)
    outfit[age < 10] = CHILD
    outfit[np.isin(classes, TWO_WHEELERS)] = ON_TWO_WHEELER
    outfit[np.isin(classes, CYCLES)] = ON_CYCLE
    outfit[role == WALKER] = ON_FOOT
    return outfit


def _seats(vehicle: Values, role: Values) -> Values:
    """Return `place`: the driver's, then the passengers' in the usual order."""
    seat = SEATS[np.minimum(rank_within(vehicle), len(SEATS)) - 1]
    return np.where(role == WALKER, 10, np.where(role == DRIVER, 1, seat))


def _not_walking(rng: np.random.Generator, size: int) -> Values:
    """Return codes of people who are not pedestrians: "not given" as often as "not applicable"."""
    return -rng.integers(0, 2, size)


def _flee(rng: np.random.Generator, setting: Values, vehicles: Columns, people: Columns) -> None:
    """Let some unharmed first drivers flee: set their unknown columns to "not given", in place."""
    beside_others = (people["num_veh"] == 0) & (setting[people["num_acc"]] != ALONE)
    moving = vehicles["obsm"][people["id_vehicule"]] != 0
    unharmed = (people["grav"] == 1) & (people["catu"] == DRIVER)
    fled = beside_others & moving & unharmed & (rng.random(len(moving)) < FLED_SHARE)
    for name in ("place", "sexe", "an_nais", "trajet", "secu1", "secu2"):
        people[name][fled] = -1
    people["grav"][fled & (rng.random(len(fled)) < FLED_UNKNOWN_SHARE)] = -1
