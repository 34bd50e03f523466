"""From raw files to clean splits, over any store of versions: the DAG's S3, or folders without Airflow.

What was already made of the same inputs, by the same code, is not made again.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from include.accidents import checks, clean, features, files, prepare, raw, tables
from include.accidents.checks import Report
from include.accidents.errors import StorageError
from include.accidents.report import text_table
from include.accidents.sample import is_sample
from include.accidents.schema import Table
from include.accidents.settings import Thresholds
from include.accidents.versions import PREPROCESSED, TRAIN, Content, Versions, sha256_of_file

log = logging.getLogger(__name__)

Json = dict[str, Any]
Files = Mapping[Table, tuple[str, raw.Content]]
PARTS = ("train_test", "global_test")
_M_ARENA_MAX = -8  # malloc.h


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
    """Give memory back: Arrow's own pools keep some 100 MB, and glibc's arenas, one a thread, 30 MB of holes."""
    with suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    pa.set_memory_pool(pa.system_memory_pool())
    pa.system_memory_pool().release_unused()


def year_version(entry: Mapping[str, Any]) -> str:
    """Return the version of a year's tables: a hash of its files and of the code."""
    made_of = {name: value for name, value in entry.items() if name != "loaded"}
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
        `year`, `sample` (whether it is generated), `files`: name and SHA-256 by table; and `loaded`, when the run
        looked at the files, if objects for people are to show the newest run.
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
    people = report.rows_out[Table.USAGERS]
    if scenes is not None:
        store.write_version(
            PREPROCESSED,
            version,
            tables.scenes_to_files(scenes),
            {
                "inputs": dict(entry["files"].values()),
                "sample": entry["sample"],
                "features": features.version(),
                "people": people,
                "report": report.as_dict(),
            },
        )
        _frugally()
    merged: dict[str, Content] = {_merged_name(year): tables.csv_writer(_merged(store, version, scenes))}
    store.publish(PREPROCESSED, version, merged, loaded)
    log.info("Year %s is version %s:\n%s", year, version, _rows_of_files(report))
    return {"year": year, "version": version, "sample": entry["sample"], "people": people, "loaded": loaded}


def clean_data(store: Versions, prepared: Sequence[Mapping[str, Any]], *, force: bool = False) -> Json:
    """Make features of every year, split them, and store Parquet for tasks and CSV for people.

    Returns the version to read: whatever another run makes later, this one stays what it is.
    """
    _frugally()
    years = sorted(prepared, key=lambda p: p["year"])
    version = digest([p["version"] for p in years], features.version())
    sample = any(p["sample"] for p in years)
    manifest = None if force else store.intact(TRAIN, version)
    if manifest is None:
        manifest = _write_clean(store, version, years, sample=sample)
    else:
        log.info("Nothing changed: data version %s is used again.", version)
    _frugally()
    loaded = max((p.get("loaded", "") for p in years), default="")
    _publish_clean(store, version, years, loaded)
    log.info("Data version %s:\n%s", version, _counted(manifest["rows"]))
    return {
        "version": version,
        "sample": sample,
        "rows": manifest["rows"],
        "years": [p["year"] for p in years],
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


def _write_clean(store: Versions, version: str, years: Sequence[Mapping[str, Any]], *, sample: bool) -> Json:
    parts, dropped = [], {}
    for p in years:
        *divided, dropped[str(p["year"])] = clean.clean_and_divide(scenes_of(store, p["version"], texts=False))
        parts.append(divided)
        _frugally()
    of_years = dict(zip(PARTS, zip(*parts, strict=True), strict=True))
    clean.check_classes(*(np.sum([part.classes() for part in of_years[name]], axis=0) for name in PARTS))
    rows = {
        "in": sum(p["people"] for p in years),
        **{name: sum(map(len, of_years[name])) for name in PARTS},
        "dropped": dropped,
    }
    lost = sum(count for reasons in dropped.values() for count in reasons.values())
    if rows["in"] != rows["train_test"] + rows["global_test"] + lost:
        raise RuntimeError(f"Rows disappeared uncounted: {rows}.")
    contents = {f"{name}.parquet": tables.dataset_writer(of_years[name]) for name in PARTS}
    facts = {
        "inputs": [p["version"] for p in years],
        "sample": sample,
        "features": features.version(),
        "rows": rows,
    }
    return store.write_version(TRAIN, version, contents, facts)


def _publish_clean(store: Versions, version: str, years: Sequence[Mapping[str, Any]], loaded: str) -> None:
    """Write what people read; nothing is read where it already shows this version."""
    held: dict[str, bytes] = {}

    def content(part: str) -> bytes:
        if part not in held:
            held[part] = store.read_version(TRAIN, version, f"{part}.parquet")
        return held[part]

    def columns(part: str, names: Sequence[str]) -> Content:
        def write(file: IO[bytes]) -> None:
            tables.csv_writer(tables.dataset_batches(content(part), names))(file)

        return write

    splits: dict[str, Content] = {f"X_{part}.csv": columns(part, features.NAMES) for part in PARTS}
    splits |= {f"y_{part}.csv": columns(part, tables.TARGET) for part in PARTS}
    if not store.publish(TRAIN, version, splits, loaded):
        return
    _frugally()
    store.publish(
        PREPROCESSED,
        version,
        {
            "df_accident_clean.csv": lambda file: _write_clean_csv(store, version, file),
            "df_accidents.csv": lambda file: _write_all_years(store, years, file),
        },
        loaded,
    )


def _write_clean_csv(store: Versions, version: str, file: IO[bytes]) -> None:
    """Put X and y side by side: a third of the time of formatting their numbers once more."""
    for i, part in enumerate(PARTS):
        x, y = (store.published(TRAIN, version, f"{axis}_{part}.csv") for axis in "Xy")
        if x is None or y is None:
            raise StorageError(f"{TRAIN} shows another version than {version} by now.", "run this step again.")
        tables.joined_lines(x, y, header=i == 0)(file)


def _merged_name(year: int) -> str:
    return f"df_accidents_{year}.csv"


def _merged(store: Versions, version: str, scenes: raw.Scenes | None) -> Iterator[pa.Table]:
    for merged in prepare.merge_in_slices(scenes_of(store, version) if scenes is None else scenes):
        yield tables.to_arrow(merged)


def _write_all_years(store: Versions, years: Sequence[Mapping[str, Any]], file: IO[bytes]) -> None:
    """Put the years' CSVs one after another: their columns are the same."""
    for i, p in enumerate(years):
        content = store.published(PREPROCESSED, p["version"], _merged_name(p["year"]))
        if content is None:  # it shows another version by now
            part = io.BytesIO()
            tables.csv_writer(_merged(store, p["version"], None))(part)
            content = part.getvalue()
        file.write(memoryview(content)[content.index(b"\n") + 1 if i else 0 :])


def scenes_of(store: Versions, version: str, *, texts: bool = True) -> raw.Scenes:
    """Return the tables of a prepared year, without keys and texts if these are not wanted."""
    return tables.scenes_from_files(lambda name: store.read_version(PREPROCESSED, version, name), texts=texts)


def digest(*parts: Any) -> str:
    """Return 12 hex digits that stand for JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
