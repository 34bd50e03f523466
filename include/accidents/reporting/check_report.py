"""The report of a year's checks: for a terminal, a log and a browser."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from include.accidents.data.checks import Report, by_level, values_of
from include.accidents.data.columns import Table
from include.accidents.reporting.pages import render

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from include.accidents.settings import Thresholds


def table(report: Report, limits: Thresholds) -> RichTable | str:
    """Return the findings as a table for a terminal, the gravest first; a line of text when there are none."""
    from rich.table import Table as RichTable
    from rich.text import Text

    counts = ", ".join(f"{name} {report.rows_in[name]} → {report.rows_out[name]}" for name in Table)
    title = f"{report.year}: rows {counts}"
    if not report.findings:
        return f"{title}; nothing found"
    shown = RichTable(title=title, title_justify="left", title_style="", min_width=len(title))
    for heading in ("", "file", "column", "rule", "rows", "share", "", "first line", "values"):
        shown.add_column(heading, justify="right" if heading in ("rows", "share", "first line") else "left")
    for judged, f in by_level(report, limits):
        share = f"{f.rows / max(report.rows_in[f.table], 1):.2%}"
        cells = (judged, f.table, f.column, f.rule, str(f.rows), share, f.action, str(f.line or ""), values_of(f))
        shown.add_row(*map(Text, cells))
    return shown


def text(report: Report, limits: Thresholds, width: int = 160) -> str:
    """Return the table as plain text, for a log."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table(report, limits))
    return out.getvalue()


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
