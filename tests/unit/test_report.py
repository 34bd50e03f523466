"""What the log of a task ends with."""

from __future__ import annotations

import math
import re
from dataclasses import asdict

from include.accidents.reporting import pages, texts
from tests.helpers import rules


def test_a_table_lines_up_and_says_what_is_not_known() -> None:
    table = texts.text_table(("model", "people", "score"), [("Oak", 1234, 0.5), ("Elm", None, math.nan)])
    assert table.splitlines() == [
        "model  people   score",
        "Oak     1,234  0.5000",
        "Elm         –       –",
    ]
    assert texts.text_table(("a", "b"), []) == "a  b"


def test_a_models_metrics_are_a_row_each_with_a_column_a_way() -> None:
    metrics = {"cv_f1": 0.7, "cv_f1_std": 0.01, "test_f1": 0.71, "test_f1_low": 0.70, "test_f1_high": 0.72,
               "first_call_f1": 0.6, "record_f1": 0.72, "drivers_alone_f1": 0.5, "temporal_f1": 0.65,
               "temporal_first_call_f1": 0.55, "test_log_loss": 0.9, "dispatch_alert_recall": 0.8,
               "selection_score": 0.7}  # fmt: skip
    heading, alert, f1, log_loss = texts.metrics_table(metrics).splitlines()
    assert re.split(r" {2,}", heading) == [
        *("metric", "cross-validated", "±", "global_test", "95 % from", "to"),
        *("first_call", "dispatch", "record", "vehicles alone", "later years"),
    ]
    assert alert.split() == ["alert_recall", *"–––––", "–", "0.8000", *"–––"]
    assert f1.split() == [
        "f1",
        "0.7000",
        "0.0100",
        "0.7100",
        "0.7000",
        "0.7200",
        "0.6000",
        "–",
        "0.7200",
        "0.5000",
        "0.6500",
    ]
    assert log_loss.split() == ["log_loss", "–", "–", "0.9000", *"–––––––"]


def test_the_figures_of_a_level_are_a_row_and_a_level_that_was_not_judged_is_none() -> None:
    rows = pages.level_rows({"first_call_f1_weighted": 0.5, "first_call_alert_recall": 0.8, "record_auc_severe": 0.9})
    assert [row["level"] for row in rows] == ["first_call"]
    assert (rows[0]["f1_weighted"], rows[0]["alert_recall"], rows[0]["auc_severe"]) == (0.5, 0.8, None)


def test_the_card_of_a_model_without_a_plan_is_written_all_the_same() -> None:
    data = {"version": "v", "years": [2021], "rows": {"train_test": 9, "global_test": 1}, "sample": True}
    tags = dict.fromkeys(("data_version", "features", "model_version", "code_version"), "v")
    card = pages.model_card(
        model="Oak", version="3", reason="it is better", specification="{}", params={}, metrics={}, tags=tags,
        data=data, groups=[], rules={}, plan={},
    )  # fmt: skip
    assert "9 people, judged on" in " ".join(card.split())


def test_the_card_of_a_model_tells_its_levels_its_thresholds_and_later_years() -> None:
    card = pages.model_card(
        model="Oak",
        version="3",
        reason="it is better",
        specification="{}",
        params={},
        metrics={
            "record_f1_weighted": 0.7123, "first_call_f1_weighted": 0.4567, "temporal_f1_weighted": 0.6543,
            "temporal_first_call_f1_weighted": 0.3456, "cv_log_loss": 0.6112,
        },
        tags=dict.fromkeys(("data_version", "features", "model_version", "code_version"), "v"),
        data={"version": "v", "years": [2021], "rows": {"train_test": 9, "global_test": 1}, "sample": True},
        groups=[],
        rules={state: asdict(rule) for state, rule in rules().items()},
        plan={"max_rows": 6, "probes": [{"people": 2, "log_loss": 0.9123}, {"people": 4, "log_loss": 0.8234}]},
    )  # fmt: skip
    for words in ("Levels of knowledge", "Over years", "When it alerts", "drivers_alone", "<td>0.5000</td>"):
        assert words in card, words
    assert "6 of 9 people" in " ".join(card.split())
    assert "0.9123 from 2 people, 0.8234 from 4 people, 0.6112 in the cross-validation" in " ".join(card.split())
    for figure in ("0.7123", "0.4567", "0.6543", "0.3456"):
        assert card.count(figure) == 2, figure  # by level, and among all figures
