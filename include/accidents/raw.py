"""Raw files in, canonical tables out: every quirk of the BAAC files of any vintage lives here and nowhere else.

The codes of a column take few distinct values, so Arrow reads each column as a dictionary and every distinct value
is judged once: that makes reading both strict (each repair is counted) and fast.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from include.accidents import checks, files
from include.accidents.checks import Action, Finding, Report, RowRule
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
Text: TypeAlias = Any
"""A column of strings (pyarrow.ChunkedArray)."""
Content = bytes | Callable[[], bytes]

LAST_OLD_YEAR = 2018
FILES_AT_A_TIME = 2
MAX_HEADER = 1 << 16  # bytes; today's files name 23 columns at most
MAX_LINE = 4 << 20  # bytes; what Arrow reads at a time
MAX_LINES = 5_000_000  # of one file; the largest that was ever published has some 190,000
ALIASES = {"accident_id": "num_acc", "n°_accident": "num_acc", "num_accident": "num_acc"}
# An index that pandas wrote in front of the columns.
INDEX_COLUMNS = frozenset({"", "unnamed: 0", "index"})
# What stands for "not given" in any column, once spaces are taken away.
EMPTY_CELLS = ("", ".", "N/A", "NA", "NC", "N/C", "nan", "#ERREUR", "#VALEURMULTI", "(1)")
# Ordinary white space, no-break spaces, and what precedes these where UTF-8 was once read as latin-1.
SPACES = r"[\s\x{00A0}\x{202F}\x{00C2}]"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)$"
ORPHANS_ALLOWED = 0.5  # share of rows without an accident above which the files are not of one year
OLDEST = 110  # years; nobody in the files is older unless the year of birth is mistyped
RETIRED_AND_UNUSED = ("gps", "env1")


@dataclass(frozen=True)
class Scenes:
    """Accidents with their vehicles and people, linked by position.

    Every vintage gives the same columns with the same types, in the order of `schema.COLUMNS`; what it cannot know is
    missing.

    Attributes
    ----------
    accidents
        One row an accident: `num_acc` (int64) and the columns of `caracteristiques` and `lieux`.
    vehicles
        One row a vehicle; `accident` is the position of its accident (int64).
    people
        One row a person; `accident` and `vehicle` are positions (int64; vehicle -1 when unknown).

    Codes and numbers are float32 with NaN for "not given"; `dep` is numeric, `hrmn` in minutes since midnight;
    texts are strings. To 2018 `id_vehicule` is made of the accident's number and `num_veh`.
    """

    accidents: pd.DataFrame
    vehicles: pd.DataFrame
    people: pd.DataFrame


def read_year(
    files: Mapping[Table, tuple[str, Content]], year: int, *, need_severity: bool = True
) -> tuple[Scenes, Report]:
    """Read the four files of one year.

    Parameters
    ----------
    files
        Name (for messages) and content, plain or gzip, of each table; or what gives the content, so that not all four
        need be in memory.
    year
        The year that the file names say.
    need_severity
        Whether `usagers` must have the column `grav`. Where it need not, as of new accidents, and has not, `grav` is
        missing for all.

    Raises
    ------
    InputError
        Naming the file, the line or column, what was found and the remedy.
    """

    def parse(table: Table) -> _Parsed:
        return _read(table, *files[table], year, need_severity=need_severity)

    report = Report(year, {table: files[table][0] for table in Table})
    read, tables = {}, {}
    with ThreadPoolExecutor(FILES_AT_A_TIME) as pool:  # Arrow parses without Python's lock
        for table, parsed in zip(Table, pool.map(parse, Table), strict=True):
            report.rows_in[table] = parsed.rows
            report.findings += parsed.findings
            report.findings += _repair(parsed)
            report.findings += _drop_half_positions(parsed)
            read[table], tables[table] = parsed, parsed.frame()
    pa.default_memory_pool().release_unused()
    _check_year(read[Table.CARACTERISTIQUES], tables[Table.CARACTERISTIQUES], report)
    scenes = _link(read, tables, report)
    report.prove()
    return scenes, report


# --- one file


@dataclass
class _Cells:
    """A column of numbers by its distinct cells.

    `said` are the cells as written, `values` what they mean (NaN: not given), `codes` the position of each row's
    cell among them; None where every row has a cell of its own.
    """

    said: pa.Array
    values: npt.NDArray[np.float64]
    codes: npt.NDArray[np.signedinteger[Any]] | None

    def expand(self) -> Floats:
        """Return the value of each row."""
        values = self.values.astype(np.float32)
        return values if self.codes is None else values[self.codes]

    def rows_with(self, positions: Positions) -> Positions:
        """Return the rows whose cell is at one of the positions."""
        if self.codes is None:
            return positions
        wanted = np.zeros(len(self.values), dtype=np.bool_)
        wanted[positions] = True
        return np.flatnonzero(wanted[self.codes])

    def examples(self, positions: Positions) -> dict[str, int]:
        """Return the most frequent of these cells with their counts."""
        counts = np.ones(len(self.values)) if self.codes is None else np.bincount(self.codes, minlength=len(self.said))
        told = Counter({str(self.said[int(i)])[:40]: int(counts[i]) for i in positions})
        return dict(told.most_common(checks.EXAMPLES))


@dataclass
class _Parsed:
    """One file: its keys and texts, its numbers before they are judged, and what was already found."""

    table: Table
    name: str
    year: int
    rows: int
    line: Callable[[int], int]
    columns: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, _Cells] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def find(self, column: str, rule: str, rows: Positions, action: Action, **more: Any) -> Finding:
        """Describe the rows that break a rule."""
        return Finding(self.table, column, rule, len(rows), action, self.line(int(rows[0])), **more)

    def frame(self) -> pd.DataFrame:
        """Return today's columns in their order; what the vintage lacks is missing."""
        made = {name: self.numbers.pop(name).expand() for name in list(self.numbers)}  # memory goes as it is used
        if "secu" in made:
            made |= _todays_equipment(made.pop("secu"))
        made |= self.columns
        nothing = np.full(self.rows, np.nan, dtype=np.float32)
        unknown = pd.Series(pd.array(pa.nulls(self.rows, pa.string()), dtype="str"))
        numeric = (Kind.CODE, Kind.NUMBER)
        return pd.DataFrame(
            {c.name: made.get(c.name, nothing if c.kind in numeric else unknown) for c in columns(self.table)}
        )


def _read(table: Table, name: str, content: Content, year: int, *, need_severity: bool = True) -> _Parsed:
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
    parsed = _Parsed(table, name, year, read.num_rows, _line_finder(text, delimiter, read.num_rows, lines))
    parsed.findings = [Finding(table, c, "unknown column", read.num_rows, Action.IGNORED, 1) for c in ignored]
    for column in wanted:
        cells = read.column(column.name)
        if column.name == "num_acc":
            parsed.columns["num_acc"] = _accident_numbers(parsed, cells)
        elif column.kind is Kind.KEY:
            parsed.columns[column.name] = _series(_keys(cells))
        elif column.kind is Kind.TEXT and column.name != "dep":
            parsed.columns[column.name] = _series(_texts(cells))
        else:
            parsed.numbers[column.name] = _judge_cells(parsed, column, cells)
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
        whole.validate(full=True)  # ten times as fast as to decode it, and without Python's lock
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
    """Return the columns to read, and the names of those that nobody knows."""
    doubled = [column for column, count in Counter(header).items() if count > 1 and column]
    if doubled:
        raise InputError(f"{name}, line 1: column {doubled[0]!r} stands there twice.", "keep one of the two.")
    known = [c for c in (*COLUMNS, *RETIRED_COLUMNS) if c.table == table]
    missing = [
        c.name
        for c in known
        if c.required
        and c.name not in header
        and c.first_year <= year <= (c.last_year or year)
        and c.name != "id_usager"  # nothing is joined by it, and revised files differ
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
        try:  # a quoted address may hold a line break; and one thread knows the row's number
            return read(strict=True)
        except pa.ArrowInvalid as error:
            raise _unreadable(name, text, delimiter, len(header), error) from error


def _has_few_values(column: Column) -> bool:
    return column.name == "dep" or (column.kind in (Kind.CODE, Kind.NUMBER) and column.name not in ("lat", "long"))


def _unreadable(name: str, text: bytes, delimiter: str, width: int, error: Exception) -> InputError:
    """Find the line that has another number of cells than the header, or is too long to be one."""
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
                said = delimiter.join(row)[:80]
                return InputError(
                    f"{name}, line {line}: {len(row)} cells where {width} columns are named: {said!r}.",
                    "correct or remove that line.",
                )
    except csv.Error as wrong:
        error = wrong
    return InputError(f"{name} cannot be read as CSV ({error}).", "replace it by the publisher's file.")


def _rows(text: bytes, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty, with the line on which it begins (1 the first)."""
    csv.field_size_limit(MAX_LINE)
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(text), "utf-8", newline=""), delimiter=delimiter)
    begins = 1
    for cells in reader:
        if cells:
            yield begins, cells
        begins = reader.line_num + 1


def _line_finder(text: bytes, delimiter: str, rows: int, lines: int) -> Callable[[int], int]:
    """Return a function from a row (0 the first) to the line on which it begins (the header is line 1)."""

    end = b"\n" if b"\n" in text else b"\r"
    tail = text[-1024:]  # files often end in an empty line
    if lines - tail.count(end) + tail.rstrip().count(end) <= rows:
        return lambda row: row + 2

    def line(row: int) -> int:
        # Some cell holds a line break, or some line is empty. Row 0 follows the header.
        rows = enumerate(_rows(text, delimiter), start=-1)
        return next((line for at, (line, _) in rows if at == row), row + 2)

    return line


# --- one column


def _judge_cells(parsed: _Parsed, column: Column, cells: pa.ChunkedArray) -> _Cells:
    """Turn each distinct cell into a number; what is none is missing, and a finding."""
    codes = None
    if pa.types.is_dictionary(cells.type):
        whole = cells.unify_dictionaries()
        said = whole.chunk(0).dictionary
        small = np.min_scalar_type(-len(said))
        codes = np.concatenate([chunk.indices.to_numpy().astype(small) for chunk in whole.chunks])
    else:
        said = cells.combine_chunks()
    values, unreadable = _numbers(column, said, parsed.year)
    made = _Cells(said, values, codes)
    if len(unreadable):
        rows = made.rows_with(unreadable)
        rule = "unknown department" if column.name == "dep" else "not a number"
        more = {"examples": made.examples(unreadable)}
        parsed.findings.append(parsed.find(column.name, rule, rows, Action.MISSING, **more))
    return made


def _numbers(column: Column, said: pa.Array, year: int) -> tuple[npt.NDArray[np.float64], Positions]:
    """Return what each cell means (NaN: not given), and the positions of cells that mean nothing."""
    clean = pc.replace_substring_regex(said, SPACES, "")
    given = ~pc.is_in(clean, pa.array(EMPTY_CELLS)).to_numpy(zero_copy_only=False)
    special = _special(column, year)
    if special:
        values = np.array([special(cell) for cell in clean.to_pylist()], dtype=np.float64)
        dotted = clean
    else:
        dotted = pc.replace_substring(clean, ",", ".")
        numeric = pc.match_substring_regex(dotted, NUMBER)
        only = pc.if_else(numeric, dotted, pa.scalar(None, pa.string()))
        values = only.cast(pa.float64()).to_numpy(zero_copy_only=False).copy()
    values[~given] = np.nan
    unreadable = np.flatnonzero(given & np.isnan(values))
    missing = np.isin(values, list(column.missing))
    if (column.low or 0) >= 0:
        missing |= values == -1
    values[missing] = np.nan
    if year <= LAST_OLD_YEAR and column.name in ("lat", "long"):
        whole = ~pc.match_substring(dotted, ".").to_numpy(zero_copy_only=False)
        values[whole] *= 1e-5
    if year <= LAST_OLD_YEAR and column.name in ("lartpc", "larrout"):
        values *= 0.1
    if column.name == "an":
        values[values < 100] += 2000
    return values, unreadable


def _special(column: Column, year: int) -> Callable[[str], float | None] | None:
    """Return how a cell of a column that is not written in plain digits is read."""
    if column.name == "hrmn":
        return _minutes
    if column.name == "actp":
        return _action
    if column.name == "dep":
        return _old_department if year <= LAST_OLD_YEAR else department_number
    return None


def _minutes(cell: str) -> float | None:
    """Minutes since midnight of ``17:15``, ``1715`` or ``5`` (00:05)."""
    if cell == "-1":
        return -1
    found = re.fullmatch(r"(\d{1,2}):(\d{2})(?::\d{2})?", cell) or re.fullmatch(r"(\d{0,2}?)(\d{1,2})", cell)
    if not found:
        return None
    hours, minutes = int(found.group(1) or 0), int(found.group(2))
    return float(60 * hours + minutes) if hours < 24 and minutes < 60 else None


def _action(cell: str) -> float | None:
    letter = LETTER_CODES.get(cell.upper())
    if letter is not None:
        return float(letter)
    return float(cell) if re.fullmatch(r"-?\d+", cell) else None


def _old_department(cell: str) -> float | None:
    """To 2018 a third digit follows the department's number (590 = 59; 201, 202 = 2A, 2B)."""
    if re.fullmatch(r"[0-9]{1,3}", cell):
        number = int(cell)
        if number in (201, 202):
            return float(number)
        cell = str(number // 10) if number < 971 and number % 10 == 0 else str(number)
    return department_number(cell)


def _strip(cells: Text) -> Text:
    return pc.replace_substring_regex(cells, SPACES, "")


def _keys(cells: Text) -> Text:
    """Take all spaces away; an empty key is missing."""
    clean = pc.replace_substring(cells, "\u00a0", "")  # nearly always the only one, and much cheaper than a pattern
    if not pc.all(pc.ascii_is_alnum(clean)).as_py():
        clean = _strip(clean)
    return pc.if_else(pc.is_in(clean, pa.array((*EMPTY_CELLS, "-1"))), pa.scalar(None, pa.string()), clean)


def _texts(cells: Text) -> Text:
    """Ordinary spaces inside, none at the ends; what is not given is missing."""
    for space in ("\u00c2\u00a0", "\u00a0", "\u202f"):
        cells = pc.replace_substring(cells, space, " ")
    clean = pc.utf8_trim_whitespace(cells)
    return pc.if_else(pc.is_in(clean, pa.array((*EMPTY_CELLS, "-1"))), pa.scalar(None, pa.string()), clean)


def _accident_numbers(parsed: _Parsed, cells: Text) -> npt.NDArray[np.int64]:
    try:
        clean = cells
        if not pc.all(pc.utf8_is_decimal(cells)).as_py():
            clean = _strip(cells)
        return np.array(clean.cast(pa.int64()).to_numpy(), dtype=np.int64)
    except pa.ArrowInvalid as error:
        wrong = ~pc.match_substring_regex(_strip(cells), r"^\d{1,18}$").to_numpy()
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{parsed.name}, line {parsed.line(row)}, column 'num_acc': {str(cells[row])[:60]!r} is not an accident's "
            "number.",
            "correct or remove that line.",
        ) from error


def _todays_equipment(secu: Floats) -> dict[str, Floats]:
    """Map the single `secu` of the files to 2018 (equipment, use) to today's columns of used equipment."""
    equipment, use = np.divmod(secu, 10)
    secu1 = np.where(use == 1, equipment, np.where(use == 2, 0, 8)).astype(np.float32)
    secu1[np.isnan(secu)] = np.nan
    unknown = np.full(len(secu), np.nan, dtype=np.float32)
    return {"secu1": secu1, "secu2": unknown, "secu3": unknown.copy()}


def _repair(parsed: _Parsed) -> list[Finding]:
    """Set what breaks a rule of the schema to missing."""
    found = []
    broken = checks.bad_values(parsed.table, {name: cells.values for name, cells in parsed.numbers.items()})
    for name, (rule, at) in broken.items():
        cells = parsed.numbers[name]
        more = {"examples": cells.examples(at)}
        found.append(parsed.find(name, rule, cells.rows_with(at), Action.MISSING, **more))
        cells.values[at] = np.nan
    return found


def _drop_half_positions(parsed: _Parsed) -> list[Finding]:
    """Set both coordinates to missing where one of them is: the other alone is no position."""
    if parsed.table is not Table.CARACTERISTIQUES:
        return []
    lat, long = parsed.numbers["lat"], parsed.numbers["long"]
    no_lat, no_long = np.isnan(lat.values), np.isnan(long.values)
    found = []
    # To 2018 an accident that nobody located says 0 and 0: that is how the files write it, and no repair.
    unlocated = np.flatnonzero(no_lat & (long.values == 0))
    if len(unlocated):
        rule = "longitude 0 without a latitude: nobody located the accident"
        found.append(parsed.find("long", rule, unlocated, Action.IGNORED))
        long.values[unlocated] = np.nan
    for name, cells, half in (("long", long, no_lat & ~np.isnan(long.values)), ("lat", lat, no_long & ~no_lat)):
        at = np.flatnonzero(half)
        if len(at):
            # Nearly every coordinate is another: the first ones say as much, and to count all takes time.
            more = {"examples": cells.examples(at[: checks.EXAMPLES])}
            rule = "one coordinate without the other is no position"
            found.append(parsed.find(name, rule, at, Action.MISSING, **more))
            cells.values[at] = np.nan
    return found


# --- four files together


def _check_year(parsed: _Parsed, accidents: pd.DataFrame, report: Report) -> None:
    years = accidents["an"].to_numpy()
    other = np.flatnonzero(~np.isnan(years) & (years != report.year))
    if not len(other):
        return
    if 2 * len(other) > len(years):
        raise InputError(
            f"{parsed.name}: its name says {report.year}, but its accidents are of {years[other[0]]:.0f} "
            f"(line {parsed.line(int(other[0]))}, column 'an').",
            "give the file the year of its accidents, and check the three others of that year.",
        )
    examples = {f"{year:.0f}": int((years == year).sum()) for year in np.unique(years[other])[: checks.EXAMPLES]}
    report.findings.append(parsed.find("an", "another year than the file's", other, Action.KEPT, examples=examples))


def _link(read: Mapping[Table, _Parsed], tables: Mapping[Table, pd.DataFrame], report: Report) -> Scenes:
    """Join the tables by position; rows that belong to nothing, or stand there twice, are dropped and counted."""
    doubled = RowRule("num_acc", "accident described twice", lambda s: ~s.duplicated())
    accidents = _keep(read, tables, Table.CARACTERISTIQUES, [doubled], report)
    accidents = accidents.sort_values("num_acc", ignore_index=True)
    keys = accidents["num_acc"].to_numpy()

    def known(what: str) -> RowRule:
        return RowRule("num_acc", f"{what} of no accident", lambda s: s.isin(keys))

    # The first place is the accident's main one, which the others would multiply people by.
    further = RowRule("num_acc", "further place of an accident", lambda s: ~s.duplicated())
    places = _keep(read, tables, Table.LIEUX, [known("place"), further], report)
    accidents = _with_places(accidents, places, read, report)

    vehicles = _identified(tables[Table.VEHICULES])
    twice = RowRule("id_vehicule", "vehicle described twice", lambda s: ~s.duplicated() | s.isna())
    vehicles = _keep(read, {Table.VEHICULES: vehicles}, Table.VEHICULES, [known("vehicle"), twice], report)
    vehicles.insert(0, "accident", _positions(keys, vehicles.pop("num_acc").to_numpy()))

    people = _identified(tables[Table.USAGERS])
    twice = RowRule("id_usager", "person described twice", lambda s: ~s.duplicated() | s.isna())
    people = _keep(read, {Table.USAGERS: people}, Table.USAGERS, [known("person"), twice], report)
    people.insert(0, "accident", _positions(keys, people.pop("num_acc").to_numpy()))
    people["vehicle"] = _vehicle_positions(vehicles, people, read[Table.USAGERS], report)
    _check_ages(accidents, people, report)
    _note_gaps(accidents, vehicles, people, report)
    return Scenes(accidents, vehicles, people)


def _keep(
    read: Mapping[Table, _Parsed],
    tables: Mapping[Table, pd.DataFrame],
    table: Table,
    rules: list[RowRule],
    report: Report,
) -> pd.DataFrame:
    """Return the rows that keep the rules; each other one is counted."""
    frame, parsed = tables[table], read[table]
    keys = frame[list(dict.fromkeys(rule.column for rule in rules))]
    kept = np.ones(len(frame), dtype=np.bool_)
    for rule, rows in checks.bad_rows(keys, rules).items():
        by = next(r.column for r in rules if r.rule == rule)
        if rule.endswith("of no accident") and len(rows) > ORPHANS_ALLOWED * len(frame):
            name = read[Table.CARACTERISTIQUES].name
            raise InputError(
                f"{parsed.name}: {len(rows)} of {len(frame)} rows are of no accident in {name}; the first is line "
                f"{parsed.line(int(rows[0]))}, column 'num_acc', {frame[by].iloc[rows[0]]}.",
                "check that the four files are of the same year and edition.",
            )
        kept[rows] = False
        action = Action.REDUCED if rule.startswith("further") else Action.DROPPED
        examples = Counter(frame[by].iloc[rows[: checks.EXAMPLES]].astype(str))
        report.findings.append(parsed.find(by, rule, rows, action, examples=dict(examples)))
    report.rows_out[table] = int(kept.sum())
    return frame if kept.all() else frame[kept].reset_index(drop=True)


def _with_places(
    accidents: pd.DataFrame, places: pd.DataFrame, read: Mapping[Table, _Parsed], report: Report
) -> pd.DataFrame:
    order = np.argsort(places["num_acc"].to_numpy(), kind="stable")
    at = _positions(places["num_acc"].to_numpy()[order], accidents["num_acc"].to_numpy())
    place = places.drop(columns="num_acc").take(order[np.maximum(at, 0)]).reset_index(drop=True)
    without = at < 0
    if without.any():
        place[without] = np.nan
        where = Finding(Table.CARACTERISTIQUES, "num_acc", "accident without a place", int(without.sum()), Action.KEPT)
        report.findings.append(where)
    return pd.concat([accidents, place], axis=1)


def _identified(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill `id_vehicule` where it is not given, with what meant a vehicle to 2018: accident and `num_veh`."""
    unknown = frame["id_vehicule"].isna()
    if unknown.any():
        made = frame["num_acc"].astype("str") + "-" + frame["num_veh"]
        frame["id_vehicule"] = frame["id_vehicule"].where(~unknown, made)
    return frame


def _positions(sorted_keys: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> Positions:
    """Return where each wanted key stands in `sorted_keys`; -1 where it does not."""
    if len(sorted_keys) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.where(sorted_keys[at] == wanted, at, -1).astype(np.int64)


def _vehicle_positions(vehicles: pd.DataFrame, people: pd.DataFrame, parsed: _Parsed, report: Report) -> Positions:
    """Find each person's vehicle by `id_vehicule`; -1 where there is none in the person's accident."""
    found = pc.index_in(
        pa.array(people["id_vehicule"], pa.string()),
        value_set=pa.array(vehicles["id_vehicule"], pa.string()),
        skip_nulls=True,
    )
    at: Positions = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if len(vehicles):
        of_another = (at >= 0) & (vehicles["accident"].to_numpy()[at] != people["accident"].to_numpy())
        at[of_another] = -1
    lost = int((at < 0).sum())
    if lost:
        rule = "person without a vehicle of the accident"
        report.findings.append(Finding(Table.USAGERS, "vehicle", rule, lost, Action.MISSING))
    return at


def _check_ages(accidents: pd.DataFrame, people: pd.DataFrame, report: Report) -> None:
    """Set years of birth to missing that make an impossible age."""
    age = accidents["an"].to_numpy()[people["accident"].to_numpy()] - people["an_nais"].to_numpy()
    impossible = (age < 0) | (age > OLDEST)
    if impossible.any():
        said = Counter(f"{year:.0f}" for year in people["an_nais"].to_numpy()[impossible])
        people.loc[impossible, "an_nais"] = np.nan
        rule = f"age outside 0 to {OLDEST}"
        examples = dict(said.most_common(checks.EXAMPLES))
        report.findings.append(
            Finding(Table.USAGERS, "an_nais", rule, int(impossible.sum()), Action.MISSING, examples=examples)
        )


def _note_gaps(accidents: pd.DataFrame, vehicles: pd.DataFrame, people: pd.DataFrame, report: Report) -> None:
    """Tell what is incomplete but stays: it is part of a scene all the same."""

    def unused(of: pd.DataFrame, by: npt.NDArray[np.int64]) -> int:
        return int((np.bincount(by[by >= 0], minlength=len(of)) == 0).sum())

    notes = (
        (Table.CARACTERISTIQUES, "accident without a vehicle", unused(accidents, vehicles["accident"].to_numpy())),
        (Table.CARACTERISTIQUES, "accident without people", unused(accidents, people["accident"].to_numpy())),
        (Table.VEHICULES, "vehicle without people", unused(vehicles, people["vehicle"].to_numpy())),
        (Table.USAGERS, "severity not given: not for training", int(people["grav"].isna().sum())),
    )
    report.findings += [Finding(table, "", rule, rows, Action.KEPT) for table, rule, rows in notes if rows]
