"""Frames to files and back: Parquet for tasks, CSV with ``;`` for people. Large tables go in pieces."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.accidents.clean import Dataset
from include.accidents.features import NAMES
from include.accidents.raw import Scenes

TARGET = ("num_acc", "grav_class")
ROWS = 16384  # of a row group of a year's tables: what is in memory while it is written
TEXT_ROWS = 8192  # put into text at a time
NEEDS_QUOTES = '[";\r\n]'


# --- lines of a CSV: Arrow makes them without Python's lock


def header(names: Iterable[str]) -> memoryview:
    """Return the first line of a CSV."""
    return memoryview(f"{';'.join(names)}\n".encode())


def lines(columns: pd.DataFrame | Mapping[Any, Any]) -> pa.Array:
    """Return the line of each row, without its end: whole numbers as integers, an empty cell for what is missing."""
    parts: list[pa.Array] = []
    codes: list[npt.NDArray[np.int16]] = []
    for name in columns:
        values = columns[name]
        at = _small_whole(np.asarray(values)) if values.dtype == np.float32 else None
        if at is not None:
            codes.append(at)
            continue
        if codes:
            parts.append(_codes(codes))
            codes = []
        parts.append(_cells(values))
    return side_by_side(*parts, *([_codes(codes)] if codes else []))


def side_by_side(*parts: pa.Array | str, by: str = ";") -> pa.Array:
    """Return the parts of each row as one text; what is missing is empty."""
    texts = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in (*parts, by)]
    return pc.binary_join_element_wise(*texts, null_handling="replace", null_replacement="")


def text(made: pa.Array) -> memoryview:
    """Return the bytes of lines, each with its end."""
    ended = side_by_side(made, "", by="\n")
    _, offsets, content = ended.buffers()
    return memoryview(content)[: np.frombuffer(offsets, np.int64)[len(ended)]]


# Nearly all cells are small whole numbers. Each is looked up with its separator, filled up with zero bytes; these are
# then taken out of the whole. That takes a third of the time of Arrow's own cast and join.
LARGEST = 999
_TEXTS = np.array([b";", *(b";%d" % number for number in range(LARGEST + 1))], dtype="S4")
_LENGTHS = np.char.str_len(_TEXTS).astype(np.uint8)
_WORDS = _TEXTS.view(np.uint32)


def _small_whole(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int16] | None:
    """Return where each number stands in `_TEXTS` (0: missing); None where one of them does not."""
    if np.fmin.reduce(values, initial=0) < 0:
        return None
    filled = np.fmax(values, np.float32(-1))  # which takes the -1 for NaN
    with np.errstate(invalid="ignore"):
        whole = filled.astype(np.int16)
    return whole + np.int16(1) if whole.max(initial=0) <= LARGEST and (whole == filled).all() else None


def _codes(columns: list[npt.NDArray[np.int16]]) -> pa.Array:
    """Return the texts of some columns side by side."""
    at = np.column_stack(columns)
    texts = _WORDS[at].view(np.uint8)
    texts[:, 0] = 0  # the first separator
    offsets = np.zeros(len(at) + 1, dtype=np.int64)
    np.cumsum(_LENGTHS[at].sum(axis=1, dtype=np.int64) - 1, out=offsets[1:])
    content = texts.tobytes().translate(None, b"\0")
    return pa.Array.from_buffers(pa.large_string(), len(at), [None, *map(pa.py_buffer, (offsets, content))])


def _cells(values: Any) -> pa.Array:
    made = pa.array(values, from_pandas=True)
    texts = made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made
    if pa.types.is_large_string(texts.type):
        return _quoted(texts)
    numbers = texts.dictionary_encode()  # they repeat, and to put one into digits takes the longest
    return numbers.dictionary.cast(pa.large_string()).take(numbers.indices)


def _quoted(texts: pa.Array) -> pa.Array:
    special = pc.match_substring_regex(texts, NEEDS_QUOTES)
    if not pc.any(special).as_py():
        return texts
    quoted = side_by_side('"', pc.replace_substring(texts, '"', '""'), '"', by="")
    return pc.if_else(special, quoted, texts)


# --- canonical tables


def write_table(table: pd.DataFrame, file: IO[bytes]) -> None:
    """Write one of a year's tables as Parquet."""
    texts = [name for name in table if table[name].dtype == "str"]
    schema = pa.Schema.from_pandas(table, preserve_index=False)
    with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=texts, write_statistics=False) as out:
        for start in range(0, len(table), ROWS):
            rows = table.iloc[start : start + ROWS]
            out.write_table(pa.Table.from_pandas(rows, schema=schema, preserve_index=False))


def scenes_from_files(read: Callable[[str], bytes], *, texts: bool = True) -> Scenes:
    """Return the scenes of a year, without keys and texts if these are not wanted; `read` gives a file by its name."""

    def table(name: str) -> pd.DataFrame:
        file = pq.ParquetFile(pa.BufferReader(read(f"{name}.parquet")))
        names = [f.name for f in file.schema_arrow if texts or not pa.types.is_large_string(f.type)]
        frame: pd.DataFrame = file.read(names).to_pandas(split_blocks=True, self_destruct=True)
        return frame

    return Scenes(table("accidents"), table("vehicles"), table("people"))


# --- features with their target


class DatasetWriter:
    """Writes features, accident number and class: as Parquet, if wanted, and as CSVs of x, of y, and of both.

    `pool` (one thread) makes and writes the text, meanwhile the caller makes the next rows.
    """

    def __init__(
        self, pool: Executor, *, x: IO[bytes], y: IO[bytes], both: IO[bytes], parquet: IO[bytes] | None
    ) -> None:
        self._pool, self._files = pool, (x, y, both)
        for file, names in zip(self._files, (NAMES, TARGET, (*NAMES, *TARGET)), strict=True):
            file.write(header(names))
        self._parquet = parquet and pq.ParquetWriter(
            parquet, _SCHEMA, compression="snappy", use_dictionary=False, write_statistics=False
        )
        self._waiting: deque[Future[None]] = deque()

    def write(self, data: Dataset) -> None:
        """Write some thousand rows."""
        self._waiting.append(self._pool.submit(self._write_texts, data))
        if self._parquet:
            columns = [pa.array(column) for column in (*data.x.T, data.accident, data.y)]
            self._parquet.write_table(pa.table(columns, schema=_SCHEMA))
        self._wait(1)

    def close(self) -> None:
        """Complete the files."""
        self._wait(0)
        if self._parquet:
            self._parquet.close()

    def _wait(self, left: int) -> None:
        while len(self._waiting) > left:
            self._waiting.popleft().result()

    def _write_texts(self, data: Dataset) -> None:
        for start in range(0, len(data.y), TEXT_ROWS):
            rows = slice(start, start + TEXT_ROWS)
            x = lines(dict(zip(NAMES, data.x[rows].T, strict=True)))
            y = lines(dict(zip(TARGET, (data.accident[rows], data.y[rows]), strict=True)))
            for file, made in zip(self._files, (x, y, side_by_side(x, y)), strict=True):
                file.write(text(made))


_SCHEMA = pa.schema([*((name, pa.float32()) for name in NAMES), *((name, pa.int64()) for name in TARGET)])


def dataset_from_parquet(content: bytes) -> Dataset:
    """Return what `DatasetWriter` wrote as Parquet, all years together."""
    data = _dataset(pq.read_table(pa.BufferReader(content)))
    return Dataset(np.ascontiguousarray(data.x), data.y, data.accident)


def _dataset(table: pa.Table) -> Dataset:
    x = np.empty((table.num_rows, len(NAMES)), dtype=np.float32, order="F")
    for i, name in enumerate(NAMES):
        x[:, i] = table.column(name).to_numpy()
    return Dataset(x, table.column("grav_class").to_numpy(), table.column("num_acc").to_numpy())


def dataset_slices(content: bytes) -> Iterator[Dataset]:
    """Return what `DatasetWriter` wrote as Parquet, a row group at a time."""
    file = pq.ParquetFile(pa.BufferReader(content))
    for group in range(file.num_row_groups):
        yield _dataset(file.read_row_group(group))
