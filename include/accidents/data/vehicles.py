"""Classes and masses of the vehicles' categories (`catv`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class VehicleClass(StrEnum):
    """A class of vehicles: the categories of `catv` that move alike and protect their people alike."""

    BICYCLE = "bicycle"
    MOPED = "moped"
    LIGHT_MOTORCYCLE = "light_motorcycle"
    MOTORCYCLE = "motorcycle"
    TRICYCLE = "tricycle"
    QUAD = "quad"
    MICROCAR = "microcar"
    CAR = "car"
    VAN = "van"
    TRUCK = "truck"
    BUS = "bus"
    TRACTOR_SPECIAL = "tractor_special"
    RAIL = "rail"
    PERSONAL_MOBILITY = "personal_mobility"
    OTHER = "other"


@dataclass(frozen=True)
class Vehicle:
    """A category of vehicles: its class, and its typical mass in kg (None: unknown)."""

    kind: VehicleClass
    mass: int | None


VEHICLE_CLASSES: Final[Mapping[int, Vehicle]] = {
    0: Vehicle(VehicleClass.OTHER, None),
    1: Vehicle(VehicleClass.BICYCLE, 15),
    2: Vehicle(VehicleClass.MOPED, 90),
    3: Vehicle(VehicleClass.MICROCAR, 450),
    4: Vehicle(VehicleClass.LIGHT_MOTORCYCLE, 120),
    5: Vehicle(VehicleClass.MOTORCYCLE, 200),
    6: Vehicle(VehicleClass.MOTORCYCLE, 330),
    7: Vehicle(VehicleClass.CAR, 1400),
    8: Vehicle(VehicleClass.CAR, 2400),
    9: Vehicle(VehicleClass.CAR, 1900),
    10: Vehicle(VehicleClass.VAN, 1900),
    11: Vehicle(VehicleClass.VAN, 2900),
    12: Vehicle(VehicleClass.VAN, 2400),
    13: Vehicle(VehicleClass.TRUCK, 6000),
    14: Vehicle(VehicleClass.TRUCK, 12000),
    15: Vehicle(VehicleClass.TRUCK, 25000),
    16: Vehicle(VehicleClass.TRUCK, 8000),
    17: Vehicle(VehicleClass.TRUCK, 30000),
    18: Vehicle(VehicleClass.BUS, 12000),
    19: Vehicle(VehicleClass.RAIL, 40000),
    20: Vehicle(VehicleClass.TRACTOR_SPECIAL, 8000),
    21: Vehicle(VehicleClass.TRACTOR_SPECIAL, 6000),
    30: Vehicle(VehicleClass.MOPED, 100),
    31: Vehicle(VehicleClass.LIGHT_MOTORCYCLE, 140),
    32: Vehicle(VehicleClass.LIGHT_MOTORCYCLE, 130),
    33: Vehicle(VehicleClass.MOTORCYCLE, 210),
    34: Vehicle(VehicleClass.MOTORCYCLE, 210),
    35: Vehicle(VehicleClass.QUAD, 200),
    36: Vehicle(VehicleClass.QUAD, 300),
    37: Vehicle(VehicleClass.BUS, 12000),
    38: Vehicle(VehicleClass.BUS, 14000),
    39: Vehicle(VehicleClass.RAIL, 200000),
    40: Vehicle(VehicleClass.RAIL, 40000),
    41: Vehicle(VehicleClass.TRICYCLE, 150),
    42: Vehicle(VehicleClass.TRICYCLE, 200),
    43: Vehicle(VehicleClass.TRICYCLE, 250),
    50: Vehicle(VehicleClass.PERSONAL_MOBILITY, 20),
    60: Vehicle(VehicleClass.PERSONAL_MOBILITY, 5),
    80: Vehicle(VehicleClass.BICYCLE, 25),
    99: Vehicle(VehicleClass.OTHER, None),
}
"""Class and typical mass of each `catv`.

The BAAC holds no mass. These are this project's own approximations of a vehicle on the road (kerb mass, half
a load for lorries, no people on board): good to a factor of some 1.5, enough for a ratio that spans four
orders of magnitude.
"""
