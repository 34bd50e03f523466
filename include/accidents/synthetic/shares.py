"""The shares that generated accidents are drawn from, by code, counted in the real files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from include.accidents.data.columns import Table
from include.accidents.data.vehicles import VehicleClass

Values = NDArray[Any]
Columns = dict[str, Values]
Tables = dict[Table, Columns]
Weights = Mapping[int, float]

FIRST_YEAR_OF_FLED: Final = 2021
"""From this vintage on, the files hold people who fled, with next to no details."""

# The kind of an accident; most of the other shares depend on it.
PEDESTRIAN, ALONE, _SEVERAL = 0, 1, 2
SETTINGS: Final[Weights] = {PEDESTRIAN: 157, ALONE: 221, _SEVERAL: 622}
RURAL, URBAN = 1, 2  # `agg`
URBAN_SHARE: Final[Mapping[int, float]] = {PEDESTRIAN: 0.93, ALONE: 0.44, _SEVERAL: 0.64}

HOURS: Final = (
    16,
    14,
    12,
    10,
    9,
    12,
    20,
    42,
    57,
    48,
    45,
    52,
    55,
    54,
    58,
    65,
    77,
    92,
    85,
    62,
    41,
    32,
    23,
    20,
)
MONTHS: Final = (66, 59, 73, 68, 86, 104, 95, 81, 100, 103, 83, 82)
MINUTES_OF_DAYLIGHT: Final = (
    530,
    620,
    720,
    825,
    920,
    970,
    945,
    860,
    755,
    650,
    555,
    505,
)  # middle of each month
SOLAR_NOON: Final = 13 * 60 + 20
TWILIGHT: Final = 40  # minutes
DARK: Final[Mapping[int, Weights]] = {RURAL: {3: 78, 4: 3, 5: 19}, URBAN: {3: 12, 4: 6, 5: 82}}

MOST_ACCIDENTS: Final[Mapping[str, float]] = {
    "75": 90, "93": 51, "13": 49, "94": 44, "69": 43, "92": 43, "91": 26, "33": 25, "59": 18, "95": 17,
    "64": 17, "06": 17, "83": 15, "974": 14, "35": 14, "77": 14, "29": 13, "76": 13, "38": 12, "49": 12,
    "78": 12, "37": 12, "31": 12, "67": 11, "34": 10, "988": 5, "976": 4, "987": 2, "978": 1,
    "977": 0.4, "986": 0.2, "975": 0.1,
}  # fmt: skip
OTHER_DEPARTMENT: Final = 5.0

OVERSEAS: Final[Mapping[str, tuple[float, float]]] = {
    "971": (16.25, -61.55), "972": (14.65, -61.0), "973": (4.9, -52.3), "974": (-21.1, 55.5),
    "975": (46.8, -56.2), "976": (-12.8, 45.15), "977": (17.9, -62.85), "978": (18.07, -63.05),
    "986": (-13.3, -176.2), "987": (-17.6, -149.5), "988": (-22.2, 166.4),
}  # fmt: skip
"""Latitude and longitude of each territory, in degrees. Metropolitan positions are drawn from one box."""

TERRITORIES_SINCE: Final[Mapping[str, int]] = {
    "976": 2012, "975": 2019, "977": 2019, "978": 2019, "986": 2019, "987": 2019, "988": 2019,
}  # fmt: skip
"""First vintage of the territories that the files did not always cover."""

CATR: Final[Mapping[int, Weights]] = {
    RURAL: {1: 261, 2: 124, 3: 491, 4: 74, 5: 1, 6: 2, 7: 41, 9: 5},
    URBAN: {1: 4, 2: 28, 3: 287, 4: 610, 5: 1, 6: 9, 7: 54, 9: 7},
}
# By place and category of road; -1: not given. Roads that are not listed here are as 9.
VMA: Final[Mapping[tuple[int, int], Weights]] = {
    (RURAL, 1): {-1: 10, 50: 46, 70: 135, 80: 3, 90: 377, 110: 237, 130: 188},
    (RURAL, 2): {-1: 19, 30: 11, 50: 78, 70: 170, 80: 196, 90: 291, 110: 217},
    (RURAL, 3): {-1: 28, 30: 6, 50: 69, 70: 132, 80: 621, 90: 126, 110: 15},
    (RURAL, 4): {-1: 57, 30: 65, 50: 380, 70: 96, 80: 358, 90: 35},
    (RURAL, 7): {-1: 19, 30: 10, 50: 170, 70: 309, 80: 307, 90: 157, 110: 26},
    (RURAL, 9): {-1: 193, 10: 40, 20: 37, 30: 200, 50: 312, 70: 83, 80: 193, 90: 18},
    (URBAN, 1): {-1: 19, 50: 373, 70: 133, 80: 25, 90: 405, 110: 19},
    (URBAN, 2): {-1: 19, 30: 37, 50: 752, 70: 100, 80: 17, 90: 44},
    (URBAN, 3): {-1: 16, 30: 83, 50: 849, 70: 29, 80: 13},
    (URBAN, 4): {-1: 5, 20: 4, 30: 217, 50: 739, 70: 28},
    (URBAN, 7): {-1: 8, 30: 78, 50: 842, 70: 50, 80: 9, 90: 8},
    (URBAN, 9): {-1: 65, 10: 60, 20: 53, 30: 300, 50: 500},
}
INT: Final[Mapping[int, Weights]] = {
    RURAL: {1: 825, 2: 56, 3: 50, 4: 13, 5: 1, 6: 21, 8: 1, 9: 32},
    URBAN: {1: 536, 2: 163, 3: 140, 4: 29, 5: 9, 6: 51, 7: 17, 8: 3, 9: 51},
}
COL: Final[Mapping[int, Weights]] = {
    PEDESTRIAN: {-1: 1, 1: 36, 2: 8, 3: 29, 6: 898, 7: 28},
    ALONE: {1: 17, 2: 2, 3: 7, 6: 557, 7: 417},
    _SEVERAL: {1: 166, 2: 236, 3: 550, 6: 40, 7: 8},
}
COL_OF_MANY: Final[Weights] = {4: 560, 5: 440}  # three vehicles and more
ATM: Final[Weights] = {-1: 1, 1: 797, 2: 107, 3: 20, 4: 4, 5: 7, 6: 2, 7: 18, 8: 40, 9: 5}
SURF: Final[Mapping[int, Weights]] = {
    -1: {-1: 60, 1: 40},
    1: {1: 951, 2: 39, 6: 1, 7: 2, 8: 1, 9: 5},
    2: {1: 12, 2: 979, 3: 2, 6: 2, 7: 1, 8: 1, 9: 1},
    3: {1: 3, 2: 940, 3: 33, 4: 17, 6: 2, 7: 3, 8: 3},
    4: {2: 272, 3: 4, 4: 4, 5: 519, 7: 165, 9: 37},
    5: {1: 549, 2: 381, 7: 40, 9: 28},
    6: {1: 763, 2: 229, 4: 8},
    7: {1: 953, 2: 37, 9: 4},
    8: {1: 554, 2: 419, 3: 3, 7: 13, 9: 5},
    9: {1: 276, 2: 331, 5: 10, 7: 324, 9: 58},
}
CIRC: Final[Mapping[int, Weights]] = {
    1: {-1: 79, 1: 315, 2: 30, 3: 575, 4: 3},
    2: {-1: 41, 1: 189, 2: 429, 3: 335, 4: 6},
    3: {-1: 38, 1: 82, 2: 795, 3: 79, 4: 7},
    4: {-1: 54, 1: 237, 2: 639, 3: 63, 4: 7},
    5: {-1: 476, 1: 127, 2: 381, 3: 16},
    6: {-1: 952, 1: 15, 2: 33},
    7: {-1: 44, 1: 141, 2: 637, 3: 169, 4: 9},
    9: {-1: 272, 1: 185, 2: 494, 3: 31, 4: 17},
}
NBV: Final[Mapping[int, Weights]] = {
    1: {-1: 7, 0: 6, 1: 40, 2: 142, 3: 222, 4: 262, 5: 55, 6: 148, 7: 18, 8: 63, 9: 12, 10: 18, 12: 3},
    2: {-1: 6, 0: 23, 1: 57, 2: 519, 3: 75, 4: 247, 5: 16, 6: 45, 8: 5},
    3: {-1: 4, 0: 15, 1: 61, 2: 793, 3: 41, 4: 72, 5: 5, 6: 6},
    4: {-1: 6, 0: 27, 1: 171, 2: 580, 3: 73, 4: 109, 5: 15, 6: 13, 8: 3},
    5: {-1: 16, 0: 206, 1: 413, 2: 302, 4: 48},
    6: {-1: 635, 0: 299, 1: 30, 2: 35},
    7: {-1: 6, 0: 16, 1: 75, 2: 619, 3: 90, 4: 138, 5: 16, 6: 25, 8: 8},
    9: {-1: 20, 0: 140, 1: 264, 2: 537, 4: 20},
}
PLAN: Final[Mapping[int, Weights]] = {
    RURAL: {-1: 1, 1: 692, 2: 143, 3: 140, 4: 24},
    URBAN: {-1: 1, 1: 866, 2: 69, 3: 58, 4: 7},
}
PROF: Final[Mapping[int, Weights]] = {
    RURAL: {-1: 1, 1: 743, 2: 210, 3: 26, 4: 21},
    URBAN: {-1: 1, 1: 843, 2: 135, 3: 11, 4: 10},
}
INFRA: Final[Mapping[int, Weights]] = {
    RURAL: {-1: 1, 0: 860, 1: 21, 2: 22, 3: 29, 4: 1, 5: 35, 6: 1, 7: 1, 8: 7, 9: 21},
    URBAN: {-1: 16, 0: 830, 1: 6, 2: 12, 3: 4, 4: 5, 5: 63, 6: 13, 8: 7, 9: 43},
}
SITU: Final[Mapping[int, Weights]] = {
    RURAL: {-1: 1, 1: 776, 2: 16, 3: 153, 4: 3, 5: 4, 6: 3, 8: 43},
    URBAN: {-1: 1, 1: 861, 2: 1, 3: 21, 4: 34, 5: 36, 6: 20, 8: 27},
}
VOSP: Final[Mapping[int, Weights]] = {
    RURAL: {-1: 3, 0: 973, 1: 9, 2: 4, 3: 11},
    URBAN: {-1: 4, 0: 830, 1: 77, 2: 37, 3: 52},
}

VEHICLES: Final[Mapping[int, Weights]] = {
    PEDESTRIAN: {1: 968, 2: 32},
    ALONE: {1: 1},
    _SEVERAL: {2: 8870, 3: 882, 4: 177, 5: 52, 6: 12, 7: 4, 8: 2, 12: 1},
}
# Columns: alone, several, with a pedestrian; each outside and inside built-up areas, per 10,000.
CATV_PLACES: Final = tuple((setting, agg) for setting in (ALONE, _SEVERAL, PEDESTRIAN) for agg in (1, 2))
CATV: Final[Mapping[int, tuple[float, ...]]] = {
    0: (3, 22, 18, 14, 179, 92),
    1: (241, 738, 305, 823, 104, 345),
    2: (378, 835, 201, 511, 149, 134),
    3: (43, 110, 33, 56, 30, 87),
    7: (6078, 4061, 6559, 5466, 7075, 6655),
    10: (408, 238, 879, 626, 1104, 931),
    13: (21, 4, 61, 33, 75, 39),
    14: (58, 18, 121, 55, 149, 79),
    15: (87, 9, 242, 35, 194, 41),
    16: (9, 2, 7, 2, 0, 0),
    17: (76, 11, 172, 13, 239, 16),
    20: (9, 15, 8, 9, 0, 21),
    21: (43, 20, 59, 8, 90, 11),
    30: (81, 1116, 54, 481, 30, 345),
    31: (241, 330, 129, 193, 15, 69),
    32: (125, 484, 84, 307, 75, 210),
    33: (1782, 997, 871, 636, 224, 258),
    34: (68, 165, 50, 115, 30, 89),
    35: (7, 5, 2, 1, 0, 0),
    36: (111, 99, 8, 4, 15, 2),
    37: (6, 49, 20, 85, 30, 154),
    38: (7, 11, 17, 10, 45, 16),
    39: (0, 0, 4, 3, 30, 19),
    40: (1, 2, 0, 17, 0, 60),
    41: (1, 4, 1, 1, 0, 0),
    42: (1, 0, 1, 0, 0, 0),
    43: (57, 86, 42, 76, 0, 53),
    50: (10, 343, 9, 246, 30, 151),
    60: (4, 40, 1, 42, 0, 9),
    80: (21, 115, 15, 78, 30, 49),
    99: (23, 71, 27, 52, 60, 66),
}
MOTOR: Final[Mapping[VehicleClass, Weights]] = {
    VehicleClass.CAR: {0: 39, 1: 921, 2: 28, 3: 8, 6: 2},
    VehicleClass.BICYCLE: {0: 87, 3: 85, 5: 799, 6: 22},
    VehicleClass.PERSONAL_MOBILITY: {3: 861, 5: 135, 6: 4},
    VehicleClass.BUS: {0: 66, 1: 784, 2: 87, 3: 32, 4: 8, 6: 22},
    VehicleClass.RAIL: {-1: 17, 0: 109, 1: 46, 3: 787, 6: 23},
    VehicleClass.OTHER: {-1: 33, 0: 445, 1: 322, 3: 110, 5: 35, 6: 53},
}
OTHER_MOTOR: Final[Weights] = {-1: 1, 0: 45, 1: 930, 3: 17, 6: 5}
MANV: Final[Mapping[int, Weights]] = {
    ALONE: {
        0: 100, 1: 472, 2: 39, 9: 14, 11: 4, 12: 6, 13: 79, 14: 92, 15: 22, 16: 25, 17: 17, 19: 8, 21: 35,
        26: 62,
    },
    _SEVERAL: {
        0: 52, 1: 382, 2: 140, 3: 12, 4: 2, 5: 13, 6: 1, 7: 3, 9: 36, 10: 8, 11: 13, 12: 12, 13: 39, 14: 8,
        15: 94, 16: 24, 17: 37, 18: 6, 19: 31, 20: 4, 21: 12, 22: 4, 23: 30, 24: 4, 25: 2,
        26: 28,
    },
    PEDESTRIAN: {
        -1: 1, 0: 39, 1: 513, 2: 35, 4: 30, 5: 6, 7: 4, 8: 1, 9: 29, 14: 11, 15: 82, 16: 50, 17: 25, 19: 18,
        20: 24, 21: 17, 23: 9, 24: 4, 25: 11, 26: 70,
    },
}  # fmt: skip
CHOC: Final[Mapping[int, Weights]] = {
    ALONE: {-1: 1, 0: 181, 1: 384, 2: 120, 3: 97, 4: 8, 5: 5, 6: 6, 7: 66, 8: 63, 9: 69},
    _SEVERAL: {0: 46, 1: 348, 2: 112, 3: 154, 4: 122, 5: 33, 6: 43, 7: 60, 8: 75, 9: 6},
    PEDESTRIAN: {-1: 1, 0: 59, 1: 427, 2: 213, 3: 144, 4: 48, 5: 20, 6: 16, 7: 43, 8: 28, 9: 1},
}
OBS: Final[Mapping[int, Weights]] = {
    ALONE: {
        -1: 1, 0: 303, 1: 56, 2: 100, 3: 51, 4: 66, 5: 9, 6: 66, 7: 13, 8: 60, 9: 20, 10: 7, 11: 9, 12: 41,
        13: 112, 14: 27, 15: 30, 16: 24, 17: 6,
    },
    _SEVERAL: {0: 940, 1: 18, 2: 2, 3: 8, 4: 6, 6: 3, 7: 2, 8: 5, 9: 3, 12: 3, 13: 3, 14: 4, 15: 2, 16: 1},
    PEDESTRIAN: {0: 943, 1: 28, 6: 3, 8: 4, 9: 6, 12: 4, 14: 3, 15: 4},
}  # fmt: skip
OBSM: Final[Mapping[int, Weights]] = {
    ALONE: {-1: 1, 0: 939, 1: 1, 2: 29, 4: 1, 5: 6, 6: 10, 9: 13},
    _SEVERAL: {0: 74, 1: 1, 2: 903, 4: 1, 9: 20},
    PEDESTRIAN: {0: 28, 1: 925, 2: 43, 9: 3},
}
SENC: Final[Weights] = {-1: 4, 0: 62, 1: 453, 2: 341, 3: 140}
BUS_OCCUPANTS: Final[Weights] = {-1: 20, 1: 55, 2: 9, 3: 5, 4: 2, 5: 1, 8: 1, 11: 1, 28: 1}

PASSENGERS: Final[Mapping[VehicleClass, Weights]] = {
    VehicleClass.BICYCLE: {0: 992, 1: 8},
    VehicleClass.MOPED: {0: 873, 1: 127},
    VehicleClass.LIGHT_MOTORCYCLE: {0: 905, 1: 95},
    VehicleClass.MOTORCYCLE: {0: 897, 1: 103},
    VehicleClass.TRICYCLE: {0: 895, 1: 105},
    VehicleClass.QUAD: {0: 731, 1: 254, 2: 15},
    VehicleClass.MICROCAR: {0: 809, 1: 155, 2: 23, 3: 13},
    VehicleClass.CAR: {0: 793, 1: 138, 2: 42, 3: 19, 4: 7, 5: 1},
    VehicleClass.VAN: {0: 873, 1: 99, 2: 19, 3: 6, 5: 3},
    VehicleClass.BUS: {0: 747, 1: 120, 2: 66, 3: 30, 4: 11, 7: 15, 12: 9, 20: 3},
    VehicleClass.PERSONAL_MOBILITY: {0: 939, 1: 61},
}
FEW_PASSENGERS: Final[Weights] = {0: 930, 1: 55, 2: 15}
PEDESTRIANS: Final[Weights] = {1: 9450, 2: 446, 3: 80, 4: 18, 5: 5, 9: 1}

AGE_SHARES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
DRIVER_AGES: Final[Mapping[VehicleClass, tuple[float, ...]]] = {
    VehicleClass.BICYCLE: (4, 14, 24, 39, 57, 75, 92),
    VehicleClass.MOPED: (13, 15, 17, 22, 33, 53, 85),
    VehicleClass.LIGHT_MOTORCYCLE: (16, 18, 25, 34, 47, 62, 85),
    VehicleClass.MOTORCYCLE: (17, 21, 26, 35, 50, 63, 84),
    VehicleClass.TRICYCLE: (17, 24, 33, 44, 53, 64, 82),
    VehicleClass.QUAD: (8, 16, 24, 35, 51, 66, 85),
    VehicleClass.MICROCAR: (14, 16, 25, 41, 56, 74, 91),
    VehicleClass.CAR: (17, 20, 26, 38, 53, 75, 98),
    VehicleClass.TRUCK: (18, 23, 33, 43, 53, 61, 76),
    VehicleClass.BUS: (20, 26, 35, 45, 54, 61, 74),
    VehicleClass.PERSONAL_MOBILITY: (6, 12, 19, 26, 38, 57, 85),
}
OTHER_DRIVER_AGES: Final = (16, 21, 29, 40, 52, 65, 85)
PASSENGER_AGES: Final = (0, 3, 17, 23, 38, 71, 98)
PEDESTRIAN_AGES: Final = (0, 5, 18, 40, 65, 85, 100)
MALE_DRIVERS: Final[Mapping[VehicleClass, float]] = {
    VehicleClass.CAR: 0.64,
    VehicleClass.BICYCLE: 0.75,
    VehicleClass.PERSONAL_MOBILITY: 0.70,
    VehicleClass.MICROCAR: 0.72,
    VehicleClass.MOPED: 0.89,
}
OTHER_MALE_DRIVERS: Final = 0.93

TWO_WHEELERS: Final = (
    VehicleClass.MOPED,
    VehicleClass.LIGHT_MOTORCYCLE,
    VehicleClass.MOTORCYCLE,
    VehicleClass.TRICYCLE,
    VehicleClass.QUAD,
)
CYCLES: Final = (VehicleClass.BICYCLE, VehicleClass.PERSONAL_MOBILITY)

# What people wear, by role and vehicle.
ON_FOOT, ON_CYCLE, ON_TWO_WHEELER, BELTED, CHILD = range(5)
SECU1: Final[Mapping[int, Weights]] = {
    ON_FOOT: {-1: 3, 0: 899, 4: 4, 8: 93, 9: 1},
    ON_CYCLE: {-1: 15, 0: 155, 1: 7, 2: 405, 4: 3, 8: 410, 9: 3},
    ON_TWO_WHEELER: {-1: 14, 0: 22, 1: 9, 2: 910, 6: 5, 8: 42},
    BELTED: {-1: 22, 0: 26, 1: 862, 8: 90, 9: 1},
    CHILD: {0: 30, 1: 380, 3: 520, 8: 70},
}
SECU2: Final[Mapping[int, Weights]] = {
    ON_FOOT: {-1: 911, 0: 7, 8: 81, 9: 1},
    ON_CYCLE: {-1: 350, 0: 540, 4: 17, 6: 24, 8: 62, 9: 5},
    ON_TWO_WHEELER: {-1: 160, 0: 210, 2: 4, 4: 4, 5: 3, 6: 520, 7: 4, 8: 90, 9: 4},
    BELTED: {-1: 447, 0: 425, 1: 2, 3: 1, 4: 14, 5: 17, 7: 1, 8: 93, 9: 2},
    CHILD: {-1: 520, 0: 380, 3: 30, 5: 5, 8: 65},
}
SECU3: Final[Weights] = {-1: 9890, 0: 21, 4: 1, 6: 6, 8: 5, 9: 70}

DRIVER, PASSENGER, WALKER = 1, 2, 3  # `catu`
TRAJET: Final[Mapping[int, Weights]] = {
    DRIVER: {-1: 8, 0: 255, 1: 165, 2: 14, 3: 33, 4: 110, 5: 330, 9: 85},
    PASSENGER: {0: 262, 1: 32, 2: 22, 3: 32, 4: 52, 5: 520, 9: 80},
    WALKER: {-1: 3, 0: 263, 1: 66, 2: 94, 3: 89, 4: 23, 5: 349, 9: 112},
}
SEATS: Final = np.array((2, 3, 4, 5, 7, 9, 8))  # in the order in which passengers fill them
LOCP: Final[Weights] = {-1: 3, 0: 17, 1: 142, 2: 224, 3: 300, 4: 148, 5: 80, 6: 27, 7: 1, 8: 15, 9: 43}
ACTP: Final[Weights] = {-1: 3, 0: 14, 1: 64, 2: 28, 3: 721, 4: 12, 5: 46, 6: 3, 9: 68, 10: 13, 11: 26}
ETATP: Final[Weights] = {-1: 18, 1: 740, 2: 197, 3: 45}

FLED_SHARE: Final = 0.14  # of the first drivers where someone else could be hurt
FLED_UNKNOWN_SHARE: Final = 0.02  # of those, without a severity
UNKNOWN_BIRTH_SHARE: Final = 0.0005

WALKER_MASS: Final = 75.0
UNKNOWN_MASS: Final = 1000.0
SHARES: Final[Mapping[int, float]] = {1: 0.427, 4: 0.40, 3: 0.148, 2: 0.025}
"""Share of each `grav`, from the least to the worst."""

CHANCE_OF_ACCIDENT: Final = 0.55
CHANCE_OF_PERSON: Final = 0.85
DEPARTMENT_EFFECT: Final = 0.35  # how differently departments hospitalise; the same in every year and sample
