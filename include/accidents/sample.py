"""A generated stand-in for the official files, for a machine without a network and for tests.

The accidents come from `simulate`; here they are written as the publisher writes a year of that vintage: file
names, separator, encoding, columns, and the quirks that a reader has to cope with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from include.accidents.errors import InputError
from include.accidents.files import FIRST_YEAR
from include.accidents.schema import LETTER_CODES, OLD_EQUIPMENT, Table, column, columns
from include.accidents.simulate import Columns, Tables, Values, simulate

MARKER: Final = "SAMPLE"
"""The file that tells a folder of generated accidents from one of real ones."""

_MARKER_TEXT: Final = (
    "The CSV files in this folder are generated at random: none of the accidents in them happened.\n"
    "They serve to try the pipeline out. Do not put real files beside them.\n"
)

FIRST_MODERN_YEAR: Final = 2019
"""From this vintage on files have today's columns, `;`, quotes and UTF-8."""

_ACCIDENTS_A_YEAR: Final = 10**8  # the publisher's own numbering: 202100000001 is the first accident of 2021
_NO_BREAK_SPACE: Final = "\u00a0"
_STREETS: Final = (
    "Rue des Érables",
    "Avenue de la République",
    "Route départementale",
    "Boulevard Pasteur",
    "Place du Marché",
    "Chemin du Moulin",
    "Allée des Tilleuls",
    "N/A",
    " Rond-point de l'Europe",
    "RN 20",
)
_ROAD_LETTERS: Final = ("N/A",) * 88 + ("D",) * 7 + ("A", "A", "N", "C", "E")

Text: TypeAlias = pa.Array
"""The cells of a column, as strings."""

Formatted = dict[str, Text]


def is_sample(folder: Path) -> bool:
    """Whether the CSV files of a folder are generated."""
    return (folder / MARKER).is_file()


def write_sample(
    folder: Path, *, years: Sequence[int] = (2022, 2023), accidents_per_year: int = 6000, seed: int = 0
) -> list[Path]:
    """Write generated accidents as the publisher's four files a year.

    Parameters
    ----------
    folder
        Where the files go; created if absent. It is marked as a sample (`is_sample`).
    years
        The vintages, from 2005 on. No accident, vehicle or person has a number in two of them.
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
        The folder holds CSV files that are no sample, or there is no such vintage or no accident to write.
    """
    _check(folder, years, accidents_per_year)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / MARKER, _MARKER_TEXT.encode())
    return [path for year in years for path in _write_year(folder, year, accidents_per_year, seed)]


def _check(folder: Path, years: Sequence[int], accidents: int) -> None:
    if not is_sample(folder) and any(folder.glob("*.[cC][sS][vV]*")):
        raise InputError(
            f"{folder} holds CSV files that are no generated sample.",
            "write the sample to another folder, so that generated and real accidents never mix.",
        )
    too_early = [year for year in years if year < FIRST_YEAR]
    if too_early:
        raise InputError(f"There are no files of {too_early[0]}.", f"choose years from {FIRST_YEAR} on.")
    if accidents < 1:
        raise InputError(f"{accidents} accidents a year make no sample.", "ask for one at least.")


def _write_year(folder: Path, year: int, accidents: int, seed: int) -> list[Path]:
    rng = np.random.default_rng([seed, year, 1])
    format_tables = _modern if year >= FIRST_MODERN_YEAR else _old
    formatted = format_tables(rng, year, simulate(year, accidents, seed))
    paths = []
    for table in Table:
        path = folder / file_name(table, year)
        _write(path, _csv(formatted[table], _dialect(table, year)))
        paths.append(path)
    return paths


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is either there as a whole or not at all."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(path)


# --- names and dialects

_MISSPELT_YEARS: Final = (2021, 2022)
_ABBREVIATED_SINCE: Final = 2023


def file_name(table: Table, year: int) -> str:
    """The publisher's name of a file."""
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


# --- cells


def _digits(values: Values, width: int = 0) -> Text:
    """Whole numbers, padded with zeros to a width."""
    return pc.utf8_lpad(pa.array(values).cast(pa.string()), width, "0")


def _blank(cells: Text, blank: Values, text: str) -> Text:
    """Cells with a text of its own where `blank` says so."""
    return pc.if_else(pa.array(blank), text, cells)


def _choice(rng: np.random.Generator, texts: Sequence[str], size: int) -> Text:
    return pa.array(np.array(texts, dtype=object)[rng.integers(0, len(texts), size)], pa.string())


def _sprinkle(rng: np.random.Generator, cells: Text, texts: Sequence[str], share: float) -> Text:
    """Cells of which a small share was mistyped."""
    return pc.if_else(pa.array(rng.random(len(cells)) < share), _choice(rng, texts, len(cells)), cells)


def _decimal(values: Values, digits: int) -> Text:
    """Decimal commas; the publisher's negative numbers begin with a space."""
    return pa.array([f"{value:.{digits}f}".replace("-", " -").replace(".", ",") for value in values])


def _accident_numbers(year: int, accidents: Values) -> Text:
    return _digits(year * _ACCIDENTS_A_YEAR + 1 + accidents)


def _vehicle_marks(accidents: Values, ranks: Values, number: Callable[[Values], Values]) -> Text:
    """A letter by the vehicle's rank and two digits; a few accidents begin past Z, as some officers type."""
    past_z = np.where((accidents % 2003 == 7) & (ranks == 0), 26, ranks)
    letters = np.array([chr(ord("A") + rank) for rank in range(27)], dtype=object)
    return pc.binary_join_element_wise(
        pa.array(letters[np.minimum(past_z, 26)], pa.string()), _digits(number(ranks), 2), ""
    )


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
    """Today's columns in order: plain codes as they are, the others as given."""
    formatted = {}
    for described in columns(table):
        name = described.name
        if name == "num_acc":
            key = "Accident_Id" if table is Table.CARACTERISTIQUES and year == 2022 else "Num_Acc"
            formatted[key] = _accident_numbers(year, values[name])
        elif year >= described.first_year:
            formatted[name] = special[name] if name in special else _modern_code(values[name])
    return formatted


def _modern_code(values: Values) -> Text:
    return _blank(_digits(values), values == -1, " -1")


def _modern_circumstances(rng: np.random.Generator, values: Columns) -> Formatted:
    size = len(values["num_acc"])
    hours, minutes = np.divmod(values["hrmn"], 60)
    return {
        "mois": _digits(values["mois"], 2),
        "hrmn": pc.binary_join_element_wise(_digits(hours, 2), _digits(minutes, 2), ":"),
        "dep": _strings(values["dep"]),
        "com": _sprinkle(rng, _municipalities(values), ("N/C",), 0.001),
        "adr": _choice(rng, _STREETS, size),
        "lat": _decimal(values["lat"], 10),
        "long": _decimal(values["long"], 10),
    }


def _strings(values: Values) -> Text:
    return pa.array(values.astype(object), pa.string())


def _municipalities(values: Columns) -> Text:
    """Five characters of INSEE's: the department and the number in it."""
    department = _strings(values["dep"])
    overseas = pc.equal(pc.utf8_length(department), 3)
    number = pc.if_else(overseas, _digits(values["com"] % 100, 2), _digits(values["com"], 3))
    return pc.binary_join_element_wise(department, number, "")


def _with_side_roads(rng: np.random.Generator, values: Columns) -> Columns:
    """Some accidents with further rows, of the other roads of a junction; the main place comes first."""
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
        "voie": pc.if_else(pa.array(numbered), _digits(values["voie"]), _choice(rng, _STREETS, size)),
        "v1": _choice(rng, (" -1",) * 17 + ("0",) * 82 + ("2",), size),
        "v2": _choice(rng, _ROAD_LETTERS, size),
        "nbv": _sprinkle(rng, _modern_code(values["nbv"]), ("#ERREUR", "#VALEURMULTI"), 0.001),
        "pr": _blank(_digits(values["pr"]), unmarked, "(1)"),
        "pr1": _blank(_digits(values["pr1"]), unmarked, "(1)"),
        "lartpc": _widths(values["lartpc"], ""),
        "larrout": _widths(values["larrout"], " -1"),
        "vma": _sprinkle(rng, _modern_code(values["vma"]), ("300", "500", "700", "800", "900", "6", "1", "5"), 0.0015),
    }


def _widths(values: Values, absent: str) -> Text:
    return _blank(_decimal(values, 1), values == -1, absent)


def _modern_vehicles(year: int, values: Columns) -> Formatted:
    return {
        "id_vehicule": _spaced(_identifiers(year, values["id_vehicule"])),
        "num_veh": _modern_marks(values),
        "occutc": _blank(_digits(values["occutc"]), values["occutc"] == -1, ""),
    }


def _modern_people(year: int, values: Columns) -> Formatted:
    return {
        "id_usager": _spaced(_identifiers(year, values["id_usager"])),
        "id_vehicule": _spaced(_identifiers(year, values["id_vehicule"])),
        "num_veh": _modern_marks(values),
        "an_nais": _blank(_digits(values["an_nais"]), values["an_nais"] == -1, ""),
        "actp": _actions(values["actp"]),
    }


def _modern_marks(values: Columns) -> Text:
    return _vehicle_marks(values["num_acc"], values["num_veh"], np.ones_like)


def _identifiers(year: int, values: Values) -> Values:
    """Numbers that no other year has."""
    return (year - FIRST_MODERN_YEAR) * 10**7 + 200_001 + values


def _spaced(values: Values) -> Text:
    """Whole numbers with a no-break space before every three digits."""
    return pa.array([f"{value:,}".replace(",", _NO_BREAK_SPACE) for value in values.tolist()])


def _actions(values: Values) -> Text:
    cells = _modern_code(values)
    for letter, code in LETTER_CODES.items():
        cells = _blank(cells, values == code, letter)
    return cells


# --- to 2018

# What later vintages tell apart, as the files said it then. Equipment: see `_old_equipment`.
_OLD_CATV: Final = {80: 1, 50: 99, 60: 99, 41: 30, 42: 32, 43: 34}
_CATV_OF_2005: Final = {34: 4, 33: 5, 38: 18, 40: 19}
_GPS: Final[Mapping[str, str]] = {"971": "A", "972": "A", "973": "G", "974": "R", "976": "Y"}


def _old(rng: np.random.Generator, year: int, tables: Tables) -> dict[Table, Formatted]:
    return {
        Table.CARACTERISTIQUES: _old_circumstances(rng, year, tables[Table.CARACTERISTIQUES]),
        Table.LIEUX: _old_road(rng, year, tables[Table.LIEUX]),
        Table.VEHICULES: _old_vehicles(rng, year, tables[Table.VEHICULES]),
        Table.USAGERS: _old_people(rng, year, tables[Table.USAGERS]),
    }


def _old_codes(rng: np.random.Generator, table: Table, values: Columns, name: str, width: int = 0) -> Text:
    """A column of codes; what is not given is empty, or 0 or a dot where that can mean nothing else."""
    given = values[name]
    absent = _choice(rng, ("",) if 0 in column(table, name).codes else ("0", "", "0", "."), len(given))
    return pc.if_else(pa.array(given == -1), absent, _digits(given, width))


def _old_circumstances(rng: np.random.Generator, year: int, values: Columns) -> Formatted:
    table = Table.CARACTERISTIQUES
    size = len(values["num_acc"])
    hours, minutes = np.divmod(values["hrmn"], 60)
    located = rng.random(size) < 0.6
    return {
        "Num_Acc": _accident_numbers(year, values["num_acc"]),
        "an": _digits(values["an"] % 100, 2),
        "mois": _digits(values["mois"]),
        "jour": _digits(values["jour"]),
        "hrmn": _digits(100 * hours + minutes),
        **{name: _old_codes(rng, table, values, name) for name in ("lum", "agg", "int", "atm", "col")},
        "com": _digits(values["com"], 3),
        "adr": _choice(rng, ("", *_STREETS[:7]), size),
        "gps": pa.array([_GPS.get(code, "M") for code in values["dep"].tolist()]),
        "lat": _old_degrees(rng, values["lat"], located),
        "long": _old_degrees(rng, values["long"], located),
        "dep": _old_departments(values["dep"]),
    }


def _old_degrees(rng: np.random.Generator, values: Values, located: Values) -> Text:
    """Hundred thousandths of a degree in seven characters; zeros, or nothing, where nobody located it."""
    cells = pa.array([f"{value:07d}" for value in np.round(values * 10**5).astype(np.int64).tolist()])
    return pc.if_else(pa.array(located), cells, _choice(rng, ("0000000", "0000000", ""), len(values)))


def _old_departments(values: Values) -> Text:
    """Three characters: a zero after the two of a metropolitan department, 201 and 202 for Corsica."""
    corsica = {"2A": "201", "2B": "202"}
    return pa.array([corsica.get(code, code.ljust(3, "0")) for code in values.tolist()])


def _old_road(rng: np.random.Generator, year: int, values: Columns) -> Formatted:
    size = len(values["num_acc"])
    unmarked = values["pr"] == -1

    def codes(*names: str) -> Formatted:
        return {name: _old_codes(rng, Table.LIEUX, values, name) for name in names}

    return {
        "Num_Acc": _accident_numbers(year, values["num_acc"]),
        **codes("catr"),
        "voie": _sprinkle(rng, _digits(values["voie"]), ("", "0"), 0.15),
        "v1": _choice(rng, ("",), size),
        "v2": _choice(rng, ("",) * 9 + ("D",), size),
        **codes("circ"),
        "nbv": _digits(np.maximum(values["nbv"], 0), 2),
        "pr": _blank(_digits(values["pr"]), unmarked, ""),
        "pr1": _blank(_digits(values["pr1"]), unmarked, ""),
        **codes("vosp", "prof", "plan"),
        "lartpc": _old_widths(values["lartpc"]),
        "larrout": _old_widths(values["larrout"]),
        **codes("surf", "infra", "situ"),
        "env1": _choice(rng, ("00", "00", "99", "99", "03"), size),
    }


def _old_widths(values: Values) -> Text:
    """Decimetres in three digits."""
    return _digits(np.round(np.maximum(values, 0) * 10).astype(np.int64), 3)


def _old_vehicles(rng: np.random.Generator, year: int, values: Columns) -> Formatted:
    table = Table.VEHICULES
    renamed = _OLD_CATV | (_CATV_OF_2005 if year == 2005 else {})
    known = values | {"catv": _renamed(values["catv"], renamed), "senc": _renamed(values["senc"], {3: 0})}
    return {
        "Num_Acc": _accident_numbers(year, values["num_acc"]),
        "senc": _old_codes(rng, table, known, "senc"),
        "catv": _old_codes(rng, table, known, "catv", 2),
        "occutc": _digits(np.maximum(values["occutc"], 0), 3),
        "obs": _old_codes(rng, table, known, "obs", 2),
        "obsm": _old_codes(rng, table, known, "obsm"),
        "choc": _old_codes(rng, table, known, "choc"),
        "manv": _old_codes(rng, table, known, "manv", 2),
        "num_veh": _old_marks(values),
    }


def _old_people(rng: np.random.Generator, year: int, values: Columns) -> Formatted:
    table = Table.USAGERS
    known = values | {
        # Pedestrians had no place, and letters and 9 did not exist yet.
        "place": _renamed(values["place"], {10: -1}),
        "actp": _renamed(values["actp"], {-1: 0} | dict.fromkeys(LETTER_CODES.values(), 9)),
        "locp": _renamed(values["locp"], {-1: 0, 9: 0}),
        "etatp": _renamed(values["etatp"], {-1: 0}),
    }

    def codes(*names: str) -> Formatted:
        return {name: _old_codes(rng, table, known, name) for name in names}

    return {
        "Num_Acc": _accident_numbers(year, values["num_acc"]),
        **codes("place", "catu", "grav", "sexe", "trajet"),
        "secu": _old_equipment(values),
        **codes("locp", "actp", "etatp"),
        "an_nais": _blank(_digits(values["an_nais"]), values["an_nais"] == -1, ""),
        "num_veh": _old_marks(values),
    }


def _renamed(values: Values, names: Mapping[int, int]) -> Values:
    """Codes with some of them replaced."""
    renamed = values.copy()
    for code, name in names.items():
        renamed[values == code] = name
    return renamed


def _old_equipment(values: Columns) -> Text:
    """`secu`: the equipment and whether it was used, nothing for pedestrians and where it is not given.

    None at all reads as a belt that was not used, what cannot be determined as a belt of unknown use, and
    everything that only riders wear as a helmet.
    """
    said = {0: "12", 8: "13", 5: "21", 6: "21", 7: "21"}
    said |= {code: f"{code}1" for code in OLD_EQUIPMENT}
    cells = np.array([said.get(code, "") for code in range(-1, 10)], dtype=object)[values["secu1"] + 1]
    return _blank(pa.array(cells, pa.string()), values["catu"] == 3, "")


def _old_marks(values: Columns) -> Text:
    """The digits count the vehicles: A01, B02."""
    return _vehicle_marks(values["num_acc"], values["num_veh"], lambda ranks: ranks + 1)
