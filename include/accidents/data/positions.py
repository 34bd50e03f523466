"""Positions of accidents: signed where the files bear no sign, missing where they cannot be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from include.accidents.data import checks
from include.accidents.data.cells import Parsed
from include.accidents.data.checks import Action, Finding
from include.accidents.data.columns import Table
from include.accidents.data.departments import TERRITORIES, Box

Degrees = npt.NDArray[np.float64]


def repair_positions(parsed: Parsed) -> list[Finding]:
    """Correct the positions in a file of accidents; both coordinates are missing where one of them is, or is wrong.

    Returns
    -------
    The findings; none for the other tables.
    """
    if parsed.table is not Table.CARACTERISTIQUES:
        return []
    return [*_ignore_unlocated(parsed), *_drop_halves(parsed), *_sign_overseas(parsed), *_drop_foreign(parsed)]


def _degrees(parsed: Parsed) -> tuple[Degrees, Degrees]:
    return parsed.numbers["lat"].values, parsed.numbers["long"].values


def _ignore_unlocated(parsed: Parsed) -> list[Finding]:
    """To 2018 the files write 0 and 0 for an accident that nobody located; that is not a defect."""
    lat, long = _degrees(parsed)
    unlocated = np.flatnonzero(np.isnan(lat) & (long == 0))
    if not len(unlocated):
        return []
    long[unlocated] = np.nan
    rule = "not located (longitude 0, no latitude)"
    return [parsed.find("long", rule, unlocated, Action.IGNORED)]


def _drop_halves(parsed: Parsed) -> list[Finding]:
    lat, long = _degrees(parsed)
    alone = {"long": np.isnan(lat) & ~np.isnan(long), "lat": np.isnan(long) & ~np.isnan(lat)}
    rule = "one coordinate without the other"
    return [_drop(parsed, name, rule, np.flatnonzero(half)) for name, half in alone.items() if half.any()]


def _drop(parsed: Parsed, name: str, rule: str, rows: npt.NDArray[np.intp]) -> Finding:
    cells = parsed.numbers[name]
    # Nearly every coordinate is distinct: the first ones show enough, and counting all takes time.
    examples = cells.examples(rows[: checks.EXAMPLES])
    cells.values[rows] = np.nan
    return parsed.find(name, rule, rows, Action.MISSING, examples=examples)


def _sign_overseas(parsed: Parsed) -> list[Finding]:
    """Give overseas positions the signs of their department: to 2018 the files write all of them as positive."""
    lat, long = _degrees(parsed)
    department = parsed.numbers["dep"].expand()
    corrected = np.zeros(len(lat), dtype=np.bool_)
    for code, box in TERRITORIES.items():
        if not code.isdigit():
            continue
        signed_lat, signed_long = np.copysign(lat, box.south), np.copysign(long, box.west)
        wrong = (department == int(code)) & _within(box, signed_lat, signed_long) & ~_within(box, lat, long)
        lat[wrong], long[wrong] = signed_lat[wrong], signed_long[wrong]
        corrected |= wrong
    rows = np.flatnonzero(corrected)
    rule = "overseas position without its sign"
    return [parsed.find("lat", rule, rows, Action.CORRECTED)] if len(rows) else []


def _drop_foreign(parsed: Parsed) -> list[Finding]:
    lat, long = _degrees(parsed)
    abroad = ~np.isnan(lat)
    for box in TERRITORIES.values():
        abroad &= ~_within(box, lat, long)
    rows = np.flatnonzero(abroad)
    return [_drop(parsed, name, "not in France", rows) for name in ("lat", "long")] if len(rows) else []


def _within(box: Box, lat: Degrees, long: Degrees) -> npt.NDArray[np.bool_]:
    return (lat >= box.south) & (lat <= box.north) & (long >= box.west) & (long <= box.east)
