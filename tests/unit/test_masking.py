"""Masked copies: what a model learns a gap from."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest

from include.accidents.data import dataset
from include.accidents.features import arrays, clean, equipment
from include.accidents.features.definitions import NAMES
from include.accidents.models import masking
from tests.helpers import sample_scenes

AT = NAMES.index
# Nothing tells less than how many vehicles a scene has.
NEVER_MISSING = {"n_vehicles"}


@cache
def data() -> dataset.Dataset:
    return clean.clean(sample_scenes(2023, 1500))[0]


@cache
def with_copies(share: float, seed: int = 1) -> dataset.Dataset:
    return masking.with_masked_copies(data(), share, seed)


def copies(share: float) -> dataset.Dataset:
    made = with_copies(share)
    return made.take(np.arange(len(data().y), len(made.y)))


def drivers_alone(of: dataset.Dataset) -> npt.NDArray[np.bool_]:
    """Which copies are of accidents in which nobody has said who is there beside the drivers."""
    return np.isnan(of.x[:, AT("n_people")])


@pytest.mark.parametrize("share", [0, 0.3, 1, 1.5])
def test_the_originals_come_first_and_unchanged(share: float) -> None:
    made, n = with_copies(share), len(data().y)
    for part in ("x", "y", "accident"):
        np.testing.assert_array_equal(getattr(made, part)[:n], getattr(data(), part))


def test_without_a_share_nothing_is_added() -> None:
    assert len(with_copies(0).y) == len(data().y)


def test_a_share_of_which_chance_draws_no_accident_adds_nothing() -> None:
    few = data().take(np.arange(30))
    assert len(masking.with_masked_copies(few, 1e-6, seed=1).y) == 30


@pytest.mark.parametrize("share", [0.3, 0.7, 1, 1.5])
def test_so_many_accidents_are_copied_as_the_share_says(share: float) -> None:
    """Each at most once, beyond 1 each once and some a second time."""
    of_data, times = np.unique(data().accident, return_counts=True)
    copied = copies(share)
    whole = copied.take(~drivers_alone(copied))
    alone = len(np.unique(copied.accident[drivers_alone(copied)]))
    found, people = np.unique(whole.accident, return_counts=True)
    number_of_copies = people / times[np.searchsorted(of_data, found)]
    assert set(number_of_copies) <= ({1.0} if share <= 1 else {1.0, 2.0})  # whole accidents
    assert (number_of_copies.sum() + alone) / len(of_data) == pytest.approx(share, rel=0.1)
    assert alone / len(of_data) == pytest.approx(masking.DRIVERS_ALONE * share, abs=0.02)


def test_a_copy_says_the_same_of_what_it_still_knows() -> None:
    """But for ages, which may be known roughly, and for weights of people on foot among vehicles that nobody knows."""
    copied = copies(1)
    whole = copied.take(~drivers_alone(copied))
    first = np.searchsorted(data().accident, whole.accident)
    assert (np.diff(data().accident) >= 0).all()
    rows = first + _rank_within(whole.accident)
    original = data().take(rows)
    np.testing.assert_array_equal(whole.y, original.y)
    rough = {"age", "driver_age", "other_driver_age"}
    derived = {"exposed_others", "lightest_other", "no_equipment", *equipment.EQUIPMENT}
    for i, name in enumerate(NAMES):
        known = ~np.isnan(whole.x[:, i])
        if name not in derived:
            tolerance = 5 if name in rough else 0
            assert np.abs(whole.x[known, i] - original.x[known, i]).max() <= tolerance, name


def _rank_within(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The place of each row among those of its group, which stand together."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1) != 0)
    return np.arange(len(groups)) - np.repeat(starts, np.diff(np.append(starts, len(groups))))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NEVER_MISSING])
def test_every_feature_is_missing_in_some_copies_more_often_than_in_the_files(name: str) -> None:
    """Also what the files never lack: the position, the département, the hour, the light, the counts."""
    missing, before = (np.isnan(of.x[:, AT(name)]).mean() for of in (copies(1), data()))
    assert missing >= before + (0.02 if before < 0.5 else 0)
    assert missing < 1


def test_of_the_position_one_coordinate_never_stands_alone() -> None:
    x = copies(1).x
    np.testing.assert_array_equal(np.isnan(x[:, AT("lat")]), np.isnan(x[:, AT("long")]))


def test_what_is_missing_of_an_accident_is_missing_of_all_its_people() -> None:
    copied = copies(1)
    for name in ("lat", "lum", "hour", "catr", "n_people"):
        missing = np.isnan(copied.x[:, AT(name)])
        before = np.isnan(data().x[:, AT(name)])
        partly = np.setdiff1d(
            np.intersect1d(copied.accident[missing], copied.accident[~missing]), data().accident[before]
        )
        assert not len(partly), name


def test_the_copies_of_drivers_alone_are_of_drivers() -> None:
    copied = copies(1)
    alone = drivers_alone(copied)
    assert alone.any()
    known = ~np.isnan(copied.x[:, AT("catu")])
    drivers = np.unique(data().accident[data().x[:, AT("catu")] == arrays.DRIVER])
    assert (copied.x[alone & known, AT("catu")] == arrays.DRIVER).all()
    assert np.isin(copied.accident[alone], drivers).all()


def test_the_same_seed_makes_the_same_copies_and_another_seed_others() -> None:
    again, other = (masking.with_masked_copies(data(), 1, seed) for seed in (1, 2))
    np.testing.assert_array_equal(again.x, with_copies(1).x)
    np.testing.assert_array_equal(again.accident, with_copies(1).accident)
    assert len(other.y) != len(again.y) or not np.array_equal(other.x, again.x, equal_nan=True)


def test_most_copies_still_know_something_and_hardly_any_knows_all() -> None:
    known = (~np.isnan(copies(1).x)).mean(axis=1)
    complete = (~np.isnan(data().x)).mean(axis=1)
    assert (known > 0.1).mean() > 0.9
    assert known.mean() < 0.85 * complete.mean()
