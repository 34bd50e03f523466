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

from include.accidents.knowledge import LEVELS

Row = Mapping[str, Any]

COLUMNS = ("selection_score", "cv_f1_weighted", "cv_accuracy", "test_f1_weighted", "test_f1_macro")
PAGE_COLUMNS = (*COLUMNS, "test_auc_severe", "test_log_loss", "test_calibration_error", "test_three_class_f1_macro")
LEVEL_COLUMNS = (
    "f1_weighted",
    "auc_severe",
    "calibration_error",
    "severe_foretold",
    "severe_true",
    "accident_auc_severe",
    "alert_recall",
    "alert_precision",
)
"""What is shown of each model at each level of knowledge."""


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
        **{level: f"{level}_{{}}" for level in LEVELS},
        "vehicles alone": "drivers_alone_{}",
        "later years": "temporal_{}",
    }
    prefixes = [way.removesuffix("{}") for way in ways.values() if way.endswith("{}")]
    names = {n.removeprefix(p) for n in metrics for p in prefixes if n.startswith(p) and not n.endswith(_ENDS)}
    names -= {name for name in names if any(name.startswith(p) for p in prefixes)}
    rows = [[name, *(metrics.get(way.format(name)) for way in ways.values())] for name in sorted(names)]
    known = [i for i, cells in enumerate(zip(*rows, strict=True)) if any(cell is not None for cell in cells)]
    heading = ["metric", *ways]
    return text_table([heading[i] for i in known], [[row[i] for i in known] for row in rows])


_ENDS = ("_low", "_high", "_std")


def level_rows(metrics: Row, prefix: str = "") -> list[dict[str, Any]]:
    """Return the figures of `LEVEL_COLUMNS` at each level that was judged, a row a level."""
    rows = [
        {"level": level.name, "label": level.label.en}
        | {column: metrics.get(f"{prefix}{level.name}_{column}") for column in LEVEL_COLUMNS}
        for level in LEVELS.values()
    ]
    return [row for row in rows if row["f1_weighted"] is not None]


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
            level_columns=LEVEL_COLUMNS,
            levels={row["model"]: level_rows(row) for row in rows},
            over_years={row["model"]: later for row in rows if (later := _later_years(row))},
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


def _later_years(metrics: Row) -> list[dict[str, Any]]:
    """Return the figures on later years at each level; at `record` they bear no level's name."""
    named = {f"temporal_record_{c}": metrics[f"temporal_{c}"] for c in LEVEL_COLUMNS if f"temporal_{c}" in metrics}
    return level_rows({**metrics, **named}, "temporal_")


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
    rules: Mapping[str, Row],
) -> str:
    """Return the card of a promoted model as HTML: data, method, limits, figures; `rules` are those of `decision`."""
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
            level_columns=LEVEL_COLUMNS,
            levels=level_rows(metrics),
            over_years=_later_years(metrics),
            rules=rules,
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
