"""The version of the features: a hash of the results for a fixed set of files.

Behaviour, not source text, decides whether data and models of another version of the code can be used. The files of
`probe.zip` are read and turned into features like any others: generated accidents of 2005, 2016, 2019 and 2024, each
in the layout of its time. The names of the columns and the results make the version. Another label or comment does not
change it; another rule does, and so does a library that computes otherwise (`holidays`, say).
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.accidents.data import files, merge, reader, split
from include.accidents.features import clean
from include.accidents.features.definitions import NAMES

if TYPE_CHECKING:
    from include.accidents.data.checks import Report
    from include.accidents.data.columns import Table
    from include.accidents.data.scenes import Scenes

PROBE = Path(__file__).with_name("probe.zip")
DECIMALS = 2  # of a feature: processors differ in the last digits of a logarithm


@cache
def feature_version() -> str:
    """Return the version of the features; the first call takes some tenths of a second.

    Returns
    -------
    12 hexadecimal digits, the same on every Python and platform.
    """
    digest = hashlib.sha256("\n".join(NAMES).encode())
    for scenes, report in probe_scenes():
        data, dropped = clean.clean(scenes)
        for part in merge.merged_csv(scenes):
            digest.update(part)
        digest.update(repr((sorted(report.rows_out.items()), dropped)).encode())
        for array in (_rounded(data.x), data.y, data.accident, split.is_held_out(data.accident)):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:12]


def probe_scenes() -> Iterator[tuple[Scenes, Report]]:
    """Yield the fixed accidents of each vintage with the report of their reading, oldest first."""
    for year, contents in _probe():
        yield reader.read_year(contents, year)


def _probe() -> Iterator[tuple[int, dict[Table, tuple[str, bytes]]]]:
    """Yield the year and the four files of each vintage, oldest first."""
    years: dict[int, dict[Table, tuple[str, bytes]]] = {}
    with zipfile.ZipFile(io.BytesIO(PROBE.read_bytes())) as archive:
        for name in archive.namelist():
            recognised = files.recognise(name)
            if recognised is None:
                raise RuntimeError(f"{PROBE}: {name} is not a BAAC file.")
            table, year = recognised
            years.setdefault(year, {})[table] = (name, archive.read(name))
    yield from sorted(years.items())


def _rounded(x: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """Return the features as whole numbers; the smallest one stands for a missing value."""
    scaled = np.round(x.astype(np.float64) * 10**DECIMALS)
    return np.where(np.isnan(scaled), np.iinfo(np.int64).min, scaled).astype("<i8")
