"""Writes generated files in place of the official ones, for a machine without a network and for tests.

The accidents come from `simulate`. They are written as the publisher writes a year of that vintage: file names,
separator, encoding, columns, and the quirks that a reader must handle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from include.accidents.data.columns import LETTER_CODES, Table, columns
from include.accidents.data.files import FIRST_YEAR, MARKER, is_sample
from include.accidents.errors import InputError
from include.accidents.synthetic.cells import (
    NO_BREAK_SPACE,
    STREETS,
    Formatted,
    Text,
    accident_numbers,
    blank,
    choice,
    decimal,
    digits,
    sprinkle,
    vehicle_marks,
)
from include.accidents.synthetic.old import old_tables
from include.accidents.synthetic.simulate import simulate

if TYPE_CHECKING:
    from include.accidents.synthetic.shares import Columns, Tables, Values

_MARKER_TEXT: Final = (
    "The CSV files in this folder are generated at random: none of the accidents in them happened.\n"
    "They serve to try the pipeline out. Do not put real files beside them.\n"
)

FIRST_MODERN_YEAR: Final = 2019
"""From this vintage on files have today's columns, `;`, quotes and UTF-8."""
_ROAD_LETTERS: Final = ("N/A",) * 88 + ("D",) * 7 + ("A", "A", "N", "C", "E")


def write_sample(
    folder: Path, *, years: Sequence[int] = (2022, 2023), accidents_per_year: int = 6000, seed: int = 0
) -> list[Path]:
    """Write generated accidents as the publisher's four files a year.

    Parameters
    ----------
    folder
        Where the files go; created if absent. It is marked as a sample (`is_sample`).
    years
        The vintages, from 2005 on. The numbers of accidents, vehicles and people differ between years.
    accidents_per_year
        One at least.
    seed
        The same seed gives the same bytes of a year, whichever other years are written.

    Returns
    -------
    The files, by year and table.

    Raises
    ------
    InputError
        The folder holds CSV files that are not a sample, a year is before 2005, or `accidents_per_year` is below 1.
    """
    _check(folder, years, accidents_per_year)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / MARKER, _MARKER_TEXT.encode())
    return [path for year in years for path in _write_year(folder, year, accidents_per_year, seed)]


def _check(folder: Path, years: Sequence[int], accidents: int) -> None:
    if not is_sample(folder) and any(folder.glob("*.[cC][sS][vV]*")):
        raise InputError(
            f"{folder} holds CSV files that are not a generated sample.",
            "write the sample to another folder, so that generated and real accidents never mix.",
        )
    too_early = [year for year in years if year < FIRST_YEAR]
    if too_early:
        raise InputError(f"There are no files of {too_early[0]}.", f"choose years from {FIRST_YEAR} on.")
    if accidents < 1:
        raise InputError(f"{accidents} accidents a year are too few.", "ask for at least one.")


def _write_year(folder: Path, year: int, accidents: int, seed: int) -> list[Path]:
    rng = np.random.default_rng([seed, year, 1])
    format_tables = _modern if year >= FIRST_MODERN_YEAR else old_tables
    formatted = format_tables(rng, year, simulate(year, accidents, seed))
    paths = []
    for table in Table:
        path = folder / file_name(table, year)
        _write(path, _csv(formatted[table], _dialect(table, year)))
        paths.append(path)
    return paths


def _write(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


# --- names and dialects

_MISSPELT_YEARS: Final = (2021, 2022)
_ABBREVIATED_SINCE: Final = 2023


def file_name(table: Table, year: int) -> str:
    """Return the publisher's name of a file."""
    stem = table.value
    if table is Table.CARACTERISTIQUES and year in _MISSPELT_YEARS:
        stem = "carcteristiques"
    elif table is Table.CARACTERISTIQUES and year >= _ABBREVIATED_SINCE:
        stem = "caract"
    return f"{stem}{'_' if year <= 2016 else '-'}{year}.csv"


@dataclass(frozen=True)
class _Dialect:
    separator: str
    encoding: str
    quoted: bool


def _dialect(table: Table, year: int) -> _Dialect:
    if year >= FIRST_MODERN_YEAR:
        return _Dialect(";", "utf-8", quoted=True)
    tabs = table is Table.CARACTERISTIQUES and year == 2009
    return _Dialect("\t" if tabs else ",", "latin-1", quoted=False)


def _csv(formatted: Formatted, dialect: _Dialect) -> bytes:
    quote = '"' if dialect.quoted else ""
    header = dialect.separator.join(f"{quote}{name}{quote}" for name in formatted)
    body = BytesIO()
    options = pyarrow.csv.WriteOptions(
        include_header=False,
        delimiter=dialect.separator,
        quoting_style="all_valid" if dialect.quoted else "none",
    )
    pyarrow.csv.write_csv(pa.table(formatted), body, options)
    content = f"{header}\n".encode() + body.getvalue()
    return content if dialect.encoding == "utf-8" else content.decode().encode(dialect.encoding)


# --- from 2019


def _modern(rng: np.random.Generator, year: int, tables: Tables) -> dict[Table, Formatted]:
    lieux = tables[Table.LIEUX] if year < 2023 else _with_side_roads(rng, tables[Table.LIEUX])
    overrides = {
        Table.CARACTERISTIQUES: _modern_circumstances(rng, tables[Table.CARACTERISTIQUES]),
        Table.LIEUX: _modern_road(rng, lieux),
        Table.VEHICULES: _modern_vehicles(year, tables[Table.VEHICULES]),
        Table.USAGERS: _modern_people(year, tables[Table.USAGERS]),
    }
    values = tables | {Table.LIEUX: lieux}
    return {table: _modern_table(table, year, values[table], overrides[table]) for table in Table}


def _modern_table(table: Table, year: int, values: Columns, special: Formatted) -> Formatted:
    """Return today's columns in order: those in `special` from there, the others as plain codes."""
    formatted = {}
    for described in columns(table):
        name = described.name
        if name == "num_acc":
            key = "Accident_Id" if table is Table.CARACTERISTIQUES and year == 2022 else "Num_Acc"
            formatted[key] = accident_numbers(year, values[name])
        elif year >= described.first_year:
            formatted[name] = special[name] if name in special else _modern_code(values[name])
    return formatted


def _modern_code(values: Values) -> Text:
    return blank(digits(values), values == -1, " -1")


def _modern_circumstances(rng: np.random.Generator, values: Columns) -> Formatted:
    size = len(values["num_acc"])
    hours, minutes = np.divmod(values["hrmn"], 60)
    return {
        "mois": digits(values["mois"], 2),
        "hrmn": pc.binary_join_element_wise(digits(hours, 2), digits(minutes, 2), ":"),
        "dep": _strings(values["dep"]),
        "com": sprinkle(rng, _municipalities(values), ("N/C",), 0.001),
        "adr": choice(rng, STREETS, size),
        "lat": decimal(values["lat"], 10),
        "long": decimal(values["long"], 10),
    }


def _strings(values: Values) -> Text:
    return pa.array(values.astype(object), pa.string())


def _municipalities(values: Columns) -> Text:
    """Return INSEE codes of five characters: the department and the municipality's number in it."""
    department = _strings(values["dep"])
    overseas = pc.equal(pc.utf8_length(department), 3)
    number = pc.if_else(overseas, digits(values["com"] % 100, 2), digits(values["com"], 3))
    return pc.binary_join_element_wise(department, number, "")


def _with_side_roads(rng: np.random.Generator, values: Columns) -> Columns:
    """Return the places with further rows for some accidents, as at a junction; the main place comes first."""
    size = len(values["num_acc"])
    second = np.flatnonzero(rng.random(size) < 0.285)
    third = second[rng.random(len(second)) < 0.02]
    accident = np.concatenate([np.arange(size), second, third])
    other_place = rng.integers(0, size, len(accident) - size)
    source = np.concatenate([np.arange(size), other_place])
    order = np.argsort(accident, kind="stable")
    return {name: column_values[source][order] for name, column_values in values.items()} | {"num_acc": accident[order]}


def _modern_road(rng: np.random.Generator, values: Columns) -> Formatted:
    size = len(values["num_acc"])
    numbered = np.isin(values["catr"], (1, 2, 3))
    unmarked = values["pr"] == -1
    return {
        "voie": pc.if_else(pa.array(numbered), digits(values["voie"]), choice(rng, STREETS, size)),
        "v1": choice(rng, (" -1",) * 17 + ("0",) * 82 + ("2",), size),
        "v2": choice(rng, _ROAD_LETTERS, size),
        "nbv": sprinkle(rng, _modern_code(values["nbv"]), ("#ERREUR", "#VALEURMULTI"), 0.001),
        "pr": blank(digits(values["pr"]), unmarked, "(1)"),
        "pr1": blank(digits(values["pr1"]), unmarked, "(1)"),
        "lartpc": _widths(values["lartpc"], ""),
        "larrout": _widths(values["larrout"], " -1"),
        "vma": sprinkle(rng, _modern_code(values["vma"]), ("300", "500", "700", "800", "900", "6", "1", "5"), 0.0015),
    }


def _widths(values: Values, absent: str) -> Text:
    return blank(decimal(values, 1), values == -1, absent)


def _modern_vehicles(year: int, values: Columns) -> Formatted:
    return {
        "id_vehicule": _spaced(_identifiers(year, values["id_vehicule"])),
        "num_veh": _modern_marks(values),
        "occutc": blank(digits(values["occutc"]), values["occutc"] == -1, ""),
    }


def _modern_people(year: int, values: Columns) -> Formatted:
    return {
        "id_usager": _spaced(_identifiers(year, values["id_usager"])),
        "id_vehicule": _spaced(_identifiers(year, values["id_vehicule"])),
        "num_veh": _modern_marks(values),
        "an_nais": blank(digits(values["an_nais"]), values["an_nais"] == -1, ""),
        "actp": _actions(values["actp"]),
    }


def _modern_marks(values: Columns) -> Text:
    return vehicle_marks(values["num_acc"], values["num_veh"], np.ones_like)


def _identifiers(year: int, values: Values) -> Values:
    """Return numbers that no other year has."""
    return (year - FIRST_MODERN_YEAR) * 10**7 + 200_001 + values


def _spaced(values: Values) -> Text:
    """Return whole numbers with a no-break space before every three digits."""
    return pa.array([f"{value:,}".replace(",", NO_BREAK_SPACE) for value in values.tolist()])


def _actions(values: Values) -> Text:
    cells = _modern_code(values)
    for letter, code in LETTER_CODES.items():
        cells = blank(cells, values == code, letter)
    return cells
