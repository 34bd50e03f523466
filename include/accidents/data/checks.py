"""Checks of the raw files and their report, by the rules of `columns.COLUMNS`.

`cells` and `linking` repair what breaks a rule; each repair is a finding. Thresholds then decide whether the year
passes, passes with warnings, or is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from include.accidents.data.columns import COLUMNS, RETIRED_COLUMNS, Column, Kind, Table
from include.accidents.errors import InputError

if TYPE_CHECKING:
    from include.accidents.settings import Thresholds

Indices = npt.NDArray[np.int64]
EXAMPLES = 5  # values that a finding shows


class Action(StrEnum):
    """What was done with the cells or rows of a finding."""

    MISSING = "set to missing"
    DROPPED = "dropped"
    REDUCED = "reduced to one"
    CORRECTED = "corrected"
    KEPT = "kept"
    INCOMPLETE = "kept incomplete"
    IGNORED = "ignored"


class Level(StrEnum):
    """How a finding is judged."""

    NOTE = "note"
    WARNING = "warning"
    FAILURE = "failure"


_SETTINGS = {Action.MISSING: "REPAIRED", Action.DROPPED: "DROPPED", Action.INCOMPLETE: "INCOMPLETE"}
_ORDER = {Level.FAILURE: 0, Level.WARNING: 1, Level.NOTE: 2}


@dataclass(frozen=True)
class Finding:
    """One rule that rows of a file break.

    Attributes
    ----------
    column
        The column, or the key by which rows are joined; empty for whole rows.
    rule
        What is wrong, in a few words.
    rows
        Number of rows concerned.
    line
        The first of them in the file (the header is line 1).
    examples
        The most frequent values with their counts.
    """

    table: Table
    column: str
    rule: str
    rows: int
    action: Action
    line: int | None = None
    examples: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Report:
    """The findings in the four files of a year.

    `rows_in` and `rows_out` count rows by table; every row that is dropped between them is in a finding.
    """

    year: int
    files: dict[Table, str]
    rows_in: dict[Table, int] = field(default_factory=dict)
    rows_out: dict[Table, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def dropped(self, table: Table) -> dict[str, int]:
        """Return the number of rows of a table that were dropped, by reason."""
        rows = Counter[str]()
        for finding in self.findings:
            if finding.table == table and finding.action in (Action.DROPPED, Action.REDUCED):
                rows[finding.rule] += finding.rows
        return dict(rows)

    def prove(self) -> None:
        """Check that every dropped row is in a finding; a RuntimeError is a fault of this program."""
        for table in Table:
            accounted = self.rows_out[table] + sum(self.dropped(table).values())
            if self.rows_in[table] != accounted:
                raise RuntimeError(
                    f"{self.files[table]}: {self.rows_in[table]} rows in, but {accounted} accounted for."
                )

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "year": self.year,
            "tables": {
                str(table): {
                    "file": self.files[table],
                    "rows_in": self.rows_in[table],
                    "rows_out": self.rows_out[table],
                    "dropped": self.dropped(table),
                }
                for table in Table
            },
            "findings": [asdict(finding) for finding in self.findings],
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Report:
        """Return the report that `as_dict` stored."""
        tables = {Table(name): facts for name, facts in stored["tables"].items()}
        return cls(
            stored["year"],
            {table: facts["file"] for table, facts in tables.items()},
            {table: facts["rows_in"] for table, facts in tables.items()},
            {table: facts["rows_out"] for table, facts in tables.items()},
            [Finding(**{**f, "table": Table(f["table"]), "action": Action(f["action"])}) for f in stored["findings"]],
        )


class CheckError(InputError):
    """The files of a year break a rule more often than the thresholds allow."""


# --- rules


def bad_values(table: Table, distinct: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, tuple[str, Indices]]:
    """Return for each column that breaks its rule: the rule, and the positions of such values in `distinct`."""
    broken_by_column = {}
    for column in judged(table):
        values = distinct.get(column.name, np.empty(0))
        if column.low is not None and column.high is not None:
            rule = f"outside {column.low:g} to {column.high:g}"
            holds = (values >= column.low) & (values <= column.high)
        else:
            rule, holds = "unknown code", np.isin(values, list(column.codes))
        broken = np.flatnonzero(~holds & ~np.isnan(values))
        if len(broken):
            broken_by_column[column.name] = (rule, broken)
    return broken_by_column


def judged(table: Table) -> Iterable[Column]:
    """Return the columns of a table whose values have a rule: codes, and numbers within a range."""
    return (c for c in (*COLUMNS, *RETIRED_COLUMNS) if c.table == table and c.kind in (Kind.CODE, Kind.NUMBER))


@dataclass(frozen=True)
class RowRule:
    """A rule for a column of keys: `holds` returns for each row whether it is kept."""

    column: str
    rule: str
    holds: Callable[[pd.Series], pd.Series]


def bad_rows(keys: pd.DataFrame, rules: Iterable[RowRule]) -> dict[str, Indices]:
    """Return the positions of the rows that break each rule. A row counts for the first rule that it breaks."""
    seen = np.zeros(len(keys), dtype=np.bool_)
    broken_by_rule = {}
    for rule in rules:
        broken = ~rule.holds(keys[rule.column]).to_numpy(dtype=np.bool_) & ~seen
        seen |= broken
        if broken.any():
            broken_by_rule[rule.rule] = np.flatnonzero(broken)
    return broken_by_rule


# --- judging


def level(finding: Finding, report: Report, limits: Thresholds) -> Level:
    """Return the level of a finding, by its share of the table's rows."""
    share = finding.rows / max(report.rows_in[finding.table], 1)
    if finding.action is Action.MISSING:
        warning, failure = limits.repaired_warning, limits.repaired_failure
        if not _needed(finding):
            failure = 1.0
    elif finding.action is Action.DROPPED:
        warning, failure = limits.dropped_warning, limits.dropped_failure
    elif finding.action is Action.INCOMPLETE:
        warning, failure = limits.incomplete_warning, limits.incomplete_failure
    else:
        return Level.NOTE
    if share > failure:
        return Level.FAILURE
    return Level.WARNING if share > warning else Level.NOTE


def _needed(finding: Finding) -> bool:
    """Return whether the finding's column is required."""
    described = [c for c in (*COLUMNS, *RETIRED_COLUMNS) if (c.table, c.name) == (finding.table, finding.column)]
    return not described or described[0].required


def enforce(report: Report, limits: Thresholds) -> None:
    """Raise CheckError when a finding is a failure."""
    failures = [f for f in report.findings if level(f, report, limits) is Level.FAILURE]
    if not failures:
        return
    reasons = "; ".join(_described(f, report) for f in failures[:EXAMPLES])
    limited = dict.fromkeys(f"ACCIDENTS_CHECK_{_SETTINGS[each.action]}_FAILURE" for each in failures)
    raise CheckError(
        f"The files of {report.year} break {len(failures)} rule{'s'[: len(failures) > 1]} too often: {reasons}.",
        "replace the file by the publisher's (it may be cut, or of another edition), or, if it is right, raise "
        f"{' and '.join(limited)} (a share of the rows).",
    )


def _described(finding: Finding, report: Report) -> str:
    file, rows = report.files[finding.table], report.rows_in[finding.table]
    line = f", line {finding.line}" if finding.line else ""
    column = f", column {finding.column!r}" if finding.column else ""
    values = f", {values_of(finding)}" if finding.examples else ""
    return f"{file}{line}{column}: {finding.rule} in {finding.rows} of {rows} rows{values}"


def values_of(finding: Finding) -> str:
    """Return the values that a finding shows, each with its count."""
    return ", ".join(f"{value!r} × {count}" for value, count in finding.examples.items())


def by_level(report: Report, limits: Thresholds) -> list[tuple[Level, Finding]]:
    """Return the findings with their levels, the gravest first."""
    judged = [(level(f, report, limits), f) for f in report.findings]
    return sorted(judged, key=lambda pair: (_ORDER[pair[0]], -pair[1].rows))
