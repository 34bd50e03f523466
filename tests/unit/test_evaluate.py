from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from sklearn import metrics
from sklearn.dummy import DummyClassifier
from sklearn.tree import DecisionTreeClassifier

from include.accidents import bootstrap, catalogue, clean, evaluate, features, pictures, registry, report, search
from include.accidents.catalogue import Weights
from include.accidents.errors import ModelError
from tests.helpers import REAL_2021, read_folder, sample_scenes
from tests.unit.test_catalogue import INCLUDE


@cache
def data() -> clean.Dataset:
    return clean.clean(sample_scenes(2023, 1500))[0]


def test_the_scores_are_scikit_learns() -> None:
    random = np.random.default_rng(0)
    y, proba = random.integers(0, 4, 300), random.dirichlet(np.ones(4), 300)
    found = evaluate.scores(y, proba)
    assert found["f1_weighted"] == pytest.approx(metrics.f1_score(y, proba.argmax(axis=1), average="weighted"))
    assert found["accuracy"] == pytest.approx(found["recall_weighted"])
    assert found["auc_severe"] == pytest.approx(metrics.roc_auc_score(np.isin(y, [1, 2]), proba[:, 1] + proba[:, 2]))


def test_the_paired_gain_is_the_difference_of_the_selection_scores() -> None:
    random = np.random.default_rng(0)
    y, a, b = (random.integers(0, 4, 500) for _ in range(3))
    a[:200] = y[:200]
    gain = bootstrap.paired_gain(y, a, b, random.integers(0, 200, 500), Weights())
    scores = [evaluate.selection_score(evaluate.scores(y, np.eye(4)[p]), Weights(), prefix="") for p in (a, b)]
    assert gain.value == pytest.approx(scores[0] - scores[1])
    assert gain.low < gain.value < gain.high
    assert gain.low > 0


def test_a_model_gains_nothing_over_itself() -> None:
    y = np.random.default_rng(0).integers(0, 4, 500)
    gain = bootstrap.paired_gain(y, y, y, np.arange(500), Weights())
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)


def test_the_intervals_hold_the_scores_and_narrow_with_more_accidents() -> None:
    random = np.random.default_rng(0)
    widths = []
    for n in (400, 6400):
        y, proba = random.integers(0, 4, n), random.dirichlet(np.ones(4), n)
        proba[np.arange(n), y] += 0.3
        proba /= proba.sum(axis=1, keepdims=True)
        found, scores = bootstrap.intervals(y, proba, np.arange(n) // 2), evaluate.scores(y, proba)
        assert {"f1_weighted", "f1_macro", "auc_severe", "roc_auc_ovr", "log_loss", "recall_killed"} <= found.keys()
        for name, (low, high) in found.items():
            assert low < scores[name] < high, name
        widths.append(found["f1_weighted"][1] - found["f1_weighted"][0])
    assert 3 < widths[0] / widths[1] < 5  # sixteen times the accidents: a fourth of the width


def test_the_bootstrap_draws_accidents_not_people() -> None:
    random = np.random.default_rng(0)
    y = np.repeat(random.integers(0, 4, 100), 20)  # twenty people of one accident share their fate
    proba = np.full((len(y), 4), 0.2)
    proba[np.arange(len(y)), np.repeat(random.integers(0, 4, 100), 20)] = 0.4
    (low, high), (few, many) = (
        bootstrap.intervals(y, proba, groups)["accuracy"] for groups in (np.repeat(np.arange(100), 20), np.arange(2000))
    )
    assert high - low > 3 * (many - few)


def test_a_calibrated_model_has_no_calibration_error_and_a_boastful_one_has() -> None:
    random = np.random.default_rng(0)
    proba = random.dirichlet(np.ones(4), 40_000)
    y = (proba.cumsum(axis=1) > random.random((len(proba), 1))).argmax(axis=1)
    assert evaluate.calibration_error(y, proba) < 0.01
    boastful = proba**3 / (proba**3).sum(axis=1, keepdims=True)
    assert evaluate.calibration_error(y, boastful) > 0.03


def test_the_time_check_trains_on_earlier_years_alone() -> None:
    years = [clean.clean(sample_scenes(year, 400))[0] for year in (2022, 2023)]
    seen: list[set[int]] = []

    def fit(given: clean.Dataset) -> DummyClassifier:
        seen.append(set(np.unique(evaluate.years_of(given)).tolist()))
        return DummyClassifier(strategy="prior").fit(given.x, given.y)

    found = evaluate.temporal(fit, clean.join(years), seed=0, max_rows=None)
    assert seen == [{2022}]
    assert "temporal_f1_weighted" in found
    assert evaluate.temporal(fit, years[0], seed=0, max_rows=None) == {}


def test_the_recall_by_group_counts_everybody_once_by_sex() -> None:
    rows = {row["group"]: row for row in evaluate.recall_by_group(data(), data().y)}
    assert rows["men"]["people"] + rows["women"]["people"] + rows["sex not given"]["people"] == len(data().y)
    assert rows["men"]["killed"] == 1.0


def test_the_most_important_feature_is_the_one_that_the_model_reads() -> None:
    at = features.NAMES.index("other_mass")
    depth = DecisionTreeClassifier(max_depth=3).fit(
        np.where(np.arange(len(features.NAMES)) == at, data().x, 0), data().y
    )
    found = evaluate.importance(depth, data())
    assert next(iter(found)) == "other_mass"
    assert found["month"] == 0


def test_the_report_shows_every_model_what_changed_and_what_failed() -> None:
    rows = [
        {"model": "Tree", "selection_score": 0.71, "test_f1_weighted": 0.7, "test_f1_weighted_low": 0.69, "test_f1_weighted_high": 0.71},
        {"model": "Dummy", "selection_score": 0.2, "test_f1_weighted": 0.25, "trained": False},
    ]  # fmt: skip
    page = report.page(
        dag_run_id="manual__1",
        reason="Tree is <promoted>",
        rows=rows,
        before={"Tree": {"selection_score": 0.70}, "Old": {}},
        failed={"Broken": "search_params: NaN"},
        data={"version": "v", "years": [2021], "rows": {"train_test": 9, "global_test": 1}, "sample": True},
        groups=evaluate.recall_by_group(data(), data().y),
        pictures={"Leaderboard": report.png(pictures.leaderboard(rows))},
    )
    for words in (
        "Tree is &lt;promoted&gt;",
        "+0.0100",
        "0.6900 to 0.7100",
        "Dummy",
        "Old",
        "Broken: search_params: NaN",
        "data:image/png;base64,iVBOR",
        "65 to 110 years",
    ):
        assert words in page, words
    assert report.leaderboard(rows).splitlines()[2].startswith("Dummy")


def test_a_model_that_answers_nan_is_named() -> None:
    broken = type(
        "Broken",
        (),
        {"classes_": np.arange(4), "predict_proba": lambda self, x: np.full((len(x), 4), np.nan)},
    )
    with pytest.raises(ModelError, match="NaN"):
        evaluate.probabilities(broken(), np.zeros((2, 1)))


@pytest.mark.parametrize("year", [2012, 2018])
def test_every_shipped_model_learns_from_a_year_whose_files_lack_columns(year: int) -> None:
    """To 2018 nobody has a speed limit, a kind of motor or a second piece of equipment."""
    checked = catalogue.load((INCLUDE / "models.json").read_text("utf-8"), "models.json")
    rows, _ = clean.clean(sample_scenes(year))
    assert np.isnan(rows.x).all(axis=0).sum() >= 3
    for model, spec in checked.models.items():
        fitted = search.train(spec, checked.defaults, search.candidates(spec, checked.defaults)[0], rows)
        assert np.isfinite(evaluate.probabilities(fitted, rows.x)).all(), model
        assert np.isfinite(evaluate.probabilities(fitted, data().x)).all(), model  # of a later year, which has them


@pytest.mark.parametrize("name", ["models.json", "models-night.json"])
def test_every_shipped_model_survives_skops_with_the_same_predictions(name: str) -> None:
    checked, rows = catalogue.load((INCLUDE / name).read_text("utf-8"), name), data()
    for model, spec in checked.models.items():
        small = spec.model_copy(update={"max_rows": 600})
        fitted = search.train(small, checked.defaults, search.candidates(small, checked.defaults)[0], rows)
        again = registry.undump(registry.dump(fitted))
        np.testing.assert_array_equal(
            again.predict_proba(rows.x[:50]), fitted.predict_proba(rows.x[:50]), err_msg=model
        )


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_2021.is_dir(), reason="the real files of 2021 are not beside the project")
def test_histgradientboosting_reaches_its_bar_on_real_2021() -> None:
    from include.accidents import raw

    scenes, _ = raw.read_year(read_folder(REAL_2021)[2021], 2021)
    train_test, global_test = clean.hold_out(clean.clean(scenes)[0])
    checked = catalogue.load((INCLUDE / "models.json").read_text("utf-8"), "models.json")
    fitted = search.train(checked.model("HistGradientBoosting"), checked.defaults, {}, train_test)
    assert evaluate.scores(global_test.y, evaluate.probabilities(fitted, global_test.x))["f1_weighted"] >= 0.68
