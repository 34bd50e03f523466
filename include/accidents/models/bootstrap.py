"""Confidence intervals by bootstrap over accidents: of a model's metrics, and of the gain of one model over another.

People of one accident are not independent, so a round draws accidents. Most metrics follow from the confusion
matrix: a round draws how often each accident counts and adds up the accidents' matrices.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from include.accidents.data.columns import CLASSES
from include.accidents.models.evaluate import N_CLASSES, SEVERE, Labels, Probabilities

if TYPE_CHECKING:
    from include.accidents.models.specification import Weights


Floats = npt.NDArray[np.float64]
MAX_CELLS = 4_000_000  # 32 MB


def intervals(
    y_true: Labels, proba: Probabilities, accident: npt.NDArray[np.int64], *, rounds: int = 300, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Return the 95 % interval of each metric on these people, by the metric's name."""
    _, group = np.unique(accident, return_inverse=True)
    parts = [_drawn_metrics(y_true, proba, group, drawn) for drawn in _draws(int(group.max()) + 1, rounds, seed)]
    drawn_values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {
        name: (float(low), float(high))
        for name, values in drawn_values.items()
        for low, high in [np.nanpercentile(values, [2.5, 97.5])]
        if np.isfinite([low, high]).all()
    }


def _drawn_metrics(
    y_true: Labels, proba: Probabilities, group: npt.NDArray[np.intp], drawn: Floats
) -> dict[str, Floats]:
    """Return the metrics of some rounds, each of shape (rounds,); `drawn` is how often each accident counts."""
    n = drawn.shape[1]
    matrices = _matrices_by_accident(y_true, proba.argmax(axis=1), group, n)
    metrics = _metrics((drawn @ matrices).reshape(-1, N_CLASSES, N_CLASSES))
    losses = -np.log(np.clip(proba[np.arange(len(y_true)), y_true], np.finfo(float).eps, 1))
    people = np.bincount(group, minlength=n)
    metrics["log_loss"] = (drawn @ np.bincount(group, losses, minlength=n)) / (drawn @ people)
    weights = drawn[:, group]
    metrics["auc_severe"] = _auc(np.isin(y_true, SEVERE), proba[:, SEVERE].sum(axis=1), weights)
    metrics["roc_auc_ovr"] = np.mean([_auc(y_true == k, proba[:, k], weights) for k in range(N_CLASSES)], axis=0)
    return metrics


@dataclass(frozen=True)
class Gain:
    """Selection score of a challenger minus that of the champion on the same rows, with a 95 % interval."""

    value: float
    low: float
    high: float


def paired_gain(
    y_true: Labels,
    challenger: Labels,
    champion: Labels,
    accident: npt.NDArray[np.int64],
    weights: Weights,
    *,
    rounds: int = 1000,
    seed: int = 0,
) -> Gain:
    """Return the gain of the challenger on the same people, by a paired bootstrap over accidents."""
    _, group = np.unique(accident, return_inverse=True)
    n = int(group.max()) + 1
    matrices = [_matrices_by_accident(y_true, predicted, group, n) for predicted in (challenger, champion)]
    sums = [
        np.concatenate(parts)
        for parts in zip(*([d @ m for m in matrices] for d in _draws(n, rounds, seed)), strict=True)
    ]
    a, b = (_scores_of_matrices(m.reshape(-1, N_CLASSES, N_CLASSES), weights) for m in sums)
    whole = [_scores_of_matrices(m.sum(axis=0).reshape(1, N_CLASSES, N_CLASSES), weights)[0] for m in matrices]
    low, high = np.percentile(a - b, [2.5, 97.5])
    return Gain(float(whole[0] - whole[1]), float(low), float(high))


def _matrices_by_accident(
    y_true: Labels, y_pred: Labels, group: npt.NDArray[np.intp], n: int
) -> npt.NDArray[np.float64]:
    cells = N_CLASSES * N_CLASSES
    return np.bincount(group * cells + y_true * N_CLASSES + y_pred, minlength=n * cells).reshape(n, cells).astype(float)


def _draws(n: int, rounds: int, seed: int) -> Iterator[Floats]:
    """Draw how often each of `n` accidents counts, some rounds at a time.

    Yields
    ------
    Shape (rounds, n), at most `MAX_CELLS` cells: all rounds of 120,000 accidents at once would take a gigabyte.
    """
    random, share = np.random.default_rng(seed), np.full(n, 1 / n)
    at_once = max(MAX_CELLS // n, 1)
    for start in range(0, rounds, at_once):
        yield random.multinomial(n, share, size=min(at_once, rounds - start)).astype(np.float64)


def _scores_of_matrices(matrices: Floats, weights: Weights) -> Floats:
    """Return the selection score of each confusion matrix (rows true, columns predicted), shape (rounds,)."""
    metrics = _metrics(matrices)
    return np.asarray(sum(weight * metrics[name] for name, weight in weights.model_dump().items()))


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
