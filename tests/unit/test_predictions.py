"""Predictions of whole files: their columns, and their scores where the files hold the severities."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics
from sklearn.tree import DecisionTreeClassifier

from include.accidents.data.columns import CLASSES, Table
from include.accidents.features import clean, matrix
from include.accidents.features.levels import LEVELS
from include.accidents.features.version import feature_version
from include.accidents.models import predictions
from include.accidents.models.evaluate import SEVERE
from include.accidents.pipeline import predict
from include.accidents.pipeline.contracts import PredictedBatch
from include.accidents.registry import loading
from include.accidents.registry.loading import LoadedModel
from include.accidents.registry.names import BEST
from include.accidents.registry.signing import Lineage
from include.accidents.reporting import plots
from include.accidents.storage.buckets import INCOMING, PREDICTIONS
from include.accidents.storage.folder import FolderStore
from tests.helpers import rules, sample_files, sample_scenes, with_rules

PNG = b"\x89PNG\r\n"
YEAR = 2023


@cache
def model() -> LoadedModel:
    data, _ = clean.clean(sample_scenes(2022, 800))
    fitted = DecisionTreeClassifier(max_depth=5, min_samples_leaf=20, random_state=0).fit(data.x, data.y)
    lineage = Lineage("Oak", "run", "data", feature_version(), sample=True)
    return LoadedModel(with_rules(fitted), BEST, "7", lineage, {}, rules())


@dataclass(frozen=True)
class File:
    """What a model says of a file, and what is in it."""

    made: predictions.Predicted
    grav: npt.NDArray[np.float32]


@cache
def predicted() -> File:
    scenes = sample_scenes(YEAR)
    made = predictions.predict(model(), matrix.build(scenes), scenes.people["accident"].to_numpy())
    return File(made, scenes.people["grav"].to_numpy().copy())


def cells(delimiter: str = ";", rows: slice = slice(None)) -> list[dict[str, str]]:
    lines = [line.decode() for line in predictions.lines(predicted().made, delimiter, rows)]
    return list(csv.DictReader(lines, fieldnames=list(predictions.COLUMNS), delimiter=delimiter))


# --- columns -----------------------------------------------------------------------------------------------


def test_every_csv_of_predictions_has_these_columns() -> None:
    of_people = ["p_unharmed", "p_killed", "p_hospitalised", "p_light", "p_severe", "predicted_class", "severe"]
    assert list(predictions.COLUMNS) == [*of_people, "p_any_severe", "p_any_killed", "alert", "level"]
    assert predictions.header(b",") == b"," + ",".join(predictions.COLUMNS).encode()


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_each_person_has_a_line_with_a_cell_a_column(delimiter: str) -> None:
    lines = predictions.lines(predicted().made, delimiter)
    assert len(lines) == len(predicted().grav)
    assert {line.count(delimiter.encode()) + 1 for line in lines} == {len(predictions.COLUMNS)}


def test_the_cells_say_what_was_predicted() -> None:
    made, rows = predicted().made, cells()
    for at in range(0, len(rows), 37):
        row, proba, accident = rows[at], made.proba[at], made.accident[at]
        assert [float(row[f"p_{name}"]) for name in CLASSES] == pytest.approx(proba.tolist(), abs=1e-6)
        assert float(row["p_severe"]) == pytest.approx(proba[SEVERE].sum(), abs=1e-6)
        assert row["predicted_class"] == CLASSES[proba.argmax()]
        assert row["severe"] == str(proba[SEVERE].sum() >= 0.4).lower()
        assert float(row["p_any_severe"]) == pytest.approx(made.decided.p_any_severe[accident], abs=1e-6)
        assert float(row["p_any_killed"]) <= float(row["p_any_severe"])
        assert row["alert"] == str(made.decided.p_any_severe[accident] >= 0.5).lower()
        assert row["level"] == list(LEVELS)[made.level[accident]]
    assert {row["alert"] for row in rows} == {row["severe"] for row in rows} == {"true", "false"}


def test_all_people_of_an_accident_have_the_same_decision() -> None:
    said: dict[int, set[tuple[str, ...]]] = {}
    for accident, row in zip(predicted().made.accident.tolist(), cells(), strict=True):
        said.setdefault(accident, set()).add((row["p_any_severe"], row["p_any_killed"], row["alert"], row["level"]))
    assert {len(decisions) for decisions in said.values()} == {1}


def test_lines_of_some_people_are_those_of_all() -> None:
    made = predicted().made
    assert predictions.lines(made, ";", slice(100, 150)) == predictions.lines(made, ";")[100:150]


def test_people_are_predicted_alike_in_blocks_and_whatever_numbers_accidents_have() -> None:
    scenes = sample_scenes(YEAR)
    x, accident = matrix.build(scenes), scenes.people["accident"].to_numpy()
    renumbered = predictions.predict(model(), x, accident * 7 + 202300000001)
    assert predictions.lines(renumbered, ";") == predictions.lines(predicted().made, ";")
    twice = predictions.predict(model(), np.tile(x, (4, 1)), np.concatenate([accident + i * 1000 for i in range(4)]))
    assert len(twice.proba) > predictions.BLOCK
    assert predictions.lines(twice, ";") == predictions.lines(predicted().made, ";") * 4


# --- scores ------------------------------------------------------------------------------------------------


def scored(grav: npt.NDArray[np.float32]) -> dict[str, Any]:
    return predictions.score(predicted().made, grav)


def all_known() -> npt.NDArray[np.float32]:
    return np.where(np.isnan(predicted().grav), np.float32(1), predicted().grav)


def test_a_file_with_severities_is_scored_against_them() -> None:
    grav, made = all_known(), predicted().made
    found = scored(grav)
    severe = np.isin(grav, [2, 3])
    any_severe = np.bincount(made.accident, severe) > 0
    assert (found["people"], found["accidents"]) == (len(grav), 400)
    y_pred = made.proba.argmax(axis=1)
    assert found["f1_weighted"] == pytest.approx(metrics.f1_score(grav - 1, y_pred, average="weighted"), abs=1e-6)
    assert found["severe_true"] == pytest.approx(severe.mean(), abs=1e-6)
    assert found["severe_predicted"] == pytest.approx(made.proba[:, SEVERE].sum(axis=1).mean(), abs=1e-6)
    assert found["accident_severe_true"] == pytest.approx(any_severe.mean(), abs=1e-6)
    assert found["accident_severe_predicted"] == pytest.approx(made.decided.p_any_severe.mean(), abs=1e-6)
    expected = metrics.roc_auc_score(any_severe, made.decided.p_any_severe)
    assert found["accident_auc_severe"] == pytest.approx(expected, abs=1e-6)
    alert = made.decided.alert
    assert found["alert_recall"] == pytest.approx(alert[any_severe].mean(), abs=1e-6)
    assert found["alert_precision"] == pytest.approx(any_severe[alert].mean(), abs=1e-6)
    json.dumps(found, allow_nan=False)


def test_only_accidents_count_of_which_everybodys_severity_is_known() -> None:
    """Somebody of each of the first 100 accidents is unknown: the others of these count as people."""
    grav, made = all_known(), predicted().made
    first = np.flatnonzero(np.diff(made.accident, prepend=-1) != 0)[:100]
    some = grav.copy()
    some[first] = np.nan
    found = scored(some)
    assert (found["people"], found["accidents"]) == (len(grav) - 100, 300)
    rest = made.accident >= 100
    any_severe = np.bincount(made.accident[rest] - 100, np.isin(grav[rest], [2, 3])) > 0
    assert found["accident_severe_true"] == pytest.approx(any_severe.mean(), abs=1e-6)
    assert found["accident_severe_predicted"] == pytest.approx(made.decided.p_any_severe[100:].mean(), abs=1e-6)


def test_the_calibration_has_ten_bins_of_equally_many_people_from_mild_to_severe() -> None:
    bins = scored(all_known())["calibration"]
    predicted, happened, people = zip(*bins, strict=True)
    assert len(bins) == 10
    assert sum(people) == len(all_known())
    assert max(people) - min(people) <= 1
    assert list(predicted) == sorted(predicted)
    assert np.average(happened, weights=people) == pytest.approx(scored(all_known())["severe_true"], abs=1e-5)


def test_without_severities_there_is_no_score() -> None:
    assert scored(np.full(len(predicted().grav), np.nan, dtype=np.float32)) == {}


@pytest.mark.parametrize("known", [1, 3])
def test_of_a_few_known_people_the_scores_are_numbers(known: int) -> None:
    grav = np.full(len(predicted().grav), np.nan, dtype=np.float32)
    grav[:known] = 1
    found = scored(grav)
    assert found["people"] == known
    assert [people for *_, people in found["calibration"]] == [1] * known
    assert "accident_auc_severe" not in found
    json.dumps(found, allow_nan=False)


def test_the_picture_of_a_calibration_is_a_png() -> None:
    assert plots.png(plots.calibration(scored(all_known()))).startswith(PNG)


# --- a batch -----------------------------------------------------------------------------------------------


def without_severity(content: bytes) -> bytes:
    rows = [line.split(";") for line in content.decode().splitlines()]
    at = [name.strip('"') for name in rows[0]].index("grav")
    return "\n".join(";".join(row[:at] + row[at + 1 :]) for row in rows).encode()


@pytest.fixture
def buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderStore:
    """FolderStore beside a registry in which one model is in production."""
    monkeypatch.setattr(loading, "newest", lambda client, name: "7")
    monkeypatch.setattr(loading, "load", lambda *_: model())
    return FolderStore(tmp_path)


def predict_folder(buckets: FolderStore, folder: str, *, severity: bool) -> tuple[PredictedBatch, dict[str, Any]]:
    """Put the files of a year into a folder, and predict them; the result, and the note."""
    for table, (name, content) in sample_files(YEAR).items():
        kept = without_severity(content) if table is Table.USAGERS and not severity else content
        buckets.write(INCOMING, f"{folder}/{name}", kept)
    (found,) = [each for each in predict.find_batches(buckets) if each.folder == folder]
    made = predict.predict_batch(buckets, cast(Any, None), b"key", found)
    return made, buckets.read_json(PREDICTIONS, f"{folder}/predictions_{YEAR}.json") or {}


def rows_of(buckets: FolderStore, folder: str) -> list[dict[str, str]]:
    content = buckets.read(PREDICTIONS, f"{folder}/predictions_{YEAR}.csv").decode()
    return list(csv.DictReader(content.splitlines(), delimiter=";"))


@pytest.mark.parametrize("severity", [False, True])
def test_a_batch_is_predicted_with_and_without_severities(buckets: FolderStore, severity: bool) -> None:
    made, note = predict_folder(buckets, "lot", severity=severity)
    rows = rows_of(buckets, "lot")
    assert made.people == note["people"] == len(rows) == len(predicted().grav)
    assert tuple(rows[0])[-len(predictions.COLUMNS) :] == predictions.COLUMNS
    assert [{name: row[name] for name in predictions.COLUMNS} for row in rows] == cells()
    scenes = sample_scenes(YEAR)
    numbers = scenes.accidents["num_acc"].to_numpy()[scenes.people["accident"].to_numpy()]
    assert [int(row["num_acc"]) for row in rows] == numbers.tolist()
    assert "grav" not in rows[0]


def test_only_files_with_severities_are_scored_with_a_picture(buckets: FolderStore) -> None:
    _, without = predict_folder(buckets, "new", severity=False)
    _, with_severity = predict_folder(buckets, "old", severity=True)
    assert without["scores"] == {}
    assert with_severity["scores"] == json.loads(json.dumps(scored(predicted().grav)))
    written = set(buckets.objects(PREDICTIONS))
    assert f"old/calibration_{YEAR}.png" in written
    assert f"new/calibration_{YEAR}.png" not in written
    assert buckets.read(PREDICTIONS, f"old/calibration_{YEAR}.png").startswith(PNG)


def test_the_log_says_how_many_are_alerts_and_how_well_it_fits(
    buckets: FolderStore, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        predict_folder(buckets, "old", severity=True)
    alerts = int(predicted().made.decided.alert.sum())
    assert f"{alerts} of 400 accidents are alerts" in caplog.text
    assert "Against the severities in the files" in caplog.text
    with caplog.at_level("INFO"):
        predict_folder(buckets, "new", severity=False)
    assert "hold no severity: the predictions are not scored" in caplog.text


def test_files_that_were_predicted_already_are_left_as_they_are(
    buckets: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = predict_folder(buckets, "lot", severity=True)
    monkeypatch.setattr(loading, "load", lambda *_: pytest.fail("the model is loaded once more"))
    assert predict_folder(buckets, "lot", severity=True)[0] == made
