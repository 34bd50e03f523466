"""Frames to files and back: Parquet for tasks, CSV with ``;`` for people. Large tables go in pieces."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import IO

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from include.accidents.clean import Dataset, Part
from include.accidents.features import NAMES
from include.accidents.raw import Scenes

Write = Callable[[IO[bytes]], None]
TARGET = ("num_acc", "grav_class")
ROWS = 16384  # of a row group: what is in memory while it is written or turned into CSV


def csv_writer(batches: Iterable[pa.Table]) -> Write:
    """Return what writes tables of the same columns to a file as one CSV: a header, empty cells for what is missing."""

    def write(file: IO[bytes]) -> None:
        for i, batch in enumerate(batches):
            texts = any(pa.types.is_string(t) or pa.types.is_large_string(t) for t in batch.schema.types)
            options = pa.csv.WriteOptions(
                include_header=i == 0,
                delimiter=";",
                quoting_style="needed" if texts else "none",  # not looking for what needs quotes takes half of the time
                batch_size=ROWS,
            )
            sink = pa.BufferOutputStream()  # memory of Arrow's own: writing to a Python file needs Python's lock
            pa.csv.write_csv(batch, sink, options)
            file.write(sink.getvalue())

    return write


def to_arrow(table: pd.DataFrame) -> pa.Table:
    """Return a frame for people: numbers that are whole as integers, NaN as missing."""
    return pa.table({name: _arrow(table[name]) for name in table.columns})


def _arrow(values: pd.Series) -> pa.Array:
    return _whole(values.to_numpy()) if values.dtype == np.float32 else pa.array(values, from_pandas=True)


def _whole(values: npt.NDArray[np.float32]) -> pa.Array:
    """Integers where all are whole and short: they are written in a third of the time, with the same digits."""
    missing = np.isnan(values)
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int16)  # what does not fit comes out different
    if ((whole == values) | missing).all():
        return pa.array(whole, mask=missing)
    return pa.array(values, mask=missing)


def joined_lines(left: bytes, right: bytes, *, header: bool) -> Write:
    """Return what writes the lines of two CSVs of the same rows side by side."""

    def write(file: IO[bytes]) -> None:
        pairs = zip(io.BytesIO(left), io.BytesIO(right), strict=True)
        if not header:
            next(pairs)
        file.writelines(a[:-1] + b";" + b for a, b in pairs)

    return write


# --- canonical tables


def scenes_to_files(scenes: Scenes) -> dict[str, Write]:
    """Return what writes the Parquet file of each table of a year."""
    return {f"{name}.parquet": _parquet_writer(getattr(scenes, name)) for name in ("accidents", "vehicles", "people")}


def _parquet_writer(table: pd.DataFrame) -> Write:
    def write(file: IO[bytes]) -> None:
        texts = [name for name in table if table[name].dtype == "str"]
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        pq.write_table(arrow, file, compression="zstd", use_dictionary=texts, write_statistics=False)

    return write


def scenes_from_files(read: Callable[[str], bytes], *, texts: bool = True) -> Scenes:
    """Return the scenes of a year, without keys and texts if these are not wanted; `read` gives a file by its name."""

    def table(name: str) -> pd.DataFrame:
        file = pq.ParquetFile(pa.BufferReader(read(f"{name}.parquet")))
        names = [f.name for f in file.schema_arrow if texts or not pa.types.is_large_string(f.type)]
        frame: pd.DataFrame = file.read(names).to_pandas(split_blocks=True, self_destruct=True)
        return frame

    return Scenes(table("accidents"), table("vehicles"), table("people"))


# --- features with their target


def dataset_writer(years: Iterable[Part]) -> Write:
    """Return what writes features, accident number and class as one Parquet file."""

    def write(file: IO[bytes]) -> None:
        schema = pa.schema([*((name, pa.float32()) for name in NAMES), *((name, pa.int64()) for name in TARGET)])
        with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=False, write_statistics=False) as out:
            for data in (data for part in years for data in part.slices(ROWS)):
                columns = [*data.x.T, data.accident, data.y]
                out.write_table(pa.table([pa.array(column) for column in columns], schema=schema))

    return write


def dataset_from_parquet(content: bytes) -> Dataset:
    """Return what `dataset_writer` wrote, all years together."""
    table = pq.read_table(pa.BufferReader(content))
    x = np.empty((table.num_rows, len(NAMES)), dtype=np.float32, order="F")
    for i, name in enumerate(NAMES):
        x[:, i] = table.column(name).to_numpy()
    return Dataset(np.ascontiguousarray(x), table.column("grav_class").to_numpy(), table.column("num_acc").to_numpy())


def dataset_batches(content: bytes, names: Iterable[str] = (*NAMES, *TARGET)) -> Iterator[pa.Table]:
    """Return the columns of a dataset's Parquet file, a row group at a time, for a CSV."""
    file = pq.ParquetFile(pa.BufferReader(content))
    for group in range(file.num_row_groups):
        read = file.read_row_group(group, columns=list(names))
        yield pa.table(
            {
                name: _whole(read.column(name).to_numpy()) if name in NAMES else read.column(name)
                for name in read.column_names
            }
        )
