"""The report of a year's checks: for a terminal, a log and a browser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from include.accidents.data.checks import Level, Report, by_level, values_of
from include.accidents.data.columns import Table
from include.accidents.reporting.pages import render

if TYPE_CHECKING:
    from include.accidents.settings import Thresholds


def text(report: Report, limits: Thresholds) -> str:
    """Return the findings as text for a narrow terminal or a log, the gravest first, and whether the year will train.

    Returns
    -------
    For each finding a line with the rule, one with how often it is broken, and one with values.
    """
    counts = ", ".join(f"{name} {report.rows_in[name]:,}" for name in Table)
    return "\n".join([f"{report.year}: {counts}", *_findings(report, limits), verdict(report, limits)])


def _findings(report: Report, limits: Thresholds) -> Iterator[str]:
    for judged, f in by_level(report, limits):
        column = f" {f.column}" if f.column else ""
        yield f"  {judged:8} {f.table}{column}: {f.rule}"
        share = f.rows / max(report.rows_in[f.table], 1)
        line = f"; first line {f.line}" if f.line else ""
        yield f"           {f.rows:,} of {report.rows_in[f.table]:,} rows ({share:.2%}), {f.action}{line}"
        if f.examples:
            yield f"           {values_of(f)}"


def verdict(report: Report, limits: Thresholds) -> str:
    """Say in one sentence whether the year will be trained on."""
    levels = Counter(judged for judged, _ in by_level(report, limits))
    if failures := levels[Level.FAILURE]:
        return f"{report.year} is refused: {failures} {'rule is' if failures == 1 else 'rules are'} broken too often."
    warnings = levels[Level.WARNING]
    found = f", with {warnings} {'warning' if warnings == 1 else 'warnings'}" if warnings else ""
    return f"{report.year} will train{found}."


def as_dict(report: Report, limits: Thresholds) -> dict[str, Any]:
    """Return the report as plain JSON values, with the level of each finding and whether the year is refused."""
    levels = {id(finding): judged for judged, finding in by_level(report, limits)}
    plain = report.as_dict()
    for finding, described in zip(report.findings, plain["findings"], strict=True):
        described["level"] = levels[id(finding)]
    return {**plain, "refused": Level.FAILURE in levels.values(), "verdict": verdict(report, limits)}


def page(report: Report, limits: Thresholds) -> str:
    """Return the report as an HTML page without links to other files."""
    return render(
        "checks.html.jinja",
        report=report,
        findings=by_level(report, limits),
        tables=list(Table),
        limits=limits.model_dump(),
        values=values_of,
    )
