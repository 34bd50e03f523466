"""Clean data: the features of people whose severity is known, split by accident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from include.accidents import features, split
from include.accidents.errors import InputError
from include.accidents.raw import Scenes


@dataclass(frozen=True)
class Dataset:
    """Features with their target.

    Attributes
    ----------
    x
        Shape (people, features), float32, columns in the order of `features.NAMES`.
    y
        Class 0 to 3: `grav` - 1 (int64).
    accident
        Number of each person's accident (int64): for grouping, never a feature.
    """

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    accident: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Dataset:
        """Return the chosen rows."""
        return Dataset(self.x[rows], self.y[rows], self.accident[rows])

    def target(self) -> pd.DataFrame:
        """Return accident number and class, the content of the y files."""
        return pd.DataFrame({"num_acc": self.accident, "grav_class": self.y})


def clean(scenes: Scenes) -> tuple[Dataset, dict[str, int]]:
    """Make the features of one year and drop people whose severity is not known.

    Returns the data and the number of people dropped, by reason. Dropped people still count in their scene.
    """
    made = features.build(scenes)
    grav = scenes.people["grav"].to_numpy()
    known = ~np.isnan(grav)
    number = scenes.accidents["num_acc"].to_numpy()[scenes.people["accident"].to_numpy()]
    data = Dataset(made[known], grav[known].astype(np.int64) - 1, number[known].astype(np.int64))
    lost = int((~known).sum())
    return data, {"severity not given": lost} if lost else {}


def join(years: Sequence[Dataset]) -> Dataset:
    """Put the years together."""
    return Dataset(
        np.concatenate([d.x for d in years]),
        np.concatenate([d.y for d in years]),
        np.concatenate([d.accident for d in years]),
    )


def hold_out(data: Dataset) -> tuple[Dataset, Dataset]:
    """Return (train_test, global_test): whole accidents, by the keyed hash.

    Raises
    ------
    InputError
        When a class is absent from either part: then nothing can be learned or judged.
    """
    held = split.is_held_out(data.accident)
    parts = data.take(~held), data.take(held)
    for name, part in zip(("train_test", "global_test"), parts, strict=True):
        absent = sorted(set(range(4)) - set(np.unique(part.y).tolist()))
        if absent:
            raise InputError(
                f"{name} has {len(part.y)} people and none of severity grav {', '.join(str(c + 1) for c in absent)}.",
                "add years or complete files: some thousand accidents are needed.",
            )
    return parts
