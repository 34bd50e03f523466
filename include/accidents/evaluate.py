"""How good a model is: on held-out people, by folds of whole accidents, over years, at every level of knowledge."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from include.accidents import knowledge, split
from include.accidents.catalogue import Weights
from include.accidents.clean import Dataset
from include.accidents.errors import ModelError
from include.accidents.features import NAMES, Floats
from include.accidents.knowledge import FIELDS, LEVELS, RECORD
from include.accidents.schema import CLASSES

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

N_CLASSES = len(CLASSES)
SEVERE = [1, 2]  # killed, hospitalised
THREE: Final = ([0], [3], SEVERE)
"""Unharmed, light, severe: three classes, because others publish figures of these."""
DRIVERS_ALONE: Final = "drivers_alone"
"""The state of a scene that names the vehicles and leaves the people out: one driver a vehicle is assumed."""
STATES: Final = (*LEVELS, DRIVERS_ALONE)
ASKED_PEOPLE: Final = 300  # people by whom it is found which fields to ask for

# Folds are judged on whole accidents, stratified by the worst injury. On so many people the standard error of
# weighted F1 is 0.003 (0.2 / n, times 1.2 because people of one accident resemble each other).
JUDGED_PEOPLE: Final = 25_000
# At each other state: its thresholds rest on some 1,300 accidents with somebody severe, a standard error of the recall
# of 0.011.
JUDGED_PEOPLE_OF_A_STATE: Final = 8_000
SELECTION_METRICS = ("accuracy", "f1_weighted", "recall_weighted", "precision_weighted")


def probabilities(estimator: Any, x: Any) -> Probabilities:
    """Predict the probability of every class, shape (people, 4); a class that was never seen gets 0.

    Raises
    ------
    ModelError
        When the model answers with NaN or infinity.
    """
    made = estimator.predict_proba(without_unseen(x, getattr(estimator, UNSEEN, ())))
    full = np.zeros((len(made), N_CLASSES))
    full[:, np.asarray(estimator.classes_, dtype=np.int64)] = made
    total = full.sum(axis=1, keepdims=True)
    if np.isfinite(total).all() and (total > 0).all():
        # A model that computes in single precision misses a sum of 1 by more than metrics allow.
        normalised: Probabilities = full / total
        return normalised
    raise ModelError("The model predicts NaN or infinite probabilities.", "change its parameters in the catalogue.")


UNSEEN: Final = "accidents_unseen_"
"""Where a fitted model keeps the positions of the columns in which nobody had a value (`vma` before 2019, say)."""


def without_unseen(x: Floats, unseen: Sequence[int] | npt.NDArray[np.intp]) -> Floats:
    """Return the features with 0 for everybody where nobody had a value in training.

    A model cannot know what such a column says. So it gets the same number when it learns and whenever it is asked,
    whatever the caller gives; a gap in training would also stop scikit-learn's histogram boosting.
    """
    if len(unseen) == 0:
        return x
    known = x.copy(order="K")
    known[:, list(unseen)] = 0
    return known


def scores(y_true: Labels, proba: Probabilities) -> dict[str, float]:
    """Return the metrics of one set of predictions, by name.

    Parameters
    ----------
    y_true
        Classes 0 to 3, shape (people,).
    proba
        Shape (people, 4).
    """
    from sklearn import metrics

    y_pred = proba.argmax(axis=1)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        y_true, y_pred, average="weighted", zero_division=0
    )
    found = {
        "accuracy": metrics.accuracy_score(y_true, y_pred),
        "f1_weighted": f1,
        "precision_weighted": precision,
        "recall_weighted": recall,
        "f1_macro": metrics.f1_score(y_true, y_pred, average="macro", labels=range(N_CLASSES), zero_division=0),
        "log_loss": metrics.log_loss(y_true, proba, labels=range(N_CLASSES)),
        "calibration_error": calibration_error(y_true, proba),
    }
    three_true, three = np.select([y_true == 0, y_true == 3], [0, 1], 2), _three(proba).argmax(axis=1)
    found["three_class_accuracy"] = metrics.accuracy_score(three_true, three)
    for average in ("weighted", "macro"):
        found[f"three_class_f1_{average}"] = metrics.f1_score(
            three_true, three, average=average, labels=range(len(THREE)), zero_division=0
        )
    each = metrics.recall_score(y_true, y_pred, average=None, labels=range(N_CLASSES), zero_division=0)
    found |= {f"recall_{name}": value for name, value in zip(CLASSES, each, strict=True)}
    if len(np.unique(y_true)) == N_CLASSES:  # an area under the curve needs every class
        found["roc_auc_ovr"] = metrics.roc_auc_score(y_true, proba, multi_class="ovr", labels=range(N_CLASSES))
        found["auc_severe"] = metrics.roc_auc_score(np.isin(y_true, SEVERE), proba[:, SEVERE].sum(axis=1))
    return {name: float(value) for name, value in found.items()}


def roc_auc(happened: npt.NDArray[np.bool_], p: npt.NDArray[np.float64]) -> float:
    """Return the area under the ROC curve; both outcomes must be there."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(happened, p))


def _three(proba: Probabilities) -> Probabilities:
    return np.stack([proba[:, classes].sum(axis=1) for classes in THREE], axis=1)


def calibration_error(y_true: Labels, proba: Probabilities, n_bins: int = 10) -> float:
    """Return how far predicted probabilities lie from what happened, mean over classes (0 is perfect).

    Of each class, people are sorted by its probability into bins of equal size; the error is the mean distance
    between a bin's mean probability and its share of the class.
    """
    errors = []
    for k in range(N_CLASSES):
        bins = np.array_split(np.argsort(proba[:, k], kind="stable"), n_bins)
        gaps = [abs(proba[b, k].mean() - (y_true[b] == k).mean()) * len(b) for b in bins if len(b)]
        errors.append(sum(gaps) / len(y_true))
    return float(np.mean(errors))


@dataclass(frozen=True)
class Judgements:
    """What a model foretold for people whom it did not learn from, in one state of knowledge.

    Attributes
    ----------
    proba
        Shape (people, 4).
    y
        Class of each person, shape (people,).
    accident
        Position of each person's accident, shape (people,).
    people
        How many people of each class each accident has, also those who are not foretold, shape (accidents, 4).
    """

    proba: Probabilities
    y: Labels
    accident: Labels
    people: Labels

    @property
    def any_severe(self) -> npt.NDArray[np.bool_]:
        """Whether somebody was killed or hospitalised, shape (accidents,)."""
        return np.asarray(self.people[:, SEVERE].sum(axis=1) > 0)

    @property
    def any_killed(self) -> npt.NDArray[np.bool_]:
        """Whether somebody was killed, shape (accidents,)."""
        return np.asarray(self.people[:, 1] > 0)


def joined(parts: Sequence[Judgements]) -> Judgements:
    """Put judgements of different accidents together."""
    first = np.cumsum([0, *(len(part.people) for part in parts[:-1])])
    return Judgements(
        np.concatenate([part.proba for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.accident + start for part, start in zip(parts, first, strict=True)]),
        np.concatenate([part.people for part in parts]),
    )


def judge(estimator: Any, data: Dataset, state: str) -> Judgements:
    """Let a model foretell people of whom is known what one of `STATES` says."""
    _, accident = np.unique(data.accident, return_inverse=True)
    people = np.zeros((int(accident.max()) + 1, N_CLASSES), dtype=np.int64)
    np.add.at(people, (accident, data.y), 1)
    x, rows = at_state(data.x, state)
    # An accident of which nobody is foretold is not judged.
    there, position = np.unique(accident[rows], return_inverse=True)
    return Judgements(probabilities(estimator, x), data.y[rows], position, people[there])


def at_state(x: Floats, state: str) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the features of the people who are known in a state, and which rows these are."""
    level = LEVELS["first_call"] if state == DRIVERS_ALONE else LEVELS[state]
    hidden = knowledge.at_level(x, level)
    return knowledge.drivers_alone(hidden) if state == DRIVERS_ALONE else (hidden, np.ones(len(x), dtype=np.bool_))


def judged_rows(data: Dataset, rows: split.Indices, state: str, parts: int, seed: int) -> split.Indices:
    """Return those of the held-out rows that are judged in a state, when each of so many parts gives its share."""
    most = JUDGED_PEOPLE if state == RECORD.name else JUDGED_PEOPLE_OF_A_STATE
    return split.sample_accidents(rows, data.accident, data.y, -(-most // parts), seed)


def enough_folds(parts: Sequence[tuple[split.Indices, split.Indices]]) -> list[tuple[split.Indices, split.Indices]]:
    """Return as many folds as hold out `JUDGED_PEOPLE` together, two at least: more judge nobody else."""
    held_out = np.cumsum([len(test) for _, test in parts])
    return list(parts[: max(int(np.searchsorted(held_out, JUDGED_PEOPLE)) + 1, 2)])


Fit = Callable[[Dataset], Any]


@dataclass(frozen=True)
class CrossValidated:
    """What folds of whole accidents say of a model: metrics, judgements by state, fields to ask for by level."""

    metrics: dict[str, float]
    judged: dict[str, Judgements]
    sharpen: dict[str, list[str]]


def cross_validate(
    fit: Fit,
    data: Dataset,
    *,
    n_splits: int,
    seed: int,
    max_rows: int | None,
    states: Sequence[str] = STATES,
) -> CrossValidated:
    """Judge a model on folds of whole accidents.

    Parameters
    ----------
    fit
        Trains a model on the data that it is given.
    n_splits
        Into how many folds the accidents are divided; `enough_folds` of them are held out.
    max_rows
        Caps what each fold trains on.
    states
        In which states of knowledge the folds are judged; `record` is one of them.

    Returns
    -------
    The mean and the standard deviation over the folds at `record`, as `cv_*` and `cv_*_std`; the out-of-fold judgements
    in each state; and what sharpens an answer most, if every state is judged.
    """
    found: list[dict[str, float]] = []
    judged: dict[str, list[Judgements]] = {state: [] for state in states}
    parts = enough_folds(split.folds(data.y, data.accident, n_splits=n_splits, seed=seed))
    for train, test in parts:
        rows = split.sample_accidents(train, data.accident, data.y, max_rows, seed)
        fitted = fit(data.take(rows))
        for state in states:
            held_out = data.take(judged_rows(data, test, state, len(parts), seed))
            judged[state].append(judge(fitted, held_out, state))
        of_record = judged[RECORD.name][-1]
        found.append(scores(of_record.y, of_record.proba))
    names = [name for name in found[0] if all(name in fold for fold in found)]
    means = {f"cv_{name}": float(np.mean([fold[name] for fold in found])) for name in names}
    spread = {f"cv_{name}_std": float(np.std([fold[name] for fold in found])) for name in SELECTION_METRICS}
    asked = data.take(split.sample_accidents(test, data.accident, data.y, ASKED_PEOPLE, seed))
    return CrossValidated(
        means | spread,
        {state: joined(parts) for state, parts in judged.items()},
        sharpening(fitted, asked) if len(states) == len(STATES) else {},
    )


def dumps(found: CrossValidated) -> dict[str, bytes]:
    """Return the files that hold a cross-validation: JSON, and arrays without pickle."""
    sink = io.BytesIO()
    arrays = {
        f"{state}/{part}": getattr(judged, part)
        for state, judged in found.judged.items()
        for part in ("proba", "y", "accident", "people")
    }
    np.savez_compressed(sink, **{name: _small(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    facts = {"metrics": found.metrics, "sharpen": found.sharpen}
    return {"cv.json": json.dumps(facts).encode(), "judged.npz": sink.getvalue()}


def loads(cv: bytes, judged: bytes) -> CrossValidated:
    """Return the cross-validation that the files of `dumps` hold."""
    facts = json.loads(cv)
    with np.load(io.BytesIO(judged), allow_pickle=False) as arrays:
        states = dict.fromkeys(name.partition("/")[0] for name in arrays.files)
        found = {
            state: Judgements(
                arrays[f"{state}/proba"].astype(np.float64),
                *(arrays[f"{state}/{part}"].astype(np.int64) for part in ("y", "accident", "people")),
            )
            for state in states
        }
    return CrossValidated(facts["metrics"], found, facts["sharpen"])


def _small(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int32)


def origins(data: Dataset, most: int = 3) -> Iterator[tuple[int, split.Indices, split.Indices]]:
    """Yield a later year, the rows of the years before it, and its own rows: the newest `most` years, oldest first."""
    year = years_of(data)
    for later in np.unique(year)[1:][-most:]:
        yield int(later), np.flatnonzero(year < later), np.flatnonzero(year == later)


def years_of(data: Dataset) -> npt.NDArray[np.int64]:
    """Return the year of each person's accident: the first four of the twelve digits of its number."""
    return np.asarray(data.accident // 10**8)


def sharpening(estimator: Any, data: Dataset) -> dict[str, list[str]]:
    """Return, for each level, the fields that a scene may lack, those first that improve the answer most.

    What a field brings is the log loss of "severe" without it, minus that with it, on the same people. A field that is
    not known at a level is added there; what one brings that is known, but may be left out, is measured on records.
    """
    severe = np.isin(data.y, SEVERE)

    def loss(x: Floats) -> float:
        p = np.clip(probabilities(estimator, x)[:, SEVERE].sum(axis=1), 1e-9, 1 - 1e-9)
        return float(-np.where(severe, np.log(p), np.log1p(-p)).mean())

    complete = loss(data.x)
    left_out = {together[0]: loss(knowledge.without(data.x, together)) - complete for together in QUESTIONS}
    found: dict[str, list[str]] = {}
    for level in LEVELS.values():
        unknown = [together for together in QUESTIONS if not level.fields.issuperset(together)]
        before = loss(knowledge.at_level(data.x, level)) if unknown else 0.0
        added = {
            together[0]: before - loss(knowledge.without(data.x, level.unknown - set(together))) for together in unknown
        }
        gains = left_out | added
        found[level.name] = sorted(gains, key=lambda name: -gains[name])
    return found


QUESTIONS: Final[tuple[tuple[str, ...], ...]] = (
    ("lat", "long"),
    ("secu1", "secu2", "secu3"),
    *((field,) for field in FIELDS if field not in ("lat", "long", "secu1", "secu2", "secu3")),
)
"""Fields that are asked for together, under the name of the first one."""


def baseline(train_test: Dataset, global_test: Dataset, *, n_splits: int, seed: int) -> dict[str, float]:
    """Score the prediction that everybody has the shares of the classes: what any model must beat."""
    from sklearn.dummy import DummyClassifier

    def fit(data: Dataset) -> Any:
        return DummyClassifier(strategy="prior").fit(data.x, data.y)

    found = cross_validate(fit, train_test, n_splits=n_splits, seed=seed, max_rows=None, states=[RECORD.name])
    tested = scores(global_test.y, probabilities(fit(train_test), global_test.x))
    return found.metrics | {f"test_{name}": value for name, value in tested.items()}


AGE_GROUPS = ((0, 15), (15, 25), (25, 45), (45, 65), (65, 111))


def recall_by_group(data: Dataset, y_pred: Labels) -> list[dict[str, Any]]:
    """Return, by sex and by age group, the number of people and the recall of each class (None: nobody)."""
    sex, age = data.x[:, NAMES.index("sexe")], data.x[:, NAMES.index("age")]
    groups = {"men": sex == 1, "women": sex == 2, "sex not given": np.isnan(sex)}
    groups |= {f"{low} to {high - 1} years": (age >= low) & (age < high) for low, high in AGE_GROUPS}
    groups["age not given"] = np.isnan(age)
    rows = []
    for name, chosen in groups.items():
        row: dict[str, Any] = {"group": name, "people": int(chosen.sum())}
        for k, label in enumerate(CLASSES):
            members = chosen & (data.y == k)
            row[label] = round(float((y_pred[members] == k).mean()), 4) if members.any() else None
        rows.append(row)
    return rows


def importance(estimator: Any, data: Dataset, *, people: int = 1000, seed: int = 0) -> dict[str, float]:
    """Return by how much the log loss grows when a feature is shuffled, most important first."""
    drawn = np.random.default_rng(seed).permutation(len(data.y))[:people]
    x, y = data.x[drawn], data.y[drawn]
    order = np.random.default_rng(seed).permutation(len(x))

    def loss(matrix: Any) -> float:
        return float(-np.log(np.maximum(probabilities(estimator, matrix)[np.arange(len(y)), y], 1e-15)).mean())

    whole, found = loss(x), {}
    for i, name in enumerate(NAMES):
        shuffled = x.copy()
        shuffled[:, i] = x[order, i]
        found[name] = loss(shuffled) - whole
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def selection_score(metrics: Mapping[str, float], weights: Weights, prefix: str = "cv_") -> float:
    """Return the weighted sum of metrics by which models are ranked."""
    return float(sum(weight * metrics[f"{prefix}{name}"] for name, weight in weights.model_dump().items()))
