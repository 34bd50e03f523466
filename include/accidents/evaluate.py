"""How good a model is: scores, cross-validation by accident, and the paired comparison of two models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.accidents import split
from include.accidents.catalogue import Weights
from include.accidents.clean import Dataset
from include.accidents.errors import ModelError
from include.accidents.schema import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    }
    each = metrics.recall_score(y_true, y_pred, average=None, labels=range(N_CLASSES), zero_division=0)
    found |= {f"recall_{name}": value for name, value in zip(CLASSES, each, strict=True)}
    if len(np.unique(y_true)) == N_CLASSES:  # an area under the curve needs every class
        found["roc_auc_ovr"] = metrics.roc_auc_score(y_true, proba, multi_class="ovr", labels=range(N_CLASSES))
        found["auc_severe"] = metrics.roc_auc_score(np.isin(y_true, SEVERE), proba[:, SEVERE].sum(axis=1))
    return {name: float(value) for name, value in found.items()}


def cross_validate(
    estimator: Any, data: Dataset, *, n_splits: int, seed: int, max_rows: int | None
) -> dict[str, float]:
    """Return the mean and the standard deviation over folds of whole accidents, as `cv_*` and `cv_*_std`.

    `max_rows` caps what each fold trains on; every fold is judged on all of its held-out rows.
    """
    from sklearn.base import clone

    found: list[dict[str, float]] = []
    for train, test in split.folds(data.y, data.accident, n_splits=n_splits, seed=seed):
        rows = split.sample_accidents(train, data.accident, data.y, max_rows, seed)
        fitted = clone(estimator).fit(data.x[rows], data.y[rows])
        found.append(scores(data.y[test], probabilities(fitted, data.x[test])))
    names = [name for name in found[0] if all(name in fold for fold in found)]
    means = {f"cv_{name}": float(np.mean([fold[name] for fold in found])) for name in names}
    spread = {f"cv_{name}_std": float(np.std([fold[name] for fold in found])) for name in SELECTION_METRICS}
    return means | spread


def selection_score(metrics: Mapping[str, float], weights: Weights, prefix: str = "cv_") -> float:
    """Return the weighted sum of metrics by which models are ranked."""
    return float(sum(weight * metrics[f"{prefix}{name}"] for name, weight in weights.model_dump().items()))


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
    """Compare two models on the same people by a paired bootstrap over accidents.

    Every metric of the selection score follows from the confusion matrix, so a round draws how often each
    accident counts and adds up the accidents' matrices.
    """
    _, group = np.unique(accident, return_inverse=True)
    n = int(group.max()) + 1
    matrices = [_matrices_by_accident(y_true, predicted, group, n) for predicted in (challenger, reigning)]
    random = np.random.default_rng(seed)
    drawn = random.multinomial(n, np.full(n, 1 / n), size=rounds).astype(np.float64)
    a, b = (_scores_of_matrices((drawn @ m).reshape(-1, N_CLASSES, N_CLASSES), weights) for m in matrices)
    whole = [_scores_of_matrices(m.sum(axis=0).reshape(1, N_CLASSES, N_CLASSES), weights)[0] for m in matrices]
    low, high = np.percentile(a - b, [2.5, 97.5])
    return Gain(float(whole[0] - whole[1]), float(low), float(high))


def _matrices_by_accident(
    y_true: Labels, y_pred: Labels, group: npt.NDArray[np.intp], n: int
) -> npt.NDArray[np.float64]:
    cells = N_CLASSES * N_CLASSES
    return np.bincount(group * cells + y_true * N_CLASSES + y_pred, minlength=n * cells).reshape(n, cells).astype(float)


def _scores_of_matrices(matrices: npt.NDArray[np.float64], weights: Weights) -> npt.NDArray[np.float64]:
    """Return the selection score of each confusion matrix (rows true, columns predicted), shape (rounds,)."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    true, predicted = matrices.sum(axis=2), matrices.sum(axis=1)
    total = true.sum(axis=1)
    precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
    f1 = np.divide(2 * hits, true + predicted, out=np.zeros_like(hits), where=true + predicted > 0)
    accuracy = hits.sum(axis=1) / total
    return np.asarray(
        weights.accuracy * accuracy
        + weights.recall_weighted * accuracy  # weighted recall is accuracy
        + weights.f1_weighted * (true * f1).sum(axis=1) / total
        + weights.precision_weighted * (true * precision).sum(axis=1) / total
    )


def confusion_picture(y_true: Labels, y_pred: Labels, title: str) -> Figure:
    """Draw the confusion matrix: counts, coloured by share of the true class."""
    from matplotlib.figure import Figure

    cells = np.bincount(y_true * N_CLASSES + y_pred, minlength=N_CLASSES**2).reshape(N_CLASSES, N_CLASSES)
    share = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set(
        xticks=range(N_CLASSES), yticks=range(N_CLASSES), xticklabels=CLASSES, yticklabels=CLASSES,
        xlabel="predicted", ylabel="true", title=title,
    )  # fmt: skip
    for i in range(N_CLASSES):
        for j in range(N_CLASSES):
            colour = "white" if share[i, j] > 0.5 else "black"
            axes.text(j, i, f"{cells[i, j]:,}\n{share[i, j]:.0%}", ha="center", va="center", color=colour)
    figure.colorbar(image, label="share of the true class")
    return figure


def leaderboard(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay out models and their metrics as a table of text, best first."""
    columns = (
        "model",
        "selection_score",
        "cv_f1_weighted",
        "cv_accuracy",
        "test_f1_weighted",
        "test_f1_macro",
    )
    lines = [[f"{row[c]:.4f}" if isinstance(row[c], float) else str(row[c]) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in [list(columns), *lines]) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in [columns, *lines]
    )
