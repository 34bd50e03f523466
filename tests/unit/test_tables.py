"""What people read in a CSV is what the frame holds, whatever stands in its cells."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from include.accidents.data import csvtext

CODES = st.one_of(st.none(), st.integers(0, 999))
NUMBERS = st.one_of(
    st.none(), st.sampled_from([-1, 0, 999, 1000, 32766, 32767, 65541, 0.5, 3e9]), st.floats(width=32, allow_nan=False)
).filter(lambda n: n is None or np.isfinite(n))
TEXTS = st.one_of(st.none(), st.text(st.sampled_from('ab;"\n\r, é'), min_size=1, max_size=6))
ROWS = st.lists(st.tuples(NUMBERS, CODES, CODES, TEXTS, CODES, NUMBERS), min_size=1, max_size=8)


@given(ROWS)
@settings(max_examples=200, deadline=None)
def test_lines_hold_the_frame_s_cells(said: list[tuple[float | None, float | None, str | None]]) -> None:
    frame = pd.DataFrame(said, columns=list("abcdef"))
    frame = frame.astype({name: "str" if name == "d" else np.float32 for name in frame})
    content = b"".join((csvtext.header(frame), csvtext.text(csvtext.lines(frame)))).decode()
    names, *rows = csv.reader(io.StringIO(content, newline=""), delimiter=";")
    assert names == list("abcdef")
    assert [row[3] for row in rows] == [text or "" for *_, text, _, _ in said]
    for i, name in enumerate(frame):
        if name != "d":
            told = np.array([float(row[i] or "nan") for row in rows], dtype=np.float32)
            np.testing.assert_array_equal(told, frame[name].to_numpy())


def test_whole_numbers_are_written_without_a_fraction() -> None:
    frame = pd.DataFrame({"code": [1, np.nan, 999], "mass": [1475, 44075, np.nan]}, dtype=np.float32)
    assert bytes(csvtext.text(csvtext.lines(frame))) == b"1;1475\n;44075\n999;\n"
