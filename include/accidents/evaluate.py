"""How good a model is: its scores on held-out people, by folds of whole accidents, over time, at the time of a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from include.accidents import split
from include.accidents.catalogue import Weights
from include.accidents.clean import Dataset
from include.accidents.errors import ModelError
from include.accidents.features import NAMES, UNKNOWN_AT_CALL, hide
from include.accidents.schema import CLASSES

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

N_CLASSES = len(CLASSES)
SEVERE = [1, 2]  # killed, hospitalised
SELECTION_METRICS = ("accuracy", "f1_weighted", "recall_weighted", "precision_weighted")


def probabilities(estimator: Any, x: Any) -> Probabilities:
    """Predict the probability of every class, shape (people, 4); a class that was never seen gets 0.

    Raises
    ------
    ModelError
        When the model answers with NaN or infinity.
    """
    made = estimator.predict_proba(x)
    full = np.zeros((len(made), N_CLASSES))
    full[:, np.asarray(estimator.classes_, dtype=np.int64)] = made
    total = full.sum(axis=1, keepdims=True)
    if np.isfinite(total).all() and (total > 0).all():
        # A model that computes in single precision misses a sum of 1 by more than metrics allow.
        normalised: Probabilities = full / total
        return normalised
    raise ModelError("The model predicts NaN or infinite probabilities.", "change its parameters in the catalogue.")


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
    each = metrics.recall_score(y_true, y_pred, average=None, labels=range(N_CLASSES), zero_division=0)
    found |= {f"recall_{name}": value for name, value in zip(CLASSES, each, strict=True)}
    if len(np.unique(y_true)) == N_CLASSES:  # an area under the curve needs every class
        found["roc_auc_ovr"] = metrics.roc_auc_score(y_true, proba, multi_class="ovr", labels=range(N_CLASSES))
        found["auc_severe"] = metrics.roc_auc_score(np.isin(y_true, SEVERE), proba[:, SEVERE].sum(axis=1))
    return {name: float(value) for name, value in found.items()}


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


Fit = Callable[[Dataset], Any]


def cross_validate(fit: Fit, data: Dataset, *, n_splits: int, seed: int, max_rows: int | None) -> dict[str, float]:
    """Return the mean and the standard deviation over folds of whole accidents, as `cv_*` and `cv_*_std`.

    Parameters
    ----------
    fit
        Trains a model on the data that it is given.
    max_rows
        Caps what each fold trains on; every fold is judged on all of its held-out rows.
    """
    found: list[dict[str, float]] = []
    for train, test in split.folds(data.y, data.accident, n_splits=n_splits, seed=seed):
        rows = split.sample_accidents(train, data.accident, data.y, max_rows, seed)
        found.append(scores(data.y[test], probabilities(fit(data.take(rows)), data.x[test])))
    names = [name for name in found[0] if all(name in fold for fold in found)]
    means = {f"cv_{name}": float(np.mean([fold[name] for fold in found])) for name in names}
    spread = {f"cv_{name}_std": float(np.std([fold[name] for fold in found])) for name in SELECTION_METRICS}
    return means | spread


def temporal(fit: Fit, data: Dataset, *, seed: int, max_rows: int | None) -> dict[str, float]:
    """Train on the earlier years and test on the latest, as `temporal_*`; nothing when there is one year alone."""
    year = years_of(data)
    latest = year.max()
    earlier = np.flatnonzero(year < latest)
    if len(earlier) == 0:
        return {}
    rows = split.sample_accidents(earlier, data.accident, data.y, max_rows, seed)
    test = data.take(year == latest)
    found = scores(test.y, probabilities(fit(data.take(rows)), test.x))
    return {f"temporal_{name}": value for name, value in found.items()}


def years_of(data: Dataset) -> npt.NDArray[np.int64]:
    """Return the year of each person's accident: the first four of the twelve digits of its number."""
    return np.asarray(data.accident // 10**8)


def at_call(estimator: Any, data: Dataset) -> dict[str, float]:
    """Score the model with what a caller cannot know hidden, as `call_*`."""
    found = scores(data.y, probabilities(estimator, hide(data.x, UNKNOWN_AT_CALL)))
    return {f"call_{name}": value for name, value in found.items()}


def baseline(train_test: Dataset, global_test: Dataset, *, n_splits: int, seed: int) -> dict[str, float]:
    """Score the prediction that everybody has the shares of the classes: what any model must beat."""
    from sklearn.dummy import DummyClassifier

    def fit(data: Dataset) -> Any:
        return DummyClassifier(strategy="prior").fit(data.x, data.y)

    found = cross_validate(fit, train_test, n_splits=n_splits, seed=seed, max_rows=None)
    tested = scores(global_test.y, probabilities(fit(train_test), global_test.x))
    return found | {f"test_{name}": value for name, value in tested.items()}


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
