"""How sure a figure is: bootstrap over accidents, of one model's metrics and of the gain of one over another.

People of one accident are not independent, so a round draws accidents. Most metrics follow from the confusion
matrix: a round draws how often each accident counts and adds up the accidents' matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from include.accidents.catalogue import Weights
from include.accidents.evaluate import N_CLASSES, SEVERE, Labels, Probabilities
from include.accidents.schema import CLASSES

Floats = npt.NDArray[np.float64]


def intervals(
    y_true: Labels, proba: Probabilities, accident: npt.NDArray[np.int64], *, rounds: int = 300, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric on these people, by the metric's name."""
    group, n, drawn = _draw(accident, rounds, seed)
    matrices = _matrices_by_accident(y_true, proba.argmax(axis=1), group, n)
    found = _metrics((drawn @ matrices).reshape(-1, N_CLASSES, N_CLASSES))
    losses = -np.log(np.clip(proba[np.arange(len(y_true)), y_true], np.finfo(float).eps, 1))
    people = np.bincount(group, minlength=n)
    found["log_loss"] = (drawn @ np.bincount(group, losses, minlength=n)) / (drawn @ people)
    weights = drawn[:, group]
    found["auc_severe"] = _auc(np.isin(y_true, SEVERE), proba[:, SEVERE].sum(axis=1), weights)
    found["roc_auc_ovr"] = np.mean([_auc(y_true == k, proba[:, k], weights) for k in range(N_CLASSES)], axis=0)
    return {
        name: (float(low), float(high))
        for name, values in found.items()
        for low, high in [np.nanpercentile(values, [2.5, 97.5])]
        if np.isfinite([low, high]).all()
    }


@dataclass(frozen=True)
class Gain:
    """Selection score of a challenger minus that of the reigning model on the same rows, with a 95 % interval."""

    value: float
    low: float
    high: float


def paired_gain(
    y_true: Labels,
    challenger: Labels,
    reigning: Labels,
    accident: npt.NDArray[np.int64],
    weights: Weights,
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> Gain:
    """Compare two models on the same people by a paired bootstrap over accidents."""
    group, n, drawn = _draw(accident, rounds, seed)
    matrices = [_matrices_by_accident(y_true, predicted, group, n) for predicted in (challenger, reigning)]
    a, b = (_scores_of_matrices((drawn @ m).reshape(-1, N_CLASSES, N_CLASSES), weights) for m in matrices)
    whole = [_scores_of_matrices(m.sum(axis=0).reshape(1, N_CLASSES, N_CLASSES), weights)[0] for m in matrices]
    low, high = np.percentile(a - b, [2.5, 97.5])
    return Gain(float(whole[0] - whole[1]), float(low), float(high))


def _matrices_by_accident(
    y_true: Labels, y_pred: Labels, group: npt.NDArray[np.intp], n: int
) -> npt.NDArray[np.float64]:
    cells = N_CLASSES * N_CLASSES
    return np.bincount(group * cells + y_true * N_CLASSES + y_pred, minlength=n * cells).reshape(n, cells).astype(float)


def _draw(accident: npt.NDArray[np.int64], rounds: int, seed: int) -> tuple[npt.NDArray[np.intp], int, Floats]:
    """Return each person's accident as a position, their number, and how often each counts, (rounds, accidents)."""
    _, group = np.unique(accident, return_inverse=True)
    n = int(group.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=rounds).astype(np.float64)
    return group, n, drawn


def _scores_of_matrices(matrices: Floats, weights: Weights) -> Floats:
    """Return the selection score of each confusion matrix (rows true, columns predicted), shape (rounds,)."""
    found = _metrics(matrices)
    return np.asarray(sum(weight * found[name] for name, weight in weights.model_dump().items()))


def _metrics(matrices: Floats) -> dict[str, Floats]:
    """Return the metrics of each confusion matrix (rows true, columns predicted), each of shape (rounds,)."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    true, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    total = true.sum(axis=1)
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    recall = np.divide(hits, true, out=np.full_like(hits, np.nan), where=true > 0)
    f1 = np.divide(2 * hits, true + predicted, out=np.zeros_like(hits), where=true + predicted > 0)
    accuracy = hits.sum(axis=1) / total
    return {
        "accuracy": accuracy,
        "f1_weighted": (true * f1).sum(axis=1) / total,
        "recall_weighted": accuracy,  # weighted recall is accuracy
        "precision_weighted": (true * precision).sum(axis=1) / total,
        "f1_macro": f1.mean(axis=1),
        **{f"recall_{name}": recall[:, k] for k, name in enumerate(CLASSES)},
    }


def _auc(positive: npt.NDArray[np.bool_], score: Floats, weights: Floats) -> Floats:
    """Return the area under the ROC curve with each row of `weights` (rounds, people); ties count half."""
    distinct, place = np.unique(score, return_inverse=True)
    areas = np.full(len(weights), np.nan)
    for i, weight in enumerate(weights):
        ours = np.bincount(place, weight * positive, minlength=len(distinct))
        theirs = np.bincount(place, weight * ~positive, minlength=len(distinct))
        pairs = ours.sum() * theirs.sum()
        if pairs > 0:
            areas[i] = (ours * (np.cumsum(theirs) - theirs / 2)).sum() / pairs
    return areas
