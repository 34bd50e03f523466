from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from sklearn import metrics
from sklearn.tree import DecisionTreeClassifier

from include.accidents.data import dataset
from include.accidents.errors import ModelError
from include.accidents.features import clean, definitions, knowledge
from include.accidents.features.levels import FIELDS, LEVELS
from include.accidents.models import bootstrap, candidates, catalogue, decision, evaluate, judging, temporal, training
from include.accidents.models.specification import DecisionSpec, Weights
from include.accidents.registry import skops_files
from include.accidents.reporting import pages, plots, texts
from tests.helpers import REAL_2021, read_folder, sample_scenes
from tests.unit.test_catalogue import INCLUDE


@cache
def data() -> dataset.Dataset:
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


def test_many_accidents_are_drawn_in_pieces_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    y, proba = random.integers(0, 4, 800), random.dirichlet(np.ones(4), 800)
    whole = bootstrap.intervals(y, proba, np.arange(800) // 2)
    monkeypatch.setattr(bootstrap, "MAX_CELLS", 4000)
    pieces = bootstrap.intervals(y, proba, np.arange(800) // 2)
    assert pieces.keys() == whole.keys()
    np.testing.assert_allclose(list(pieces.values()), list(whole.values()))


def test_a_calibrated_model_has_no_calibration_error_and_a_boastful_one_has() -> None:
    random = np.random.default_rng(0)
    proba = random.dirichlet(np.ones(4), 40_000)
    y = (proba.cumsum(axis=1) > random.random((len(proba), 1))).argmax(axis=1)
    assert evaluate.calibration_error(y, proba) < 0.01
    boastful = proba**3 / (proba**3).sum(axis=1, keepdims=True)
    assert evaluate.calibration_error(y, boastful) > 0.03


def tree(given: dataset.Dataset) -> DecisionTreeClassifier:
    return DecisionTreeClassifier(max_depth=4, min_samples_leaf=20, random_state=0).fit(given.x, given.y)


def test_the_time_check_trains_on_earlier_years_and_judges_the_later_ones_at_every_level() -> None:
    years = [clean.clean(sample_scenes(year, 800))[0] for year in (2021, 2022, 2023)]
    seen: list[dataset.Dataset] = []

    def fit(given: dataset.Dataset) -> DecisionTreeClassifier:
        seen.append(given)
        return tree(given)

    recall = decision.recall_by_level(DecisionSpec())
    found = temporal.over_years(fit, dataset.join(years[::-1]), recall, seed=0, max_rows=None)
    assert [set(np.unique(judging.years_of(given)).tolist()) for given in seen] == [{2021}, {2021, 2022}]
    # A seventh of the earlier accidents gives the thresholds: they are not learned from.
    accidents = [len(np.unique(given.accident)) for given in seen]
    assert accidents == pytest.approx([800 * 6 / 7, 1600 * 6 / 7], rel=0.02)
    for state in ("", "first_call_", "dispatch_", "on_scene_", "drivers_alone_"):
        for name in ("f1_weighted", "three_class_f1_macro", "accident_auc_severe", "alert_recall"):
            assert 0 < found[f"temporal_{state}{name}"] < 1, state + name
    assert found["temporal_auc_severe"] > found["temporal_first_call_auc_severe"] > 0.5
    assert temporal.over_years(fit, years[0], recall, seed=0, max_rows=None) == {}


def test_three_classes_put_killed_and_hospitalised_together() -> None:
    random = np.random.default_rng(0)
    y, proba = random.integers(0, 4, 300), random.dirichlet(np.ones(4), 300)
    three = np.stack([proba[:, 0], proba[:, 3], proba[:, 1] + proba[:, 2]], axis=1).argmax(axis=1)
    expected = metrics.f1_score(np.array([0, 2, 2, 1])[y], three, average="macro")
    assert evaluate.scores(y, proba)["three_class_f1_macro"] == pytest.approx(expected)


def test_a_cross_validation_judges_every_state_on_whole_accidents() -> None:
    found = judging.cross_validate(tree, data(), n_splits=2, seed=0, max_rows=None)
    n = len(np.unique(data().accident))
    for state in ("first_call", "dispatch", "on_scene", "record"):
        judged = found.judged[state]
        assert judged.people.sum() == len(judged.y) == len(data().y), state
        assert len(judged.people) == n
        np.testing.assert_array_equal(
            judged.any_severe, np.bincount(judged.accident, np.isin(judged.y, evaluate.SEVERE)) > 0
        )
    alone = found.judged["drivers_alone"]
    assert len(alone.y) < len(data().y)  # passengers and people on foot are not predicted, but they count
    assert alone.people.sum() > len(alone.y)
    assert len(alone.people) == len(np.unique(alone.accident))


def test_a_cross_validation_that_was_kept_comes_back() -> None:
    made = judging.cross_validate(tree, data(), n_splits=2, seed=0, max_rows=600)
    kept = judging.dumps(made)
    found = judging.loads(kept["cv.json"], kept["judged.npz"])
    assert (found.metrics, found.sharpen) == (made.metrics, made.sharpen)
    assert list(found.judged) == list(knowledge.STATES)
    for state, judged in made.judged.items():
        for part in ("y", "accident", "people"):
            np.testing.assert_array_equal(getattr(found.judged[state], part), getattr(judged, part))
        np.testing.assert_allclose(found.judged[state].proba, judged.proba, rtol=1e-6)


def test_the_field_to_ask_for_first_is_the_one_that_the_model_reads() -> None:
    x = data().x
    woman = x[:, definitions.NAMES.index("sexe")] == 2
    fitted = DecisionTreeClassifier(max_depth=2).fit(x, np.where(woman, 2, 0))
    found = judging.sharpening(fitted, dataset.Dataset(x, np.where(woman, 2, 0), data().accident))
    for level in LEVELS:
        assert found[level][0] == "sexe", level
        # A scene of any level may lack any field: each is ranked once, the position and the equipment as one.
        assert sorted(found[level]) == sorted({*FIELDS} - {"long", "secu2", "secu3"})


def test_the_recall_by_group_counts_everybody_once_by_sex() -> None:
    rows = {row["group"]: row for row in evaluate.recall_by_group(data(), data().y)}
    assert rows["men"]["people"] + rows["women"]["people"] + rows["sex not given"]["people"] == len(data().y)
    assert rows["men"]["killed"] == 1.0


def test_the_most_important_feature_is_the_one_that_the_model_reads() -> None:
    at = definitions.NAMES.index("other_mass")
    depth = DecisionTreeClassifier(max_depth=3).fit(
        np.where(np.arange(len(definitions.NAMES)) == at, data().x, 0), data().y
    )
    found = evaluate.importance(depth, data())
    assert next(iter(found)) == "other_mass"
    assert found["month"] == 0


def test_the_report_shows_every_model_what_changed_and_what_failed() -> None:
    rows = [
        {"model": "Tree", "selection_score": 0.71, "test_f1_weighted": 0.7, "test_f1_weighted_low": 0.69, "test_f1_weighted_high": 0.71,
         "first_call_f1_weighted": 0.4321, "first_call_alert_recall": 0.7987, "temporal_f1_weighted": 0.6789},
        {"model": "Dummy", "selection_score": 0.2, "test_f1_weighted": 0.25, "trained": False},
    ]  # fmt: skip
    page = pages.page(
        dag_run_id="manual__1",
        reason="Tree is <promoted>",
        rows=rows,
        before={"Tree": {"selection_score": 0.70}, "Old": {}},
        failed={"Broken": "search_params: NaN"},
        data={"version": "v", "years": [2021], "rows": {"train_test": 9, "global_test": 1}, "sample": True},
        groups=evaluate.recall_by_group(data(), data().y),
        winner="LightGBM",
        plots={"Leaderboard": plots.png(plots.leaderboard(rows))},
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
        "first_call",
        "0.4321",
        "0.7987",
        "Over years",
        "0.6789",
    ):
        assert words in page, words
    assert texts.leaderboard(rows).splitlines()[2].startswith("Dummy")


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
        fitted = training.train(spec, checked.defaults, candidates.candidates(spec, checked.defaults)[0], rows)
        assert np.isfinite(evaluate.probabilities(fitted, rows.x)).all(), model
        assert np.isfinite(evaluate.probabilities(fitted, data().x)).all(), model  # of a later year, which has them


@pytest.mark.parametrize("name", ["models.json", "models-night.json"])
def test_every_shipped_model_survives_skops_with_the_same_predictions(name: str) -> None:
    checked, rows = catalogue.load((INCLUDE / name).read_text("utf-8"), name), data()
    for model, spec in checked.models.items():
        small = spec.model_copy(update={"max_rows": 600})
        fitted = training.train(small, checked.defaults, candidates.candidates(small, checked.defaults)[0], rows)
        again = skops_files.loads(skops_files.dumps(fitted))
        np.testing.assert_array_equal(
            again.predict_proba(rows.x[:50]), fitted.predict_proba(rows.x[:50]), err_msg=model
        )


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_2021.is_dir(), reason="the real files of 2021 are not beside the project")
def test_histgradientboosting_reaches_its_bar_on_real_2021() -> None:
    from include.accidents.data import reader

    scenes, _ = reader.read_year(read_folder(REAL_2021)[2021], 2021)
    train_test, global_test = clean.hold_out(clean.clean(scenes)[0])
    checked = catalogue.load((INCLUDE / "models.json").read_text("utf-8"), "models.json")
    fitted = training.train(checked.model("HistGradientBoosting"), checked.defaults, {}, train_test)
    assert evaluate.scores(global_test.y, evaluate.probabilities(fitted, global_test.x))["f1_weighted"] >= 0.68
