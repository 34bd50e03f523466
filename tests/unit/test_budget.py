"""The time limit decides how many people a model learns from, before it could be killed."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from include.accidents.data import dataset
from include.accidents.errors import ModelError
from include.accidents.features import clean
from include.accidents.models import budget
from include.accidents.models.budget import Probe
from include.accidents.models.specification import Defaults, ModelSpec
from tests.helpers import TREE, sample_scenes

BAYES = "sklearn.naive_bayes.GaussianNB"
SLOW = {
    "pipeline": [
        ["impute", {"class": "sklearn.impute.SimpleImputer", "params": {"keep_empty_features": True}}],
        ["clf", {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 400}}],
    ]
}


@cache
def data() -> dataset.Dataset:
    return clean.clean(sample_scenes(2023, 4000))[0]


def plan(model: dict[str, Any], *, minutes: float, **more: Any) -> tuple[budget.Plan, list[str]]:
    said: list[str] = []
    spec = ModelSpec.model_validate({**model, "minutes": minutes, **more})
    return budget.plan(spec, Defaults(), {}, data(), said.append), said


def test_a_fast_model_learns_from_everybody_after_one_measurement() -> None:
    planned, said = plan(TREE, minutes=30)
    assert planned.max_rows is None
    assert len(planned.probes) == len(said) == 1
    assert said[0].startswith("Measured: 1,5")
    assert plan(TREE, minutes=30, max_rows=3000)[0].max_rows == 3000


def test_a_slow_model_learns_from_as_many_as_fit_into_its_time() -> None:
    # A limit for this machine, as fast as it is now: that of half way between the fewest people and all.
    people, probes = len(data().y), []
    spec = ModelSpec.model_validate(SLOW)
    budget._measure(spec, Defaults(), {}, data(), people, 0.0, probes.append)
    minutes = budget.seconds_of_a_stage(probes, int((budget.LEAST * people) ** 0.5)) / budget.SHARE / 60
    planned, said = plan(SLOW, minutes=minutes)
    assert planned.max_rows is not None
    assert budget.LEAST <= planned.max_rows < people
    assert budget.seconds_of_a_stage(planned.probes, planned.max_rows) <= minutes * 60 * budget.SHARE
    assert len(planned.probes) == len(said) == 2


@pytest.mark.parametrize("minutes", [0.001, 0.02])
def test_a_limit_that_is_too_small_for_any_model_is_named_with_what_it_needs(minutes: float) -> None:
    with pytest.raises(ModelError, match=f"{minutes:g} minutes are too few to learn from 1,500 people") as raised:
        plan(SLOW, minutes=minutes)
    assert "'minutes' in the catalogue" in raised.value.remedy


def test_a_candidate_that_cannot_be_fitted_is_left_to_the_search() -> None:
    planned, said = plan({"pipeline": [["clf", {"class": BAYES}]]}, minutes=30, max_rows=5000)
    assert planned == budget.Plan(5000, ())
    assert said[0].startswith("The speed was not measured: ValueError")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((1.0,), 400.0),  # from one fit: as if it grew as the square
        ((1.0, 3.0), 20.0),  # a straight line
        ((10.0, 12.0), 29.0),  # with a large constant cost, too
        ((1.0, 9.0), 400.0),  # a kernel machine
        ((2.0, 1.0), 2.0),  # noise of a fast model
    ],
)
def test_times_of_more_people_are_estimated_by_the_slower_law(seconds: tuple[float, ...], expected: float) -> None:
    probes = [Probe(people, spent, 0.0, 0.5) for people, spent in zip(budget.PROBES, seconds, strict=False)]
    assert budget.seconds_of_a_stage(probes, 30_000) == pytest.approx(budget.FITS * expected, rel=0.001)


def test_slow_predictions_count_too() -> None:
    quick, slow = (Probe(1500, 0.1, seconds, 0.5) for seconds in (0.01, 1.0))
    assert budget.seconds_of_a_stage([slow], 1500) - budget.seconds_of_a_stage([quick], 1500) == pytest.approx(79.2)
