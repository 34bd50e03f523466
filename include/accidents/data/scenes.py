"""The scene: accidents with their vehicles and people, linked by position."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd


@dataclass(frozen=True)
class Scenes:
    """Accidents with their vehicles and people, linked by position.

    Every vintage gives the same columns with the same types, in the order of `columns.COLUMNS`. A column that a
    vintage lacks is missing.

    Attributes
    ----------
    accidents
        One row an accident: `num_acc` (int64) and the columns of `caracteristiques` and `lieux`.
    vehicles
        One row a vehicle; `accident` is the position of its accident (int64).
    people
        One row a person; `accident` and `vehicle` are positions (int64; vehicle -1 when unknown).

    Codes and numbers are float32 with NaN for "not given"; `dep` is numeric, `hrmn` in minutes since midnight;
    texts are strings. To 2018 `id_vehicule` is made of the accident's number and `num_veh`.
    """

    accidents: pd.DataFrame
    vehicles: pd.DataFrame
    people: pd.DataFrame


Positions = npt.NDArray[np.int64]
