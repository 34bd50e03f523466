"""Make clean splits from prepared years, in any store of versions: the DAG's S3, or folders without Airflow.

A version of the same inputs and the same code is used again.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from typing import IO, TYPE_CHECKING

import numpy as np

from include.accidents.data import merge
from include.accidents.features import clean, dataset_files
from include.accidents.features.version import feature_version
from include.accidents.pipeline.contracts import CleanData, PreparedYear, Rows
from include.accidents.pipeline.year_tables import digest, merged_name, save_memory, scenes_of
from include.accidents.reporting.texts import text_table
from include.accidents.storage.buckets import PREPROCESSED, TRAIN

if TYPE_CHECKING:
    from include.accidents.storage.versions import Manifest, Store

log = logging.getLogger(__name__)
Writers = Mapping[str, dataset_files.DatasetWriter]
PARTS = ("train_test", "global_test")
PARQUET = tuple(f"{part}.parquet" for part in PARTS)
WHOLE = "df_accident_clean.csv"  # both parts, X and y side by side
LAST_ROWS = "those of global_test"  # a staged file, until the rows of train_test are complete
SHOWN = {
    TRAIN: tuple(f"{axis}_{part}.csv" for axis in "Xy" for part in PARTS),
    PREPROCESSED: (WHOLE, "df_accidents.csv"),
}


def clean_data(store: Store, prepared: Sequence[PreparedYear], *, force: bool = False) -> CleanData:
    """Make the features of every year, split them, and store Parquet for tasks and CSV for people.

    Returns
    -------
    The version to read, and its numbers of rows; a later run does not change this version.
    """
    save_memory()
    years = sorted(prepared, key=lambda p: p.year)
    version = digest([p.version for p in years], feature_version())
    loaded = max((p.loaded for p in years), default="")
    manifest = None if force else store.intact(TRAIN, version)
    if manifest:
        log.info("Nothing changed: data version %s is used again.", version)
    stale = [name for bucket, names in SHOWN.items() for name in store.stale(bucket, version, names, loaded)]
    if manifest is None or stale:
        manifest = _store_splits(store, years, version, manifest, loaded)
    counted = Rows.from_json(manifest["rows"])
    log.info("Data version %s:\n%s", version, _counted(counted))
    return CleanData(
        version=version,
        sample=any(p.sample for p in years),
        rows=counted,
        years=[p.year for p in years],
        newest_year=max(p.newest_year for p in years),
        loaded=loaded,
    )


def _store_splits(
    store: Store, years: Sequence[PreparedYear], version: str, manifest: Manifest | None, loaded: str
) -> Manifest:
    """Store the splits, unless they have a manifest, and their CSVs for people; return the manifest."""
    with store.staging(*PARQUET, *chain(*SHOWN.values()), LAST_ROWS) as drafts:
        with ThreadPoolExecutor(1) as pool, _writers(drafts, parquet=manifest is None) as writers:
            all_years = pool.submit(_write_all_years, store, years, drafts["df_accidents.csv"])
            if manifest is None:
                rows = _write_clean(store, years, writers)
            else:
                _write_again(store, version, writers)
            all_years.result()
        _append(drafts[WHOLE], drafts[LAST_ROWS])
        if manifest is None:
            facts = {
                "inputs": [p.version for p in years],
                "sample": any(p.sample for p in years),
                "features": feature_version(),
                "rows": rows.to_json(),
            }
            manifest = store.write_version(TRAIN, version, {name: drafts[name] for name in PARQUET}, facts)
        for bucket, names in SHOWN.items():
            store.publish(bucket, version, {name: drafts[name] for name in names}, loaded)
    return manifest


def _counted(rows: Rows) -> str:
    """Return the numbers of people kept and left out, as a table."""
    lost = [
        [f"left out of {year}: {reason}", count]
        for year, reasons in rows.dropped.items()
        for reason, count in reasons.items()
    ]
    kept = [["in the files", rows.read], ["train_test", rows.train_test], ["global_test", rows.global_test]]
    return text_table(("", "people"), [*kept, *lost])


def _write_clean(store: Store, years: Sequence[PreparedYear], writers: Writers) -> Rows:
    """Write the features and the target of each year in turn; return the numbers of rows."""
    dropped, classes = {}, {part: np.zeros(4, dtype=np.int64) for part in PARTS}
    for p in years:
        scenes = scenes_of(store, p.version, texts=False)
        dropped[str(p.year)] = clean.dropped(scenes)
        for divided in clean.clean_and_divide(scenes):
            for part, data in zip(PARTS, divided, strict=True):
                classes[part] += data.classes()
                writers[part].write(data)
    clean.check_classes(*classes.values())
    kept = {part: int(people.sum()) for part, people in classes.items()}
    rows = Rows(read=sum(p.people for p in years), **kept, dropped=dropped)
    lost = sum(count for reasons in dropped.values() for count in reasons.values())
    if rows.read != rows.train_test + rows.global_test + lost:
        raise RuntimeError(f"Rows disappeared uncounted: {rows}.")
    return rows


def _write_again(store: Store, version: str, writers: Writers) -> None:
    """Write the CSVs for people from the Parquet files."""
    for part, writer in writers.items():
        for data in dataset_files.dataset_slices(store.read_version(TRAIN, version, f"{part}.parquet")):
            writer.write(data)


@contextmanager
def _writers(drafts: Mapping[str, IO[bytes]], *, parquet: bool) -> Iterator[Writers]:
    with ThreadPoolExecutor(1) as pool:
        writers = {
            part: dataset_files.DatasetWriter(
                pool,
                x=drafts[f"X_{part}.csv"],
                y=drafts[f"y_{part}.csv"],
                both=drafts[both],
                parquet=drafts[f"{part}.parquet"] if parquet else None,
            )
            for part, both in zip(PARTS, (WHOLE, LAST_ROWS), strict=True)
        }
        yield writers
        for writer in writers.values():
            writer.close()


def _append(whole: IO[bytes], rest: IO[bytes]) -> None:
    """Append the lines of a CSV to another with the same columns."""
    rest.seek(0)
    rest.readline()
    shutil.copyfileobj(rest, whole, 1 << 20)


def _write_all_years(store: Store, years: Sequence[PreparedYear], file: IO[bytes]) -> None:
    """Concatenate the CSVs of the years, which have the same columns."""
    for i, p in enumerate(years):
        content = store.published(PREPROCESSED, p.version, merged_name(p.year))
        if content is None:  # by now it shows another version
            content = b"".join(merge.merged_csv(scenes_of(store, p.version)))
        file.write(memoryview(content)[content.index(b"\n") + 1 if i else 0 :])
