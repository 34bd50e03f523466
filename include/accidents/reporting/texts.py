"""Tables of text for logs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from include.accidents.features.levels import LEVELS

Row = Mapping[str, Any]

COLUMNS = ("selection_score", "cv_f1_weighted", "cv_accuracy", "test_f1_weighted", "test_f1_macro")


def leaderboard(rows: Sequence[Row]) -> str:
    """Lay out models and their metrics as a table of text, best first."""
    return text_table(("model", *COLUMNS), [[row["model"], *(row.get(column) for column in COLUMNS)] for row in rows])


def text_table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lay out a table for a log; a heading of empty cells is left out.

    Returns
    -------
    One line for each row: numbers to the right, a dash for unknown values (None or NaN).
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


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
