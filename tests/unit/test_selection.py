"""Which model goes into production, and which one does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import skops.io

from include.accidents.errors import ModelError
from include.accidents.features.version import feature_version
from include.accidents.pipeline import select
from include.accidents.registry import promotion
from include.accidents.registry.names import BEST, LEADERBOARD, MODEL_CARD, REPORT, of_selection
from tests.unit.runs import DUMMY, KEY, TREE, Runs


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_the_first_is_promoted_then_only_who_is_better(runs: Runs) -> None:
    assert runs.run({"Weak": DUMMY}).promoted
    better = runs.run({"Weak": DUMMY, "Oak": TREE})
    assert (better.promoted, better.winner, better.production_version) == (True, "Oak", "2")
    again = runs.run({"Oak": TREE})
    assert not again.promoted
    assert again.reason == "Oak stays in production (BestModel 2): nothing has changed."
    other = {"pipeline": [["clf", {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 1}}]]}
    worse = runs.run({"Oak": other})
    assert not worse.promoted
    assert "gain over Oak (BestModel 2) on global_test -0." in worse.reason
    assert runs.production == "2"


def test_a_passing_error_promotes_nobody(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """What says nothing of the champion itself fails the task, which is tried again."""
    runs.run({"Oak": TREE})
    names, catalogue = runs.catalogue({"Weak": DUMMY})
    trained = runs.train("Weak", catalogue)
    runs.count = 2
    runs.log(trained)

    def short_of_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(skops.io, "loads", short_of_memory)
    with pytest.raises(MemoryError):
        select.select_best(
            runs.store, runs.client, names, catalogue, runs.data, "run-2", {}, KEY, promote=True
        )  # fmt: skip
    assert runs.production == "1"


def test_only_a_run_of_the_whole_catalogue_replaces_a_model_that_cannot_be_compared(runs: Runs) -> None:
    models = {"Oak": TREE, "Weak": DUMMY}
    runs.run(models)
    runs.client.set_model_version_tag(BEST, "1", "signature", "0" * 64)
    narrow = runs.run(models, wanted=["Weak"])
    assert not narrow.promoted
    assert "cannot be used" in narrow.reason
    assert "Run the whole catalogue" in narrow.reason
    assert runs.production == "1"
    whole = runs.run(models)
    assert (whole.promoted, whole.winner) == (True, "Oak")


def test_a_run_that_leaves_the_newest_year_out_only_compares(runs: Runs) -> None:
    runs.run({"Weak": DUMMY})
    narrow = runs.run({"Oak": TREE}, newest_year=2023)
    assert not narrow.promoted
    assert "the run left out 2023" in narrow.reason
    assert runs.production == "1"
    assert runs.run({"Oak": TREE}, newest_year=2022).promoted


def test_a_rollback_is_not_undone_by_the_next_run(runs: Runs) -> None:
    runs.run({"Weak": DUMMY})
    runs.run({"Weak": DUMMY, "Oak": TREE})
    promotion.rollback(runs.client, KEY, feature_version(), reason="people complain")
    again = runs.run({"Weak": DUMMY, "Oak": TREE})
    assert (again.promoted, again.winner) == (False, "Weak")
    assert "Oak ranks first, but was rolled back: people complain" in again.reason
    alone = runs.run({"Oak": TREE})
    assert not alone.promoted
    assert "out of production before" in alone.reason
    assert runs.production == "1"
    other = {"pipeline": [["clf", {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 5}}]]}
    assert runs.run({"Oak": other}).promoted


def temporal(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name.startswith("temporal_")}


def test_a_model_that_is_promoted_by_a_later_run_bears_that_reason(runs: Runs) -> None:
    runs.promote = False
    compared = runs.run({"Oak": TREE})
    assert "Only compared" in compared.reason
    runs.promote = True
    promoted = runs.run({"Oak": TREE})
    assert promoted.promoted
    assert runs.logged()["Oak"].data.tags["selection_reason"] == promoted.reason
    assert runs.client.get_model_version("Oak", "1").tags["selection_reason"] == promoted.reason


def test_the_winner_of_two_years_is_judged_on_the_later_one_by_the_earlier(tmp_path: Path) -> None:
    runs = Runs(tmp_path, years=(2022, 2023))
    assert runs.run({"Weak": DUMMY, "Oak": TREE}).winner == "Oak"
    logged = runs.logged()
    found = temporal(logged["Oak"].data.metrics)
    for state in ("", "first_call_", "dispatch_", "on_scene_", "drivers_alone_"):
        assert {f"temporal_{state}{name}" for name in ("f1_weighted", "accident_auc_severe", "alert_recall")} <= set(
            found
        )
    assert found["temporal_auc_severe"] > 0.7
    assert not temporal(logged["Weak"].data.metrics)
    board = {row["model"]: row for row in json.loads(runs.artifact(logged["Oak"], of_selection("run-1", LEADERBOARD)))}
    assert temporal(board["Oak"]) == pytest.approx(found)
    assert not temporal(board["Weak"])
    for page in (of_selection("run-1", REPORT), MODEL_CARD):
        assert f"{found['temporal_first_call_auc_severe']:.4f}" in runs.artifact(logged["Oak"], page), page


def test_the_recall_over_years_is_that_of_the_runs_own_catalogue(tmp_path: Path) -> None:
    runs = Runs(tmp_path, years=(2022, 2023))
    recalls = []
    deep = {"pipeline": [["clf", {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 8}}]]}
    for runs.recall in (0.9, 0.5):
        runs.run({"Oak": deep})
        recalls.append(runs.logged()["Oak"].data.metrics["temporal_alert_recall"])
    assert recalls == pytest.approx([0.9, 0.5], abs=0.15)  # a tree has few scores, so a threshold finds some more


def test_a_judgement_over_years_that_fails_ends_no_selection(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object, **__: object) -> dict[str, float]:
        raise ModelError("Too few accidents.", "train on more.")

    monkeypatch.setattr(select, "judged_over_years", fails)
    assert runs.run({"Oak": TREE}).promoted
    assert "Oak is not judged over years: Too few accidents." in caplog.text


def test_the_note_is_never_longer_than_airflow_takes() -> None:
    """It tells the verdict and that more failed; a hundred characters are left for what the reload may add."""
    board = [{"model": f"Model{i:03}", "selection_score": 0.5} for i in range(200)]
    failed = {f"Failed{i:03}{'x' * 50}": "why " * 100 for i in range(20)}
    note = select._note(board, failed, {}, "reason " * 100)
    assert len(note) <= 810
    assert "- … and 18 more" in note
    assert "**reason reason" in note
    assert len(select._note(board, {}, {}, "reason")) <= 810
