"""Raw files into the store, and from there into the preparation of a year."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from include.accidents.data.columns import Table
from include.accidents.data.files import is_sample
from include.accidents.errors import InputError
from include.accidents.pipeline.contracts import RawYear
from include.accidents.reporting import texts
from include.accidents.storage import raw_files
from include.accidents.storage.raw_files import RawFile
from include.accidents.storage.versions import Store, megabytes

log = logging.getLogger(__name__)


def load_raw(store: Store, folder: Path, years: Sequence[int], *, chosen: bool = False) -> list[RawYear]:
    """Upload what changed in `folder`; return the files of the years wanted (or of all) that are in the raw bucket.

    Raises
    ------
    InputError
        When there is no file at all, a file is unknown or missing, a wanted year is absent, or there is no such folder
        though it was chosen by the form.
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
    found = raw_files.raw_years(store)
    absent = sorted(set(years) - found.keys())
    if absent or not found:
        have = ", ".join(map(str, found)) or "none"
        raise InputError(
            f"No files of {', '.join(map(str, absent)) or 'any year'} in {folder} or the raw bucket (years: {have}).",
            "put the four CSV files of a year into that folder, or choose among the years that are there.",
        )
    _report(found, uploaded)
    return [
        RawYear(
            year=year,
            sample=any(file.sample for file in tables_.values()),
            files={str(table): (file.key, file.sha256) for table, file in tables_.items()},
            loaded=loaded,
            newest_year=max(found),
        )
        for year, tables_ in found.items()
        if not years or year in years
    ]


def _report(found: Mapping[int, Mapping[Table, RawFile]], uploaded: Sequence[str]) -> None:
    """Log the files of the raw bucket."""
    rows = [
        (year, str(table), file.key, megabytes(file.size), "uploaded now" if file.key in uploaded else "was there")
        for year, tables in found.items()
        for table, file in tables.items()
    ]
    heading = ("year", "table", "file", "size", "")
    log.info("%d files uploaded; the raw bucket holds:\n%s", len(uploaded), texts.text_table(heading, rows))
