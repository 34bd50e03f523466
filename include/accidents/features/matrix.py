"""Features: a scene in, one row of numbers a person out. The same function serves training and the API.

The unit of a prediction is the accident scene: who sat in what, against what, under which circumstances.
No feature uses `grav`. A field that is not given is missing (NaN), never zero.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from include.accidents.data.scenes import Scenes
from include.accidents.features.arrays import Columns, SceneArrays
from include.accidents.features.declaration import Floats
from include.accidents.features.definitions import FEATURES, NAMES


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
        `people_assumed` of accidents: 1 where nobody has said who is there beside the drivers.

    Returns
    -------
    Array of shape (people, features), float32, columns in the order of `NAMES`, NaN for what is not given.
    An array and no frame: pandas 3 hands out read-only views, which scikit-learn's trees refuse when a value
    is missing, and a frame costs the API time.
    """
    scene = SceneArrays(accidents, vehicles, people)
    # Column by column is how it is filled, and how it is written to files: five times faster than by row.
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
