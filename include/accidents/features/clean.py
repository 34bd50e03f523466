"""Clean data: the features of people whose severity is known, split by accident."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from include.accidents.data import split
from include.accidents.data.dataset import Dataset
from include.accidents.data.scenes import Scenes
from include.accidents.errors import InputError
from include.accidents.features import matrix


def clean(scenes: Scenes) -> tuple[Dataset, dict[str, int]]:
    """Make the features of one year and drop people whose severity is not known.

    Dropped people still count in the features of the others.

    Returns
    -------
    The data, and the number of people dropped, by reason.
    """
    whole, known = _whole(scenes)
    return (whole if known.all() else whole.take(known)), dropped(scenes)


def clean_and_divide(scenes: Scenes, accidents: int = 8192) -> Iterator[tuple[Dataset, Dataset]]:
    """Yield the train_test and the global_test of one year, some thousand accidents at a time."""
    for piece in _pieces(scenes, accidents):
        whole, known = _whole(piece)
        held = split.is_held_out(whole.accident)
        yield whole.take(known & ~held), whole.take(known & held)


def _pieces(scenes: Scenes, accidents: int) -> Iterator[Scenes]:
    """Yield the year in pieces of whole accidents: no accident depends on another."""
    of_vehicle, of_person = (t["accident"].to_numpy() for t in (scenes.vehicles, scenes.people))
    place = np.full(len(of_vehicle) + 1, -1)  # the last entry stands for no vehicle
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
    """Return all people of a year (class -1: severity not known), and whether the severity of each is known."""
    grav = scenes.people["grav"].to_numpy()
    known = ~np.isnan(grav)
    number = scenes.accidents["num_acc"].to_numpy()[scenes.people["accident"].to_numpy()]
    y = np.where(known, grav - 1, -1).astype(np.int64)
    return Dataset(matrix.build(scenes), y, number.astype(np.int64)), known


def dropped(scenes: Scenes) -> dict[str, int]:
    """Return the number of people who are not in the clean data, by reason."""
    lost = int(scenes.people["grav"].isna().sum())
    return {"severity not given": lost} if lost else {}


def hold_out(data: Dataset) -> tuple[Dataset, Dataset]:
    """Return (train_test, global_test): whole accidents, by the keyed hash; InputError as `check_classes`."""
    held = split.is_held_out(data.accident)
    parts = data.take(~held), data.take(held)
    check_classes(*(part.classes() for part in parts))
    return parts


def check_classes(train_test: npt.NDArray[np.int64], global_test: npt.NDArray[np.int64]) -> None:
    """Check that both parts have people of every class, given their numbers by class.

    Raises
    ------
    InputError
        When a class is absent from a part: nothing can be learned or judged then.
    """
    for name, people in (("train_test", train_test), ("global_test", global_test)):
        absent = [str(grav) for grav, count in enumerate(people, start=1) if not count]
        if absent:
            raise InputError(
                f"{name} has {people.sum()} people and none of severity grav {', '.join(absent)}.",
                "add years or complete files: some thousand accidents are needed.",
            )
