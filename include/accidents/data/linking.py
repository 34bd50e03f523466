"""Links the four files of a year: vehicles and people to their accident, people to their vehicle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from include.accidents.data import checks
from include.accidents.data.checks import Action, Finding, Report, RowRule
from include.accidents.data.columns import Table
from include.accidents.data.scenes import Positions, Scenes
from include.accidents.errors import InputError

if TYPE_CHECKING:
    from include.accidents.data.cells import Parsed


ORPHANS_ALLOWED = 0.5  # share of rows without an accident; above it, the files are of different years
OLDEST = 110  # years; nobody in the files is older unless the year of birth is mistyped


def check_year(parsed: Parsed, accidents: pd.DataFrame, report: Report) -> None:
    """Report the rows whose year differs from that of the file."""
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


def link(read: Mapping[Table, Parsed], tables: Mapping[Table, pd.DataFrame], report: Report) -> Scenes:
    """Join the tables by position; rows of no accident, and repeated rows, are dropped and counted."""
    doubled = RowRule("num_acc", "accident described twice", lambda s: ~s.duplicated())
    accidents = _keep(read, tables, Table.CARACTERISTIQUES, [doubled], report)
    accidents = accidents.sort_values("num_acc", ignore_index=True)
    keys = accidents["num_acc"].to_numpy()

    def known(what: str) -> RowRule:
        return RowRule("num_acc", f"{what} of no accident", lambda s: s.isin(keys))

    # The first place is the accident's main one; with several places, people would be repeated.
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
    _note_gaps(accidents, vehicles, people, read, report)
    return Scenes(accidents, vehicles, people)


def _keep(
    read: Mapping[Table, Parsed],
    tables: Mapping[Table, pd.DataFrame],
    table: Table,
    rules: list[RowRule],
    report: Report,
) -> pd.DataFrame:
    """Return the rows that satisfy the rules; the others are counted."""
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
    accidents: pd.DataFrame, places: pd.DataFrame, read: Mapping[Table, Parsed], report: Report
) -> pd.DataFrame:
    order = np.argsort(places["num_acc"].to_numpy(), kind="stable")
    at = _positions(places["num_acc"].to_numpy()[order], accidents["num_acc"].to_numpy())
    place = places.drop(columns="num_acc").take(order[np.maximum(at, 0)]).reset_index(drop=True)
    without = at < 0
    if without.any():
        place[without] = np.nan
        report.findings.append(_incomplete("a place", read[Table.LIEUX].name, int(without.sum())))
    return pd.concat([accidents, place], axis=1)


def _identified(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill a missing `id_vehicule` with accident and `num_veh`, which identified a vehicle to 2018."""
    unknown = frame["id_vehicule"].isna()
    if unknown.any():
        keys = frame["num_acc"].astype("str") + "-" + frame["num_veh"]
        frame["id_vehicule"] = frame["id_vehicule"].where(~unknown, keys)
    return frame


def _positions(sorted_keys: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> Positions:
    """Return the position of each wanted key in `sorted_keys`; -1 for an absent one."""
    if len(sorted_keys) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return np.where(sorted_keys[at] == wanted, at, -1).astype(np.int64)


def _vehicle_positions(vehicles: pd.DataFrame, people: pd.DataFrame, parsed: Parsed, report: Report) -> Positions:
    """Return the position of each person's vehicle, by `id_vehicule`; -1 where the person's accident has none."""
    rows = pc.index_in(
        pa.array(people["id_vehicule"], pa.string()),
        value_set=pa.array(vehicles["id_vehicule"], pa.string()),
        skip_nulls=True,
    )
    at: Positions = rows.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if len(vehicles):
        of_another = (at >= 0) & (vehicles["accident"].to_numpy()[at] != people["accident"].to_numpy())
        at[of_another] = -1
    lost = int((at < 0).sum())
    if lost:
        rule = "person without a vehicle of the accident"
        report.findings.append(Finding(Table.USAGERS, "vehicle", rule, lost, Action.MISSING))
    return at


def _check_ages(accidents: pd.DataFrame, people: pd.DataFrame, report: Report) -> None:
    """Set a year of birth to missing when the age is impossible."""
    age = accidents["an"].to_numpy()[people["accident"].to_numpy()] - people["an_nais"].to_numpy()
    impossible = (age < 0) | (age > OLDEST)
    if impossible.any():
        counts = Counter(f"{year:.0f}" for year in people["an_nais"].to_numpy()[impossible])
        people.loc[impossible, "an_nais"] = np.nan
        rule = f"age outside 0 to {OLDEST}"
        examples = dict(counts.most_common(checks.EXAMPLES))
        report.findings.append(
            Finding(Table.USAGERS, "an_nais", rule, int(impossible.sum()), Action.MISSING, examples=examples)
        )


def _incomplete(what: str, file: str, accidents: int) -> Finding:
    rule = f"accident without {what} in {file}"
    return Finding(Table.CARACTERISTIQUES, "num_acc", rule, accidents, Action.INCOMPLETE)


def _note_gaps(
    accidents: pd.DataFrame,
    vehicles: pd.DataFrame,
    people: pd.DataFrame,
    read: Mapping[Table, Parsed],
    report: Report,
) -> None:
    """Report incomplete rows that are kept, because they are part of a scene."""

    def unused(of: pd.DataFrame, by: npt.NDArray[np.int64]) -> int:
        return int((np.bincount(by[by >= 0], minlength=len(of)) == 0).sum())

    for table, what, rows in ((Table.VEHICULES, "a vehicle", vehicles), (Table.USAGERS, "people", people)):
        if gaps := unused(accidents, rows["accident"].to_numpy()):
            report.findings.append(_incomplete(what, read[table].name, gaps))
    notes = (
        (Table.VEHICULES, "vehicle without people", unused(vehicles, people["vehicle"].to_numpy())),
        (Table.USAGERS, "severity not given: not for training", int(people["grav"].isna().sum())),
    )
    report.findings += [Finding(table, "", rule, rows, Action.KEPT) for table, rule, rows in notes if rows]
