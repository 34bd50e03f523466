"""The decision on an accident, learned from people whose fates go together."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.tree import DecisionTreeClassifier

from include.accidents.errors import ModelError
from include.accidents.features.knowledge import DRIVERS_ALONE, STATES
from include.accidents.features.levels import LEVELS
from include.accidents.models import decision
from include.accidents.models.evaluate import N_CLASSES, SEVERE
from include.accidents.models.judging import Judgements
from include.accidents.registry import skops_files
from tests.helpers import rules, with_rules

RECALL = dict.fromkeys(LEVELS, 0.8)
KILLED, HOSPITALISED, LIGHT = 1, 2, 3


@cache
def crashes(seed: int, n: int = 6000, together: float = 2.0) -> Judgements:
    """Accidents of one to five people who share their fate; each person's own probabilities are right.

    How bad it is for somebody: what is known of them, what only their accident knows (`together`), and chance.
    """
    random = np.random.default_rng(seed)
    accident = np.repeat(np.arange(n), random.integers(1, 6, n))
    known = random.normal(-1.0, 1.0, len(accident))
    bad = known + together * random.normal(size=n)[accident] + random.normal(size=len(accident))
    y = np.select([bad > 4.5, bad > 1.0, bad > -1.0], [KILLED, HOSPITALISED, LIGHT], 0)
    spread = np.sqrt(1 + together**2)
    above = [norm.cdf((known - limit) / spread) for limit in (4.5, 1.0, -1.0)]
    proba = np.stack([1 - above[2], above[0], above[1] - above[0], above[2] - above[1]], axis=1)
    people = np.zeros((n, N_CLASSES), dtype=np.int64)
    np.add.at(people, (accident, y), 1)
    return Judgements(proba, y, accident, people)


def lone(proba_severe: Any, severe: Any) -> Judgements:
    """Accidents of one person each."""
    p, happened = np.asarray(proba_severe, dtype=np.float64), np.asarray(severe, dtype=np.bool_)
    proba = np.stack([1 - p, p / 10, p * 0.9, np.zeros(len(p))], axis=1)
    y = np.where(happened, HOSPITALISED, 0)
    return Judgements(proba, y, np.arange(len(p)), np.eye(N_CLASSES, dtype=np.int64)[y])


def learned(recall: float = 0.8, **other: Judgements) -> decision.Decision:
    """Learn the rules from crashes, of some states from others."""
    judged = {state: other.get(state, crashes(0)) for state in STATES}
    return decision.learn(judged, dict.fromkeys(LEVELS, recall), {"dispatch": ["sexe", "lat"]})


def decided(rules_: decision.Decision, judged: Judgements, state: str = "record") -> decision.Decided:
    at = np.full(len(judged.people), STATES.index(state))
    return decision.decide(rules_, at, judged.proba, judged.accident)


# --- what is decided ---------------------------------------------------------------------------------------


def test_accidents_with_somebody_severe_are_predicted_although_fates_go_together() -> None:
    fresh = crashes(1)
    independent = 1 - np.exp(np.bincount(fresh.accident, np.log1p(-fresh.proba[:, SEVERE].sum(axis=1))))
    true = fresh.any_severe.mean()
    assert independent.mean() - true > 0.05
    found = decided(learned(), fresh)
    assert found.p_any_severe.mean() == pytest.approx(true, abs=0.02)
    assert found.p_any_killed.mean() == pytest.approx(fresh.any_killed.mean(), abs=0.02)


def test_they_are_predicted_for_each_number_of_people() -> None:
    fresh, size = crashes(1), np.bincount(crashes(1).accident)
    found = decided(learned(), fresh).p_any_severe
    for n in range(1, 6):
        assert found[size == n].mean() == pytest.approx(fresh.any_severe[size == n].mean(), abs=0.04), n


@pytest.mark.parametrize("recall", [0.5, 0.8, 0.95])
def test_the_alert_finds_as_many_as_the_catalogue_asks_for(recall: float) -> None:
    rule, fresh = learned(recall)["record"], crashes(1)
    assert rule.recall == pytest.approx(recall, abs=0.001)
    alert = decided(learned(recall), fresh).alert
    assert alert[fresh.any_severe].mean() == pytest.approx(recall, abs=0.03)
    assert fresh.any_severe[alert].mean() == pytest.approx(rule.precision, abs=0.03)
    assert rule.precision > fresh.any_severe.mean()


def test_a_person_is_called_severe_by_a_threshold_of_the_same_recall() -> None:
    rule, fresh = learned()["record"], crashes(1)
    severe = np.isin(fresh.y, SEVERE)
    said = decided(learned(), fresh).severe
    assert rule.person_threshold < 0.5
    assert said[severe].mean() == pytest.approx(0.8, abs=0.03)
    assert severe[said].mean() == pytest.approx(rule.person_precision, abs=0.03)


def test_each_level_has_the_recall_that_is_asked_for_there() -> None:
    wished = {"first_call": 0.9, "dispatch": 0.8, "on_scene": 0.7, "record": 0.6}
    made = decision.learn(dict.fromkeys(STATES, crashes(0)), wished, {})
    assert {state: made[state].recall for state in LEVELS} == pytest.approx(wished, abs=0.001)
    assert made[DRIVERS_ALONE].recall == pytest.approx(0.9, abs=0.001)  # who names vehicles alone is at a first call
    thresholds = [made[state].threshold for state in LEVELS]
    assert thresholds == sorted(thresholds)


def test_killed_is_never_likelier_than_severe() -> None:
    fresh = crashes(1)
    for made in (
        learned(),
        dict.fromkeys(STATES, replace(learned()["record"], any_killed=(3.0, 1.0, *(0.0,) * 7))),
    ):
        found = decided(made, fresh)
        assert (found.p_any_killed <= found.p_any_severe).all()
        assert ((found.p_any_severe > 0) & (found.p_any_severe < 1)).all()


def test_the_expected_numbers_add_up_to_the_people_and_to_what_happens() -> None:
    fresh = crashes(1)
    found = decided(learned(), fresh).expected
    np.testing.assert_allclose(found.sum(axis=1), np.bincount(fresh.accident))
    np.testing.assert_allclose(found.sum(axis=0), fresh.people.sum(axis=0), rtol=0.08)
    sums = np.stack([np.bincount(fresh.accident, fresh.proba[:, k]) for k in range(N_CLASSES)], axis=1)
    np.testing.assert_allclose(found, sums, rtol=0.1)  # this model's own probabilities are right


def test_the_expected_numbers_are_right_of_a_model_that_predicts_too_many_killed() -> None:
    gloomy, fresh = (
        replace(of, proba=(p := of.proba * [1, 3, 1, 1]) / p.sum(axis=1, keepdims=True))
        for of in (crashes(0), crashes(1))
    )
    found = decided(learned(record=gloomy), fresh).expected
    np.testing.assert_allclose(found.sum(axis=1), np.bincount(fresh.accident))
    assert fresh.proba[:, KILLED].sum() > 2 * fresh.people[:, KILLED].sum()
    assert found[:, KILLED].sum() == pytest.approx(fresh.people[:, KILLED].sum(), rel=0.1)


def test_of_people_who_are_only_assumed_the_numbers_count_the_others_too() -> None:
    """Of each accident one person is predicted, and all are counted."""
    every = crashes(0)
    first = np.flatnonzero(np.diff(every.accident, prepend=-1))
    alone = Judgements(every.proba[first], every.y[first], every.accident[first], every.people)
    made = learned(drivers_alone=alone)
    found = decided(made, alone, DRIVERS_ALONE)
    assert found.expected.sum(axis=0) == pytest.approx(every.people.sum(axis=0))
    assert found.p_any_severe.mean() == pytest.approx(every.any_severe.mean(), abs=0.02)


def test_each_accident_is_decided_by_the_rule_of_its_own_state() -> None:
    judged = crashes(1)
    made = {**learned(), "first_call": replace(learned()["record"], threshold=0.0, person_threshold=0.0)}
    state = np.where(np.arange(len(judged.people)) % 2, STATES.index("first_call"), STATES.index("record"))
    found = decision.decide(made, state, judged.proba, judged.accident)
    usual = decided(made, judged)
    assert found.alert[1::2].all()
    at_first_call = state[judged.accident] == STATES.index("first_call")
    assert found.severe[at_first_call].all()
    np.testing.assert_array_equal(found.severe[~at_first_call], usual.severe[~at_first_call])
    np.testing.assert_array_equal(found.alert[::2], usual.alert[::2])


def test_what_is_decided_can_be_taken_apart() -> None:
    judged = crashes(1)
    found, until = decided(learned(), judged), int(np.searchsorted(judged.accident, 10))
    part = found.part(slice(0, 10), slice(0, until))
    for name in ("p_any_severe", "p_any_killed", "expected", "alert"):
        np.testing.assert_array_equal(getattr(part, name), getattr(found, name)[:10])
    np.testing.assert_array_equal(part.severe, found.severe[:until])


def test_the_metrics_tell_what_is_predicted_beside_what_is_true() -> None:
    fresh, made = crashes(1), learned()
    found = decision.metrics(fresh, made, "record")
    assert found["severe_true"] == pytest.approx(np.isin(fresh.y, SEVERE).mean())
    assert found["severe_predicted"] == pytest.approx(found["severe_true"], abs=0.02)
    assert found["accident_severe_true"] == pytest.approx(fresh.any_severe.mean())
    assert found["accident_severe_predicted"] == pytest.approx(found["accident_severe_true"], abs=0.02)
    assert found["accident_killed_predicted"] == pytest.approx(found["accident_killed_true"], abs=0.02)
    assert found["expected_killed_ratio"] == pytest.approx(1, abs=0.15)
    assert found["alert_recall"] == pytest.approx(0.8, abs=0.03)
    assert 0.5 < found["accident_auc_severe"] < 1
    assert all(np.isfinite(value) for value in found.values())
    nobody = decision.metrics(lone(np.linspace(0, 0.2, 50), np.zeros(50)), made, "record")
    assert "accident_auc_severe" not in nobody
    assert all(np.isfinite(value) for value in nobody.values())


# --- what cannot be decided --------------------------------------------------------------------------------


def test_too_few_accidents_with_somebody_severe_are_refused_with_the_remedy() -> None:
    few = lone(np.linspace(0, 1, 200), np.arange(200) >= 200 - decision.MIN_SEVERE + 1)
    with pytest.raises(ModelError, match=r"/decision/recall: .* for dispatch: only 19 accidents") as caught:
        learned(dispatch=few)
    assert "train on more accidents" in caught.value.remedy
    enough = lone(np.linspace(0, 1, 200), np.arange(200) >= 200 - decision.MIN_SEVERE)
    assert learned(dispatch=enough)["dispatch"].recall == pytest.approx(0.8)


def blind() -> Judgements:
    """What a model predicts that sees little: half of the severe look like nearly everybody."""
    return lone([*[0.2] * 900, *[0.6] * 100], [*[True] * 100, *[False] * 800, *[True] * 100])


def test_at_the_record_a_recall_that_takes_an_alert_for_everybody_is_refused() -> None:
    with pytest.raises(ModelError, match=r"/decision/recall: a recall of 0\.8 at record .* alert for every") as caught:
        learned(record=blind())
    assert "lower the recall of this level in the catalogue" in caught.value.remedy
    assert learned(0.5, record=blind())["record"].precision == 1


def test_at_a_first_call_it_is_only_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = learned(first_call=blind())
    assert "a recall of 0.8 at first_call takes an alert for every accident" in caplog.text
    assert "lower the recall" in caplog.text
    assert decided(made, blind(), "first_call").alert.all()
    assert made["first_call"].recall == 1


def test_a_baseline_that_says_the_same_of_everybody_is_allowed() -> None:
    one = lone(np.full(400, 0.3), np.arange(400) < 120)
    assert learned(record=one)["record"].recall == 1


def test_a_baseline_is_allowed_where_accidents_have_one_person_or_several() -> None:
    """It says the same of every person; the number of people is all that tells its accidents apart."""
    people = crashes(0)
    same = replace(people, proba=np.tile([0.5, 0.02, 0.18, 0.3], (len(people.y), 1)))
    assert learned(0.95, record=same)["record"].recall >= 0.95


def test_where_somebody_is_severe_in_every_accident_it_is_predicted() -> None:
    every = lone(np.linspace(0.5, 0.9, 300), np.ones(300))
    found = decided(learned(on_scene=every), every, "on_scene")
    assert (found.p_any_severe > 0.99).all()


# --- kept with the model -----------------------------------------------------------------------------------


def fitted() -> DecisionTreeClassifier:
    return DecisionTreeClassifier().fit(np.arange(8.0)[:, None], np.arange(8) % N_CLASSES)


def test_the_rules_survive_the_models_file() -> None:
    made = learned()
    model = fitted()
    decision.attach(model, made)
    again = skops_files.loads(skops_files.dumps(model))
    assert decision.of(again) == made
    assert decision.of(again)["dispatch"].sharpen == ("sexe", "lat")
    np.testing.assert_array_equal(decided(decision.of(again), crashes(1)).alert, decided(made, crashes(1)).alert)


def test_the_tests_own_rules_are_rules() -> None:
    assert decision.of(with_rules(fitted())) == rules()


def without_rules(model: Any) -> None:
    delattr(model, decision.ATTRIBUTE)


def of_other_levels(model: Any) -> None:
    kept = getattr(model, decision.ATTRIBUTE)
    setattr(model, decision.ATTRIBUTE, {"call": kept["first_call"], "record": kept["record"]})


def with_a_level_too_few(model: Any) -> None:
    del getattr(model, decision.ATTRIBUTE)["dispatch"]


def of_another_form(model: Any) -> None:
    del getattr(model, decision.ATTRIBUTE)["dispatch"]["person_threshold"]


def of_fewer_numbers(model: Any) -> None:
    getattr(model, decision.ATTRIBUTE)["record"]["any_severe"] = [0.0] * 6


def of_no_form(model: Any) -> None:
    setattr(model, decision.ATTRIBUTE, 0.5)


@pytest.mark.parametrize(
    "harm", [without_rules, of_other_levels, with_a_level_too_few, of_another_form, of_fewer_numbers, of_no_form]
)
def test_a_model_without_todays_rules_is_refused_with_the_remedy(harm: Any) -> None:
    model = with_rules(fitted())
    harm(model)
    with pytest.raises(ModelError, match="no thresholds for the levels of knowledge") as caught:
        decision.of(model)
    for name in LEVELS:
        assert name in caught.value.cause
    assert "run the pipeline once more" in caught.value.remedy


def test_a_scene_is_decided_in_the_state_of_its_level_or_of_drivers_alone() -> None:
    assert decision.state_of(LEVELS["on_scene"], people_assumed=False) == "on_scene"
    for level in LEVELS.values():
        assert decision.state_of(level, people_assumed=True) == DRIVERS_ALONE
