"""What the log of a task ends with."""

from __future__ import annotations

import math

from include.accidents import report


def test_a_table_lines_up_and_says_what_is_not_known() -> None:
    table = report.text_table(("model", "people", "score"), [("Oak", 1234, 0.5), ("Elm", None, math.nan)])
    assert table.splitlines() == [
        "model  people   score",
        "Oak     1,234  0.5000",
        "Elm         –       –",
    ]
    assert report.text_table(("a", "b"), []) == "a  b"


def test_a_models_metrics_are_a_row_each_with_a_column_a_way() -> None:
    metrics = {"cv_f1": 0.7, "cv_f1_std": 0.01, "test_f1": 0.71, "test_f1_low": 0.70, "test_f1_high": 0.72,
               "call_f1": 0.6, "test_log_loss": 0.9, "selection_score": 0.7}  # fmt: skip
    heading, f1, log_loss = report.metrics_table(metrics).splitlines()
    assert heading.split() == [
        "metric",
        "cross-validated",
        "±",
        "global_test",
        "95",
        "%",
        "from",
        "to",
        "at",
        "a",
        "call",
    ]
    assert f1.split() == ["f1", "0.7000", "0.0100", "0.7100", "0.7000", "0.7200", "0.6000"]
    assert log_loss.split() == ["log_loss", "–", "–", "0.9000", "–", "–", "–"]
