from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from include.accidents.data import reader, split
from include.accidents.errors import InputError
from include.accidents.features import places
from tests.helpers import REAL_2021, read_folder


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> np.ndarray:
    """Put a table of 500 accidents on a few square kilometres in place of the shipped one; return where they are."""
    random = np.random.default_rng(0)
    at = (random.uniform((-0.2, -0.3), (0.2, 0.3), (500, 2))).astype(np.float32)  # also south and west of zero
    numbers = np.arange(500)
    content = places.to_file(places.count(numbers, at[:, 0], at[:, 1]))
    (tmp_path / "places.npy").write_bytes(content)
    monkeypatch.setattr(places, "TABLE", tmp_path / "places.npy")
    monkeypatch.setattr(places, "SHA256", hashlib.sha256(content).hexdigest())
    places._sums.cache_clear()
    yield at[~split.is_held_out(numbers)]
    places._sums.cache_clear()


def test_accidents_are_counted_in_the_squares_around_a_place(few: np.ndarray) -> None:
    asked = np.random.default_rng(1).uniform(-0.5, 0.5, (300, 2)).astype(np.float32)
    for size, found in zip((0.02, 0.1), places.near(asked[:, 0], asked[:, 1]), strict=True):
        cell, ours = (np.floor(of.astype(np.float64) / size + 1e-9) for of in (few, asked))
        by_hand = (np.abs(cell[None] - ours[:, None]).max(axis=2) <= 1).sum(axis=1)
        np.testing.assert_allclose(found, by_hand / 0.9, rtol=1e-6)
    assert found.max() > 50
    assert found.min() == 0


def test_a_place_that_is_not_known_has_no_count_and_far_from_all_there_are_none(few: np.ndarray) -> None:
    near, around = places.near(np.float32([np.nan, 0.1, 80]), np.float32([0.1, np.nan, 170]))
    np.testing.assert_array_equal(near, [np.nan, np.nan, 0])
    np.testing.assert_array_equal(around, near)


def test_a_table_that_was_changed_is_refused(few: np.ndarray) -> None:
    places.TABLE.write_bytes(places.TABLE.read_bytes()[:-1])
    with pytest.raises(InputError, match="not the file that it should be"):
        places.near(few[:, 0], few[:, 1])


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_2021.is_dir(), reason="the real files of 2021 are not beside the project")
def test_the_shipped_table_is_made_of_the_files_of_2021() -> None:
    accidents = reader.read_year(read_folder(REAL_2021)[2021], 2021)[0].accidents
    made = places.to_file(places.count(*(accidents[name].to_numpy() for name in ("num_acc", "lat", "long"))))
    assert made == places.TABLE.read_bytes()
    assert hashlib.sha256(made).hexdigest() == places.SHA256
