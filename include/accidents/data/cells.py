"""Reads the cells of one file; every distinct value is judged once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from include.accidents.data import checks
from include.accidents.data.checks import Action, Finding
from include.accidents.data.columns import LETTER_CODES, Column, Kind, Table, columns
from include.accidents.data.departments import department_number
from include.accidents.errors import InputError

if TYPE_CHECKING:
    from include.accidents.data.scenes import Positions

Floats = npt.NDArray[np.float32]
Text: TypeAlias = Any
"""A column of strings (pyarrow.ChunkedArray)."""

LAST_OLD_YEAR = 2018
# To 2017 a person on foot who moves on skates or a scooter has a code of their own.
ON_FOOT, ON_SKATES = 3, 4
# Cells that mean "not given" in any column, once spaces are removed.
EMPTY_CELLS = ("", ".", "N/A", "NA", "NC", "N/C", "nan", "#ERREUR", "#VALEURMULTI", "(1)")
# Ordinary white space, no-break spaces, and the character before these where UTF-8 was read as latin-1.
SPACES = r"[\s\x{00A0}\x{202F}\x{00C2}]"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)$"
# An integer as pandas writes it when a cell of its column was empty.
POINTED = r"^([+-]?\d+)\.0+$"


@dataclass
class _Cells:
    """A column of numbers by its distinct cells.

    `texts` are the distinct cells as written, `values` their numbers (NaN: not given), `codes` the position of each
    row's cell among them; None where every row has a cell of its own.
    """

    texts: pa.Array
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
        counts = np.ones(len(self.values)) if self.codes is None else np.bincount(self.codes, minlength=len(self.texts))
        shown = Counter({str(self.texts[int(i)])[:40]: int(counts[i]) for i in positions})
        return dict(shown.most_common(checks.EXAMPLES))


@dataclass
class Parsed:
    """One file: its keys and texts, its numbers before they are judged, and the findings so far."""

    table: Table
    name: str
    year: int
    rows: int
    line: Callable[[int], int]
    columns: dict[str, Any] = field(default_factory=dict)
    numbers: dict[str, _Cells] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    pointed: dict[str, int] = field(default_factory=dict)
    """Number of integers with a decimal point, by column."""

    def find(self, column: str, rule: str, rows: Positions, action: Action, **more: Any) -> Finding:
        """Describe the rows that break a rule."""
        return Finding(self.table, column, rule, len(rows), action, self.line(int(rows[0])), **more)

    def frame(self) -> pd.DataFrame:
        """Return today's columns in their order; a column that the vintage lacks is missing."""
        present = {name: self.numbers.pop(name).expand() for name in list(self.numbers)}  # each pop frees memory
        if "secu" in present:
            present |= _todays_equipment(present.pop("secu"))
        present |= self.columns
        nothing = np.full(self.rows, np.nan, dtype=np.float32)
        unknown = pd.Series(pd.array(pa.nulls(self.rows, pa.string()), dtype="str"))
        numeric = (Kind.CODE, Kind.NUMBER)
        return pd.DataFrame(
            {c.name: present.get(c.name, nothing if c.kind in numeric else unknown) for c in columns(self.table)}
        )


def judge_cells(parsed: Parsed, column: Column, cells: pa.ChunkedArray) -> _Cells:
    """Turn each distinct cell into a number; a cell that is not a number is missing, and a finding."""
    codes = None
    if pa.types.is_dictionary(cells.type):
        whole = cells.unify_dictionaries()
        texts = whole.chunk(0).dictionary
        small = np.min_scalar_type(-len(texts))
        codes = np.concatenate([chunk.indices.to_numpy().astype(small) for chunk in whole.chunks])
    else:
        texts = cells.combine_chunks()
    values, unreadable = _numbers(column, texts, parsed.year)
    distinct = _Cells(texts, values, codes)
    if column.kind is Kind.CODE or _special(column, parsed.year):
        pointed = pc.match_substring_regex(_strip(texts), POINTED).to_numpy(zero_copy_only=False)
        if pointed.any():
            parsed.pointed[column.name] = len(distinct.rows_with(np.flatnonzero(pointed)))
    if len(unreadable):
        rows = distinct.rows_with(unreadable)
        rule = "unknown department" if column.name == "dep" else "not a number"
        more = {"examples": distinct.examples(unreadable)}
        parsed.findings.append(parsed.find(column.name, rule, rows, Action.MISSING, **more))
    return distinct


def _numbers(column: Column, texts: pa.Array, year: int) -> tuple[npt.NDArray[np.float64], Positions]:
    """Return the number of each cell (NaN: not given), and the positions of unreadable cells."""
    clean = pc.replace_substring_regex(texts, SPACES, "")
    given = ~pc.is_in(clean, pa.array(EMPTY_CELLS)).to_numpy(zero_copy_only=False)
    special = _special(column, year)
    if special:
        clean = pc.replace_substring_regex(clean, POINTED, r"\1")
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
        values[whole | (np.abs(values) > 180)] *= 1e-5
    if year <= LAST_OLD_YEAR and column.name in ("lartpc", "larrout"):
        values *= 0.1
    if column.name == "an":
        values[values < 100] += 2000
    if year <= LAST_OLD_YEAR and column.name == "catu":
        values[values == ON_SKATES] = ON_FOOT
    return values, unreadable


def _special(column: Column, year: int) -> Callable[[str], float | None] | None:
    """Return the function that reads a column's cells, where they are not plain numbers; else None."""
    if column.name == "hrmn":
        return _minutes
    if column.name == "actp":
        return _action
    if column.name == "dep":
        return _old_department if year <= LAST_OLD_YEAR else department_number
    return None


def _minutes(cell: str) -> float | None:
    """Return the minutes since midnight of ``17:15``, ``1715`` or ``5`` (00:05)."""
    if cell == "-1":
        return -1
    match = re.fullmatch(r"(\d{1,2}):(\d{2})(?::\d{2})?", cell) or re.fullmatch(r"(\d{0,2}?)(\d{1,2})", cell)
    if not match:
        return None
    hours, minutes = int(match.group(1) or 0), int(match.group(2))
    return float(60 * hours + minutes) if hours < 24 and minutes < 60 else None


def _action(cell: str) -> float | None:
    letter = LETTER_CODES.get(cell.upper())
    if letter is not None:
        return float(letter)
    return float(cell) if re.fullmatch(r"-?\d+", cell) else None


def _old_department(cell: str) -> float | None:
    """Return a department's number from a cell to 2018, with a third digit (590 = 59; 201, 202 = 2A, 2B)."""
    if re.fullmatch(r"[0-9]{1,3}", cell):
        number = int(cell)
        if number in (201, 202):
            return float(number)
        cell = str(number // 10) if number < 971 and number % 10 == 0 else str(number)
    return department_number(cell)


def _strip(cells: Text) -> Text:
    return pc.replace_substring_regex(cells, SPACES, "")


def keys(parsed: Parsed, name: str, cells: Text) -> Text:
    """Remove all spaces, and the decimal points of integers; an empty key is missing."""
    clean = pc.replace_substring(cells, "\u00a0", "")  # nearly always the only space; much faster than a pattern
    if not pc.all(pc.ascii_is_alnum(clean)).as_py():
        clean = _without_point(parsed, name, _strip(clean))
    return pc.if_else(pc.is_in(clean, pa.array((*EMPTY_CELLS, "-1"))), pa.scalar(None, pa.string()), clean)


def _without_point(parsed: Parsed, name: str, cells: Text) -> Text:
    """Remove the decimal points of integers, and count them."""
    pointed = pc.sum(pc.match_substring_regex(cells, POINTED)).as_py()
    if not pointed:
        return cells
    parsed.pointed[name] = pointed
    return pc.replace_substring_regex(cells, POINTED, r"\1")


def report_points(parsed: Parsed) -> list[Finding]:
    """Return the finding about integers with a decimal point, if there are any: one for all columns of the file."""
    if not parsed.pointed:
        return []
    columns_of = dict(Counter(parsed.pointed).most_common(checks.EXAMPLES))
    rule = f"integers written with a decimal point (1.0), in {len(parsed.pointed)} columns"
    return [Finding(parsed.table, "", rule, max(parsed.pointed.values()), Action.CORRECTED, examples=columns_of)]


def texts(cells: Text) -> Text:
    """Turn every space into an ordinary one, and remove those at the ends; an empty text is missing."""
    for space in ("\u00c2\u00a0", "\u00a0", "\u202f"):
        cells = pc.replace_substring(cells, space, " ")
    clean = pc.utf8_trim_whitespace(cells)
    return pc.if_else(pc.is_in(clean, pa.array((*EMPTY_CELLS, "-1"))), pa.scalar(None, pa.string()), clean)


def accident_numbers(parsed: Parsed, cells: Text) -> npt.NDArray[np.int64]:
    """Return the accident number of each row, shape (rows,); InputError for a cell without one."""
    try:
        clean = cells
        if not pc.all(pc.utf8_is_decimal(cells)).as_py():
            clean = _without_point(parsed, "num_acc", _strip(cells))
        return np.array(clean.cast(pa.int64()).to_numpy(), dtype=np.int64)
    except pa.ArrowInvalid as error:
        wrong = ~pc.match_substring_regex(clean, r"^\d{1,18}$").to_numpy()
        row = int(np.flatnonzero(wrong)[0])
        cell = str(cells[row])[:60]
        rounded = re.fullmatch(r"\d([.,]\d+)?[eE]\+?\d+", cell.strip())
        raise InputError(
            f"{parsed.name}, line {parsed.line(row)}, column 'num_acc': {cell!r} is not an accident's number"
            f"{': a spreadsheet has rounded it, and its digits are lost' if rounded else ''}.",
            "take the publisher's file, which no spreadsheet has saved." if rounded else "correct or remove that line.",
        ) from error


def _todays_equipment(secu: Floats) -> dict[str, Floats]:
    """Map the single `secu` of the files to 2018 (equipment, use) to today's columns of used equipment."""
    equipment, use = np.divmod(secu, 10)
    secu1 = np.where(use == 1, equipment, np.where(use == 2, 0, 8)).astype(np.float32)
    secu1[np.isnan(secu)] = np.nan
    unknown = np.full(len(secu), np.nan, dtype=np.float32)
    return {"secu1": secu1, "secu2": unknown, "secu3": unknown.copy()}


def repair(parsed: Parsed) -> list[Finding]:
    """Set each value that breaks a rule of the schema to missing; return the findings."""
    findings = []
    broken = checks.bad_values(parsed.table, {name: cells.values for name, cells in parsed.numbers.items()})
    for name, (rule, at) in broken.items():
        cells = parsed.numbers[name]
        more = {"examples": cells.examples(at)}
        findings.append(parsed.find(name, rule, cells.rows_with(at), Action.MISSING, **more))
        cells.values[at] = np.nan
    return findings
