from __future__ import annotations

import json
import logging
from functools import cache
from typing import Any

import numpy as np
import pytest

from include.accidents.data import dataset
from include.accidents.errors import ModelError
from include.accidents.features import clean, definitions
from include.accidents.models import candidates, catalogue, evaluate, isolate, search, training
from include.accidents.models.specification import Catalogue, ModelSpec
from include.accidents.registry import skops_files
from tests.helpers import sample_scenes

TREE: dict[str, Any] = {"pipeline": [["clf", {"class": "sklearn.tree.DecisionTreeClassifier"}]]}


@cache
def data() -> dataset.Dataset:
    return clean.clean(sample_scenes(2023, 1500))[0]


def checked(**said: Any) -> tuple[Catalogue, ModelSpec]:
    made = catalogue.load(json.dumps({"defaults": {"search_folds": 2}, "models": {"Tree": {**TREE, **said}}}), "x")
    return made, made.model("Tree")


def found(**said: Any) -> search.SearchResult:
    made, spec = checked(**said)
    return search.search(spec, made.defaults, data())


def test_the_grid_search_finds_the_better_depth_and_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        best = found(param_grid={"clf__max_depth": [1, 6]})
    assert best.params == {"clf__max_depth": 6}
    assert [row["params"] for row in best.results] == [{"clf__max_depth": 6}, {"clf__max_depth": 1}]
    assert [row["rank_test_score"] for row in best.results] == [1, 2]
    assert best.results[0]["mean_test_score"] == pytest.approx(
        np.mean([best.results[0][f"split{k}_test_score"] for k in range(2)])
    )
    assert "Candidate 1 of 2" in caplog.text
    assert "best so far" in caplog.text
    assert " s left" in caplog.text


def test_a_random_search_draws_the_same_candidates_every_time() -> None:
    made, spec = checked(
        param_distributions={
            "clf__max_depth": {"distribution": "integers", "low": 2, "high": 9},
            "clf__ccp_alpha": {"distribution": "loguniform", "low": 1e-6, "high": 1e-2},
            "clf__criterion": ["gini", "entropy"],
        },
        search={"kind": "random", "candidates": 4},
    )
    drawn = candidates.candidates(spec, made.defaults)
    assert len(drawn) == 4
    assert drawn == candidates.candidates(spec, made.defaults)
    for each in drawn:
        assert type(each["clf__max_depth"]) is int
        assert 2 <= each["clf__max_depth"] <= 9
        assert 1e-6 <= each["clf__ccp_alpha"] <= 1e-2
    assert json.loads(json.dumps(drawn)) == drawn


def test_a_budget_of_candidates_thins_a_grid() -> None:
    made, spec = checked(param_grid={"clf__max_depth": list(range(1, 10))}, search={"candidates": 3})
    assert len(candidates.candidates(spec, made.defaults)) == 3
    assert candidates.n_fits(spec, made.defaults) == {"search": 6, "training": 1, "evaluation": 5}


def test_candidates_are_drawn_from_a_grid_that_no_memory_holds() -> None:
    values = list(range(2, 400))
    grid = {f"clf__{name}": values for name in ("max_depth", "min_samples_leaf", "min_samples_split", "max_leaf_nodes")}
    said, spec = checked(param_grid=grid, search={"candidates": 5})
    drawn = candidates.candidates(spec, said.defaults)
    assert len(drawn) == 5
    assert all(set(each) == set(grid) for each in drawn)
    assert drawn == candidates.candidates(spec, said.defaults)


def test_halving_judges_the_best_third_on_three_times_the_people() -> None:
    best = found(param_grid={"clf__max_depth": [1, 2, 4, 6, 8, 10]}, search={"kind": "halving"})
    rows = sorted({row["rows"] for row in best.results})
    assert len(best.results) == 6
    assert len(rows) >= 2
    assert best.results[0]["rows"] == max(rows)


def test_a_candidate_that_raises_does_not_end_the_search() -> None:
    best = found(
        pipeline=[
            ["svd", {"class": "sklearn.impute.SimpleImputer", "params": {"keep_empty_features": True}}],
            ["pca", {"class": "sklearn.decomposition.PCA", "params": {"n_components": 2}}],
            ["clf", {"class": "sklearn.tree.DecisionTreeClassifier"}],
        ],
        param_grid={"pca__n_components": [3, 10_000]},
    )
    assert best.params == {"pca__n_components": 3}
    assert "ValueError" in best.results[1]["error"]


def test_a_model_of_which_no_candidate_can_be_fitted_is_refused_with_the_reason() -> None:
    with pytest.raises(ModelError, match=r"None of the 2 candidates .*NaN"):
        found(
            pipeline=[["clf", {"class": "sklearn.naive_bayes.GaussianNB"}]],
            param_grid={"clf__var_smoothing": [1e-9, 1e-8]},
        )


def test_a_search_out_of_time_takes_the_best_so_far_or_fails() -> None:
    slow = {"class": "sklearn.ensemble.GradientBoostingClassifier", "params": {"n_estimators": 100_000}}
    imputed = [["impute", {"class": "sklearn.impute.SimpleImputer", "params": {"keep_empty_features": True}}]]
    pipeline = [*imputed, ["clf", slow]]
    best = found(pipeline=pipeline, param_grid={"clf__n_estimators": [1, 100_000]}, search={"minutes": 0.06})
    assert best.params == {"clf__n_estimators": 1}
    assert "1 of 2 candidates" in best.ended
    with pytest.raises(isolate.OutOfTimeError, match="The search was killed"):
        found(pipeline=pipeline, param_grid={"clf__n_estimators": [100_000, 1]}, search={"minutes": 0.03})


def test_training_out_of_time_is_killed() -> None:
    slow = {"class": "sklearn.ensemble.ExtraTreesClassifier", "params": {"n_estimators": 100_000}}
    made, spec = checked(pipeline=[["clf", slow]], minutes=0.02)
    with pytest.raises(isolate.OutOfTimeError, match="The training was killed"):
        training.train_in_time(spec, made.defaults, {}, data(), lambda fitted: b"")


def test_training_is_repeatable() -> None:
    made, spec = checked(max_rows=900, masked_share=0.3)
    a, b = (training.train(spec, made.defaults, {"clf__max_depth": 6}, data()) for _ in range(2))
    np.testing.assert_array_equal(a.predict_proba(data().x), b.predict_proba(data().x))


def test_class_weights_count_the_rare_more() -> None:
    _, balanced = checked(class_weight="balanced")
    _, given = checked(class_weight={"killed": 3})
    y = data().y
    weights = training.class_weights(balanced, y)
    assert weights.mean() == pytest.approx(1)
    assert [weights[y == k].sum() for k in range(4)] == pytest.approx([len(y) / 4] * 4)
    weights = training.class_weights(given, y)
    assert weights[y == 1][0] == pytest.approx(3 * weights[y == 0][0])


def test_a_model_learns_from_so_many_masked_copies_as_the_catalogue_says() -> None:
    made, _ = checked()
    learned: list[int] = []
    for share in (None, 0, 0.5, 1.5):
        spec = checked(masked_share=share)[1]
        learned.append(int(training.fit(spec, made.defaults, {}, data()).steps[-1][1].tree_.n_node_samples[0]))
    n = len(data().y)
    assert learned[1] == n
    assert [each / n - 1 for each in learned] == pytest.approx([made.defaults.masked_share, 0, 0.5, 1.5], rel=0.1)


def test_a_column_that_nobody_has_in_training_says_nothing_ever_after() -> None:
    """A later year may have it: the model cannot know what it says."""
    made, spec = checked(
        masked_share=0,
        pipeline=[
            ["impute", {"class": "sklearn.impute.SimpleImputer", "params": {"keep_empty_features": True}}],
            ["scale", {"class": "sklearn.preprocessing.StandardScaler"}],
            [
                "clf",
                {"class": "sklearn.neural_network.MLPClassifier", "params": {"hidden_layer_sizes": [8], "max_iter": 5}},
            ],
        ],
    )
    at = definitions.NAMES.index("vma")
    x = data().x.copy()
    x[:, at] = np.nan
    fitted = training.fit(spec, made.defaults, {}, dataset.Dataset(x, data().y, data().accident))
    np.testing.assert_array_equal(evaluate.probabilities(fitted, x), evaluate.probabilities(fitted, data().x))
    assert not np.array_equal(fitted.predict_proba(data().x), evaluate.probabilities(fitted, data().x))
    again = skops_files.loads(skops_files.dumps(fitted))
    np.testing.assert_array_equal(evaluate.probabilities(again, x), evaluate.probabilities(fitted, data().x))
