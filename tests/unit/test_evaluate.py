from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics

from include.accidents import catalogue, clean, evaluate, registry, search
from include.accidents.catalogue import Weights
from include.accidents.errors import ModelError
from tests.helpers import REAL_2021, read_folder, sample_scenes

TREE = {
    "models": {
        "Tree": {
            "pipeline": [["clf", {"class": "sklearn.tree.DecisionTreeClassifier", "params": {}}]],
            "param_grid": {"clf__max_depth": [1, 6]},
        }
    }
}


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
    gain = evaluate.paired_gain(y, a, b, random.integers(0, 200, 500), Weights())
    scores = [evaluate.selection_score(evaluate.scores(y, np.eye(4)[p]), Weights(), prefix="") for p in (a, b)]
    assert gain.value == pytest.approx(scores[0] - scores[1])
    assert gain.low < gain.value < gain.high
    assert gain.low > 0


def test_a_model_gains_nothing_over_itself() -> None:
    y = np.random.default_rng(0).integers(0, 4, 500)
    gain = evaluate.paired_gain(y, y, y, np.arange(500), Weights())
    assert (gain.value, gain.low, gain.high) == (0, 0, 0)


def test_the_search_finds_the_better_depth_and_training_is_repeatable() -> None:
    checked = catalogue.load(json.dumps(TREE), "x")
    spec, rows = checked.model("Tree"), data()
    found = search.search(spec, checked.defaults, rows)
    assert found.choice == {"clf__max_depth": 1}
    assert [c["choice"] for c in found.candidates] == [{"clf__max_depth": 1}, {"clf__max_depth": 0}]
    a, b = (search.train(spec, checked.defaults, found.choice, rows) for _ in range(2))
    assert a.named_steps["clf"].get_depth() == 6
    np.testing.assert_array_equal(a.predict_proba(rows.x), b.predict_proba(rows.x))


def test_a_model_that_answers_nan_is_named() -> None:
    broken = type(
        "Broken",
        (),
        {"classes_": np.arange(4), "predict_proba": lambda self, x: np.full((len(x), 4), np.nan)},
    )
    with pytest.raises(ModelError, match="NaN"):
        evaluate.probabilities(broken(), np.zeros((2, 1)))


def test_every_shipped_model_survives_skops_with_the_same_predictions() -> None:
    from tests.unit.test_catalogue import SHIPPED

    checked, rows = catalogue.load(SHIPPED.read_text(), "x"), data()
    for name, spec in checked.models.items():
        small = spec.model_copy(update={"max_rows": 600})
        fitted = search.train(small, checked.defaults, {}, rows)
        again = registry.undump(registry.dump(fitted))
        np.testing.assert_array_equal(again.predict_proba(rows.x[:50]), fitted.predict_proba(rows.x[:50]), err_msg=name)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_2021.is_dir(), reason="the real files of 2021 are not beside the project")
def test_histgradientboosting_reaches_its_bar_on_real_2021() -> None:
    from include.accidents import raw
    from tests.unit.test_catalogue import SHIPPED

    scenes, _ = raw.read_year(read_folder(REAL_2021)[2021], 2021)
    train_test, global_test = clean.hold_out(clean.clean(scenes)[0])
    checked = catalogue.load(SHIPPED.read_text(), "x")
    fitted = search.train(checked.model("HistGradientBoosting"), checked.defaults, {}, train_test)
    assert evaluate.scores(global_test.y, evaluate.probabilities(fitted, global_test.x))["f1_weighted"] >= 0.68
