"""Plots of a model's quality, for MLflow and for the report."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from include.accidents.data.columns import CLASSES
from include.accidents.models.evaluate import N_CLASSES, Labels, Probabilities

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def png(figure: Figure) -> bytes:
    """Return a plot as a PNG file."""
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=90)
    return sink.getvalue()


def confusion(y_true: Labels, y_pred: Labels, title: str) -> Figure:
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


def precision_recall(y_true: Labels, proba: Probabilities, title: str) -> Figure:
    """Draw precision over recall of each class against the rest, with the average precision (AP)."""
    from matplotlib.figure import Figure
    from sklearn.metrics import PrecisionRecallDisplay

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    for k, name in enumerate(CLASSES):
        if (y_true == k).any():
            PrecisionRecallDisplay.from_predictions(y_true == k, proba[:, k], name=name, ax=axes)
    axes.set(xlabel="recall", ylabel="precision", title=title)
    return figure


def reliability(y_true: Labels, proba: Probabilities, title: str, n_bins: int = 10) -> Figure:
    """Draw the observed over the predicted share of each class, in bins of equal size."""
    from matplotlib.figure import Figure
    from sklearn.calibration import CalibrationDisplay

    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    for k, name in enumerate(CLASSES):
        CalibrationDisplay.from_predictions(
            y_true == k, proba[:, k], n_bins=n_bins, strategy="quantile", name=name, ax=axes, ref_line=k == 0
        )
    axes.set(xlabel="mean predicted probability", ylabel="share of the class", title=title)
    return figure


def importance(importances: Mapping[str, float], title: str, top: int = 20) -> Figure:
    """Draw the most important features."""
    from matplotlib.figure import Figure

    shown = dict(sorted(importances.items(), key=lambda item: -item[1])[:top])
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(shown), list(shown.values()))
    axes.set(xlabel="growth of the log loss when the feature is shuffled", title=title)
    axes.invert_yaxis()
    return figure


def leaderboard(rows: Sequence[Mapping[str, Any]], metric: str = "test_f1_weighted") -> Figure:
    """Draw a metric of each model with its 95 % interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for i, row in enumerate(rows):
        low, high = row.get(f"{metric}_low", row[metric]), row.get(f"{metric}_high", row[metric])
        axes.plot([low, high], [i, i], color="grey")
        axes.plot(row[metric], i, "o")
    axes.set(yticks=range(len(rows)), yticklabels=[row["model"] for row in rows], xlabel=f"{metric}, 95 % interval")
    axes.invert_yaxis()
    return figure


def search(results: Sequence[Mapping[str, Any]], scoring: str) -> Figure:
    """Draw the mean score of each candidate of a search with its spread over the folds, best first."""
    from matplotlib.figure import Figure

    shown = [row for row in results if not row["error"]][:40]
    figure = Figure(figsize=(8, 1.2 + 0.3 * len(shown)), layout="constrained")
    axes = figure.subplots()
    labels = [", ".join(f"{k.removeprefix('clf__')}={v}" for k, v in row["params"].items())[:70] for row in shown]
    axes.errorbar(
        [row["mean_test_score"] for row in shown],
        range(len(shown)),
        xerr=[row["std_test_score"] for row in shown],
        fmt="o",
    )
    axes.set(yticks=range(len(shown)), yticklabels=labels, xlabel=f"{scoring} over the folds", title="Candidates")
    axes.invert_yaxis()
    return figure


def calibration(scores: Mapping[str, Any]) -> Figure:
    """Draw the observed over the predicted share of severe people, from `models.predictions.score`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, label="perfect")
    predicted, happened, _ = zip(*scores["calibration"], strict=True)
    axes.plot(predicted, happened, "o-", label=f"{scores['people']:,} people in {len(predicted)} bins")
    axes.set(
        xlabel="mean predicted probability of killed or hospitalised",
        ylabel="share of people who were",
        xlim=(0, 1),
        ylim=(0, 1),
        title="Calibration",
    )
    axes.legend()
    return figure
