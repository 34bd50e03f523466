"""The number of accidents a year near a place: a measure of the traffic there, and of how accidents are recorded.

`places.npy` counts the accidents of 2021 by cell of 0.02°, without those of global_test. It is fixed, like the masses
of vehicles. It holds positions and no severities. `python -m include.accidents places RAW` writes it.
"""

from __future__ import annotations

import hashlib
import io
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from include.accidents.data.split import HELD_OUT_SHARE, is_held_out
from include.accidents.errors import InputError

Floats = npt.NDArray[np.float32]
Cells = npt.NDArray[np.int16]
Sums = tuple[npt.NDArray[np.int64], Floats]

TABLE = Path(__file__).with_name("places.npy")
# `_sums` refuses a table with another digest.
SHA256 = "f6435bdd60b7728b14b5ea6de21c10309cda3d698434df50ba201dd1d74e4d34"
CELLS_A_DEGREE = 50
WIDER = 5  # cells of 0.1°
_ROW = 1 << 16  # more than there are cells around the earth


def count(num_acc: npt.NDArray[np.int64], lat: Floats, long: Floats) -> Cells:
    """Count the accidents of a year by cell, without those of global_test.

    Returns
    -------
    Rows of latitude and longitude in cells, and the number of accidents, sorted.
    """
    known = ~(np.isnan(lat) | np.isnan(long) | is_held_out(num_acc))
    cells, counts = np.unique(np.stack([_cell(lat[known]), _cell(long[known])], axis=1), axis=0, return_counts=True)
    return np.column_stack([cells, counts]).astype(np.int16)


def near(lat: Floats, long: Floats) -> tuple[Floats, Floats]:
    """Return how many accidents happen a year near each place: within some 3 km, and within some 15 km.

    Returns
    -------
    Two arrays of shape (places,), NaN without a position: the sums over three by three cells, of 0.02° and of 0.1°,
    with the place in the middle one.
    """
    known = ~(np.isnan(lat) | np.isnan(long))
    rows, columns = _cell(np.where(known, lat, 0)), _cell(np.where(known, long, 0))
    counts = []
    for (keys, sums), size in zip(_sums(), (1, WIDER), strict=True):
        cells = _key(rows // size, columns // size)
        at = np.minimum(np.searchsorted(keys, cells), len(keys) - 1)
        counts.append(np.where(known, np.where(keys[at] == cells, sums[at], 0), np.nan).astype(np.float32))
    return counts[0], counts[1]


def to_file(cells: Cells) -> bytes:
    """Return the table as the content of a .npy file."""
    file = io.BytesIO()
    np.save(file, cells, allow_pickle=False)
    return file.getvalue()


@cache
def _sums() -> tuple[Sums, Sums]:
    content = TABLE.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise InputError(f"{TABLE} is not the file that it should be.", "restore it: git checkout.")
    rows, columns, counts = np.load(io.BytesIO(content), allow_pickle=False).astype(np.int64).T
    return _squares(rows, columns, counts), _squares(rows // WIDER, columns // WIDER, counts)


def _squares(rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Sums:
    """Return the sorted keys of the cells with accidents in or beside them, and the number of these accidents."""
    steps = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    keys, at = np.unique(np.concatenate([_key(rows + i, columns + j) for i, j in steps]), return_inverse=True)
    total = np.bincount(at, np.tile(counts, len(steps))) / (1 - HELD_OUT_SHARE)
    return keys, total.astype(np.float32)


def _cell(degrees: Floats) -> npt.NDArray[np.int64]:
    return np.floor(degrees.astype(np.float64) * CELLS_A_DEGREE).astype(np.int64)


def _key(row: npt.NDArray[np.int64], column: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return row * _ROW + column
