"""From raw files to clean splits, over any store of versions: the DAG's S3, or folders without Airflow.

What was already made of the same inputs, by the same code, is not made again.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from include.accidents import checks, clean, features, files, prepare, raw, tables
from include.accidents.checks import Report
from include.accidents.report import text_table
from include.accidents.sample import is_sample
from include.accidents.schema import Table
from include.accidents.settings import Thresholds
from include.accidents.versions import PREPROCESSED, TRAIN, WRITERS, Versions, sha256_of_file

log = logging.getLogger(__name__)

Json = dict[str, Any]
Files = Mapping[Table, tuple[str, raw.Content]]
Writers = Mapping[str, tables.DatasetWriter]
PARTS = ("train_test", "global_test")
TABLES = ("accidents.parquet", "vehicles.parquet", "people.parquet")
PARQUET = tuple(f"{part}.parquet" for part in PARTS)
WHOLE = "df_accident_clean.csv"  # both parts, X and y side by side
LAST_ROWS = "those of global_test"  # a draft, until those of train_test are complete
SHOWN = {
    TRAIN: tuple(f"{axis}_{part}.csv" for axis in "Xy" for part in PARTS),
    PREPROCESSED: (WHOLE, "df_accidents.csv"),
}
# Of malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
LARGE_BLOCK = 4 * 2**20  # given back at once when freed; glibc's own threshold grows with what is freed


def folder_entries(folder: Path) -> list[tuple[Json, Callable[[], Files]]]:
    """Return, for each year in a folder of CSVs, what `prepare_year` takes; InputError as `files.find`."""
    generated = is_sample(folder)
    return [
        (
            {
                "year": year,
                "sample": generated,
                "files": {str(table): [path.name, sha256_of_file(path)] for table, path in paths.items()},
            },
            partial(_read_files, paths),
        )
        for year, paths in files.find(folder).items()
    ]


def _read_files(paths: Mapping[Table, Path]) -> Files:
    return {table: (path.name, path.read_bytes) for table, path in paths.items()}


def _frugally() -> None:
    """Give memory back: Arrow's own pools keep some 100 MB, and glibc's arenas, one a thread, 30 MB of holes.

    And do not look through what the imports made for garbage, over and over: that is 0.06 s a year.
    """
    if not gc.get_freeze_count():
        gc.freeze()
    with suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)
    pa.set_memory_pool(pa.system_memory_pool())
    pa.system_memory_pool().release_unused()


def year_version(entry: Mapping[str, Any]) -> str:
    """Return the version of a year's tables: a hash of its files and of the code."""
    made_of = {name: entry[name] for name in ("year", "sample", "files")}
    return f"{entry['year']}-{digest(made_of, features.version())}"


def prepare_year(
    store: Versions,
    entry: Mapping[str, Any],
    read: Callable[[], Files],
    limits: Thresholds | None = None,
    *,
    force: bool = False,
) -> Json:
    """Read the four files of a year, check and link them; store the tables, the merged CSV and the report.

    Parameters
    ----------
    entry
        `year`, `sample` (whether it is generated), `files`: name and SHA-256 by table; `loaded`, when the run looked
        at the files, if objects for people are to show the newest run; `newest_year` that was there to choose from.
    read
        Gives the files' contents; called when they were not prepared before.

    Raises
    ------
    InputError
        A file cannot be read, or breaks a rule too often (CheckError; the report is published all the same).
    """
    _frugally()
    year, version, limits = entry["year"], year_version(entry), limits or Thresholds()
    loaded = entry.get("loaded", "")
    manifest = None if force else store.intact(PREPROCESSED, version)
    scenes = None
    if manifest:
        log.info("Year %s did not change: version %s is used again.", year, version)
        report = Report.from_dict(manifest["report"])
    else:
        scenes, report = raw.read_year(read(), year)
        _frugally()
    log.info("Checks of %s:\n%s", year, checks.text(report, limits))
    page = checks.page(report, limits).encode()
    judged = f"{version} by {digest(limits.model_dump())}"
    store.publish(PREPROCESSED, judged, {f"report_{year}.html": page}, loaded)  # also of a year that is refused now
    checks.enforce(report, limits)
    people, shown = report.rows_out[Table.USAGERS], _merged_name(year)
    if scenes is not None or store.behind(PREPROCESSED, version, [shown], loaded):
        tables_of_year = scenes or scenes_of(store, version)
        with store.drafts(shown, *TABLES) as drafts:
            _write_year(tables_of_year, drafts, shown)
            if scenes is not None:
                facts = {
                    "inputs": dict(entry["files"].values()),
                    "sample": entry["sample"],
                    "features": features.version(),
                    "people": people,
                    "report": report.as_dict(),
                }
                store.write_version(PREPROCESSED, version, {name: drafts[name] for name in TABLES}, facts)
            store.publish(PREPROCESSED, version, {shown: drafts[shown]}, loaded)
    log.info("Year %s is version %s:\n%s", year, version, _rows_of_files(report))
    kept = {"sample": entry["sample"], "loaded": loaded, "newest_year": entry.get("newest_year", year)}
    return {"year": year, "version": version, "people": people, **kept}


def _write_year(scenes: raw.Scenes, drafts: Mapping[str, IO[bytes]], merged: str) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        written = [pool.submit(drafts[merged].writelines, prepare.merged_csv(scenes))]
        for name, of in zip(TABLES, (scenes.accidents, scenes.vehicles, scenes.people), strict=True):
            written.append(pool.submit(tables.write_table, of, drafts[name]))
    for one in written:
        one.result()


def clean_data(store: Versions, prepared: Sequence[Mapping[str, Any]], *, force: bool = False) -> Json:
    """Make features of every year, split them, and store Parquet for tasks and CSV for people.

    Returns the version to read: whatever another run makes later, this one stays what it is.
    """
    _frugally()
    years = sorted(prepared, key=lambda p: p["year"])
    version = digest([p["version"] for p in years], features.version())
    sample = any(p["sample"] for p in years)
    loaded = max((p.get("loaded", "") for p in years), default="")
    manifest = None if force else store.intact(TRAIN, version)
    if manifest:
        log.info("Nothing changed: data version %s is used again.", version)
    behind = [name for bucket, names in SHOWN.items() for name in store.behind(bucket, version, names, loaded)]
    if manifest is None or behind:
        with store.drafts(*PARQUET, *chain(*SHOWN.values()), LAST_ROWS) as drafts:
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
                    "inputs": [p["version"] for p in years],
                    "sample": sample,
                    "features": features.version(),
                    "rows": rows,
                }
                manifest = store.write_version(TRAIN, version, {name: drafts[name] for name in PARQUET}, facts)
            for bucket, names in SHOWN.items():
                store.publish(bucket, version, {name: drafts[name] for name in names}, loaded)
    log.info("Data version %s:\n%s", version, _counted(manifest["rows"]))
    return {
        "version": version,
        "sample": sample,
        "rows": manifest["rows"],
        "years": [p["year"] for p in years],
        "newest_year": max(p["newest_year"] for p in years),
        "loaded": loaded,
    }


def _rows_of_files(report: Report) -> str:
    """Return how many rows of each file were read, and kept, as a table."""
    counts = [(report.files[name], report.rows_in[name], report.rows_out[name]) for name in Table]
    heading = ("file", "rows read", "rows kept", "left out")
    return text_table(heading, [(file, read, kept, read - kept) for file, read, kept in counts])


def _counted(rows: Json) -> str:
    """Return what became of all people, as a table."""
    lost = [
        [f"left out of {year}: {reason}", count]
        for year, reasons in rows["dropped"].items()
        for reason, count in reasons.items()
    ]
    kept = [["in the files", rows["in"]], *([part, rows[part]] for part in PARTS)]
    return text_table(("", "people"), [*kept, *lost])


def _write_clean(store: Versions, years: Sequence[Mapping[str, Any]], writers: Writers) -> Json:
    """Write the features and the target of each year, one after the other; return the numbers of rows."""
    dropped, classes = {}, {part: np.zeros(4, dtype=np.int64) for part in PARTS}
    for p in years:
        scenes = scenes_of(store, p["version"], texts=False)
        dropped[str(p["year"])] = clean.dropped(scenes)
        for divided in clean.clean_and_divide(scenes):
            for part, data in zip(PARTS, divided, strict=True):
                classes[part] += data.classes()
                writers[part].write(data)
    clean.check_classes(*classes.values())
    rows = {
        "in": sum(p["people"] for p in years),
        **{part: int(people.sum()) for part, people in classes.items()},
        "dropped": dropped,
    }
    lost = sum(count for reasons in dropped.values() for count in reasons.values())
    if rows["in"] != rows["train_test"] + rows["global_test"] + lost:
        raise RuntimeError(f"Rows disappeared uncounted: {rows}.")
    return rows


def _write_again(store: Versions, version: str, writers: Writers) -> None:
    """Write what people read, from what tasks read."""
    for part, writer in writers.items():
        for data in tables.dataset_slices(store.read_version(TRAIN, version, f"{part}.parquet")):
            writer.write(data)


@contextmanager
def _writers(drafts: Mapping[str, IO[bytes]], *, parquet: bool) -> Iterator[Writers]:
    with ThreadPoolExecutor(1) as pool:
        writers = {
            part: tables.DatasetWriter(
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


def _merged_name(year: int) -> str:
    return f"df_accidents_{year}.csv"


def _write_all_years(store: Versions, years: Sequence[Mapping[str, Any]], file: IO[bytes]) -> None:
    """Put the years' CSVs one after another: their columns are the same."""
    for i, p in enumerate(years):
        content = store.published(PREPROCESSED, p["version"], _merged_name(p["year"]))
        if content is None:  # it shows another version by now
            content = b"".join(prepare.merged_csv(scenes_of(store, p["version"])))
        file.write(memoryview(content)[content.index(b"\n") + 1 if i else 0 :])


def scenes_of(store: Versions, version: str, *, texts: bool = True) -> raw.Scenes:
    """Return the tables of a prepared year, without keys and texts if these are not wanted."""
    return tables.scenes_from_files(lambda name: store.read_version(PREPROCESSED, version, name), texts=texts)


def digest(*parts: Any) -> str:
    """Return 12 hex digits that stand for JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
