"""The features of scenes: one row of numbers for each person. Training and the API use the same function.

A prediction is made from the whole scene: the people, their vehicles and the circumstances.
No feature uses `grav`. A field that is not given is missing (NaN), never zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from include.accidents.features.arrays import Columns, SceneArrays
from include.accidents.features.definitions import FEATURES, NAMES

if TYPE_CHECKING:
    from include.accidents.data.scenes import Scenes
    from include.accidents.features.declaration import Floats


def build(scenes: Scenes) -> Floats:
    """Make the features of every person; see `from_columns`."""
    return from_columns(scenes.accidents, scenes.vehicles, scenes.people)


def from_columns(accidents: Columns, vehicles: Columns, people: Columns) -> Floats:
    """Make the features of every person.

    Parameters
    ----------
    accidents, vehicles, people
        The canonical tables, as in `Scenes`: frames, or mappings of column names to arrays, which are read five
        times faster. `accident` and `vehicle` are positions. A column that is absent is missing everywhere.
        `people_assumed` of accidents: 1 where the list of people is assumed (one driver in each vehicle).

    Returns
    -------
    Array of shape (people, features), float32, columns in the order of `NAMES`, NaN for what is not given.
    It is not a frame: pandas 3 returns read-only views, which scikit-learn's trees refuse when a value is missing,
    and a frame costs the API time.
    """
    scene = SceneArrays(accidents, vehicles, people)
    # It is filled and written to files column by column: five times faster in this order than by row.
    matrix = np.empty((scene.people.rows, len(FEATURES)), dtype=np.float32, order="F")
    assumed = scene.of_accident("people_assumed") == 1
    nobody = not assumed.any()
    for i, feature in enumerate(FEATURES):
        matrix[:, i] = feature.make(scene)
        if feature.of_everybody and not nobody:
            matrix[assumed, i] = np.nan
    return matrix


def frame(matrix: Floats) -> pd.DataFrame:
    """Return the matrix with its columns named, for people and for files."""
    return pd.DataFrame(matrix, columns=list(NAMES), copy=False)
