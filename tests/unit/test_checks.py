"""What a report tells, when a year is refused, and that the schemas of pandera are those of the table of columns."""

from __future__ import annotations

import json

import numpy as np
import pandera.pandas as pa
import pytest

from include.accidents.data import checks, reader
from include.accidents.data.checks import Action, CheckError, Finding, Level, Report
from include.accidents.data.columns import COLUMNS, Kind, Table
from include.accidents.reporting import check_report
from include.accidents.settings import Thresholds
from tests.helpers import sample_files, sample_scenes

PLACES = Table.LIEUX


def report(**finding) -> Report:
    facts = {"table": PLACES, "column": "vma", "rule": "outside 10 to 130", "rows": 30, "action": Action.MISSING}
    rows = dict.fromkeys(Table, 100)
    found = Finding(**(facts | finding))
    out = rows | {found.table: 100 - found.rows} if found.action is Action.DROPPED else rows
    return Report(2021, {t: f"{t}-2021.csv" for t in Table}, rows, out, [found])


def canonical(table: Table) -> pa.DataFrameSchema:
    """The rules of a canonical table in pandera's words: another judge than the reader's own."""
    rules = {
        c.name: pa.Check.isin(list(map(float, c.codes))) if c.kind is Kind.CODE else pa.Check.in_range(c.low, c.high)
        for c in checks.judged(table)
        if c in COLUMNS
    }
    return pa.DataFrameSchema({name: pa.Column("float32", rule, nullable=True) for name, rule in rules.items()})


@pytest.mark.parametrize("year", [2005, 2018, 2021, 2024])
def test_canonical_tables_keep_the_schema_made_from_the_table_of_columns(year: int) -> None:
    scenes = sample_scenes(year)
    for table, frame in zip(Table, (scenes.accidents, scenes.accidents, scenes.vehicles, scenes.people), strict=True):
        canonical(table).validate(frame, lazy=True)


def test_the_schema_refuses_what_the_dictionary_does_not_know() -> None:
    values = {"lum": np.array([1.0, 6.0, np.nan]), "mois": np.array([0.0, 12.0, 13.0])}
    found = checks.bad_values(Table.CARACTERISTIQUES, values)
    assert found["lum"][0] == "unknown code"
    assert found["lum"][1].tolist() == [1]
    assert found["mois"][0] == "outside 1 to 12"
    assert found["mois"][1].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("finding", "limits", "expected"),
    [
        ({"rows": 1}, {}, Level.NOTE),
        ({"rows": 2}, {}, Level.WARNING),
        ({"rows": 26}, {}, Level.FAILURE),
        ({"rows": 26}, {"repaired_failure": 0.3}, Level.WARNING),
        ({"rows": 2}, {"repaired_warning": 0.1}, Level.NOTE),
        ({"rows": 90, "column": "pr"}, {}, Level.WARNING),  # no feature is made from it
        ({"rows": 6, "action": Action.DROPPED}, {}, Level.FAILURE),
        ({"rows": 6, "action": Action.DROPPED}, {"dropped_failure": 0.1}, Level.WARNING),
        ({"rows": 6, "action": Action.INCOMPLETE}, {}, Level.FAILURE),
        ({"rows": 6, "action": Action.INCOMPLETE}, {"incomplete_failure": 0.1}, Level.WARNING),
        ({"rows": 29, "action": Action.REDUCED}, {}, Level.NOTE),  # further places are what the files of 2023 hold
    ],
)
def test_thresholds_decide_between_a_note_a_warning_and_a_failure(finding, limits, expected) -> None:
    found = report(**finding)
    assert checks.level(found.findings[0], found, Thresholds(**limits)) is expected


def test_thresholds_are_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    checks.enforce(report(rows=20), Thresholds())
    monkeypatch.setenv("ACCIDENTS_CHECK_REPAIRED_FAILURE", "0.1")
    with pytest.raises(CheckError):
        checks.enforce(report(rows=20), Thresholds())


def test_a_refusal_names_file_line_column_value_and_what_to_do() -> None:
    with pytest.raises(CheckError) as caught:
        checks.enforce(report(line=7, examples={"900": 30}), Thresholds())
    for word in ("lieux-2021.csv, line 7, column 'vma'", "outside 10 to 130", "30 of 100 rows", "'900' × 30"):
        assert word in caught.value.cause
    assert "ACCIDENTS_CHECK_REPAIRED_FAILURE" in caught.value.remedy


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (Table.LIEUX, "accident without a place in lieux-2021.csv"),
        (Table.VEHICULES, "accident without a vehicle in vehicules-2021.csv"),
        (Table.USAGERS, "accident without people in usagers-2021.csv"),
    ],
)
def test_half_a_download_is_refused_with_both_files(table: Table, told: str) -> None:
    files = dict(sample_files(2021))
    name, content = files[table]
    lines = content.splitlines(keepends=True)
    files[table] = (name, b"".join(lines[: len(lines) // 2]))
    with pytest.raises(CheckError) as caught:
        checks.enforce(reader.read_year(files, 2021)[1], Thresholds())
    assert told in caught.value.cause
    assert "carcteristiques-2021.csv" in caught.value.cause
    assert "it may be cut" in caught.value.remedy
    assert "ACCIDENTS_CHECK_INCOMPLETE_FAILURE" in caught.value.remedy


def test_a_row_that_nobody_accounts_for_is_a_fault() -> None:
    found = report(rows=3, action=Action.DROPPED)
    found.prove()
    found.rows_out[PLACES] -= 1
    with pytest.raises(RuntimeError, match="lieux-2021"):
        found.prove()


def test_a_report_survives_the_manifest() -> None:
    _, found = reader.read_year(sample_files(2023), 2023)
    stored = json.loads(json.dumps(found.as_dict()))
    assert Report.from_dict(stored) == found
    assert stored["tables"]["lieux"]["dropped"] == found.dropped(PLACES)


def test_the_log_and_the_page_show_every_finding_and_no_markup_of_a_file() -> None:
    found = report(line=7, examples={"<script>[red]": 30})
    text, page = check_report.text(found, Thresholds()), check_report.page(found, Thresholds())
    for words in ("failure", "vma", "outside 10 to 130", "30"):
        assert words in text
        assert words in page
    assert "<script>[red]" in text
    assert "<script>" not in page
    assert "&lt;script&gt;[red]" in page
    assert "lieux-2021.csv" in page
    assert "repaired_failure 0.25" in page
