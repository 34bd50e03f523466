"""Features with their target as files: Parquet for tasks, CSV for people."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from include.accidents.data.csvtext import header, lines, side_by_side, text
from include.accidents.data.dataset import Dataset
from include.accidents.features.definitions import NAMES

TARGET = ("num_acc", "grav_class")
TEXT_ROWS = 8192  # formatted as text at a time


class DatasetWriter:
    """Writes features, accident numbers and classes: as CSVs of x, of y and of both, and as Parquet if a file is given.

    `pool` (one thread) formats and writes the text while the caller makes the next rows.
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
            for file, cells in zip(self._files, (x, y, side_by_side(x, y)), strict=True):
                file.write(text(cells))


_SCHEMA = pa.schema([*((name, pa.float32()) for name in NAMES), *((name, pa.int64()) for name in TARGET)])


def dataset_from_parquet(content: bytes) -> Dataset:
    """Return the rows that `DatasetWriter` wrote as Parquet, all years together."""
    data = _dataset(pq.read_table(pa.BufferReader(content)))
    return Dataset(np.ascontiguousarray(data.x), data.y, data.accident)


def _dataset(table: pa.Table) -> Dataset:
    x = np.empty((table.num_rows, len(NAMES)), dtype=np.float32, order="F")
    for i, name in enumerate(NAMES):
        x[:, i] = table.column(name).to_numpy()
    return Dataset(x, table.column("grav_class").to_numpy(), table.column("num_acc").to_numpy())


def count_rows(content: bytes) -> int:
    """Return the number of rows of a Parquet file."""
    return int(pq.ParquetFile(pa.BufferReader(content)).metadata.num_rows)


def dataset_slices(content: bytes) -> Iterator[Dataset]:
    """Yield the rows that `DatasetWriter` wrote as Parquet, one row group at a time."""
    file = pq.ParquetFile(pa.BufferReader(content))
    for group in range(file.num_row_groups):
        yield _dataset(file.read_row_group(group))
