"""Draws how badly each generated person is hurt: by mass, exposure, age, speed and equipment."""

from __future__ import annotations

import numpy as np

from include.accidents.data.departments import DEPARTMENTS
from include.accidents.data.vehicles import VehicleClass
from include.accidents.synthetic.drawing import masses, rank_within, vehicle_classes
from include.accidents.synthetic.shares import (
    CHANCE_OF_ACCIDENT,
    CHANCE_OF_PERSON,
    CYCLES,
    DEPARTMENT_EFFECT,
    DRIVER,
    RURAL,
    SHARES,
    TWO_WHEELERS,
    WALKER,
    WALKER_MASS,
    Columns,
    Values,
)

# --- severity


def severities(rng: np.random.Generator, scene: Columns, vehicles: Columns, people: Columns) -> Values:
    """Return `grav` of every person: the worst-off of each accident is hurt, the others as the shares require."""
    accident = people["num_acc"]
    score = _harm(scene, vehicles, people)
    score += rng.normal(0, CHANCE_OF_ACCIDENT, len(scene["num_acc"]))[accident]
    score += rng.normal(0, CHANCE_OF_PERSON, len(score))
    order = np.lexsort((score, accident))
    worst_off = np.zeros(len(score), dtype=bool)
    worst_off[order[np.flatnonzero(np.diff(accident[order], append=-1))]] = True
    # Ranked by score, with those who must be hurt at the end: so the shares hold exactly.
    ranked = np.lexsort((score, worst_off))
    can_be_unharmed = len(score) - int(worst_off.sum())
    unharmed = min(round(SHARES[1] * len(score)), can_be_unharmed)
    severity = np.full(len(score), 1)
    hurt = ranked[unharmed:]
    hurt = hurt[np.argsort(score[hurt], kind="stable")]
    shares = np.array([SHARES[grav] for grav in (4, 3, 2)])
    cuts = np.round(np.cumsum(shares / shares.sum()) * len(hurt)).astype(np.int64)
    for grav, members in zip((4, 3, 2), np.split(hurt, cuts[:-1]), strict=True):
        severity[members] = grav
    return severity


def _harm(scene: Columns, vehicles: Columns, people: Columns) -> Values:
    """Return how badly each person is likely to be hurt, without chance; higher is worse."""
    accident, vehicle = people["num_acc"], people["id_vehicule"]
    classes = vehicle_classes(vehicles["catv"])[vehicle]
    walks = people["catu"] == WALKER
    return (
        0.6 * _mass_disadvantage(vehicles, vehicle, walks)
        + _exposure(classes, people, walks)
        + _frailty(scene["an"][accident] - people["an_nais"], people["an_nais"])
        + _violence(scene)[accident]
        + np.where(np.isin(vehicles["obs"][vehicle], (2, 6, 8, 13)) & ~walks, 0.7, 0.0)
    )


def _mass_disadvantage(vehicles: Columns, vehicle: Values, walks: Values) -> Values:
    """Return the logarithm of the opposing mass over the person's own moving mass, within -3 and 4."""
    mass = masses(vehicles["catv"])
    other = _heaviest_other(vehicles["num_acc"], mass)
    own = np.where(walks, WALKER_MASS, mass[vehicle])
    against = np.where(walks, mass[vehicle], other[vehicle])
    # Without another vehicle, the road or an obstacle stops the vehicle, like one of the same mass.
    return np.clip(np.log(np.where(against > 0, against, own) / own), -3, 4)


def _heaviest_other(accident: Values, mass: Values) -> Values:
    """Return for every vehicle the mass of the heaviest other one in its accident; 0 without another."""
    order = np.lexsort((-mass, accident))
    rank = rank_within(accident[order])
    largest, second = np.zeros((2, int(accident.max()) + 1))
    largest[accident[order[rank == 0]]] = mass[order[rank == 0]]
    second[accident[order[rank == 1]]] = mass[order[rank == 1]]
    is_heaviest = np.zeros(len(mass), dtype=bool)
    is_heaviest[order[rank == 0]] = True
    return np.where(is_heaviest, second[accident], largest[accident])


def _exposure(classes: Values, people: Columns, walks: Values) -> Values:
    """Return the effect of missing protection on each person: vehicle, equipment, seat."""
    two_wheeler, cycle = np.isin(classes, TWO_WHEELERS), np.isin(classes, CYCLES)
    bare = (people["secu1"] == 0) & ~walks & ~cycle
    sits_first = people["catu"] == DRIVER
    return (
        np.where(walks, 1.2, np.where(two_wheeler, 1.3, np.where(cycle, 0.6, 0.0)))
        + np.where(bare, 1.4, 0.0)
        - np.where((people["secu2"] == 6) & two_wheeler, 0.2, 0.0)
        + np.where(sits_first, 0.1, 0.0)
        + np.where(classes == VehicleClass.MOTORCYCLE, 0.4, 0.0)
    )


def _frailty(age: Values, year_of_birth: Values) -> Values:
    """Return the effect of age; 0 where it is unknown."""
    return np.where(year_of_birth == -1, 0.0, 0.03 * np.clip(age - 50, 0, 45) - 0.3 * (age < 12))


def _violence(scene: Columns) -> Values:
    """Return the effect of an accident on all its people, by place, speed, collision and light."""
    by_collision = np.array([0.0, 0.9, -0.6, 0.1, -0.7, -0.1, 0.2, 0.3, 0.0])  # `col` -1 comes last
    speed = np.where(scene["vma"] > 0, scene["vma"], 50)
    departments = np.random.default_rng(0).normal(0, DEPARTMENT_EFFECT, len(DEPARTMENTS))
    _, department = np.unique(np.append(list(DEPARTMENTS), scene["dep"]), return_inverse=True)
    return (
        by_collision[scene["col"]]
        + 0.012 * (speed - 50)
        + np.where(scene["agg"] == RURAL, 0.5, 0.0)
        + np.where(scene["lum"] == 3, 0.35, 0.0)
        + np.where(scene["int"] == 6, -0.3, 0.0)
        + departments[department[len(DEPARTMENTS) :]]
    )
