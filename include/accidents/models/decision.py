"""The decision on an accident: is somebody badly hurt, is somebody killed, how many, and is it an alert?

A model predicts people. The people of one crash are not independent, so 1 − Π(1 − p) predicts too many accidents with
somebody severe. A logistic regression on eight numbers of the accident corrects it, for each level of knowledge. It is
learned from out-of-fold predictions, like the thresholds. It is stored in the model's own file.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from include.accidents.data.columns import CLASSES
from include.accidents.errors import ModelError
from include.accidents.features.knowledge import DRIVERS_ALONE, STATES
from include.accidents.features.levels import LEVELS, RECORD
from include.accidents.models.evaluate import N_CLASSES, SEVERE, Probabilities, roc_auc, scores
from include.accidents.models.specification import DEFAULT_RECALL

if TYPE_CHECKING:
    from include.accidents.features import levels
    from include.accidents.models.judging import Judgements
    from include.accidents.models.specification import DecisionSpec


log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

KILLED, UNHARMED = CLASSES.index("killed"), CLASSES.index("unharmed")
NUMBERS: Final = 9  # of an accident, the constant among them; see `_summary`
SAME: Final = 0.01  # standard deviation of people's probabilities below which a model predicts the same for everybody
MIN_SEVERE: Final = 20  # accidents with somebody severe; with fewer, no recall can be stated
ATTRIBUTE: Final = "accidents_decision_"
"""The attribute of a fitted model that holds its rules: in the model's file, so that its signature covers them."""


@dataclass(frozen=True)
class Rule:
    """The rule that decides accidents in one state of knowledge.

    Attributes
    ----------
    any_severe, any_killed
        Coefficients of the logistic regressions on `_summary`.
    expected
        Factor on the sum of the probabilities of each class, so that the expected numbers add up to the true ones.
    threshold, recall, precision
        An accident is an alert from this probability of somebody severe on; its recall and precision out of fold.
    person_threshold, person_recall, person_precision
        The same for one person who is severe.
    sharpen
        Fields that a scene may lack; the one that improves the answer most comes first.
    """

    any_severe: tuple[float, ...]
    any_killed: tuple[float, ...]
    expected: tuple[float, ...]
    threshold: float
    recall: float
    precision: float
    person_threshold: float
    person_recall: float
    person_precision: float
    sharpen: tuple[str, ...] = ()


Decision = Mapping[str, Rule]
"""The rule of each of `STATES`."""


@dataclass(frozen=True)
class Decided:
    """Decisions on accidents: arrays of shape (accidents,), `expected` (accidents, 4), `severe` (people,)."""

    p_any_severe: Floats
    p_any_killed: Floats
    expected: Floats
    alert: npt.NDArray[np.bool_]
    severe: npt.NDArray[np.bool_]

    def part(self, accidents: slice, people: slice) -> Decided:
        """Return the decisions on some of them."""
        return Decided(
            self.p_any_severe[accidents],
            self.p_any_killed[accidents],
            self.expected[accidents],
            self.alert[accidents],
            self.severe[people],
        )


def decide(decision: Decision, state: Positions, proba: Probabilities, accident: Positions) -> Decided:
    """Decide on accidents by the predictions for their people.

    Parameters
    ----------
    state
        Position in `STATES` of each accident, shape (accidents,).
    proba
        Shape (people, 4).
    accident
        Position of each person's accident, shape (people,).

    Returns
    -------
    Probabilities, expected numbers and alerts of the accidents, and whether each person is severe.
    """
    rules = [decision[name] for name in STATES]
    n = len(state)
    severe = proba[:, SEVERE].sum(axis=1)

    def probability(summary: Floats, coefficients: Sequence[Sequence[float]]) -> Floats:
        return _sigmoid((summary * np.asarray(coefficients)[state]).sum(axis=1))

    of_severe, of_killed = _summaries(proba, accident, n)
    p_severe = probability(of_severe, [rule.any_severe for rule in rules])
    p_killed = np.minimum(probability(of_killed, [rule.any_killed for rule in rules]), p_severe)
    sums = np.stack([np.bincount(accident, proba[:, k], minlength=n) for k in range(N_CLASSES)], axis=1)
    expected = sums * np.asarray([rule.expected for rule in rules])[state]
    # Where everybody is listed, the numbers add up to the people. Beside assumed drivers there may be other people.
    scale = np.where(
        state == STATES.index(DRIVERS_ALONE), 1.0, sums.sum(axis=1) / np.maximum(expected.sum(axis=1), 1e-9)
    )
    return Decided(
        p_severe,
        p_killed,
        expected * scale[:, None],
        p_severe >= np.asarray([rule.threshold for rule in rules])[state],
        severe >= np.asarray([rule.person_threshold for rule in rules])[state][accident],
    )


def _summary(p: Floats, other: Floats, unharmed: Floats, accident: Positions, n: int) -> Floats:
    """Summarise the probabilities of the people of each accident.

    Returns
    -------
    Shape (accidents, 9). A constant; of being severe (or killed), the log odds of at least one person and of the
    likeliest one; of being killed (or severe), the log odds of at least one person; the log odds that all of them are
    unharmed; the log of the number of people; squares and product of the second and the fifth. All unharmed: somebody
    is hurt in every accident of the files, perhaps a person who is not listed.
    """
    most = np.zeros(n)
    np.maximum.at(most, accident, p)
    size = np.log(np.maximum(np.bincount(accident, minlength=n), 1))
    columns = (_any(p, accident, n), most, _any(other, accident, n), 1 - _any(1 - unharmed, accident, n))
    anybody, likeliest, of_other, nobody = map(_log_odds, columns)
    squares = (anybody**2, nobody**2, anybody * nobody)
    return np.stack([np.ones(n), anybody, likeliest, of_other, nobody, size, *squares], axis=1)


def _any(p: Floats, accident: Positions, n: int) -> Floats:
    """Return 1 − Π(1 − p) over the people of each accident."""
    return np.asarray(1 - np.exp(np.bincount(accident, np.log1p(-np.clip(p, 0, 1 - 1e-9)), minlength=n)))


def _summaries(proba: Probabilities, accident: Positions, n: int) -> tuple[Floats, Floats]:
    """Return the summaries of being severe and of being killed."""
    severe, killed, unharmed = proba[:, SEVERE].sum(axis=1), proba[:, KILLED], proba[:, UNHARMED]
    return _summary(severe, killed, unharmed, accident, n), _summary(killed, severe, unharmed, accident, n)


def _log_odds(p: Floats) -> Floats:
    bounded = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(bounded / (1 - bounded)))


def _sigmoid(z: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-z)))


def recall_by_level(spec: DecisionSpec) -> dict[str, float]:
    """Return the recall that the catalogue requires at each level of knowledge."""
    if isinstance(spec.recall, dict):
        return {name: spec.recall.get(name, DEFAULT_RECALL) for name in LEVELS}
    return dict.fromkeys(LEVELS, spec.recall)


# --- learned from out-of-fold predictions ------------------------------------------------------------------


def learn(
    judged: Mapping[str, Judgements], recall: Mapping[str, float], sharpen: Mapping[str, Sequence[str]]
) -> Decision:
    """Learn the rules of every state.

    Parameters
    ----------
    judged
        Out-of-fold predictions of each of `STATES`.
    recall
        The recall that the catalogue requires at each level.
    sharpen
        Fields to ask for at each level, the most useful ones first.

    Returns
    -------
    The rule of each of `STATES`.

    Raises
    ------
    ModelError
        When only an alert for every accident reaches the recall at `record`, or too few accidents with somebody severe
        were held out.
    """
    return {
        state: _learn_one(
            state,
            judged[state],
            recall[level := state if state in LEVELS else "first_call"],
            tuple(sharpen.get(level, ())),
        )
        for state in STATES
    }


def _learn_one(state: str, judged: Judgements, recall: float, sharpen: tuple[str, ...]) -> Rule:
    n = len(judged.people)
    severe = judged.proba[:, SEVERE].sum(axis=1)
    summary, of_killed = _summaries(judged.proba, judged.accident, n)
    any_severe, any_killed = _regression(summary, judged.any_severe), _regression(of_killed, judged.any_killed)
    baseline = float(severe.std()) < SAME
    alert = _threshold(_sigmoid(summary @ np.asarray(any_severe)), judged.any_severe, recall, state, baseline=baseline)
    expected = judged.people.sum(axis=0) / np.maximum(judged.proba.sum(axis=0), 1e-9)
    return Rule(
        any_severe,
        any_killed,
        tuple(float(factor) for factor in expected),
        *alert,
        *_at_recall(severe, np.isin(judged.y, SEVERE), recall),
        sharpen,
    )


def _regression(summary: Floats, happened: npt.NDArray[np.bool_]) -> tuple[float, ...]:
    """Fit a logistic regression on the summary; return the constant alone where all outcomes are the same."""
    from sklearn.linear_model import LogisticRegression

    if happened.all() or not happened.any():
        share = (happened.sum() + 0.5) / (len(happened) + 1)
        return (math.log(share / (1 - share)), *(0.0,) * (summary.shape[1] - 1))
    mean, scale = summary[:, 1:].mean(axis=0), np.maximum(summary[:, 1:].std(axis=0), 1e-9)
    fitted = LogisticRegression(max_iter=1000).fit((summary[:, 1:] - mean) / scale, happened)
    coefficients = fitted.coef_[0] / scale
    return (float(fitted.intercept_[0] - coefficients @ mean), *(float(c) for c in coefficients))


def _threshold(
    score: Floats, positive: npt.NDArray[np.bool_], recall: float, state: str, *, baseline: bool
) -> tuple[float, float, float]:
    """Return the threshold of an alert, its recall and its precision; see `learn` for the errors."""
    if positive.sum() < MIN_SEVERE:
        raise ModelError(
            f"/decision/recall: no threshold can be stated for {state}: only {positive.sum()} accidents with somebody "
            f"severe were held out, {MIN_SEVERE} are needed.",
            "train on more accidents.",
        )
    alert = _at_recall(score, positive, recall)
    if (score >= alert[0]).all():
        problem = f"/decision/recall: a recall of {recall:g} at {state} takes an alert for every accident"
        remedy = "lower the recall of this level in the catalogue, or improve the model."
        # A baseline that predicts the same for everybody has no other threshold; with little knowledge it is no defect.
        if state == RECORD.name and not baseline:
            raise ModelError(f"{problem}.", remedy)
        log.warning("%s; this is accepted at this level. To change it: %s", problem, remedy)
    return alert


def _at_recall(score: Floats, positive: npt.NDArray[np.bool_], recall: float) -> tuple[float, float, float]:
    """Return the highest threshold that finds this share of the positives, with its recall and precision."""
    descending = np.sort(score[positive])[::-1]
    if not len(descending):
        return 1.0, 0.0, 0.0
    threshold = float(descending[math.ceil(recall * len(descending)) - 1])
    flagged = score >= threshold
    hits = (flagged & positive).sum()
    return threshold, float(hits / len(descending)), float(hits / flagged.sum())


def metrics(judged: Judgements, decision: Decision, state: str) -> dict[str, float]:
    """Return the metrics of a model and its rules in one state.

    Returns
    -------
    By name: the scores of people; the area under the curve of "somebody is severe" over accidents; its predicted and
    its true share, of accidents and of people; the expected number of killed over the true one; recall and precision
    of alerts.
    """
    values = scores(judged.y, judged.proba)
    n = len(judged.people)
    decided = decide(decision, np.full(n, STATES.index(state)), judged.proba, judged.accident)
    severe = np.isin(judged.y, SEVERE)
    values |= {
        "severe_predicted": judged.proba[:, SEVERE].sum(axis=1).mean(),
        "severe_true": severe.mean(),
        "accident_severe_predicted": decided.p_any_severe.mean(),
        "accident_severe_true": judged.any_severe.mean(),
        "accident_killed_predicted": decided.p_any_killed.mean(),
        "accident_killed_true": judged.any_killed.mean(),
        "expected_killed_ratio": decided.expected[:, KILLED].sum() / max(judged.people[:, KILLED].sum(), 1),
        "alert_share": decided.alert.mean(),
        "alert_recall": _share(judged.any_severe, decided.alert),
        "alert_precision": _share(decided.alert, judged.any_severe),
        "person_recall": _share(severe, decided.severe),
        "person_precision": _share(decided.severe, severe),
    }
    for name, happened, p in (
        ("accident_auc_severe", judged.any_severe, decided.p_any_severe),
        ("accident_auc_killed", judged.any_killed, decided.p_any_killed),
    ):
        if happened.any() and not happened.all():
            values[name] = roc_auc(happened, p)
    return {name: float(value) for name, value in values.items()}


def _share(of: npt.NDArray[np.bool_], that: npt.NDArray[np.bool_]) -> float:
    return float((of & that).sum() / max(of.sum(), 1))


# --- stored with the model ---------------------------------------------------------------------------------


def attach(estimator: Any, decision: Decision) -> None:
    """Store the rules in a fitted model, as plain numbers and texts, so that any skops loader accepts them."""
    setattr(estimator, ATTRIBUTE, {state: _plain(asdict(rule)) for state, rule in decision.items()})


def _plain(rule: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in rule.items()}


def of(estimator: Any) -> Decision:
    """Return the rules of a model.

    Returns
    -------
    The rule of each of `STATES`, as `attach` stored it.

    Raises
    ------
    ModelError
        When it has none, or none for today's levels: an older version registered it.
    """
    kept = getattr(estimator, ATTRIBUTE, None)
    names = {each.name for each in fields(Rule)}
    if not isinstance(kept, dict) or set(kept) != set(STATES) or not all(_fits(r, names) for r in kept.values()):
        raise ModelError(
            f"The model has no thresholds for the levels of knowledge ({', '.join(LEVELS)}): an older version "
            "registered it.",
            "run the pipeline once more with today's code.",
        )
    return {state: _rule(kept[state]) for state in STATES}


def _fits(rule: Mapping[str, Any], names: set[str]) -> bool:
    return set(rule) == names and {len(rule["any_severe"]), len(rule["any_killed"])} == {NUMBERS}


def _rule(kept: Mapping[str, Any]) -> Rule:
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in kept.items()}
    return Rule(**values)


def state_of(level: levels.Level, *, people_assumed: bool) -> str:
    """Return the state that decides a scene."""
    return DRIVERS_ALONE if people_assumed else level.name
