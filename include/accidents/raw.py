"""Raw files in, canonical tables out: every quirk of the BAAC files of any vintage lives here and nowhere else.

The codes of a column take few distinct values, so Arrow reads each column as a dictionary and every distinct
value is judged once: that makes reading both strict (each repair is counted) and fast.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from include.accidents.errors import InputError
from include.accidents.schema import (
    COLUMNS,
    LETTER_CODES,
    RETIRED_COLUMNS,
    Column,
    Kind,
    Table,
    columns,
    department_number,
)

Floats = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]

LAST_OLD_YEAR = 2018
ALIASES = {"accident_id": "num_acc", "n°_accident": "num_acc", "num_accident": "num_acc"}
# An index that pandas wrote in front of the columns.
INDEX_COLUMNS = frozenset({"", "unnamed: 0", "index"})
# What stands for "not given" in any column, once spaces are taken away.
EMPTY_CELLS = frozenset({"", ".", "N/A", "NA", "NC", "N/C", "nan", "#ERREUR", "#VALEURMULTI", "(1)"})
# A no-break space, also where UTF-8 was once read as latin-1, and ordinary white space.
SPACES = re.compile(r"[\s\u00a0\u202f]|\u00c2(?=[\s\u00a0])")
ORPHANS_ALLOWED = 0.5  # share of people without an accident above which the files are not of one year


@dataclass
class Report:
    """What was found in the files of a year, for the manifest and the log."""

    rows: dict[str, int] = field(default_factory=dict)
    repairs: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    ignored_columns: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "rows": self.rows,
            "repairs": dict(self.repairs.most_common()),
            "dropped": dict(self.dropped.most_common()),
            "ignored_columns": self.ignored_columns,
        }


@dataclass(frozen=True)
class Scenes:
    """Accidents with their vehicles and people, linked by position.

    Attributes
    ----------
    accidents
        One row an accident: `num_acc` (int64) and the columns of `caracteristiques` and `lieux`.
    vehicles
        One row a vehicle; `accident` is the position of its accident (int64).
    people
        One row a person; `accident` and `vehicle` are positions (int64; vehicle -1 when unknown).

    Codes and numbers are float32 with NaN for "not given"; `dep` is numeric, `hrmn` in minutes since midnight;
    texts are strings.
    """

    accidents: pd.DataFrame
    vehicles: pd.DataFrame
    people: pd.DataFrame


def read_year(files: Mapping[Table, tuple[str, bytes]], year: int) -> tuple[Scenes, Report]:
    """Read the four files of one year.

    Parameters
    ----------
    files
        Name (for messages) and content, plain or gzip, of each table.
    year
        The year that the file names say.

    Raises
    ------
    InputError
        Naming the file, the line or column, what was found and the remedy.
    """
    report = Report()
    tables = {table: _read_table(table, *files[table], year, report) for table in Table}
    _check_year(files[Table.CARACTERISTIQUES][0], tables[Table.CARACTERISTIQUES], year)
    return _link(tables, {table: name for table, (name, _) in files.items()}, report), report


# --- one file ----------------------------------------------------------------------------------------------


def _read_table(table: Table, name: str, content: bytes, year: int, report: Report) -> pd.DataFrame:
    text = _to_utf8(_decompress(name, content))
    delimiter, header = _header(name, text)
    wanted = _known_columns(table, name, header, year, report)
    read = _parse(name, text, delimiter, header, wanted)
    report.rows[str(table)] = read.num_rows
    if read.num_rows == 0:
        raise InputError(f"{name} holds no row.", "replace it by the complete file of the publisher.")
    frame = {c.name: _convert(c, read.column(c.name), name, year, report) for c in wanted}
    if "secu" in frame:
        frame |= _todays_equipment(frame.pop("secu"))
    for column in columns(table):  # what a vintage cannot know is missing
        if column.name not in frame and column.kind in (Kind.CODE, Kind.NUMBER):
            frame[column.name] = np.full(read.num_rows, np.nan, dtype=np.float32)
    return pd.DataFrame(frame, copy=False)


def _decompress(name: str, content: bytes) -> bytes:
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name} is a damaged gzip file ({error}).", "download or copy it again.") from error


def _to_utf8(content: bytes) -> bytes:
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1").encode()
    return content


def _header(name: str, text: bytes) -> tuple[str, list[str]]:
    first = text.partition(b"\n")[0].decode().strip("\r")
    delimiter = max(";,\t", key=first.count)
    if not first.count(delimiter):
        raise InputError(
            f"{name}, line 1: no column names separated by ';', ',' or a tab were found.",
            "replace it by the publisher's CSV file.",
        )
    header = [cell.strip().strip('"').strip().lower() for cell in first.split(delimiter)]
    return delimiter, [ALIASES.get(cell, cell) for cell in header]


def _known_columns(table: Table, name: str, header: list[str], year: int, report: Report) -> list[Column]:
    doubled = [column for column, count in Counter(header).items() if count > 1 and column]
    if doubled:
        raise InputError(f"{name}, line 1: column {doubled[0]!r} stands there twice.", "keep one of the two.")
    present = [c for c in (*COLUMNS, *RETIRED_COLUMNS) if c.table == table and c.name in header]
    missing = [
        c.name
        for c in (*COLUMNS, *RETIRED_COLUMNS)
        if c.table == table
        and c.required
        and c.name not in header
        and c.first_year <= year <= (c.last_year or year)
        and c.name != "id_usager"  # nothing is joined by it, and revised files differ
    ]
    if missing:
        raise InputError(
            f"{name}, line 1: column {', '.join(map(repr, missing))} is missing (found: {', '.join(header)}).",
            f"replace it by the publisher's file '{table}' of {year}.",
        )
    known = {c.name for c in present}
    report.ignored_columns += [f"{name}: {c}" for c in header if c not in known | INDEX_COLUMNS]
    return [c for c in present if c.name not in ("gps", "env1")]


def _parse(name: str, text: bytes, delimiter: str, header: list[str], wanted: list[Column]) -> pa.Table:
    """Read the wanted columns as dictionaries of strings; numbers of accidents as plain strings."""
    types = {
        c.name: pa.string() if c.kind in (Kind.TEXT, Kind.KEY) else pa.dictionary(pa.int32(), pa.string())
        for c in wanted
    }
    names = [column or f"unnamed {i}" for i, column in enumerate(header)]

    def read(*, strict: bool) -> pa.Table:
        return pa.csv.read_csv(
            pa.BufferReader(text),
            read_options=pa.csv.ReadOptions(
                column_names=names, skip_rows=1, block_size=4 << 20, use_threads=not strict
            ),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=strict),
            convert_options=pa.csv.ConvertOptions(
                column_types=types, include_columns=list(types), strings_can_be_null=False
            ),
        )

    try:
        return read(strict=False)
    except pa.ArrowInvalid:
        try:  # a quoted address may hold a line break; and one thread knows the line's number
            return read(strict=True)
        except pa.ArrowInvalid as error:
            place = re.search(r"Row #(\d+)", str(error))
            line = f", line {place.group(1)}" if place else ""
            raise InputError(
                f"{name}{line}: a line cannot be read ({str(error).removeprefix('CSV parse error: ')}).",
                "correct or remove that line.",
            ) from error


# --- one column --------------------------------------------------------------------------------------------


def _convert(column: Column, cells: pa.ChunkedArray, name: str, year: int, report: Report) -> Any:
    if column.name == "num_acc":
        return _accident_numbers(cells, name)
    if column.kind is Kind.KEY:
        return pd.Series(_strip(cells).to_numpy(zero_copy_only=False))
    if column.name == "dep":
        return _departments(cells, year, report)
    if column.kind is Kind.TEXT:
        return pd.Series(pc.utf8_trim_whitespace(cells).to_pandas(), dtype="str")
    judge = _judge_of(column, year)
    return _by_distinct_value(cells, judge, f"{column.table}.{column.name}", report)


def _strip(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.replace_substring_regex(cells, r"[\s\x{00A0}\x{202F}\x{00C2}]", "")


def _accident_numbers(cells: pa.ChunkedArray, name: str) -> npt.NDArray[np.int64]:
    try:
        return np.asarray(_strip(cells).cast(pa.int64()).to_numpy(), dtype=np.int64)
    except pa.ArrowInvalid as error:
        for i, cell in enumerate(_strip(cells).to_pylist()):
            if not re.fullmatch(r"\d{1,18}", cell):
                raise InputError(
                    f"{name}, row {i + 2}, column 'num_acc': {cell!r} is not an accident's number.",
                    "correct or remove that line.",
                ) from error
        raise


Judge = Callable[[str], float | None]
"""A cleaned cell in, its value out; NaN for "not given", None for a value that cannot be true."""


def _by_distinct_value(cells: pa.ChunkedArray, judge: Judge, place: str, report: Report) -> Floats:
    """Turn a column into numbers, judging each distinct value once and counting repairs."""
    chunked = cells.unify_dictionaries()
    if chunked.num_chunks == 0:
        return np.empty(0, dtype=np.float32)
    distinct = chunked.chunk(0).dictionary.to_pylist()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in chunked.chunks])
    values = np.empty(len(distinct), dtype=np.float32)
    refused = []
    for i, cell in enumerate(distinct):
        clean = SPACES.sub("", cell)
        value = np.nan if clean in EMPTY_CELLS else judge(clean)
        if value is None:
            refused.append(i)
            value = np.nan
        values[i] = value
    if refused:
        counts = np.bincount(codes, minlength=len(distinct))
        for i in refused:
            report.repairs[f"{place}: {distinct[i][:40]!r} set to missing"] += int(counts[i])
    made: Floats = values[codes]
    return made


def _judge_of(column: Column, year: int) -> Judge:
    if column.kind is Kind.CODE:
        return lambda cell: _code(column, cell)
    if column.name == "hrmn":
        return _minutes
    if column.name == "an":
        return lambda cell: _number(column, cell, century=2000)
    if column.name in ("lat", "long") and year <= LAST_OLD_YEAR:
        return lambda cell: _number(column, cell, unit=1e-5 if "." not in cell and "," not in cell else 1.0)
    if column.name in ("lartpc", "larrout") and year <= LAST_OLD_YEAR:
        return lambda cell: _number(column, cell, unit=0.1)
    return lambda cell: _number(column, cell)


def _code(column: Column, cell: str) -> float | None:
    letter = LETTER_CODES.get(cell.upper()) if column.name == "actp" else None
    value = float(letter) if letter is not None else _float(cell)
    if value is None or value in column.codes:
        return value
    return np.nan if value in column.missing else None


def _number(column: Column, cell: str, *, unit: float = 1.0, century: int = 0) -> float | None:
    value = _float(cell)
    if value is None:
        return None
    if value in column.missing or (value == -1 and (column.low or 0) >= 0):
        return np.nan
    value *= unit
    if century and value < 100:
        value += century
    low = -np.inf if column.low is None else column.low
    high = np.inf if column.high is None else column.high
    return value if low <= value <= high else None


def _float(cell: str) -> float | None:
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        return None


def _minutes(cell: str) -> float | None:
    """Minutes since midnight of ``17:15``, ``1715`` or ``5`` (00:05)."""
    found = re.fullmatch(r"(\d{1,2}):(\d{2})(?::\d{2})?", cell) or re.fullmatch(r"(\d{0,2}?)(\d{1,2})", cell)
    if not found:
        return None
    hours, minutes = int(found.group(1) or 0), int(found.group(2))
    return float(60 * hours + minutes) if hours < 24 and minutes < 60 else None


def _departments(cells: pa.ChunkedArray, year: int, report: Report) -> Floats:
    """To 2018 a third digit follows the department's number (590 = 59; 201, 202 = 2A, 2B)."""

    def judge(cell: str) -> float | None:
        if year <= LAST_OLD_YEAR and cell.isdigit():
            number = int(cell)
            if number in (201, 202):
                return float(number)
            cell = str(number // 10) if number < 971 and number % 10 == 0 else str(number)
        return department_number(cell)

    return _by_distinct_value(cells.dictionary_encode(), judge, "caracteristiques.dep", report)


def _todays_equipment(secu: Floats) -> dict[str, Floats]:
    """Map the single `secu` of the files to 2018 (equipment, use) to today's columns of used equipment."""
    equipment, use = np.divmod(secu, 10)
    secu1 = np.where(use == 1, equipment, np.where(use == 2, 0, 8)).astype(np.float32)
    secu1[np.isnan(secu)] = np.nan
    unknown = np.full(len(secu), np.nan, dtype=np.float32)
    return {"secu1": secu1, "secu2": unknown, "secu3": unknown.copy()}


# --- four files together -----------------------------------------------------------------------------------


def _check_year(name: str, accidents: pd.DataFrame, year: int) -> None:
    found = accidents["an"].mode()
    if len(found) and int(found[0]) != year:
        raise InputError(
            f"{name}: its name says {year}, but its accidents are of {int(found[0])}.",
            "give the file the year of its accidents, and check the three others of that year.",
        )


def _link(tables: Mapping[Table, pd.DataFrame], names: Mapping[Table, str], report: Report) -> Scenes:
    accidents = _first_of_each(tables[Table.CARACTERISTIQUES], "accident described twice", report)
    places = _first_of_each(tables[Table.LIEUX], "secondary place of an accident", report)
    keys = accidents["num_acc"].to_numpy()
    at = _positions(places["num_acc"].to_numpy(), keys)
    without_place = int((at < 0).sum())
    if without_place:
        report.repairs["accident without a place: place set to missing"] = without_place
    report.dropped["place without an accident"] += int((_positions(keys, places["num_acc"].to_numpy()) < 0).sum())
    place = places.drop(columns="num_acc").take(np.maximum(at, 0)).reset_index(drop=True)
    place[at < 0] = np.nan
    accidents = pd.concat([accidents, place], axis=1)

    vehicles = _within(tables[Table.VEHICULES], keys, "vehicle", names, report)
    people = _within(tables[Table.USAGERS], keys, "person", names, report)
    people["vehicle"] = _vehicle_positions(vehicles, people)
    walked = int((people["vehicle"] < 0).sum())
    if walked:
        report.repairs["person without a vehicle: vehicle set to missing"] = walked
    report.dropped = +report.dropped
    return Scenes(accidents, vehicles, people)


def _first_of_each(frame: pd.DataFrame, reason: str, report: Report) -> pd.DataFrame:
    """Keep the first row of each accident, in order of number: the files give the main place first."""
    numbers = frame["num_acc"].to_numpy()
    _, first = np.unique(numbers, return_index=True)
    report.dropped[reason] += len(numbers) - len(first)
    return frame.take(first).reset_index(drop=True)


def _positions(sorted_keys: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> Positions:
    """Return where each wanted key stands in `sorted_keys`; -1 where it does not."""
    at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.where(sorted_keys[at] == wanted, at, -1).astype(np.int64)


def _within(
    frame: pd.DataFrame, keys: npt.NDArray[Any], what: str, names: Mapping[Table, str], report: Report
) -> pd.DataFrame:
    """Link rows to their accident; rows of no known accident are dropped and counted."""
    at = _positions(keys, frame["num_acc"].to_numpy())
    lost = int((at < 0).sum())
    if lost > ORPHANS_ALLOWED * len(frame):
        table = Table.VEHICULES if what == "vehicle" else Table.USAGERS
        raise InputError(
            f"{names[table]}: {lost} of {len(frame)} rows are of no accident in {names[Table.CARACTERISTIQUES]}.",
            "check that the four files are of the same year and edition.",
        )
    report.dropped[f"{what} without an accident"] += lost
    kept = frame[at >= 0].reset_index(drop=True)
    kept.insert(0, "accident", at[at >= 0])
    return kept.drop(columns="num_acc")


def _vehicle_positions(vehicles: pd.DataFrame, people: pd.DataFrame) -> Positions:
    """Find each person's vehicle by `id_vehicule`, or by `num_veh` where a vintage lacks it."""
    key = "id_vehicule" if "id_vehicule" in vehicles and "id_vehicule" in people else "num_veh"
    codes, distinct = pd.factorize(pd.concat([vehicles[key], people[key]], ignore_index=True))
    accident = np.concatenate([vehicles["accident"].to_numpy(), people["accident"].to_numpy()])
    joint = accident * (len(distinct) + 1) + codes
    of_vehicles, of_people = joint[: len(vehicles)], joint[len(vehicles) :]
    order = np.argsort(of_vehicles, kind="stable")
    if len(order) == 0:
        return np.full(len(people), -1, dtype=np.int64)
    at = _positions(of_vehicles[order], of_people)
    return np.where(at >= 0, order[at], -1).astype(np.int64)
