"""Random accidents: codes, shares and couplings of real ones, and a severity that can partly be learnt.

No row is real. The tables of weights give the shape of the year 2021 in round figures (shares by setting,
place and class of vehicle), so that whatever reads the real files meets the same kinds of values. Severity is
drawn from a hidden score made of what is known to decide it (mass ratio, protection, age, speed, kind of
collision, light), plus chance for the accident and for the person; the cuts between the classes lie where the
real shares are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from include.accidents.schema import DEPARTMENTS, VEHICLE_CLASSES, Table, VehicleClass

Values = NDArray[Any]
Columns = dict[str, Values]
Tables = dict[Table, Columns]
Weights = Mapping[int, float]

FIRST_YEAR_OF_FLED: Final = 2021
"""From this vintage on people who fled are in the files, of whom next to nothing is known."""

# How an accident came about: what most of the other shares hang on.
_PEDESTRIAN, _ALONE, _SEVERAL = 0, 1, 2
_SETTINGS: Final[Weights] = {_PEDESTRIAN: 157, _ALONE: 221, _SEVERAL: 622}
_RURAL, _URBAN = 1, 2  # `agg`
_URBAN_SHARE: Final[Mapping[int, float]] = {_PEDESTRIAN: 0.93, _ALONE: 0.44, _SEVERAL: 0.64}

# --- place and time

_HOURS: Final = (
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
_MONTHS: Final = (66, 59, 73, 68, 86, 104, 95, 81, 100, 103, 83, 82)
_MINUTES_OF_DAYLIGHT: Final = (
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
_SOLAR_NOON: Final = 13 * 60 + 20
_TWILIGHT: Final = 40  # minutes
_DARK: Final[Mapping[int, Weights]] = {_RURAL: {3: 78, 4: 3, 5: 19}, _URBAN: {3: 12, 4: 6, 5: 82}}

_MOST_ACCIDENTS: Final[Mapping[str, float]] = {
    "75": 90, "93": 51, "13": 49, "94": 44, "69": 43, "92": 43, "91": 26, "33": 25, "59": 18, "95": 17,
    "64": 17, "06": 17, "83": 15, "974": 14, "35": 14, "77": 14, "29": 13, "76": 13, "38": 12, "49": 12,
    "78": 12, "37": 12, "31": 12, "67": 11, "34": 10, "988": 5, "976": 4, "987": 2, "978": 1,
    "977": 0.4, "986": 0.2, "975": 0.1,
}  # fmt: skip
_OTHER_DEPARTMENT: Final = 5.0

_OVERSEAS: Final[Mapping[str, tuple[float, float]]] = {
    "971": (16.25, -61.55), "972": (14.65, -61.0), "973": (4.9, -52.3), "974": (-21.1, 55.5),
    "975": (46.8, -56.2), "976": (-12.8, 45.15), "977": (17.9, -62.85), "978": (18.07, -63.05),
    "986": (-13.3, -176.2), "987": (-17.6, -149.5), "988": (-22.2, 166.4),
}  # fmt: skip
"""Latitude and longitude of each territory, in degrees. Metropolitan positions are drawn from one box."""

_TERRITORIES_SINCE: Final[Mapping[str, int]] = {
    "976": 2012, "975": 2019, "977": 2019, "978": 2019, "986": 2019, "987": 2019, "988": 2019,
}  # fmt: skip
"""First vintage of the territories that the files did not always cover."""

_CATR: Final[Mapping[int, Weights]] = {
    _RURAL: {1: 261, 2: 124, 3: 491, 4: 74, 5: 1, 6: 2, 7: 41, 9: 5},
    _URBAN: {1: 4, 2: 28, 3: 287, 4: 610, 5: 1, 6: 9, 7: 54, 9: 7},
}
# By place and category of road; -1: not given. Roads that are not listed here are as 9.
_VMA: Final[Mapping[tuple[int, int], Weights]] = {
    (_RURAL, 1): {-1: 10, 50: 46, 70: 135, 80: 3, 90: 377, 110: 237, 130: 188},
    (_RURAL, 2): {-1: 19, 30: 11, 50: 78, 70: 170, 80: 196, 90: 291, 110: 217},
    (_RURAL, 3): {-1: 28, 30: 6, 50: 69, 70: 132, 80: 621, 90: 126, 110: 15},
    (_RURAL, 4): {-1: 57, 30: 65, 50: 380, 70: 96, 80: 358, 90: 35},
    (_RURAL, 7): {-1: 19, 30: 10, 50: 170, 70: 309, 80: 307, 90: 157, 110: 26},
    (_RURAL, 9): {-1: 193, 10: 40, 20: 37, 30: 200, 50: 312, 70: 83, 80: 193, 90: 18},
    (_URBAN, 1): {-1: 19, 50: 373, 70: 133, 80: 25, 90: 405, 110: 19},
    (_URBAN, 2): {-1: 19, 30: 37, 50: 752, 70: 100, 80: 17, 90: 44},
    (_URBAN, 3): {-1: 16, 30: 83, 50: 849, 70: 29, 80: 13},
    (_URBAN, 4): {-1: 5, 20: 4, 30: 217, 50: 739, 70: 28},
    (_URBAN, 7): {-1: 8, 30: 78, 50: 842, 70: 50, 80: 9, 90: 8},
    (_URBAN, 9): {-1: 65, 10: 60, 20: 53, 30: 300, 50: 500},
}
_INT: Final[Mapping[int, Weights]] = {
    _RURAL: {1: 825, 2: 56, 3: 50, 4: 13, 5: 1, 6: 21, 8: 1, 9: 32},
    _URBAN: {1: 536, 2: 163, 3: 140, 4: 29, 5: 9, 6: 51, 7: 17, 8: 3, 9: 51},
}
_COL: Final[Mapping[int, Weights]] = {
    _PEDESTRIAN: {-1: 1, 1: 36, 2: 8, 3: 29, 6: 898, 7: 28},
    _ALONE: {1: 17, 2: 2, 3: 7, 6: 557, 7: 417},
    _SEVERAL: {1: 166, 2: 236, 3: 550, 6: 40, 7: 8},
}
_COL_OF_MANY: Final[Weights] = {4: 560, 5: 440}  # three vehicles and more
_ATM: Final[Weights] = {-1: 1, 1: 797, 2: 107, 3: 20, 4: 4, 5: 7, 6: 2, 7: 18, 8: 40, 9: 5}
_SURF: Final[Mapping[int, Weights]] = {
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
_CIRC: Final[Mapping[int, Weights]] = {
    1: {-1: 79, 1: 315, 2: 30, 3: 575, 4: 3},
    2: {-1: 41, 1: 189, 2: 429, 3: 335, 4: 6},
    3: {-1: 38, 1: 82, 2: 795, 3: 79, 4: 7},
    4: {-1: 54, 1: 237, 2: 639, 3: 63, 4: 7},
    5: {-1: 476, 1: 127, 2: 381, 3: 16},
    6: {-1: 952, 1: 15, 2: 33},
    7: {-1: 44, 1: 141, 2: 637, 3: 169, 4: 9},
    9: {-1: 272, 1: 185, 2: 494, 3: 31, 4: 17},
}
_NBV: Final[Mapping[int, Weights]] = {
    1: {-1: 7, 0: 6, 1: 40, 2: 142, 3: 222, 4: 262, 5: 55, 6: 148, 7: 18, 8: 63, 9: 12, 10: 18, 12: 3},
    2: {-1: 6, 0: 23, 1: 57, 2: 519, 3: 75, 4: 247, 5: 16, 6: 45, 8: 5},
    3: {-1: 4, 0: 15, 1: 61, 2: 793, 3: 41, 4: 72, 5: 5, 6: 6},
    4: {-1: 6, 0: 27, 1: 171, 2: 580, 3: 73, 4: 109, 5: 15, 6: 13, 8: 3},
    5: {-1: 16, 0: 206, 1: 413, 2: 302, 4: 48},
    6: {-1: 635, 0: 299, 1: 30, 2: 35},
    7: {-1: 6, 0: 16, 1: 75, 2: 619, 3: 90, 4: 138, 5: 16, 6: 25, 8: 8},
    9: {-1: 20, 0: 140, 1: 264, 2: 537, 4: 20},
}
_PLAN: Final[Mapping[int, Weights]] = {
    _RURAL: {-1: 1, 1: 692, 2: 143, 3: 140, 4: 24},
    _URBAN: {-1: 1, 1: 866, 2: 69, 3: 58, 4: 7},
}
_PROF: Final[Mapping[int, Weights]] = {
    _RURAL: {-1: 1, 1: 743, 2: 210, 3: 26, 4: 21},
    _URBAN: {-1: 1, 1: 843, 2: 135, 3: 11, 4: 10},
}
_INFRA: Final[Mapping[int, Weights]] = {
    _RURAL: {-1: 1, 0: 860, 1: 21, 2: 22, 3: 29, 4: 1, 5: 35, 6: 1, 7: 1, 8: 7, 9: 21},
    _URBAN: {-1: 16, 0: 830, 1: 6, 2: 12, 3: 4, 4: 5, 5: 63, 6: 13, 8: 7, 9: 43},
}
_SITU: Final[Mapping[int, Weights]] = {
    _RURAL: {-1: 1, 1: 776, 2: 16, 3: 153, 4: 3, 5: 4, 6: 3, 8: 43},
    _URBAN: {-1: 1, 1: 861, 2: 1, 3: 21, 4: 34, 5: 36, 6: 20, 8: 27},
}
_VOSP: Final[Mapping[int, Weights]] = {
    _RURAL: {-1: 3, 0: 973, 1: 9, 2: 4, 3: 11},
    _URBAN: {-1: 4, 0: 830, 1: 77, 2: 37, 3: 52},
}

# --- vehicles

_VEHICLES: Final[Mapping[int, Weights]] = {
    _PEDESTRIAN: {1: 968, 2: 32},
    _ALONE: {1: 1},
    _SEVERAL: {2: 8870, 3: 882, 4: 177, 5: 52, 6: 12, 7: 4, 8: 2, 12: 1},
}
# Columns: alone, several, with a pedestrian; each outside and inside built-up areas, per 10,000.
_CATV_PLACES: Final = tuple((setting, agg) for setting in (_ALONE, _SEVERAL, _PEDESTRIAN) for agg in (1, 2))
_CATV: Final[Mapping[int, tuple[float, ...]]] = {
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
_MOTOR: Final[Mapping[VehicleClass, Weights]] = {
    VehicleClass.CAR: {0: 39, 1: 921, 2: 28, 3: 8, 6: 2},
    VehicleClass.BICYCLE: {0: 87, 3: 85, 5: 799, 6: 22},
    VehicleClass.PERSONAL_MOBILITY: {3: 861, 5: 135, 6: 4},
    VehicleClass.BUS: {0: 66, 1: 784, 2: 87, 3: 32, 4: 8, 6: 22},
    VehicleClass.RAIL: {-1: 17, 0: 109, 1: 46, 3: 787, 6: 23},
    VehicleClass.OTHER: {-1: 33, 0: 445, 1: 322, 3: 110, 5: 35, 6: 53},
}
_OTHER_MOTOR: Final[Weights] = {-1: 1, 0: 45, 1: 930, 3: 17, 6: 5}
_MANV: Final[Mapping[int, Weights]] = {
    _ALONE: {
        0: 100, 1: 472, 2: 39, 9: 14, 11: 4, 12: 6, 13: 79, 14: 92, 15: 22, 16: 25, 17: 17, 19: 8, 21: 35,
        26: 62,
    },
    _SEVERAL: {
        0: 52, 1: 382, 2: 140, 3: 12, 4: 2, 5: 13, 6: 1, 7: 3, 9: 36, 10: 8, 11: 13, 12: 12, 13: 39, 14: 8,
        15: 94, 16: 24, 17: 37, 18: 6, 19: 31, 20: 4, 21: 12, 22: 4, 23: 30, 24: 4, 25: 2,
        26: 28,
    },
    _PEDESTRIAN: {
        -1: 1, 0: 39, 1: 513, 2: 35, 4: 30, 5: 6, 7: 4, 8: 1, 9: 29, 14: 11, 15: 82, 16: 50, 17: 25, 19: 18,
        20: 24, 21: 17, 23: 9, 24: 4, 25: 11, 26: 70,
    },
}  # fmt: skip
_CHOC: Final[Mapping[int, Weights]] = {
    _ALONE: {-1: 1, 0: 181, 1: 384, 2: 120, 3: 97, 4: 8, 5: 5, 6: 6, 7: 66, 8: 63, 9: 69},
    _SEVERAL: {0: 46, 1: 348, 2: 112, 3: 154, 4: 122, 5: 33, 6: 43, 7: 60, 8: 75, 9: 6},
    _PEDESTRIAN: {-1: 1, 0: 59, 1: 427, 2: 213, 3: 144, 4: 48, 5: 20, 6: 16, 7: 43, 8: 28, 9: 1},
}
_OBS: Final[Mapping[int, Weights]] = {
    _ALONE: {
        -1: 1, 0: 303, 1: 56, 2: 100, 3: 51, 4: 66, 5: 9, 6: 66, 7: 13, 8: 60, 9: 20, 10: 7, 11: 9, 12: 41,
        13: 112, 14: 27, 15: 30, 16: 24, 17: 6,
    },
    _SEVERAL: {0: 940, 1: 18, 2: 2, 3: 8, 4: 6, 6: 3, 7: 2, 8: 5, 9: 3, 12: 3, 13: 3, 14: 4, 15: 2, 16: 1},
    _PEDESTRIAN: {0: 943, 1: 28, 6: 3, 8: 4, 9: 6, 12: 4, 14: 3, 15: 4},
}  # fmt: skip
_OBSM: Final[Mapping[int, Weights]] = {
    _ALONE: {-1: 1, 0: 939, 1: 1, 2: 29, 4: 1, 5: 6, 6: 10, 9: 13},
    _SEVERAL: {0: 74, 1: 1, 2: 903, 4: 1, 9: 20},
    _PEDESTRIAN: {0: 28, 1: 925, 2: 43, 9: 3},
}
_SENC: Final[Weights] = {-1: 4, 0: 62, 1: 453, 2: 341, 3: 140}
_BUS_OCCUPANTS: Final[Weights] = {-1: 20, 1: 55, 2: 9, 3: 5, 4: 2, 5: 1, 8: 1, 11: 1, 28: 1}

# --- people

_PASSENGERS: Final[Mapping[VehicleClass, Weights]] = {
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
_FEW_PASSENGERS: Final[Weights] = {0: 930, 1: 55, 2: 15}
_PEDESTRIANS: Final[Weights] = {1: 9450, 2: 446, 3: 80, 4: 18, 5: 5, 9: 1}

_AGE_SHARES: Final = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_DRIVER_AGES: Final[Mapping[VehicleClass, tuple[float, ...]]] = {
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
_OTHER_DRIVER_AGES: Final = (16, 21, 29, 40, 52, 65, 85)
_PASSENGER_AGES: Final = (0, 3, 17, 23, 38, 71, 98)
_PEDESTRIAN_AGES: Final = (0, 5, 18, 40, 65, 85, 100)
_MALE_DRIVERS: Final[Mapping[VehicleClass, float]] = {
    VehicleClass.CAR: 0.64,
    VehicleClass.BICYCLE: 0.75,
    VehicleClass.PERSONAL_MOBILITY: 0.70,
    VehicleClass.MICROCAR: 0.72,
    VehicleClass.MOPED: 0.89,
}
_OTHER_MALE_DRIVERS: Final = 0.93

_TWO_WHEELERS: Final = (
    VehicleClass.MOPED,
    VehicleClass.LIGHT_MOTORCYCLE,
    VehicleClass.MOTORCYCLE,
    VehicleClass.TRICYCLE,
    VehicleClass.QUAD,
)
_CYCLES: Final = (VehicleClass.BICYCLE, VehicleClass.PERSONAL_MOBILITY)

# What people wear, by what they are.
_ON_FOOT, _ON_CYCLE, _ON_TWO_WHEELER, _BELTED, _CHILD = range(5)
_SECU1: Final[Mapping[int, Weights]] = {
    _ON_FOOT: {-1: 3, 0: 899, 4: 4, 8: 93, 9: 1},
    _ON_CYCLE: {-1: 15, 0: 155, 1: 7, 2: 405, 4: 3, 8: 410, 9: 3},
    _ON_TWO_WHEELER: {-1: 14, 0: 22, 1: 9, 2: 910, 6: 5, 8: 42},
    _BELTED: {-1: 22, 0: 26, 1: 862, 8: 90, 9: 1},
    _CHILD: {0: 30, 1: 380, 3: 520, 8: 70},
}
_SECU2: Final[Mapping[int, Weights]] = {
    _ON_FOOT: {-1: 911, 0: 7, 8: 81, 9: 1},
    _ON_CYCLE: {-1: 350, 0: 540, 4: 17, 6: 24, 8: 62, 9: 5},
    _ON_TWO_WHEELER: {-1: 160, 0: 210, 2: 4, 4: 4, 5: 3, 6: 520, 7: 4, 8: 90, 9: 4},
    _BELTED: {-1: 447, 0: 425, 1: 2, 3: 1, 4: 14, 5: 17, 7: 1, 8: 93, 9: 2},
    _CHILD: {-1: 520, 0: 380, 3: 30, 5: 5, 8: 65},
}
_SECU3: Final[Weights] = {-1: 9890, 0: 21, 4: 1, 6: 6, 8: 5, 9: 70}

_DRIVER, _PASSENGER, _WALKER = 1, 2, 3  # `catu`
_TRAJET: Final[Mapping[int, Weights]] = {
    _DRIVER: {-1: 8, 0: 255, 1: 165, 2: 14, 3: 33, 4: 110, 5: 330, 9: 85},
    _PASSENGER: {0: 262, 1: 32, 2: 22, 3: 32, 4: 52, 5: 520, 9: 80},
    _WALKER: {-1: 3, 0: 263, 1: 66, 2: 94, 3: 89, 4: 23, 5: 349, 9: 112},
}
_SEATS: Final = np.array((2, 3, 4, 5, 7, 9, 8))  # in the order in which passengers fill them
_LOCP: Final[Weights] = {-1: 3, 0: 17, 1: 142, 2: 224, 3: 300, 4: 148, 5: 80, 6: 27, 7: 1, 8: 15, 9: 43}
_ACTP: Final[Weights] = {-1: 3, 0: 14, 1: 64, 2: 28, 3: 721, 4: 12, 5: 46, 6: 3, 9: 68, 10: 13, 11: 26}
_ETATP: Final[Weights] = {-1: 18, 1: 740, 2: 197, 3: 45}

_FLED_SHARE: Final = 0.14  # of the first drivers where someone else could be hurt
_FLED_UNKNOWN_SHARE: Final = 0.02  # of those, without a severity
_UNKNOWN_BIRTH_SHARE: Final = 0.0005

# --- severity

_WALKER_MASS: Final = 75.0
_UNKNOWN_MASS: Final = 1000.0
_SHARES: Final[Mapping[int, float]] = {1: 0.427, 4: 0.40, 3: 0.148, 2: 0.025}
"""Share of each `grav`, from the least to the worst."""

_CHANCE_OF_ACCIDENT: Final = 0.55
_CHANCE_OF_PERSON: Final = 0.85
_DEPARTMENT_EFFECT: Final = 0.35  # how differently departments hospitalise; the same in every year and sample


def simulate(year: int, accidents: int, seed: int) -> Tables:
    """Draw a year of accidents.

    Parameters
    ----------
    year, seed
        The same two give the same accidents, whatever other years are drawn.
    accidents
        How many, at least one.

    Returns
    -------
    The four tables as columns under today's names, one row an accident in `caracteristiques` and `lieux`.
    Codes are integers, -1 for not given; `hrmn` in minutes since midnight; `num_acc`, `id_vehicule` and
    `id_usager` are row numbers that start at 0; `num_veh` counts from 0 within the accident; `com` counts
    within the department; `lat` and `long` in degrees.
    """
    rng = np.random.default_rng([seed, year])
    setting = _draw(rng, _SETTINGS, accidents)
    vehicle_count = _draw_by(rng, _VEHICLES, setting)
    circumstances = _circumstances(rng, year, setting, vehicle_count)
    road = _road(rng, circumstances["agg"], circumstances["atm"])
    vehicles = _vehicles(rng, setting, circumstances["agg"], vehicle_count)
    people = _people(rng, year, setting, vehicles)
    people["grav"] = _severities(rng, circumstances | road, vehicles, people)
    if year >= FIRST_YEAR_OF_FLED:
        _flee(rng, setting, vehicles, people)
    return {
        Table.CARACTERISTIQUES: circumstances,
        Table.LIEUX: road,
        Table.VEHICULES: vehicles,
        Table.USAGERS: people,
    }


# --- drawing


def _draw(rng: np.random.Generator, weights: Weights, size: int) -> Values:
    """Codes at random, by weight."""
    shares = np.array(list(weights.values()), dtype=float)
    return np.array(list(weights))[_draw_index(rng, shares, size)]


def _draw_index(rng: np.random.Generator, weights: Values, size: int) -> Values:
    """Positions at random, by weight."""
    bounds = np.cumsum(weights / weights.sum())
    return np.searchsorted(bounds[:-1], rng.random(size), side="right")


def _draw_by(rng: np.random.Generator, tables: Mapping[int, Weights], groups: Values) -> Values:
    """Codes at random, each by the weights of its group."""
    codes = np.empty(len(groups), dtype=np.int64)
    for group, weights in tables.items():
        members = np.flatnonzero(groups == group)
        codes[members] = _draw(rng, weights, len(members))
    return codes


def _draw_by_class(
    rng: np.random.Generator, tables: Mapping[VehicleClass, Weights], other: Weights, classes: Values
) -> Values:
    """Codes at random, each by the weights of its class of vehicle."""
    codes = _draw(rng, other, len(classes))
    for kind, weights in tables.items():
        members = np.flatnonzero(classes == kind)
        codes[members] = _draw(rng, weights, len(members))
    return codes


# --- place and time


def _circumstances(rng: np.random.Generator, year: int, setting: Values, vehicle_count: Values) -> Columns:
    """The columns of `caracteristiques`."""
    size = len(setting)
    month = 1 + _draw_index(rng, np.array(_MONTHS, dtype=float), size)
    minute = _minutes(rng, size)
    urban_share = np.array([_URBAN_SHARE[kind] for kind in sorted(_URBAN_SHARE)])
    agg = np.where(rng.random(size) < urban_share[setting], _URBAN, _RURAL)
    collision = _draw_by(rng, _COL, setting)
    many = np.flatnonzero(vehicle_count > 2)
    collision[many] = _draw(rng, _COL_OF_MANY, len(many))
    return {
        "num_acc": np.arange(size),
        "jour": 1 + np.floor(rng.random(size) * _days(year, month)).astype(np.int64),
        "mois": month,
        "an": np.full(size, year),
        "hrmn": minute,
        "lum": _light(rng, month, minute, agg),
        **_position(rng, year, size),
        "agg": agg,
        "int": _draw_by(rng, _INT, agg),
        "atm": _draw(rng, _ATM, size),
        "col": collision,
    }


def _minutes(rng: np.random.Generator, size: int) -> Values:
    """Times of day in minutes: officers round most of them to a quarter of an hour."""
    hour = _draw_index(rng, np.array(_HOURS, dtype=float), size)
    exact = rng.integers(0, 60, size)
    return 60 * hour + np.where(rng.random(size) < 0.6, exact // 15 * 15, exact // 5 * 5)


def _days(year: int, month: Values) -> Values:
    """The number of days of each month."""
    first = np.datetime64(f"{year}-01", "M") + (month - 1)
    days: Values = ((first + 1).astype("datetime64[D]") - first.astype("datetime64[D]")).astype(np.int64)
    return days


def _light(rng: np.random.Generator, month: Values, minute: Values, agg: Values) -> Values:
    """`lum` as the sun stands in the middle of the month, and as the street is lit."""
    from_noon = np.abs(minute - _SOLAR_NOON)
    half_day = np.array(_MINUTES_OF_DAYLIGHT)[month - 1] // 2
    light = _draw_by(rng, _DARK, agg)
    light[from_noon <= half_day + _TWILIGHT] = 2
    light[from_noon <= half_day] = 1
    return light


def _position(rng: np.random.Generator, year: int, size: int) -> Columns:
    """Department, municipality, coordinates; metropolitan coordinates have no regard to the department."""
    codes = np.array([code for code in DEPARTMENTS if year >= _TERRITORIES_SINCE.get(code, 0)])
    weights = np.array([_MOST_ACCIDENTS.get(code, _OTHER_DEPARTMENT) for code in codes])
    department = codes[_draw_index(rng, weights, size)]
    latitude, longitude = rng.uniform(43.3, 50.5, size), rng.uniform(-1.0, 6.5, size)
    for code, (north, east) in _OVERSEAS.items():
        there = np.flatnonzero(department == code)
        latitude[there] = north + rng.normal(0, 0.05, len(there))
        longitude[there] = east + rng.normal(0, 0.05, len(there))
    return {"dep": department, "com": rng.integers(1, 400, size), "lat": latitude, "long": longitude}


def _road(rng: np.random.Generator, agg: Values, atm: Values) -> Columns:
    """The columns of `lieux`."""
    size = len(agg)
    category = _draw_by(rng, _CATR, agg)
    listed = np.isin(category, [road for _, road in _VMA])
    limits = {10 * place + road: weights for (place, road), weights in _VMA.items()}
    with_markers = rng.random(size) < 0.65
    return {
        "num_acc": np.arange(size),
        "catr": category,
        "voie": rng.integers(1, 1000, size),
        "circ": _draw_by(rng, _CIRC, category),
        "nbv": _draw_by(rng, _NBV, category),
        "vosp": _draw_by(rng, _VOSP, agg),
        "prof": _draw_by(rng, _PROF, agg),
        "pr": np.where(with_markers, rng.integers(0, 60, size), -1),
        "pr1": np.where(with_markers, rng.integers(0, 20, size) * 50, -1),
        "plan": _draw_by(rng, _PLAN, agg),
        "lartpc": np.where(rng.random(size) < 0.01, rng.integers(5, 70, size) / 10, -1),
        "larrout": np.where(rng.random(size) < 0.05, rng.integers(30, 140, size) / 10, -1),
        "surf": _draw_by(rng, _SURF, atm),
        "infra": _draw_by(rng, _INFRA, agg),
        "situ": _draw_by(rng, _SITU, agg),
        "vma": _draw_by(rng, limits, 10 * agg + np.where(listed, category, 9)),
    }


# --- vehicles


def _vehicles(rng: np.random.Generator, setting: Values, agg: Values, count: Values) -> Columns:
    """The columns of `vehicules`, sorted by accident."""
    accident = np.repeat(np.arange(len(count)), count)
    size = len(accident)
    there = setting[accident]
    category = _categories(rng, there, agg[accident])
    classes = vehicle_classes(category)
    in_public_transport = np.isin(classes, (VehicleClass.BUS, VehicleClass.RAIL))
    return {
        "num_acc": accident,
        "id_vehicule": np.arange(size),
        "num_veh": _rank(accident),
        "senc": _draw(rng, _SENC, size),
        "catv": category,
        "obs": _draw_by(rng, _OBS, there),
        "obsm": _draw_by(rng, _OBSM, there),
        "choc": _draw_by(rng, _CHOC, there),
        "manv": _draw_by(rng, _MANV, there),
        "motor": _draw_by_class(rng, _MOTOR, _OTHER_MOTOR, classes),
        "occutc": np.where(in_public_transport, _draw(rng, _BUS_OCCUPANTS, size), -1),
    }


def _categories(rng: np.random.Generator, setting: Values, agg: Values) -> Values:
    """`catv` by setting and place."""
    tables = {
        10 * there + place: {catv: shares[column] for catv, shares in _CATV.items()}
        for column, (there, place) in enumerate(_CATV_PLACES)
    }
    return _draw_by(rng, tables, 10 * setting + agg)


def _rank(groups: Values) -> Values:
    """The position of each row within its group, from 0; equal groups stand together."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))


def vehicle_classes(catv: Values) -> Values:
    """The class of each category of vehicle."""
    table = np.full(max(VEHICLE_CLASSES) + 1, VehicleClass.OTHER, dtype=object)
    for code, vehicle in VEHICLE_CLASSES.items():
        table[code] = vehicle.kind
    return table[catv]


def _masses(catv: Values) -> Values:
    """The mass of each vehicle in kg."""
    table = np.full(max(VEHICLE_CLASSES) + 1, _UNKNOWN_MASS)
    for code, vehicle in VEHICLE_CLASSES.items():
        table[code] = vehicle.mass or _UNKNOWN_MASS
    return table[catv]


# --- people


def _people(rng: np.random.Generator, year: int, setting: Values, vehicles: Columns) -> Columns:
    """The columns of `usagers` but `grav`, sorted by vehicle; pedestrians belong to the first vehicle."""
    vehicle, role = _roles(rng, setting, vehicles)
    size = len(vehicle)
    classes = vehicle_classes(vehicles["catv"])[vehicle]
    age = _ages(rng, classes, role)
    outfit = _outfits(classes, role, age)
    walks = role == _WALKER
    male = _draw_male(rng, classes, role)
    return {
        "num_acc": vehicles["num_acc"][vehicle],
        "id_usager": np.arange(size),
        "id_vehicule": vehicle,
        "num_veh": vehicles["num_veh"][vehicle],
        "place": _seats(vehicle, role),
        "catu": role,
        "sexe": np.where(male, 1, 2),
        "an_nais": np.where(rng.random(size) < _UNKNOWN_BIRTH_SHARE, -1, year - age),
        "trajet": _draw_by(rng, _TRAJET, role),
        "secu1": _draw_by(rng, _SECU1, outfit),
        "secu2": _draw_by(rng, _SECU2, outfit),
        "secu3": _draw(rng, _SECU3, size),
        "locp": np.where(walks, _draw(rng, _LOCP, size), _not_walking(rng, size)),
        "actp": np.where(walks, _draw(rng, _ACTP, size), _not_walking(rng, size)),
        "etatp": np.where(walks, _draw(rng, _ETATP, size), -1),
    }


def _roles(rng: np.random.Generator, setting: Values, vehicles: Columns) -> tuple[Values, Values]:
    """The vehicle and the role of every person: a driver a vehicle, then its passengers, then pedestrians."""
    classes = vehicle_classes(vehicles["catv"])
    passengers = _draw_by_class(rng, _PASSENGERS, _FEW_PASSENGERS, classes)
    hits = (vehicles["num_veh"] == 0) & (setting[vehicles["num_acc"]] == _PEDESTRIAN)
    pedestrians = np.where(hits, _draw(rng, _PEDESTRIANS, len(hits)), 0)
    vehicle = np.repeat(np.arange(len(classes)), 1 + passengers + pedestrians)
    rank = _rank(vehicle)
    role = np.where(rank > passengers[vehicle], _WALKER, np.where(rank == 0, _DRIVER, _PASSENGER))
    return vehicle, role


def _ages(rng: np.random.Generator, classes: Values, role: Values) -> Values:
    """Ages in whole years, along the quantiles of the role."""
    share = rng.random(len(role))
    age = np.interp(share, _AGE_SHARES, _OTHER_DRIVER_AGES)
    for kind, quantiles in _DRIVER_AGES.items():
        members = classes == kind
        age[members] = np.interp(share[members], _AGE_SHARES, quantiles)
    age = np.where(role == _PASSENGER, np.interp(share, _AGE_SHARES, _PASSENGER_AGES), age)
    age = np.where(role == _WALKER, np.interp(share, _AGE_SHARES, _PEDESTRIAN_AGES), age)
    return age.astype(np.int64)


def _draw_male(rng: np.random.Generator, classes: Values, role: Values) -> Values:
    share = np.full(len(role), _OTHER_MALE_DRIVERS)
    for kind, males in _MALE_DRIVERS.items():
        share[classes == kind] = males
    share[role != _DRIVER] = 0.5
    return rng.random(len(role)) < share


def _outfits(classes: Values, role: Values, age: Values) -> Values:
    """What decides which equipment a person can wear."""
    outfit = np.full(len(role), _BELTED)
    outfit[age < 10] = _CHILD
    outfit[np.isin(classes, _TWO_WHEELERS)] = _ON_TWO_WHEELER
    outfit[np.isin(classes, _CYCLES)] = _ON_CYCLE
    outfit[role == _WALKER] = _ON_FOOT
    return outfit


def _seats(vehicle: Values, role: Values) -> Values:
    """`place`: the driver's, then the passengers' in the usual order."""
    seat = _SEATS[np.minimum(_rank(vehicle), len(_SEATS)) - 1]
    return np.where(role == _WALKER, 10, np.where(role == _DRIVER, 1, seat))


def _not_walking(rng: np.random.Generator, size: int) -> Values:
    """Of people who are no pedestrians: "not given" as often as "not applicable"."""
    return -rng.integers(0, 2, size)


def _flee(rng: np.random.Generator, setting: Values, vehicles: Columns, people: Columns) -> None:
    """Let some first drivers flee, unharmed as far as known, and forget what is not known of them."""
    beside_others = (people["num_veh"] == 0) & (setting[people["num_acc"]] != _ALONE)
    moving = vehicles["obsm"][people["id_vehicule"]] != 0
    unharmed = (people["grav"] == 1) & (people["catu"] == _DRIVER)
    gone = beside_others & moving & unharmed & (rng.random(len(moving)) < _FLED_SHARE)
    for name in ("place", "sexe", "an_nais", "trajet", "secu1", "secu2"):
        people[name][gone] = -1
    people["grav"][gone & (rng.random(len(gone)) < _FLED_UNKNOWN_SHARE)] = -1


# --- severity


def _severities(rng: np.random.Generator, scene: Columns, vehicles: Columns, people: Columns) -> Values:
    """`grav` of every person: the worst-off of each accident is hurt, the others as the shares allow."""
    accident = people["num_acc"]
    score = _harm(scene, vehicles, people)
    score += rng.normal(0, _CHANCE_OF_ACCIDENT, len(scene["num_acc"]))[accident]
    score += rng.normal(0, _CHANCE_OF_PERSON, len(score))
    order = np.lexsort((score, accident))
    worst_off = np.zeros(len(score), dtype=bool)
    worst_off[order[np.flatnonzero(np.diff(accident[order], append=-1))]] = True
    # By rank, those who have to be hurt first: so the shares hold exactly.
    ranked = np.lexsort((score, worst_off))
    can_be_unharmed = len(score) - int(worst_off.sum())
    unharmed = min(round(_SHARES[1] * len(score)), can_be_unharmed)
    severity = np.full(len(score), 1)
    hurt = ranked[unharmed:]
    hurt = hurt[np.argsort(score[hurt], kind="stable")]
    shares = np.array([_SHARES[grav] for grav in (4, 3, 2)])
    cuts = np.round(np.cumsum(shares / shares.sum()) * len(hurt)).astype(np.int64)
    for grav, members in zip((4, 3, 2), np.split(hurt, cuts[:-1]), strict=True):
        severity[members] = grav
    return severity


def _harm(scene: Columns, vehicles: Columns, people: Columns) -> Values:
    """How badly each person is likely to be hurt, chance apart; higher is worse."""
    accident, vehicle = people["num_acc"], people["id_vehicule"]
    classes = vehicle_classes(vehicles["catv"])[vehicle]
    walks = people["catu"] == _WALKER
    return (
        0.6 * _mass_disadvantage(vehicles, vehicle, walks)
        + _exposure(classes, people, walks)
        + _frailty(scene["an"][accident] - people["an_nais"], people["an_nais"])
        + _violence(scene)[accident]
        + np.where(np.isin(vehicles["obs"][vehicle], (2, 6, 8, 13)) & ~walks, 0.7, 0.0)
    )


def _mass_disadvantage(vehicles: Columns, vehicle: Values, walks: Values) -> Values:
    """Logarithm of the mass of what hit a person over the mass that they moved with, within -3 and 4."""
    mass = _masses(vehicles["catv"])
    other = _heaviest_other(vehicles["num_acc"], mass)
    own = np.where(walks, _WALKER_MASS, mass[vehicle])
    against = np.where(walks, mass[vehicle], other[vehicle])
    # Nobody else: the road or an obstacle stops the vehicle, as would one of its own mass.
    return np.clip(np.log(np.where(against > 0, against, own) / own), -3, 4)


def _heaviest_other(accident: Values, mass: Values) -> Values:
    """For every vehicle the mass of the heaviest other one in its accident, 0 where there is none."""
    order = np.lexsort((-mass, accident))
    rank = _rank(accident[order])
    largest, second = np.zeros((2, int(accident.max()) + 1))
    largest[accident[order[rank == 0]]] = mass[order[rank == 0]]
    second[accident[order[rank == 1]]] = mass[order[rank == 1]]
    is_heaviest = np.zeros(len(mass), dtype=bool)
    is_heaviest[order[rank == 0]] = True
    return np.where(is_heaviest, second[accident], largest[accident])


def _exposure(classes: Values, people: Columns, walks: Values) -> Values:
    """What stands between a person and the road."""
    two_wheeler, cycle = np.isin(classes, _TWO_WHEELERS), np.isin(classes, _CYCLES)
    bare = (people["secu1"] == 0) & ~walks & ~cycle
    sits_first = people["catu"] == _DRIVER
    return (
        np.where(walks, 1.2, np.where(two_wheeler, 1.3, np.where(cycle, 0.6, 0.0)))
        + np.where(bare, 1.4, 0.0)
        - np.where((people["secu2"] == 6) & two_wheeler, 0.2, 0.0)
        + np.where(sits_first, 0.1, 0.0)
        + np.where(classes == VehicleClass.MOTORCYCLE, 0.4, 0.0)
    )


def _frailty(age: Values, year_of_birth: Values) -> Values:
    """What age adds; nothing where it is unknown."""
    return np.where(year_of_birth == -1, 0.0, 0.03 * np.clip(age - 50, 0, 45) - 0.3 * (age < 12))


def _violence(scene: Columns) -> Values:
    """How hard an accident is on everyone in it, by place, collision and light."""
    by_collision = np.array([0.0, 0.9, -0.6, 0.1, -0.7, -0.1, 0.2, 0.3, 0.0])  # `col` -1 comes last
    speed = np.where(scene["vma"] > 0, scene["vma"], 50)
    departments = np.random.default_rng(0).normal(0, _DEPARTMENT_EFFECT, len(DEPARTMENTS))
    _, department = np.unique(np.append(list(DEPARTMENTS), scene["dep"]), return_inverse=True)
    return (
        by_collision[scene["col"]]
        + 0.012 * (speed - 50)
        + np.where(scene["agg"] == _RURAL, 0.5, 0.0)
        + np.where(scene["lum"] == 3, 0.35, 0.0)
        + np.where(scene["int"] == 6, -0.3, 0.0)
        + departments[department[len(DEPARTMENTS) :]]
    )
