"""Read the four files of a year, check and link them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from include.accidents.data import checks, files, merge, reader, tables
from include.accidents.data.checks import Report
from include.accidents.data.columns import Table
from include.accidents.data.files import is_sample
from include.accidents.errors import InputError
from include.accidents.features.version import feature_version
from include.accidents.pipeline.contracts import PreparedYear, RawYear
from include.accidents.pipeline.year_tables import TABLES, digest, merged_name, save_memory, scenes_of
from include.accidents.reporting import check_report
from include.accidents.reporting.texts import text_table
from include.accidents.settings import Thresholds
from include.accidents.storage import raw_files
from include.accidents.storage.buckets import PREPROCESSED, RAW
from include.accidents.storage.raw_files import RawFile
from include.accidents.storage.versions import WRITERS, Store, sha256_of_file

if TYPE_CHECKING:
    from include.accidents.data.scenes import Scenes

log = logging.getLogger(__name__)

Files = Mapping[Table, tuple[str, reader.Content]]

UPLOAD = "by `make demo RAW=folder`, or straight into the bucket"


def folder_years(folder: Path) -> list[tuple[RawYear, Callable[[], Files]]]:
    """Return the arguments of `prepare_year` for each year in a folder of CSVs; InputError as `files.find`."""
    generated, years = is_sample(folder), files.find(folder)
    return [
        (
            RawYear(
                year=year,
                sample=generated,
                files={str(table): (path.name, sha256_of_file(path)) for table, path in paths.items()},
                newest_year=max(years),
            ),
            partial(_read_files, paths),
        )
        for year, paths in years.items()
    ]


def _read_files(paths: Mapping[Table, Path]) -> Files:
    return {table: (path.name, path.read_bytes) for table, path in paths.items()}


def year_version(entry: RawYear) -> str:
    """Return the version of a year's tables: a hash of its files and of the code."""
    facts = entry.model_dump(mode="json", include={"year", "sample", "files"})
    return f"{entry.year}-{digest(facts, feature_version())}"


def prepare_year(
    store: Store,
    entry: RawYear,
    read: Callable[[], Files],
    limits: Thresholds | None = None,
    *,
    force: bool = False,
) -> PreparedYear:
    """Read the four files of a year, check and link them; store the tables, the merged CSV and the report.

    Parameters
    ----------
    read
        Returns the files' contents; called when they were not prepared before.

    Returns
    -------
    The version of the tables in the preprocessed bucket, and its number of people.

    Raises
    ------
    InputError
        When a file cannot be read, or breaks a rule too often (CheckError; the report is published nevertheless).
    """
    save_memory()
    year, version, limits = entry.year, year_version(entry), limits or Thresholds()
    loaded = entry.loaded
    manifest = None if force else store.intact(PREPROCESSED, version)
    scenes = None
    if manifest:
        log.info("Year %s did not change: version %s is used again.", year, version)
        report = Report.from_dict(manifest["report"])
    else:
        scenes, report = reader.read_year(read(), year)
        save_memory()
    log.info("Checks of %s:\n%s", year, check_report.text(report, limits))
    page = check_report.page(report, limits).encode()
    judged = f"{version} by {digest(limits.model_dump())}"
    store.publish(PREPROCESSED, judged, {f"report_{year}.html": page}, loaded)  # also of a year that is refused now
    checks.enforce(report, limits)
    _store_year(store, entry, version, scenes, report)
    log.info("Year %s is version %s:\n%s", year, version, _rows_of_files(report))
    return PreparedYear(
        year=year,
        version=version,
        people=report.rows_out[Table.USAGERS],
        sample=entry.sample,
        loaded=loaded,
        newest_year=entry.newest_year,
    )


def _store_year(store: Store, entry: RawYear, version: str, scenes: Scenes | None, report: Report) -> None:
    """Store the tables of a year, unless they were stored before (no `scenes`), and its CSV for people."""
    shown = merged_name(entry.year)
    if scenes is None and not store.stale(PREPROCESSED, version, [shown], entry.loaded):
        return
    with store.staging(shown, *TABLES) as drafts:
        _write_year(scenes or scenes_of(store, version), drafts, shown)
        if scenes is not None:
            facts = {
                "inputs": dict(entry.files.values()),
                "sample": entry.sample,
                "features": feature_version(),
                "people": report.rows_out[Table.USAGERS],
                "report": report.as_dict(),
            }
            store.write_version(PREPROCESSED, version, {name: drafts[name] for name in TABLES}, facts)
        store.publish(PREPROCESSED, version, {shown: drafts[shown]}, entry.loaded)


def _write_year(scenes: Scenes, drafts: Mapping[str, IO[bytes]], merged: str) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        written = [pool.submit(drafts[merged].writelines, merge.merged_csv(scenes))]
        for name, of in zip(TABLES, (scenes.accidents, scenes.vehicles, scenes.people), strict=True):
            written.append(pool.submit(tables.write_table, of, drafts[name]))
    for one in written:
        one.result()


def _rows_of_files(report: Report) -> str:
    """Return the numbers of rows read and kept of each file, as a table."""
    counts = [(report.files[name], report.rows_in[name], report.rows_out[name]) for name in Table]
    heading = ("file", "rows read", "rows kept", "left out")
    return text_table(heading, [(file, read, kept, read - kept) for file, read, kept in counts])


def prepare_loaded_year(store: Store, entry: RawYear, *, force: bool) -> PreparedYear:
    """Read the four files of a year, check and link them, and store the tables, the merged CSV and the report."""

    def read() -> Files:
        return {
            Table(table): (key, partial(raw_files.read_raw, store, RawFile(key, sha256, entry.sample)))
            for table, (key, sha256) in entry.files.items()
        }

    try:
        return prepare_year(store, entry, read, force=force)
    except InputError as error:
        error.remedy += (
            f" The files that were read are in the bucket {RAW}: upload the corrected file ({UPLOAD}), or delete the "
            f"four files of {entry.year} there."
        )
        raise
