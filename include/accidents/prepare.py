"""Merge the tables of one year into one row a person."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from include.accidents.raw import Scenes


def merge(scenes: Scenes) -> pd.DataFrame:
    """Return one row a person with the columns of the accident, the place and the person's vehicle.

    People without a vehicle keep their row; the vehicle's columns are then missing. A vehicle that nobody is
    recorded in has no row here, which is why features are made from `Scenes`.
    """
    return _merge(scenes, scenes.people)


def merge_in_slices(scenes: Scenes, people: int = 16384) -> Iterator[pd.DataFrame]:
    """Return the same rows, some thousand people at a time: a year has 55 columns, and memory is for other things."""
    for start in range(0, len(scenes.people), people):
        yield _merge(scenes, scenes.people.iloc[start : start + people].reset_index(drop=True))


def _merge(scenes: Scenes, people: pd.DataFrame) -> pd.DataFrame:
    accident = scenes.accidents.take(people["accident"].to_numpy()).reset_index(drop=True)
    at = people["vehicle"].to_numpy()
    own = scenes.vehicles.drop(columns=["accident", "id_vehicule", "num_veh"], errors="ignore")
    if len(own):
        own = own.take(np.maximum(at, 0)).reset_index(drop=True)
        own[at < 0] = np.nan
    else:
        own = pd.DataFrame(np.nan, index=people.index, columns=own.columns, dtype=np.float32)
    rest = people.drop(columns=["accident", "vehicle"])
    return pd.concat([accident, rest, own], axis=1)
