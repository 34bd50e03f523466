"""How good a model is: its probabilities, their metrics, and the importance of its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from include.accidents.data.columns import CLASSES
from include.accidents.errors import ModelError
from include.accidents.features.definitions import NAMES

if TYPE_CHECKING:
    from include.accidents.data.dataset import Dataset
    from include.accidents.features.declaration import Floats
    from include.accidents.models.specification import Weights


Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

N_CLASSES = len(CLASSES)
SEVERE = [1, 2]  # killed, hospitalised
THREE: Final = ([0], [3], SEVERE)
"""Unharmed, light, severe: three classes, because others publish figures of them."""
SELECTION_METRICS = ("accuracy", "f1_weighted", "recall_weighted", "precision_weighted")


def probabilities(estimator: Any, x: Any) -> Probabilities:
    """Predict the probability of every class.

    Returns
    -------
    Shape (people, 4), float64; each row sums to 1. A class that was never seen gets 0.

    Raises
    ------
    ModelError
        When the model predicts NaN or infinity.
    """
    predicted = estimator.predict_proba(without_unseen(x, getattr(estimator, UNSEEN, ())))
    full = np.zeros((len(predicted), N_CLASSES))
    full[:, np.asarray(estimator.classes_, dtype=np.int64)] = predicted
    total = full.sum(axis=1, keepdims=True)
    if np.isfinite(total).all() and (total > 0).all():
        # A model that computes in single precision misses a sum of 1 by more than metrics allow.
        normalised: Probabilities = full / total
        return normalised
    raise ModelError("The model predicts NaN or infinite probabilities.", "change its parameters in the catalogue.")


UNSEEN: Final = "accidents_unseen_"
"""The attribute of a fitted model with the positions of the columns without any value (`vma` before 2019, say)."""


def without_unseen(x: Floats, unseen: Sequence[int] | npt.NDArray[np.intp]) -> Floats:
    """Replace the columns in which nobody had a value in training.

    A model cannot learn what such a column means. So it gets the same number in training and in every prediction,
    whatever the caller gives. A column without values would also stop scikit-learn's histogram boosting.

    Returns
    -------
    `x` with 0 for everybody in these columns, shape (people, features).
    """
    if len(unseen) == 0:
        return x
    known = x.copy(order="K")
    known[:, list(unseen)] = 0
    return known


def scores(y_true: Labels, proba: Probabilities) -> dict[str, float]:
    """Return the metrics of one set of predictions.

    Parameters
    ----------
    y_true
        Classes 0 to 3, shape (people,).
    proba
        Shape (people, 4).

    Returns
    -------
    By name; without areas under the ROC curve where a class is absent.
    """
    from sklearn import metrics

    y_pred = proba.argmax(axis=1)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        y_true, y_pred, average="weighted", zero_division=0
    )
    values = {
        "accuracy": metrics.accuracy_score(y_true, y_pred),
        "f1_weighted": f1,
        "precision_weighted": precision,
        "recall_weighted": recall,
        "f1_macro": metrics.f1_score(y_true, y_pred, average="macro", labels=range(N_CLASSES), zero_division=0),
        "log_loss": metrics.log_loss(y_true, proba, labels=range(N_CLASSES)),
        "calibration_error": calibration_error(y_true, proba),
    }
    three_true, three = np.select([y_true == 0, y_true == 3], [0, 1], 2), _three(proba).argmax(axis=1)
    values["three_class_accuracy"] = metrics.accuracy_score(three_true, three)
    for average in ("weighted", "macro"):
        values[f"three_class_f1_{average}"] = metrics.f1_score(
            three_true, three, average=average, labels=range(len(THREE)), zero_division=0
        )
    each = metrics.recall_score(y_true, y_pred, average=None, labels=range(N_CLASSES), zero_division=0)
    values |= {f"recall_{name}": value for name, value in zip(CLASSES, each, strict=True)}
    if len(np.unique(y_true)) == N_CLASSES:  # an area under the curve needs every class
        values["roc_auc_ovr"] = metrics.roc_auc_score(y_true, proba, multi_class="ovr", labels=range(N_CLASSES))
        values["auc_severe"] = metrics.roc_auc_score(np.isin(y_true, SEVERE), proba[:, SEVERE].sum(axis=1))
    return {name: float(value) for name, value in values.items()}


def roc_auc(happened: npt.NDArray[np.bool_], p: npt.NDArray[np.float64]) -> float:
    """Return the area under the ROC curve; both outcomes must occur."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(happened, p))


def _three(proba: Probabilities) -> Probabilities:
    return np.stack([proba[:, classes].sum(axis=1) for classes in THREE], axis=1)


def calibration_error(y_true: Labels, proba: Probabilities, n_bins: int = 10) -> float:
    """Return the mean distance between predicted probabilities and true shares.

    For each class, people are sorted by its probability into bins of equal size.

    Returns
    -------
    Mean over classes of the mean distance between a bin's mean probability and its share of the class, 0 (best) to 1.
    """
    errors = []
    for k in range(N_CLASSES):
        bins = np.array_split(np.argsort(proba[:, k], kind="stable"), n_bins)
        gaps = [abs(proba[b, k].mean() - (y_true[b] == k).mean()) * len(b) for b in bins if len(b)]
        errors.append(sum(gaps) / len(y_true))
    return float(np.mean(errors))


AGE_GROUPS = ((0, 15), (15, 25), (25, 45), (45, 65), (65, 111))


def recall_by_group(data: Dataset, y_pred: Labels) -> list[dict[str, Any]]:
    """Return the number of people and the recall of each class (None: nobody), by sex and by age group."""
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
    """Return the increase of the log loss when a feature is shuffled, by feature, most important first."""
    from sklearn.inspection import permutation_importance

    def score(model: Any, x: Floats, y: Labels) -> float:
        return float(np.log(np.maximum(probabilities(model, x)[np.arange(len(y)), y], 1e-15)).mean())

    drawn = data.take(np.random.default_rng(seed).permutation(len(data.y))[:people])
    permutation = permutation_importance(estimator, drawn.x, drawn.y, scoring=score, n_repeats=1, random_state=seed)
    return dict(sorted(zip(NAMES, permutation.importances_mean.tolist(), strict=True), key=lambda item: -item[1]))


def selection_score(metrics: Mapping[str, float], weights: Weights, prefix: str = "cv_") -> float:
    """Return the weighted sum of metrics by which models are ranked."""
    return float(sum(weight * metrics[f"{prefix}{name}"] for name, weight in weights.model_dump().items()))
