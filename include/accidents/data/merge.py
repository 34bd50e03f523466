"""Merge the tables of one year into one CSV: a line a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from include.accidents.data import csvtext

if TYPE_CHECKING:
    from include.accidents.data.scenes import Scenes

ROWS = 8192  # formatted at a time


def merged_csv(scenes: Scenes) -> Iterator[memoryview]:
    """Format the merged CSV of a year: one line for each person.

    People without a vehicle keep their line, with empty cells for the vehicle. A vehicle without people has no line
    here, which is why features are made from `Scenes`. An accident and a vehicle are formatted once, however many
    people they have.

    Yields
    ------
    The header, then `ROWS` lines at a time: columns of the accident and its place, of the person, of their vehicle.
    """
    own = scenes.vehicles.drop(columns=["accident", "id_vehicule", "num_veh"], errors="ignore")
    rest = scenes.people.drop(columns=["accident", "vehicle"])
    yield csvtext.header([*scenes.accidents, *rest, *own])
    accidents = pa.concat_arrays([csvtext.lines(rows) for rows in _slices(scenes.accidents)])
    no_vehicle = pa.array([";" * (len(own.columns) - 1)], pa.large_string())
    vehicles = pa.concat_arrays([*(csvtext.lines(rows) for rows in _slices(own)), no_vehicle])
    of_accident = scenes.people["accident"].to_numpy()
    of_vehicle = np.where(scenes.people["vehicle"] < 0, len(own), scenes.people["vehicle"])
    for i, people in enumerate(_slices(rest)):
        at = slice(i * ROWS, (i + 1) * ROWS)
        parts = accidents.take(of_accident[at]), csvtext.lines(people), vehicles.take(of_vehicle[at])
        yield csvtext.text(csvtext.side_by_side(*parts))


def _slices(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    return (table.iloc[start : start + ROWS] for start in range(0, len(table), ROWS))
