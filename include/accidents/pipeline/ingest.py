"""Upload the raw files, and choose the years to prepare."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from include.accidents.data.files import is_sample
from include.accidents.errors import InputError
from include.accidents.pipeline.contracts import RawYear
from include.accidents.reporting import texts
from include.accidents.storage import raw_files
from include.accidents.storage.versions import Store, megabytes

if TYPE_CHECKING:
    from include.accidents.data.columns import Table
    from include.accidents.storage.raw_files import RawFile

log = logging.getLogger(__name__)


def load_raw(store: Store, folder: Path, years: Sequence[int], *, chosen: bool = False) -> list[RawYear]:
    """Upload the changed files of `folder`, and list the years of the raw bucket.

    Returns
    -------
    The files of each chosen year; of every year, when `years` is empty.

    Raises
    ------
    InputError
        When there is no file at all, a file is unknown or missing, a chosen year is absent, or the folder that was
        chosen in the form does not exist.
    """
    if chosen and not folder.is_dir():
        raise InputError(
            f"There is no folder {folder} on the machine that runs this task.",
            "trigger with another 'Folder of CSVs', or with none to use the installation's.",
        )
    store.create_buckets()
    loaded, uploaded = datetime.now(UTC).isoformat(), []
    if folder.is_dir():
        uploaded = raw_files.upload_raw(store, folder, sample=is_sample(folder))
    else:
        log.info("There is no folder %s: the files that are in the bucket are used.", folder)
    available = raw_files.raw_years(store)
    absent = sorted(set(years) - available.keys())
    if absent or not available:
        have = ", ".join(map(str, available)) or "none"
        raise InputError(
            f"No files of {', '.join(map(str, absent)) or 'any year'} in {folder} or the raw bucket (years: {have}).",
            "put the four CSV files of a year into that folder, or choose among the available years.",
        )
    _report(available, uploaded)
    return [
        RawYear(
            year=year,
            sample=any(file.sample for file in tables_.values()),
            files={str(table): (file.key, file.sha256) for table, file in tables_.items()},
            loaded=loaded,
            newest_year=max(available),
        )
        for year, tables_ in available.items()
        if not years or year in years
    ]


def _report(available: Mapping[int, Mapping[Table, RawFile]], uploaded: Sequence[str]) -> None:
    """Log the files of the raw bucket."""
    rows = [
        (year, str(table), file.key, megabytes(file.size), "uploaded now" if file.key in uploaded else "already there")
        for year, tables in available.items()
        for table, file in tables.items()
    ]
    heading = ("year", "table", "file", "size", "")
    log.info("%d files uploaded; the raw bucket holds:\n%s", len(uploaded), texts.text_table(heading, rows))
