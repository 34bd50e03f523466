"""HTML pages of a run: the report, and the card of the promoted model."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.accidents.features.levels import LEVELS
from include.accidents.reporting.texts import COLUMNS, Row

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE_COLUMNS = (*COLUMNS, "test_auc_severe", "test_log_loss", "test_calibration_error", "test_three_class_f1_macro")
LEVEL_COLUMNS = (
    "f1_weighted",
    "auc_severe",
    "calibration_error",
    "severe_predicted",
    "severe_true",
    "accident_auc_severe",
    "alert_recall",
    "alert_precision",
)
"""The metrics of each model that are shown at each level of knowledge."""


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
    winner: str,
    groups: Sequence[Row],
    plots: Mapping[str, bytes],
) -> str:
    """Render the page of a run.

    Parameters
    ----------
    rows
        Models with their metrics, best first, including the baseline.
    before
        The metrics of the same models in their previous run, by name.
    failed
        Reasons by model.
    winner
        The model that was compared with the champion; the first row, unless that one was rolled back earlier.
    groups
        The winner's recall by sex and age group.
    plots
        PNG files by title.

    Returns
    -------
    One HTML page, plots included.
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
    return render(
        "report.html.jinja",
        dag_run_id=dag_run_id,
        reason=reason,
        rows=rows,
        columns=PAGE_COLUMNS,
        level_columns=LEVEL_COLUMNS,
        levels={row["model"]: level_rows(row) for row in rows},
        over_years={row["model"]: later for row in rows if (later := _later_years(row))},
        changes=changes,
        change_columns=COLUMNS,
        no_longer_trained=sorted(before.keys() - {row["model"] for row in rows}),
        failed=failed,
        data=data,
        winner=winner,
        groups=groups,
        plots={title: base64.b64encode(content).decode() for title, content in plots.items()},
        written=_now(),
    )


def _later_years(metrics: Row) -> list[dict[str, Any]]:
    """Return the figures on later years at each level; those at `record` are stored without the level's name."""
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
    plan: Mapping[str, Any],
) -> str:
    """Return the card of a promoted model as HTML: data, method, limits, figures.

    Parameters
    ----------
    rules
        Those of `models.decision`, by state of knowledge.
    plan
        That of `models.budget`: how many people it learned from at most, and the fits that measured its speed.

    Returns
    -------
    One page without references to other files.
    """
    figures = {
        name: (value, metrics.get(f"{name}_low"), metrics.get(f"{name}_high"))
        for name, value in sorted(metrics.items())
        if not name.endswith(("_low", "_high", "_std"))
    }
    return render(
        "model_card.html.jinja",
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
        plan=plan,
        written=_now(),
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _figure(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "–"


def render(template: str, **values: Any) -> str:
    """Return a template of `templates/` as HTML; a missing value is an error."""
    return str(_templates().get_template(template).render(values))


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
