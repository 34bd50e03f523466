"""Draws codes by their shares; gives classes and masses of generated vehicles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from include.accidents.data.vehicles import VEHICLE_CLASSES, VehicleClass
from include.accidents.synthetic.shares import (
    UNKNOWN_MASS,
    Values,
    Weights,
)

# --- drawing


def draw(rng: np.random.Generator, weights: Weights, size: int) -> Values:
    """Draw codes at random, by weight."""
    shares = np.array(list(weights.values()), dtype=float)
    return np.array(list(weights))[draw_index(rng, shares, size)]


def draw_index(rng: np.random.Generator, weights: Values, size: int) -> Values:
    """Draw positions at random, by weight."""
    bounds = np.cumsum(weights / weights.sum())
    return np.searchsorted(bounds[:-1], rng.random(size), side="right")


def draw_by(rng: np.random.Generator, tables: Mapping[int, Weights], groups: Values) -> Values:
    """Draw codes at random, each by the weights of its group."""
    codes = np.empty(len(groups), dtype=np.int64)
    for group, weights in tables.items():
        members = np.flatnonzero(groups == group)
        codes[members] = draw(rng, weights, len(members))
    return codes


def draw_by_class(
    rng: np.random.Generator, tables: Mapping[VehicleClass, Weights], other: Weights, classes: Values
) -> Values:
    """Draw codes at random, each by the weights of its class of vehicle."""
    codes = draw(rng, other, len(classes))
    for kind, weights in tables.items():
        members = np.flatnonzero(classes == kind)
        codes[members] = draw(rng, weights, len(members))
    return codes


def rank_within(groups: Values) -> Values:
    """Return the position of each row within its group, from 0; rows of a group are adjacent."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))


def vehicle_classes(catv: Values) -> Values:
    """Return the class of each category of vehicle."""
    table = np.full(max(VEHICLE_CLASSES) + 1, VehicleClass.OTHER, dtype=object)
    for code, vehicle in VEHICLE_CLASSES.items():
        table[code] = vehicle.kind
    return table[catv]


def masses(catv: Values) -> Values:
    """Return the mass of each vehicle in kg."""
    table = np.full(max(VEHICLE_CLASSES) + 1, UNKNOWN_MASS)
    for code, vehicle in VEHICLE_CLASSES.items():
        table[code] = vehicle.mass or UNKNOWN_MASS
    return table[catv]
