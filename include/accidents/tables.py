"""Frames to files and back: Parquet for tasks, CSV with ``;`` for people."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from include.accidents.clean import Dataset
from include.accidents.features import NAMES, frame
from include.accidents.raw import Scenes


def to_parquet(table: pd.DataFrame) -> bytes:
    """Return the frame as Parquet."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), sink, compression="zstd")
    return sink.getvalue()


def from_parquet(content: bytes) -> pd.DataFrame:
    """Return the frame of a Parquet file."""
    table: pd.DataFrame = pq.read_table(io.BytesIO(content)).to_pandas()
    return table


def to_csv(table: pd.DataFrame) -> bytes:
    """Return the frame as CSV: ``;``, a header, an empty cell for what is missing."""
    sink = io.BytesIO()
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    pyarrow.csv.write_csv(
        arrow, sink, pyarrow.csv.WriteOptions(delimiter=";", quoting_style="needed", batch_size=16384)
    )
    return sink.getvalue()


def scenes_to_files(scenes: Scenes) -> dict[str, bytes]:
    """Return the Parquet file of each table of a year."""
    return {
        "accidents.parquet": to_parquet(scenes.accidents),
        "vehicles.parquet": to_parquet(scenes.vehicles),
        "people.parquet": to_parquet(scenes.people),
    }


def dataset_to_parquet(data: Dataset) -> bytes:
    """Return features, class and accident number as one Parquet file."""
    table = frame(data.x)
    table["num_acc"] = data.accident
    table["grav_class"] = data.y
    return to_parquet(table)


def dataset_from_parquet(content: bytes) -> Dataset:
    """Return what `dataset_to_parquet` wrote."""
    table = from_parquet(content)
    x = np.ascontiguousarray(table[list(NAMES)].to_numpy(dtype=np.float32))
    return Dataset(
        x.copy() if not x.flags.writeable else x, table["grav_class"].to_numpy(), table["num_acc"].to_numpy()
    )
