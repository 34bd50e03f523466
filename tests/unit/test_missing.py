"""What callers leave out does not mislead: no shipped model takes a missing field for a 0."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from include.accidents.data import dataset, split
from include.accidents.features import clean, knowledge
from include.accidents.features.declaration import Floats
from include.accidents.features.knowledge import FEATURES_OF, POSITIONS, STATES
from include.accidents.features.levels import FIELDS
from include.accidents.models import candidates, catalogue, evaluate, judging, training
from include.accidents.models.specification import Catalogue
from tests.helpers import sample_scenes
from tests.unit.test_catalogue import SHIPPED

# Smaller than they are shipped, so that all of them together take less than a minute; what a gap means to them is the same.
PEOPLE = 3000
JUDGED = 600
SMALLER: dict[str, dict[str, Any]] = {
    "HistGradientBoosting": {"clf__max_iter": 40},
    "LightGBM": {"clf__n_estimators": 60},
    "XGBoost": {"clf__n_estimators": 40},
}
FEWER = {"KNN": (2000, 300)}  # people to learn from, people to judge

MOVED = 0.03
"""From here on the mean predicted share of severe people has moved, and an answer for 0 is wrong."""
NEAR = 0.06
"""So near to the true share is any answer for a missing field."""


def shipped() -> Catalogue:
    return catalogue.load(SHIPPED.read_text("utf-8"), SHIPPED.name)


@cache
def parts(people: int) -> tuple[dataset.Dataset, dataset.Dataset]:
    """Accidents to learn from, and so many people of others."""
    data, _ = clean.clean(sample_scenes(2023, 2500))
    train, test = split.folds(data.y, data.accident, n_splits=3, seed=0)[0]
    return data.take(train), data.take(split.sample_accidents(test, data.accident, data.y, people, 0))


def with_zeros(x: Floats, field: str) -> Floats:
    """The features of a field as 0: what a model answers that takes a gap for this number."""
    zeros = x.copy()
    zeros[:, [POSITIONS[name] for name in FEATURES_OF[field]]] = 0
    return zeros


def answers(name: str, matrices: list[Floats], share: float | None) -> Floats:
    """The mean share of severe people that a model of the shipped catalogue predicts, for each of several matrices."""
    checked, (people, judged) = shipped(), FEWER.get(name, (PEOPLE, JUDGED))
    masked = {} if share is None else {"masked_share": share}
    spec = checked.model(name).model_copy(update={"max_rows": people, **masked})
    params = {**candidates.candidates(spec, checked.defaults)[0], **SMALLER.get(name, {})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = training.train(spec, checked.defaults, params, parts(judged)[0])
    severe = evaluate.probabilities(fitted, np.concatenate(matrices))[:, evaluate.SEVERE].sum(axis=1)
    ends = np.cumsum([len(matrix) for matrix in matrices])
    return np.array([part.mean() for part in np.split(severe, ends[:-1])], dtype=np.float32)


def misleading(name: str, share: float | None = None) -> dict[str, list[float]]:
    """What misleads a model when it is left out: a field (how far the answer is off, and that for 0), or a state."""
    test = parts(FEWER.get(name, (PEOPLE, JUDGED))[1])[1]
    severe = np.isin(test.y, evaluate.SEVERE)
    left_out = [knowledge.without(test.x, {field}) for field in FIELDS]
    zeros = [with_zeros(test.x, field) for field in FIELDS]
    states = [judging.at_state(test.x, state) for state in STATES]
    predicted = answers(name, [*left_out, *zeros, *(x for x, _ in states), test.x], share)
    missing, zero, of_states, complete = np.split(predicted, np.cumsum([len(FIELDS), len(FIELDS), len(STATES)]))
    missing, zero, complete = (each - severe.mean() for each in (missing, zero, complete))
    zero_is_wrong = (np.abs(zero) > MOVED) & (np.abs(zero - complete) > MOVED)
    misled = (np.abs(missing) > NEAR) | (zero_is_wrong & (np.abs(missing) >= np.abs(zero)))
    errors = {state: [p - severe[rows].mean()] for state, p, (_, rows) in zip(STATES, of_states, states, strict=True)}
    found = {FIELDS[i]: [missing[i], zero[i]] for i in np.flatnonzero(misled)}
    found |= {state: error for state, error in errors.items() if abs(error[0]) > NEAR}
    return {what: [round(float(error), 3) for error in off] for what, off in found.items()}


@pytest.mark.parametrize("name", shipped().models)
def test_nothing_that_is_left_out_misleads_a_shipped_model(name: str) -> None:
    """Each field of an otherwise complete scene, all that is not known at a level, and who is there beside the drivers."""
    assert misleading(name) == {}


@pytest.mark.parametrize("name", ["LightGBM", "HistGradientBoosting", "XGBoost"])
def test_a_model_that_learned_from_complete_records_alone_is_misled(name: str) -> None:
    assert misleading(name, share=0)
