"""Writes the files to 2018: codes, columns and cells of that time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from include.accidents.data.columns import LETTER_CODES, OLD_EQUIPMENT, Table, column
from include.accidents.synthetic.cells import (
    STREETS,
    Formatted,
    Text,
    accident_numbers,
    blank,
    choice,
    digits,
    sprinkle,
    vehicle_marks,
)

if TYPE_CHECKING:
    from include.accidents.synthetic.shares import Columns, Tables, Values

# --- to 2018

# Categories that only later vintages distinguish, with their codes to 2018. Equipment: see `_old_equipment`.
_OLD_CATV: Final = {80: 1, 50: 99, 60: 99, 41: 30, 42: 32, 43: 34}
_GPS: Final[Mapping[str, str]] = {"971": "A", "972": "A", "973": "G", "974": "R", "976": "Y"}

CATV_OF_2005: Final = {34: 4, 33: 5, 38: 18, 40: 19}


def old_tables(rng: np.random.Generator, year: int, tables: Tables) -> dict[Table, Formatted]:
    """Return the four tables in the form of the files to 2018."""
    return {
        Table.CARACTERISTIQUES: _old_circumstances(rng, year, tables[Table.CARACTERISTIQUES]),
        Table.LIEUX: _old_road(rng, year, tables[Table.LIEUX]),
        Table.VEHICULES: _old_vehicles(rng, year, tables[Table.VEHICULES]),
        Table.USAGERS: _old_people(rng, year, tables[Table.USAGERS]),
    }


def _old_codes(rng: np.random.Generator, table: Table, values: Columns, name: str, width: int = 0) -> Text:
    """Return a column of codes; "not given" is empty, or 0 or a dot where 0 is not a code."""
    given = values[name]
    absent = choice(rng, ("",) if 0 in column(table, name).codes else ("0", "", "0", "."), len(given))
    return pc.if_else(pa.array(given == -1), absent, digits(given, width))


def _old_circumstances(rng: np.random.Generator, year: int, values: Columns) -> Formatted:
    table = Table.CARACTERISTIQUES
    size = len(values["num_acc"])
    hours, minutes = np.divmod(values["hrmn"], 60)
    located = rng.random(size) < 0.6
    return {
        "Num_Acc": accident_numbers(year, values["num_acc"]),
        "an": digits(values["an"] % 100, 2),
        "mois": digits(values["mois"]),
        "jour": digits(values["jour"]),
        "hrmn": digits(100 * hours + minutes),
        **{name: _old_codes(rng, table, values, name) for name in ("lum", "agg", "int", "atm", "col")},
        "com": digits(values["com"], 3),
        "adr": choice(rng, ("", *STREETS[:7]), size),
        "gps": pa.array([_GPS.get(code, "M") for code in values["dep"].tolist()]),
        "lat": _old_degrees(rng, values["lat"], located),
        "long": _old_degrees(rng, values["long"], located),
        "dep": _old_departments(values["dep"]),
    }


def _old_degrees(rng: np.random.Generator, values: Values, located: Values) -> Text:
    """Return hundred thousandths of a degree in seven characters; zeros, or nothing, for an unknown place."""
    cells = pa.array([f"{value:07d}" for value in np.round(values * 10**5).astype(np.int64).tolist()])
    return pc.if_else(pa.array(located), cells, choice(rng, ("0000000", "0000000", ""), len(values)))


def _old_departments(values: Values) -> Text:
    """Return three characters: a zero after the two of a metropolitan department, 201 and 202 for Corsica."""
    corsica = {"2A": "201", "2B": "202"}
    return pa.array([corsica.get(code, code.ljust(3, "0")) for code in values.tolist()])


def _old_road(rng: np.random.Generator, year: int, values: Columns) -> Formatted:
    size = len(values["num_acc"])
    unmarked = values["pr"] == -1

    def codes(*names: str) -> Formatted:
        return {name: _old_codes(rng, Table.LIEUX, values, name) for name in names}

    return {
        "Num_Acc": accident_numbers(year, values["num_acc"]),
        **codes("catr"),
        "voie": sprinkle(rng, digits(values["voie"]), ("", "0"), 0.15),
        "v1": choice(rng, ("",), size),
        "v2": choice(rng, ("",) * 9 + ("D",), size),
        **codes("circ"),
        "nbv": digits(np.maximum(values["nbv"], 0), 2),
        "pr": blank(digits(values["pr"]), unmarked, ""),
        "pr1": blank(digits(values["pr1"]), unmarked, ""),
        **codes("vosp", "prof", "plan"),
        "lartpc": _old_widths(values["lartpc"]),
        "larrout": _old_widths(values["larrout"]),
        **codes("surf", "infra", "situ"),
        "env1": choice(rng, ("00", "00", "99", "99", "03"), size),
    }


def _old_widths(values: Values) -> Text:
    """Return decimetres in three digits."""
    return digits(np.round(np.maximum(values, 0) * 10).astype(np.int64), 3)


def _old_vehicles(rng: np.random.Generator, year: int, values: Columns) -> Formatted:
    table = Table.VEHICULES
    renamed = _OLD_CATV | (CATV_OF_2005 if year == 2005 else {})
    known = values | {"catv": _renamed(values["catv"], renamed), "senc": _renamed(values["senc"], {3: 0})}
    return {
        "Num_Acc": accident_numbers(year, values["num_acc"]),
        "senc": _old_codes(rng, table, known, "senc"),
        "catv": _old_codes(rng, table, known, "catv", 2),
        "occutc": digits(np.maximum(values["occutc"], 0), 3),
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
        "Num_Acc": accident_numbers(year, values["num_acc"]),
        **codes("place", "catu", "grav", "sexe", "trajet"),
        "secu": _old_equipment(values),
        **codes("locp", "actp", "etatp"),
        "an_nais": blank(digits(values["an_nais"]), values["an_nais"] == -1, ""),
        "num_veh": _old_marks(values),
    }


def _renamed(values: Values, names: Mapping[int, int]) -> Values:
    """Return the codes with some of them replaced."""
    renamed = values.copy()
    for code, name in names.items():
        renamed[values == code] = name
    return renamed


def _old_equipment(values: Columns) -> Text:
    """Make the column `secu` of the old files from `secu1`.

    No equipment becomes a belt that was not used, undetermined equipment a belt of unknown use, and equipment that
    only riders wear a helmet.

    Returns
    -------
    Two digits, the equipment and its use; empty for pedestrians, and where it is not given.
    """
    codes_of_secu = {0: "12", 8: "13", 5: "21", 6: "21", 7: "21"}
    codes_of_secu |= {code: f"{code}1" for code in OLD_EQUIPMENT}
    cells = np.array([codes_of_secu.get(code, "") for code in range(-1, 10)], dtype=object)[values["secu1"] + 1]
    return blank(pa.array(cells, pa.string()), values["catu"] == 3, "")


def _old_marks(values: Columns) -> Text:
    """Return marks whose digits count the vehicles: A01, B02."""
    return vehicle_marks(values["num_acc"], values["num_veh"], lambda ranks: ranks + 1)
