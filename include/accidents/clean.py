"""Clean data: the features of people whose severity is known, split by accident."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
        at = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        # Each column by itself where it lies in one piece: indexing would turn the matrix round.
        x = self.x.T.take(at, axis=1).T if self.x.flags.f_contiguous else self.x[at]
        return Dataset(x, self.y[at], self.accident[at])

    def classes(self) -> npt.NDArray[np.int64]:
        """Return the number of people of each class."""
        return np.bincount(self.y, minlength=4)

    def target(self) -> pd.DataFrame:
        """Return accident number and class, the content of the y files."""
        return pd.DataFrame({"num_acc": self.accident, "grav_class": self.y})


def clean(scenes: Scenes) -> tuple[Dataset, dict[str, int]]:
    """Make the features of one year and drop people whose severity is not known.

    Returns the data and the number of people dropped, by reason. Dropped people still count in their scene.
    """
    whole, known = _whole(scenes)
    return (whole if known.all() else whole.take(known)), dropped(scenes)


def clean_and_divide(scenes: Scenes, accidents: int = 8192) -> Iterator[tuple[Dataset, Dataset]]:
    """Return the train_test and the global_test of one year, some thousand accidents at a time."""
    for piece in _pieces(scenes, accidents):
        whole, known = _whole(piece)
        held = split.is_held_out(whole.accident)
        yield whole.take(known & ~held), whole.take(known & held)


def _pieces(scenes: Scenes, accidents: int) -> Iterator[Scenes]:
    """Return the year in pieces of whole accidents: nothing of one depends on another."""
    of_vehicle, of_person = (t["accident"].to_numpy() for t in (scenes.vehicles, scenes.people))
    place = np.full(len(of_vehicle) + 1, -1)  # the last: that of no vehicle
    for start in range(0, len(scenes.accidents), accidents):
        stop = start + accidents
        vehicles = np.flatnonzero((of_vehicle >= start) & (of_vehicle < stop))
        place[vehicles] = np.arange(len(vehicles))
        own = scenes.vehicles.take(vehicles)
        people = scenes.people.take(np.flatnonzero((of_person >= start) & (of_person < stop)))
        yield Scenes(
            scenes.accidents.iloc[start:stop],
            own.assign(accident=own["accident"] - start),
            people.assign(accident=people["accident"] - start, vehicle=place[people["vehicle"]]),
        )


def _whole(scenes: Scenes) -> tuple[Dataset, npt.NDArray[np.bool_]]:
    """Return all people of a year, class -1 where the severity is not known, and where it is."""
    grav = scenes.people["grav"].to_numpy()
    known = ~np.isnan(grav)
    number = scenes.accidents["num_acc"].to_numpy()[scenes.people["accident"].to_numpy()]
    y = np.where(known, grav - 1, -1).astype(np.int64)
    return Dataset(features.build(scenes), y, number.astype(np.int64)), known


def dropped(scenes: Scenes) -> dict[str, int]:
    """Return the number of people who are not in the clean data, by reason."""
    lost = int(scenes.people["grav"].isna().sum())
    return {"severity not given": lost} if lost else {}


def join(years: Sequence[Dataset]) -> Dataset:
    """Put the years together."""
    return Dataset(
        np.concatenate([d.x for d in years]),
        np.concatenate([d.y for d in years]),
        np.concatenate([d.accident for d in years]),
    )


def hold_out(data: Dataset) -> tuple[Dataset, Dataset]:
    """Return (train_test, global_test): whole accidents, by the keyed hash; InputError as `check_classes`."""
    held = split.is_held_out(data.accident)
    parts = data.take(~held), data.take(held)
    check_classes(*(part.classes() for part in parts))
    return parts


def check_classes(train_test: npt.NDArray[np.int64], global_test: npt.NDArray[np.int64]) -> None:
    """See that there are people of every class in both parts, given their numbers by class.

    Raises
    ------
    InputError
        When a class is absent from either: then nothing can be learned or judged.
    """
    for name, people in (("train_test", train_test), ("global_test", global_test)):
        absent = [str(grav) for grav, count in enumerate(people, start=1) if not count]
        if absent:
            raise InputError(
                f"{name} has {people.sum()} people and none of severity grav {', '.join(absent)}.",
                "add years or complete files: some thousand accidents are needed.",
            )
