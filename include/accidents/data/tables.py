"""The canonical tables of a year as Parquet."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from include.accidents.data.scenes import Scenes

ROWS = 16384  # of a row group; only one row group is in memory while a table is written


def write_table(table: pd.DataFrame, file: IO[bytes]) -> None:
    """Write one of a year's tables as Parquet."""
    texts = [name for name in table if table[name].dtype == "str"]
    schema = pa.Schema.from_pandas(table, preserve_index=False)
    with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=texts, write_statistics=False) as out:
        for start in range(0, len(table), ROWS):
            rows = table.iloc[start : start + ROWS]
            out.write_table(pa.Table.from_pandas(rows, schema=schema, preserve_index=False))


def scenes_from_files(read: Callable[[str], bytes], *, texts: bool = True) -> Scenes:
    """Return the scenes of a year, without keys and texts unless `texts`; `read` returns a file by its name."""

    def table(name: str) -> pd.DataFrame:
        file = pq.ParquetFile(pa.BufferReader(read(f"{name}.parquet")))
        names = [f.name for f in file.schema_arrow if texts or not pa.types.is_large_string(f.type)]
        frame: pd.DataFrame = file.read(names).to_pandas(split_blocks=True, self_destruct=True)
        return frame

    return Scenes(table("accidents"), table("vehicles"), table("people"))
