"""Files with quirks and defects at random, alone and together: read to exactly what they were made from, or refused."""

from __future__ import annotations

import csv
import gzip
import io
import os
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from include.accidents.data import reader
from include.accidents.data.checks import Action
from include.accidents.data.columns import COLUMNS, OLD_EQUIPMENT, Column, Kind, Table, columns
from include.accidents.data.departments import DEPARTMENTS, TERRITORIES
from include.accidents.data.scenes import Scenes
from include.accidents.errors import InputError

C, L, V, U = Table
# `make fuzz` tries more, and others each time.
MORE = os.environ.get("ACCIDENTS_FUZZ_EXAMPLES")
FEW = settings(
    max_examples=int(MORE or 60),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not MORE,
    phases=[Phase.explicit, Phase.generate],
)
RETIRED = {C: ["gps"], L: ["env1"], V: [], U: ["secu"]}
EQUIPMENT = {f"{what}{use}": {1: what, 2: 0, 3: 8}[use] for what in OLD_EQUIPMENT for use in (1, 2, 3)}
STREETS = ("Rue des Érables", "D 981", "12, rue « Haute »", 'Lieu-dit "Les Prés"', "Quai\nNord", "a;b\tc")
Row = dict[str, Any]


@dataclass
class Year:
    """A small year: what the canonical frames should hold, and the cells to write."""

    year: int
    seed: int
    ids: bool  # whether `usagers` has id_usager
    values: dict[Table, list[Row]] = field(default_factory=dict)
    cells: dict[Table, list[dict[str, str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311
        size = self.random.randint(3, 5)
        numbers = [self.year * 10**8 + n for n in self.random.sample(range(1, 10**6), size)]
        self.values = {table: [] for table in Table}
        for number in numbers:
            self.values[C].append(self._row(C, number))
            self.values[L].append(self._row(L, number))
            marks = self.random.sample(["A01", "B01", "[02", "Z\\1"], self.random.randint(1, 3))
            vehicles = [self._row(V, number) | self._vehicle(number, mark) for mark in marks]
            self.values[V] += vehicles
            for _ in range(self.random.randint(1, 3)):
                own = self.random.choice([*vehicles, *vehicles, *vehicles, {"id_vehicule": None, "num_veh": None}])
                person = {"id_vehicule": own["id_vehicule"], "num_veh": own["num_veh"]}
                person["id_usager"] = str(self.random.randint(10**6, 10**12)) if self.ids else None
                self.values[U].append(self._row(U, number) | person)
        self.random.shuffle(self.values[L])
        self.cells = {table: [self._written(table, row) for row in rows] for table, rows in self.values.items()}

    @property
    def old(self) -> bool:
        return self.year <= 2018

    def names(self, table: Table) -> list[str]:
        """The columns of the file."""
        today = [c.name for c in columns(table) if c.first_year <= self.year or (c.name == "id_usager" and self.ids)]
        return [n for n in today if n != "id_usager" or self.ids] + (RETIRED[table] if self.old else [])

    def _vehicle(self, number: int, mark: str) -> Row:
        made = f"{number}-{mark}" if self.old else str(self.random.randint(10**5, 10**9))
        return {"id_vehicule": made, "num_veh": mark}

    def _row(self, table: Table, number: int) -> Row:
        row: Row = {"num_acc": number}
        for c in columns(table):
            if c.kind is not Kind.KEY:
                unknown_then = c.first_year > self.year
                row[c.name] = None if unknown_then or self.random.random() < 0.2 else self._value(c)
        if table is C:
            row["an"] = float(self.year)
            if row["lat"] is None or row["long"] is None:  # one alone is no position: test_raw says what becomes of it
                row["lat"] = row["long"] = None
            else:
                row |= self._position(row["dep"])
        if table is U and self.old:
            row["secu"] = self.random.choice([None, *EQUIPMENT])
            row["secu1"] = None if row["secu"] is None else EQUIPMENT[row["secu"]]
        return row

    def _value(self, c: Column) -> Any:
        r = self.random
        if c.name == "dep":
            return r.choice(sorted(DEPARTMENTS))
        if c.name == "an_nais":
            return self.year - r.randint(0, 100)
        if c.name in ("lartpc", "larrout"):
            return r.randint(10, 200)  # decimetres
        if c.kind is Kind.TEXT:
            return r.choice(STREETS) if c.name == "adr" else str(r.randint(1, 99))
        if c.kind is Kind.CODE:
            return r.choice(sorted(c.codes))
        return r.randint(int(c.low or 0), min(int(c.high or 0), 2000)) if c.name != "an" else self.year

    def _position(self, department: str | None) -> Row:
        """Return a position in the department's territory, in hundred thousandths of a degree."""
        box = TERRITORIES.get(department or "", TERRITORIES["metropolitan France"])
        edges = ((box.south, box.north), (box.west, box.east))
        degrees = [self.random.randint(round(low * 10**5) + 1, round(high * 10**5) - 1) for low, high in edges]
        return dict(zip(("lat", "long"), degrees, strict=True))

    def _written(self, table: Table, row: Row) -> dict[str, str]:
        if self.old and row.get("dep") in TERRITORIES and row["lat"] is not None and self.random.random() < 0.5:
            row = row | {"lat": abs(row["lat"]), "long": abs(row["long"])}  # the publisher's files to 2018
        return {name: self._cell(table, name, row.get(name)) for name in self.names(table)}

    def _cell(self, table: Table, name: str, value: Any) -> str:  # noqa: PLR0911
        r = self.random
        if name in ("gps", "env1"):
            return "M" if name == "gps" else "99"
        if value is None:
            return r.choice(self._absent(table, name))
        if name == "an":
            return f"{self.year % 100:02d}" if self.old else str(self.year)
        if name == "hrmn":
            hours, minutes = divmod(value, 60)
            return str(100 * hours + minutes) if self.old else f"{hours:02d}:{minutes:02d}"
        if name == "dep" and self.old:
            return {"2A": "201", "2B": "202"}.get(value, value.ljust(3, "0"))
        if name in ("lat", "long"):
            return f"{value:07d}" if self.old else f"{value / 10**5:.5f}".replace(".", r.choice(",."))
        if name in ("lartpc", "larrout"):
            return f"{value:03d}" if self.old else f"{value / 10:.1f}".replace(".", ",")
        if name == "actp" and value > 9:
            return "AB"[value - 10]
        if name in ("catv", "obs", "manv"):
            return f"{value:02d}"
        return str(value)

    def _absent(self, table: Table, name: str) -> list[str]:
        known = {c.name: c for c in columns(table)}.get(name)
        if known is None or known.kind in (Kind.KEY, Kind.TEXT):
            return ["", " "]
        forms = ["", " ", "."]
        if -1 in known.missing:
            forms += ["-1", " -1"]
        if 0 in known.missing:
            forms += ["0"]
        return forms

    def expected(self) -> Scenes:
        """The canonical frames."""
        numbers = sorted(row["num_acc"] for row in self.values[C])
        place = {row["num_acc"]: row for row in self.values[L]}
        accidents = [row | place[row["num_acc"]] for row in sorted(self.values[C], key=lambda row: row["num_acc"])]
        vehicle = {row["id_vehicule"]: at for at, row in enumerate(self.values[V])}
        linked = [row | {"accident": numbers.index(row["num_acc"])} for row in self.values[V]]
        people = [
            row | {"accident": numbers.index(row["num_acc"]), "vehicle": vehicle.get(row["id_vehicule"], -1)}
            for row in self.values[U]
        ]
        return Scenes(
            self._frame(list(columns(C)) + [c for c in columns(L) if c.name != "num_acc"], accidents),
            self._frame(columns(V), linked, first="accident"),
            self._frame(columns(U), people, first="accident", last="vehicle"),
        )

    def _frame(self, of: Any, rows: list[Row], *, first: str = "", last: str = "") -> pd.DataFrame:
        made: dict[str, Any] = {}
        if first:
            made[first] = np.array([row[first] for row in rows], dtype=np.int64)
        for c in of:
            cells = [row.get(c.name) for row in rows]
            if c.name == "num_acc":
                if not first:
                    made["num_acc"] = np.array(cells, dtype=np.int64)
            elif c.kind in (Kind.KEY, Kind.TEXT) and c.name != "dep":
                made[c.name] = pd.array(cells, dtype="str")
            else:
                made[c.name] = np.array([self._number(c.name, cell) for cell in cells], dtype=np.float32)
        if last:
            made[last] = np.array([row[last] for row in rows], dtype=np.int64)
        return pd.DataFrame(made)

    def _number(self, name: str, value: Any) -> float:
        if value is None:
            return np.nan
        if name == "dep":
            return {"2A": 201, "2B": 202}.get(value) or int(value)
        if name in ("lat", "long"):
            return float(value) * 1e-5 if self.old else float(f"{value / 10**5:.5f}")
        if name in ("lartpc", "larrout"):
            return value * 0.1 if self.old else value / 10
        return float(value)


@dataclass
class Form:
    """How a file is written."""

    delimiter: str = ";"
    quoted: bool = True
    bom: bool = False
    packed: bool = False
    end: str = "\n"
    index: str | None = None
    case: str = "title"
    space: str = "\u00a0"
    latin: bool = False
    blank: bool = False
    extra: bool = False
    pointed: bool = False


FORMS = st.builds(
    Form,
    delimiter=st.sampled_from(";,\t"),
    quoted=st.booleans(),
    bom=st.booleans(),
    packed=st.booleans(),
    end=st.sampled_from(["\n", "\r\n"]),
    index=st.sampled_from([None, "", "Unnamed: 0"]),
    case=st.sampled_from(["title", "upper", "lower"]),
    space=st.sampled_from(["", "\u00a0", "\u00c2\u00a0", "\u202f", " "]),
    latin=st.booleans(),
    blank=st.booleans(),
    extra=st.booleans(),
    pointed=st.booleans(),
)
YEARS = st.builds(
    Year,
    st.sampled_from([2005, 2006, 2009, 2012, 2016, 2017, 2018, 2019, 2020, 2021, 2022, 2023, 2024]),
    st.integers(0, 10**6),
    st.booleans(),
)


def write(year: Year, table: Table, form: Form) -> tuple[bytes, list[int]]:
    """The bytes of a file, and the line on which each row begins."""
    names = year.names(table)
    year.random.shuffle(names)
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if form.quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(out, delimiter=form.delimiter, quoting=quoting, lineterminator=form.end)
    named = [{"title": n.capitalize(), "upper": n.upper(), "lower": n}[form.case] for n in names]
    if table is C and year.year == 2022:
        named[names.index("num_acc")] = "Accident_Id"
    before = [] if form.index is None else [form.index]
    writer.writerow([*before, *named, *(["remark"] if form.extra else [])])
    lines = []
    for i, cells in enumerate(year.cells[table]):
        lines.append(1 + out.getvalue().count("\n"))
        spaces = "" if form.pointed else form.space
        row = [spaced(cells[n], spaces) if n.startswith("id_") else cells[n] for n in names]
        if form.pointed:
            row = [cell if n in TEXTS else pointed(cell) for n, cell in zip(names, row, strict=True)]
        writer.writerow([*([str(i)] if before else []), *row, *(["seen"] if form.extra else [])])
    text = out.getvalue() + (form.end if form.blank else "")
    narrow = form.latin and form.space != "\u202f" and not form.bom
    content = text.encode("latin-1") if narrow else text.encode()
    content = b"\xef\xbb\xbf" + content if form.bom else content
    return (gzip.compress(content) if form.packed else content), lines


TEXTS = {c.name for c in COLUMNS if c.kind is Kind.TEXT and c.name != "dep"} | {"gps", "lartpc", "larrout"}


def pointed(cell: str) -> str:
    """An integer as pandas writes it when a cell of its column was empty."""
    return f"{int(cell)}.0" if re.fullmatch(r"-?\d+", cell) else cell


def spaced(cell: str, space: str) -> str:
    return f"{int(cell):,}".replace(",", space) if cell.strip().isdigit() else cell


def read(year: Year, forms: dict[Table, Form]) -> tuple[Scenes, Any, dict[Table, list[int]]]:
    written = {table: write(year, table, forms[table]) for table in Table}
    files = {table: (f"{table}-{year.year}.csv", content) for table, (content, _) in written.items()}
    scenes, report = reader.read_year(files, year.year)
    return scenes, report, {table: lines for table, (_, lines) in written.items()}


def assert_same(found: Scenes, expected: Scenes) -> None:
    for name in ("accidents", "vehicles", "people"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(expected, name), check_exact=True)


ALL_FORMS = st.fixed_dictionaries(dict.fromkeys(Table, FORMS))


@FEW
@given(YEARS, ALL_FORMS)
def test_any_vintage_in_any_form_is_read_to_what_it_was_made_from(year: Year, forms: dict[Table, Form]) -> None:
    scenes, report, _ = read(year, forms)
    assert_same(scenes, year.expected())
    assert {t: len(rows) for t, rows in year.cells.items()} == report.rows_in == report.rows_out
    assert {f.table for f in report.findings if f.action is Action.IGNORED} == {t for t in Table if forms[t].extra}
    points = {f.table for f in report.findings if f.rule.startswith("integers written with a decimal point")}
    assert points == {t for t in Table if forms[t].pointed}


# --- defects that are repaired

CODES = {C: ["lum", "atm", "col"], L: ["catr", "surf"], V: ["catv", "choc"], U: ["grav", "sexe", "actp"]}
RANGES = {C: {"mois": "13", "hrmn": "2561"}, L: {"nbv": "55"}, V: {"occutc": "-7"}, U: {"an_nais": "1700"}}


def spoil_code(year: Year, table: Table, made: Counter) -> tuple[str, int]:
    name = year.random.choice(CODES[table])
    return name, overwrite(year, table, name, year.random.choice(["77", "-8", "1.5", "??"]), made)


def spoil_number(year: Year, table: Table, made: Counter) -> tuple[str, int]:
    name, cell = year.random.choice(sorted(RANGES[table].items()))
    return name, overwrite(year, table, name, year.random.choice([cell, "x", "1e3"]), made)


def overwrite(year: Year, table: Table, name: str, cell: str, made: Counter) -> int:
    at = year.random.randrange(len(year.values[table]))
    if year.cells[table][at][name] != cell:
        made[table, name] += year.cells[table][at][name] not in SPOILT
    year.cells[table][at][name] = cell
    year.values[table][at][name] = None
    return at


SPOILT = {"77", "-8", "1.5", "??", "x", "1e3", "13", "2561", "55", "-7", "1700"}


def orphan(year: Year, table: Table, dropped: Counter) -> None:
    if table is not C:
        year.cells[table].append(year.cells[table][0] | {"num_acc": str(year.year * 10**8 + 10**7)})
        dropped[table] += 1


def double(year: Year, table: Table, dropped: Counter) -> None:
    if table is not U or year.ids:
        again = dict(year.cells[table][-1])
        if table in (C, L):  # the first row is the one that counts
            again |= {"jour": "31"} if table is C else {"catr": "9", "voie": "elsewhere"}
        year.cells[table].append(again)
        dropped[table] += 1


@FEW
@given(
    YEARS,
    ALL_FORMS,
    st.lists(st.tuples(st.sampled_from([spoil_code, spoil_number]), st.sampled_from(Table)), max_size=4),
    st.lists(st.tuples(st.sampled_from([orphan, double]), st.sampled_from(Table)), max_size=3, unique=True),
)
def test_defects_are_repaired_and_counted_with_their_line(year, forms, cells, rows) -> None:
    spoilt: Counter = Counter()
    places: dict[tuple[Table, str], set[int]] = {}
    for spoil, table in cells:
        name, at = spoil(year, table, spoilt)
        places.setdefault((table, name), set()).add(at)
    expected = year.expected()
    gone: Counter = Counter()
    for defect, table in rows:
        defect(year, table, gone)
    scenes, report, lines = read(year, forms)
    assert_same(scenes, expected)
    repaired: Counter = Counter()
    for finding in report.findings:
        if finding.action is Action.MISSING and finding.column != "vehicle":
            repaired[finding.table, finding.column] += finding.rows
            begins = {lines[finding.table][at] for at in places[finding.table, finding.column]}
            assert finding.line in begins
    kept = +spoilt
    for table, name in gone_with_it(year, places, rows):  # the copy of a spoilt row is spoilt too
        kept[table, name] = repaired[table, name]
    assert repaired == kept
    assert report.rows_in == {table: len(of) for table, of in year.cells.items()}
    assert {t: sum(report.dropped(t).values()) for t in Table} == {t: gone[t] for t in Table}


def gone_with_it(year: Year, places: Any, rows: Any) -> list[tuple[Table, str]]:
    copied = {table for _, table in rows}
    return [place for place in places if place[0] in copied]


# --- defects that are refused


def cut_line(year: Year, table: Table, content: bytes, line: int) -> tuple[bytes, list[str]]:
    rows = content.split(b"\n")
    rows[line - 1] = rows[line - 1].rpartition(b";")[0]
    return b"\n".join(rows), [f"line {line}:"]


def long_line(year: Year, table: Table, content: bytes, line: int) -> tuple[bytes, list[str]]:
    rows = content.split(b"\n")
    rows[line - 1] += b';"7"'
    return b"\n".join(rows), [f"line {line}:"]


def bad_key(year: Year, table: Table, content: bytes, line: int) -> tuple[bytes, list[str]]:
    rows = content.split(b"\n")
    rows[line - 1] = re.sub(rb'"(%d\d{8})"' % year.year, rb'"oops\1"', rows[line - 1], count=1)
    return b"\n".join(rows), [f"line {line}", "'num_acc'", "'oops"]


def no_column(year: Year, table: Table, content: bytes, line: int) -> tuple[bytes, list[str]]:
    name = {C: "Lum", L: "Catr", V: "Catv", U: "Grav"}[table]
    return content.replace(f'"{name}"'.encode(), b'"Other"', 1), ["line 1", f"'{name.lower()}'"]


def column_twice(year: Year, table: Table, content: bytes, line: int) -> tuple[bytes, list[str]]:
    first, second = {C: ("Atm", "Lum"), L: ("Surf", "Catr"), V: ("Obs", "Catv"), U: ("Sexe", "Grav")}[table]
    return content.replace(f'"{first}"'.encode(), f'"{second}"'.encode(), 1), ["line 1", second.lower(), "twice"]


def cut_gzip(year: Year, table: Table, content: bytes, line: int) -> tuple[bytes, list[str]]:
    return gzip.compress(content)[: -9 - line], ["gzip"]


def no_rows(year: Year, table: Table, content: bytes, line: int) -> tuple[bytes, list[str]]:
    return content.partition(b"\n")[0], ["no row"]


def no_csv(year: Year, table: Table, content: bytes, line: int) -> tuple[bytes, list[str]]:
    return b"<html>moved</html>\n", ["line 1", "<html>"]


def open_quote(year: Year, table: Table, content: bytes, line: int) -> tuple[bytes, list[str]]:
    return content.rstrip()[:-1], ["cut off", "closing quote"]


@FEW
@given(
    YEARS,
    st.sampled_from(Table),
    st.sampled_from([cut_line, long_line, bad_key, no_column, column_twice, cut_gzip, no_rows, no_csv, open_quote]),
    st.data(),
)
def test_what_cannot_be_read_is_refused_with_file_line_and_remedy(year, table, spoil, data) -> None:
    for cells in year.cells[C]:
        cells["adr"] = "street"  # one line a row
    files = {t: (f"{t}-{year.year}.csv", write(year, t, Form())[0]) for t in Table}
    name, content = files[table]
    line = data.draw(st.integers(2, 1 + len(year.cells[table])))
    files[table], told = (name, (spoilt := spoil(year, table, content, line))[0]), spoilt[1]
    with pytest.raises(InputError) as caught:
        reader.read_year(files, year.year)
    for words in (name, *told):
        assert words in caught.value.cause
    assert caught.value.remedy
