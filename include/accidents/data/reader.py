"""Reads the raw files of a year into canonical tables, and handles every quirk of the BAAC files of any vintage.

The codes of a column have few distinct values. So Arrow reads each column as a dictionary, and every distinct value
is judged once. That makes reading both strict (each repair is counted) and fast.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from include.accidents.data import files
from include.accidents.data.cells import (
    Parsed,
    Text,
    accident_numbers,
    judge_cells,
    keys,
    repair,
    report_points,
    texts,
)
from include.accidents.data.checks import Action, Finding, Report
from include.accidents.data.columns import COLUMNS, RETIRED_COLUMNS, Column, Kind, Table
from include.accidents.data.linking import check_year, link
from include.accidents.data.positions import repair_positions
from include.accidents.errors import InputError

if TYPE_CHECKING:
    from include.accidents.data.scenes import Scenes

Content = bytes | Callable[[], bytes]
FILES_AT_A_TIME = 2
MAX_HEADER = 1 << 16  # bytes; today's files name 23 columns at most
MAX_LINE = 4 << 20  # bytes; what Arrow reads at a time
MAX_LINES = 5_000_000  # of one file; the largest published file has some 190,000
ALIASES = {"accident_id": "num_acc", "n°_accident": "num_acc", "num_accident": "num_acc"}
# An index that pandas wrote in front of the columns.
INDEX_COLUMNS = frozenset({"", "unnamed: 0", "index"})
RETIRED_AND_UNUSED = ("gps", "env1")


def read_year(
    files: Mapping[Table, tuple[str, Content]], year: int, *, need_severity: bool = True
) -> tuple[Scenes, Report]:
    """Read the four files of one year.

    Parameters
    ----------
    files
        Name (for messages) and content, plain or gzip, of each table. A function may give the content, so that not
        all four are in memory.
    year
        The year in the file names.
    need_severity
        Whether `usagers` must have the column `grav`. Files of new accidents need not; without the column, `grav` is
        missing for all.

    Returns
    -------
    The linked tables, and the report of the checks.

    Raises
    ------
    InputError
        For a file that cannot be used: it names the file, the line or column, the defect and the remedy.
    """

    def parse(table: Table) -> Parsed:
        return _read(table, *files[table], year, need_severity=need_severity)

    report = Report(year, {table: files[table][0] for table in Table})
    read, tables = {}, {}
    with ThreadPoolExecutor(FILES_AT_A_TIME) as pool:  # Arrow parses without Python's lock
        for table, parsed in zip(Table, pool.map(parse, Table), strict=True):
            report.rows_in[table] = parsed.rows
            report.findings += parsed.findings
            report.findings += report_points(parsed)
            report.findings += repair(parsed)
            report.findings += repair_positions(parsed)
            read[table], tables[table] = parsed, parsed.frame()
    pa.default_memory_pool().release_unused()
    check_year(read[Table.CARACTERISTIQUES], tables[Table.CARACTERISTIQUES], report)
    scenes = link(read, tables, report)
    report.prove()
    return scenes, report


def _read(table: Table, name: str, content: Content, year: int, *, need_severity: bool = True) -> Parsed:
    text = _to_utf8(files.decompress(name, content() if callable(content) else content))
    lines = max(text.count(b"\n"), text.count(b"\r"))
    delimiter, header = _header(name, text, lines)
    wanted, ignored = _known_columns(table, name, header, year, need_severity=need_severity)
    read = _parse(name, text, delimiter, header, wanted)
    if read.num_rows == 0:
        raise _empty(name)
    last = re.split(rb"[\r\n]", text[-4096:].rstrip())[-1].rpartition(delimiter.encode())[2]
    if last.startswith(b'"') and (len(last) == 1 or not last.endswith(b'"')):
        raise InputError(
            f"{name} is cut off: its last cell {last.decode(errors='replace')[:40]!r} has no closing quote.",
            "download or copy it again.",
        )
    parsed = Parsed(table, name, year, read.num_rows, _line_finder(text, delimiter, read.num_rows, lines))
    parsed.findings = [Finding(table, c, "unknown column", read.num_rows, Action.IGNORED, 1) for c in ignored]
    for column in wanted:
        cells = read.column(column.name)
        if column.name == "num_acc":
            parsed.columns["num_acc"] = accident_numbers(parsed, cells)
        elif column.kind is Kind.KEY:
            parsed.columns[column.name] = _series(keys(parsed, column.name, cells))
        elif column.kind is Kind.TEXT and column.name != "dep":
            parsed.columns[column.name] = _series(texts(cells))
        else:
            parsed.numbers[column.name] = judge_cells(parsed, column, cells)
    return parsed


def _series(cells: Text) -> pd.Series:
    return pd.Series(pd.array(cells, dtype="str"))


def _to_utf8(content: bytes) -> bytes:
    content = content.removeprefix(b"\xef\xbb\xbf")
    return content if _is_utf8(content) else content.decode("latin-1").encode()


def _is_utf8(content: bytes) -> bool:
    offsets = np.array([0, len(content)], dtype=np.int64)
    whole = pa.Array.from_buffers(pa.large_string(), 1, [None, *map(pa.py_buffer, (offsets, content))])
    try:
        whole.validate(full=True)  # ten times as fast as decoding, and without Python's lock
    except pa.ArrowInvalid:
        return False
    return True


def _header(name: str, text: bytes, lines: int) -> tuple[str, list[str]]:
    first = re.split(rb"[\r\n]", text[: MAX_HEADER + 1], maxsplit=1)[0].decode(errors="replace")
    if len(first) > MAX_HEADER:
        raise InputError(
            f"{name}, line 1: the column names take more than {MAX_HEADER:,} bytes.",
            "replace it by the publisher's CSV file.",
        )
    if lines > MAX_LINES:
        raise InputError(f"{name} has {lines:,} lines; {MAX_LINES:,} are read at most.", "give the file of one year.")
    delimiter = max(";,\t", key=first.count)
    if not first.count(delimiter):
        raise InputError(
            f"{name}, line 1: no column names separated by ';', ',' or a tab were found, but {first[:60]!r}.",
            "replace it by the publisher's CSV file.",
        )
    end = len(first.encode())
    if not text[end : end + (1 << 16)].strip():
        raise _empty(name)
    header = [cell.strip().strip('"').strip().lower() for cell in first.split(delimiter)]
    return delimiter, [ALIASES.get(cell, cell) for cell in header]


def _empty(name: str) -> InputError:
    return InputError(f"{name} holds no row.", "replace it by the complete file of the publisher.")


def _known_columns(
    table: Table, name: str, header: list[str], year: int, *, need_severity: bool
) -> tuple[list[Column], list[str]]:
    """Return the columns to read, and the names of unknown columns."""
    doubled = [column for column, count in Counter(header).items() if count > 1 and column]
    if doubled:
        raise InputError(f"{name}, line 1: column {doubled[0]!r} occurs twice.", "keep one of the two.")
    known = [c for c in (*COLUMNS, *RETIRED_COLUMNS) if c.table == table]
    missing = [
        c.name
        for c in known
        if c.required
        and c.name not in header
        and c.first_year <= year <= (c.last_year or year)
        and c.name != "id_usager"  # no table is joined by it, and some editions lack it
        and (need_severity or c.name != "grav")
    ]
    if missing:
        raise InputError(
            f"{name}, line 1: column {', '.join(map(repr, missing))} is missing (found: {', '.join(header)}).",
            f"replace it by the publisher's file '{table}' of {year}.",
        )
    names = {c.name for c in known}
    ignored = [c for i, c in enumerate(header) if c not in names and not (i == 0 and c in INDEX_COLUMNS)]
    return [c for c in known if c.name in header and c.name not in RETIRED_AND_UNUSED], ignored


def _parse(name: str, text: bytes, delimiter: str, header: list[str], wanted: list[Column]) -> pa.Table:
    """Read the wanted columns: codes as dictionaries of strings, the others as plain strings."""
    types = {c.name: pa.dictionary(pa.int32(), pa.string()) if _has_few_values(c) else pa.string() for c in wanted}
    names = [column if column in types else f"column {i}" for i, column in enumerate(header)]

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
        try:  # a quoted address may hold a line break; with one thread, an error gives the row's number
            return read(strict=True)
        except pa.ArrowInvalid as error:
            raise _unreadable(name, text, delimiter, len(header), error) from error


def _has_few_values(column: Column) -> bool:
    return column.name == "dep" or (column.kind in (Kind.CODE, Kind.NUMBER) and column.name not in ("lat", "long"))


def _unreadable(name: str, text: bytes, delimiter: str, width: int, error: Exception) -> InputError:
    """Return the error for the first line that is too long, or whose number of cells differs from the header's."""
    begins, line = 0, 1
    while begins < len(text):
        ends = text.find(b"\n", begins)
        ends = len(text) if ends < 0 else ends
        if ends - begins > MAX_LINE:
            return InputError(f"{name}, line {line} is longer than {MAX_LINE:,} bytes.", "correct or remove that line.")
        begins, line = ends + 1, line + 1
    try:
        for line, row in _rows(text, delimiter):
            if len(row) != width:
                shown = delimiter.join(row)[:80]
                return InputError(
                    f"{name}, line {line}: {len(row)} cells where {width} columns are named: {shown!r}.",
                    "correct or remove that line.",
                )
    except csv.Error as wrong:
        error = wrong
    return InputError(f"{name} cannot be read as CSV ({error}).", "replace it by the publisher's file.")


def _rows(text: bytes, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty, with the line where it begins (1 the first)."""
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(text), "utf-8", newline=""), delimiter=delimiter)
    begins = 1
    for cells in reader:
        if cells:
            yield begins, cells
        begins = reader.line_num + 1


def _line_finder(text: bytes, delimiter: str, rows: int, lines: int) -> Callable[[int], int]:
    """Return a function that gives the line where a row begins (row 0 the first; the header is line 1)."""

    end = b"\n" if b"\n" in text else b"\r"
    tail = text[-1024:]  # files often end in an empty line
    if lines - tail.count(end) + tail.rstrip().count(end) <= rows:
        return lambda row: row + 2

    def line(row: int) -> int:
        # A cell holds a line break, or a line is empty. Row 0 follows the header.
        rows = enumerate(_rows(text, delimiter), start=-1)
        return next((line for at, (line, _) in rows if at == row), row + 2)

    return line
