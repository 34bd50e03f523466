"""People with their features, their class and their accident: what models learn from and are judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd


@dataclass(frozen=True)
class Dataset:
    """Features with their target.

    Attributes
    ----------
    x
        Shape (people, features), float32, columns in the order of `definitions.NAMES`.
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
        at = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        # A matrix stored by column stays so: plain indexing would return one stored by row.
        x = self.x.T.take(at, axis=1).T if self.x.flags.f_contiguous else self.x[at]
        return Dataset(x, self.y[at], self.accident[at])

    def classes(self) -> npt.NDArray[np.int64]:
        """Return the number of people of each class."""
        return np.bincount(self.y, minlength=4)

    def target(self) -> pd.DataFrame:
        """Return accident number and class, the content of the y files."""
        return pd.DataFrame({"num_acc": self.accident, "grav_class": self.y})


def join(years: Sequence[Dataset]) -> Dataset:
    """Concatenate the years."""
    return Dataset(
        np.concatenate([d.x for d in years]),
        np.concatenate([d.y for d in years]),
        np.concatenate([d.accident for d in years]),
    )
