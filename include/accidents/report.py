"""What a run found, for people: the leaderboard as text and as a page, and the card of the promoted model."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure

Row = Mapping[str, Any]

COLUMNS = ("selection_score", "cv_f1_weighted", "cv_accuracy", "test_f1_weighted", "test_f1_macro")
PAGE_COLUMNS = (*COLUMNS, "test_auc_severe", "test_log_loss", "test_calibration_error", "call_f1_weighted")


def leaderboard(rows: Sequence[Row]) -> str:
    """Lay out models and their metrics as a table of text, best first."""
    return text_table(("model", *COLUMNS), [[row["model"], *(row.get(column) for column in COLUMNS)] for row in rows])


def text_table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lay out a table for a log: numbers to the right, a dash for what is not known (None or NaN).

    A heading of empty cells takes no line.
    """
    lines = [*([heading] if any(heading) else []), *([_cell(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [any(isinstance(cell, int | float) for cell in column) for column in zip(*rows, strict=True)] or [False]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if numbers else cell.ljust(width)
            for cell, width, numbers in zip(line, widths, right * (len(widths) // len(right)), strict=True)
        ).rstrip()
        for line in lines
    )


def metrics_table(metrics: Mapping[str, float]) -> str:
    """Lay out a model's metrics for a log: a row a metric, a column for each way it was measured."""
    ways = {
        "cross-validated": "cv_{}",
        "±": "cv_{}_std",
        "global_test": "test_{}",
        "95 % from": "test_{}_low",
        "to": "test_{}_high",
        "at a call": "call_{}",
        "next year": "temporal_{}",
    }
    names = [n.removeprefix("test_") for n in metrics if n.startswith("test_") and not n.endswith(("_low", "_high"))]
    rows = [[name, *(metrics.get(way.format(name)) for way in ways.values())] for name in sorted(names)]
    known = [i for i, cells in enumerate(zip(*rows, strict=True)) if any(cell is not None for cell in cells)]
    heading = ["metric", *ways]
    return text_table([heading[i] for i in known], [[row[i] for i in known] for row in rows])


def page(
    *,
    dag_run_id: str,
    reason: str,
    rows: Sequence[Row],
    before: Mapping[str, Row],
    failed: Mapping[str, str],
    data: Mapping[str, Any],
    groups: Sequence[Row],
    pictures: Mapping[str, bytes],
) -> str:
    """Return the page of a run as HTML, pictures included.

    Parameters
    ----------
    rows
        Models with their metrics, best first; the baseline among them.
    before
        The metrics of the same models in their run before, by name.
    failed
        Reasons by model.
    groups
        The winner's recall by sex and age group.
    pictures
        PNG files by title.
    """
    changes = [
        {
            "model": row["model"],
            "new": row["model"] not in before,
            "by": {
                c: row[c] - before[row["model"]][c] for c in COLUMNS if c in before.get(row["model"], {}) and c in row
            },
        }
        for row in rows
        if row.get("trained", True)
    ]
    made: str = (
        _templates()
        .get_template("report.html.jinja")
        .render(
            dag_run_id=dag_run_id,
            reason=reason,
            rows=rows,
            columns=PAGE_COLUMNS,
            changes=changes,
            change_columns=COLUMNS,
            gone=sorted(before.keys() - {row["model"] for row in rows}),
            failed=failed,
            data=data,
            groups=groups,
            pictures={title: base64.b64encode(content).decode() for title, content in pictures.items()},
            written=_now(),
        )
    )
    return made


def model_card(
    *,
    model: str,
    version: str,
    reason: str,
    specification: str,
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    data: Mapping[str, Any],
    groups: Sequence[Row],
) -> str:
    """Return the card of a promoted model as HTML: data, method, limits, figures."""
    figures = {
        name: (value, metrics.get(f"{name}_low"), metrics.get(f"{name}_high"))
        for name, value in sorted(metrics.items())
        if not name.endswith(("_low", "_high", "_std"))
    }
    made: str = (
        _templates()
        .get_template("model_card.html.jinja")
        .render(
            model=model,
            version=version,
            reason=reason,
            specification=specification,
            params=params,
            figures=figures,
            tags=tags,
            data=data,
            groups=groups,
            written=_now(),
        )
    )
    return made


def png(figure: Figure) -> bytes:
    """Return a picture as a PNG file."""
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=90)
    return sink.getvalue()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "–"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = _figure
    return environment
