"""Recognises files by their names, finds the files of each year in a folder, and limits their size.

The publisher's own names changed over the years and were misspelt twice (`carcteristiques-2021.csv`,
`caract-2023.csv`); copies differ in capitals, accents, `_` for `-`, and compression.
"""

from __future__ import annotations

import gzip
import io
import logging
import re
import unicodedata
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from include.accidents.data.columns import Table
from include.accidents.errors import InputError

log = logging.getLogger(__name__)

MAX_BYTES: Final = 256 << 20
"""Of one file, decompressed. The largest published file has some 30 MB."""

FIRST_YEAR: Final = 2005
"""The first year that is published as four files."""

ACCEPTED_FORMS: Final = (
    "caracteristiques-2021.csv (also carcteristiques-, caract-), lieux-2021.csv, vehicules-2021.csv, "
    "usagers-2021.csv, with - or _, in any case, also with .gz after it"
)
"""The names that `recognise` accepts, for messages."""

_TABLES: Final[Mapping[str, Table]] = {
    "caracteristiques": Table.CARACTERISTIQUES,
    "carcteristiques": Table.CARACTERISTIQUES,
    "caract": Table.CARACTERISTIQUES,
    "lieux": Table.LIEUX,
    "vehicules": Table.VEHICULES,
    "usagers": Table.USAGERS,
}
_NAME: Final = re.compile(r"(?P<stem>[a-z]+)[-_ ](?P<year>2\d{3})\.csv(\.gz)?")
_CSV: Final = re.compile(r".*\.csv(\.gz)?", re.DOTALL)

_OTHER_RESOURCE: Final = re.compile(r"(vehicules?[-_ ]immatricules?|immatriculations?)([-_ ].*)?\.csv(\.gz)?")

MARKER: Final = "SAMPLE"
"""The file that marks a folder of generated accidents."""


def recognise(name: str) -> tuple[Table, int] | None:
    """Return table and year of a file's name (without folder); None for any other name."""
    match = _NAME.fullmatch(_plain(name))
    if match is None or match["stem"] not in _TABLES or int(match["year"]) < FIRST_YEAR:
        return None
    return _TABLES[match["stem"]], int(match["year"])


def is_other_resource(name: str) -> bool:
    """Return whether a file holds registrations of vehicles, published beside the four files of some years."""
    return _OTHER_RESOURCE.fullmatch(_plain(name)) is not None


def find(folder: Path) -> dict[int, dict[Table, Path]]:
    """Find the four files of each year in a folder.

    Hidden files, folders, files that are not CSV and the publisher's files of registrations are skipped.

    Returns
    -------
    Paths by year, years ascending, and table; empty when the folder holds no CSV.

    Raises
    ------
    InputError
        The folder is absent, a CSV has an unknown name, or a year has two files of a table or none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", "create it and put the CSV files there.")
    years: dict[int, dict[Table, Path]] = {}
    for path in _csv_files(folder):
        table, year = _recognised(path)
        files = years.setdefault(year, {})
        if table in files:
            raise InputError(
                f"{folder} holds two files of {table} for {year}: {files[table].name} and {path.name}.",
                "remove one of them.",
            )
        check_size(str(path), path.stat().st_size)
        files[table] = path
    _check_complete(folder, years)
    return dict(sorted(years.items()))


def check_size(name: str, size: int, limit: int = MAX_BYTES) -> None:
    """Raise InputError for a file that is larger than the limit, before it is read."""
    if size > limit:
        raise InputError(f"{name} holds more than {limit:,} bytes.", "replace it by the publisher's file of one year.")


def decompress(name: str, content: bytes, limit: int = MAX_BYTES) -> bytes:
    """Decompress a gzip file (of any number of parts), but never more than the limit: it may expand to gigabytes.

    Returns
    -------
    The decompressed content; that of a plain file unchanged.

    Raises
    ------
    InputError
        The file is damaged, or holds more than the limit.
    """
    if content[:2] != b"\x1f\x8b":
        check_size(name, len(content), limit)
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            decompressed = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name} is a damaged gzip file ({error}).", "download or copy it again.") from error
    check_size(name, len(decompressed), limit)
    return decompressed


def _plain(name: str) -> str:
    """Return a name in lower case and without accents."""
    decomposed = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).lower()


def _csv_files(folder: Path) -> Iterable[Path]:
    for path in sorted(folder.iterdir()):
        plain = _plain(path.name)
        if path.name.startswith(".") or not path.is_file() or not _CSV.fullmatch(plain):
            continue
        if is_other_resource(path.name):
            log.info("%s is passed over: registrations of vehicles cannot be joined to the four files.", path.name)
            continue
        yield path


def _recognised(path: Path) -> tuple[Table, int]:
    recognised = recognise(path.name)
    if recognised is None:
        raise InputError(
            f"{path}: the name does not give a table and a year.",
            f"rename it, or move it out of the folder. Accepted are {ACCEPTED_FORMS}.",
        )
    return recognised


def _check_complete(folder: Path, years: Mapping[int, Mapping[Table, Path]]) -> None:
    gaps = []
    for year, files in sorted(years.items()):
        absent = [table.value for table in Table if table not in files]
        if absent:
            gaps.append(f"{year} lacks {' and '.join(absent)}")
    if gaps:
        raise InputError(
            f"A year needs all of its four files, but in {folder} {'; '.join(gaps)}.",
            "add what is missing, or remove the other files of that year.",
        )


def is_sample(folder: Path) -> bool:
    """Return whether the CSV files of a folder are generated."""
    return (folder / MARKER).is_file()
