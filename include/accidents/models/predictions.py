"""Predictions of whole files: the columns of every CSV of predictions, and their scores.

Where the file holds the severities (`grav`), the predictions are scored against them at once.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from include.accidents.data.columns import CLASSES
from include.accidents.features import knowledge
from include.accidents.features.levels import LEVELS
from include.accidents.models import decision, evaluate
from include.accidents.models.evaluate import SEVERE, Probabilities, probabilities

if TYPE_CHECKING:
    import pyarrow as pa

    from include.accidents.features.declaration import Floats
    from include.accidents.models.decision import Decided, Decision

COLUMNS: Final = (
    *(f"p_{name}" for name in CLASSES),
    "p_severe",
    "predicted_class",
    "severe",
    "p_any_severe",
    "p_any_killed",
    "alert",
    "level",
)
"""Columns of each person, and (from `p_any_severe` on) of the person's accident."""

BLOCK: Final = 2_000  # people predicted at a time: their features stay in the processor's cache
PRIORITY: Final = 10  # of the threads that predict files: serving comes first
BINS: Final = 10


class ModelWithRules(Protocol):
    """A fitted model and the rules that are loaded with it."""

    @property
    def estimator(self) -> Any:
        """A fitted estimator with `predict_proba`."""

    @property
    def decision(self) -> Decision:
        """The rules of each state of knowledge."""


@dataclass(frozen=True)
class Predicted:
    """The predictions of a model for the people of some accidents.

    Attributes
    ----------
    proba
        Shape (people, 4).
    accident
        Position of each person's accident, shape (people,).
    level
        Position in `LEVELS` of each accident, shape (accidents,).
    """

    proba: Probabilities
    accident: npt.NDArray[np.int64]
    level: npt.NDArray[np.int64]
    decided: Decided


def blocks(model: ModelWithRules, x: Floats) -> Iterator[Probabilities]:
    """Predict some thousand people at a time, on every core that other work leaves free.

    Yields
    ------
    The probabilities of each block, in order, so that a caller can do other things in between.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting: deque[Future[Probabilities]] = deque()
    with ThreadPoolExecutor(workers, "blocks", initializer=_give_way) as pool:
        for start in range(0, len(x), BLOCK):
            waiting.append(pool.submit(probabilities, model.estimator, x[start : start + BLOCK]))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _give_way() -> None:
    """Let this thread compute only when no other wants the core, where the system knows priorities of threads."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PRIORITY)


def decided(model: ModelWithRules, x: Floats, proba: Probabilities, accident: npt.NDArray[np.int64]) -> Predicted:
    """Decide on the accidents of predicted people, each at its level of knowledge."""
    number, position = np.unique(accident, return_inverse=True)
    level = knowledge.levels_of(x, position, len(number))
    return Predicted(proba, position, level, decision.decide(model.decision, level, proba, position))


def predict(model: ModelWithRules, x: Floats, accident: npt.NDArray[np.int64]) -> Predicted:
    """Predict the people of some accidents and decide on these."""
    return decided(model, x, np.concatenate(list(blocks(model, x))), accident)


def header(delimiter: bytes) -> bytes:
    """Return the names of the columns, to append to a file's header."""
    return delimiter + delimiter.join(name.encode() for name in COLUMNS)


def lines(predicted: Predicted, delimiter: str, rows: slice = slice(None)) -> list[bytes]:
    """Return a line of cells for each of some people, to append to their lines in a file."""
    import pyarrow as pa
    import pyarrow.csv

    proba, accident, outcome = predicted.proba[rows], predicted.accident[rows], predicted.decided
    values = [
        *(np.round(p, 6) for p in proba.T),
        np.round(proba[:, SEVERE].sum(axis=1), 6),
        _named(proba.argmax(axis=1), CLASSES),
        outcome.severe[rows],
        np.round(outcome.p_any_severe[accident], 6),
        np.round(outcome.p_any_killed[accident], 6),
        outcome.alert[accident],
        _named(predicted.level[accident], tuple(LEVELS)),
    ]
    sink = io.BytesIO()
    options = pa.csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style="none")
    pa.csv.write_csv(pa.table(values, names=list(COLUMNS)), sink, options)
    return sink.getvalue().splitlines()


def _named(codes: npt.NDArray[np.int64], names: tuple[str, ...]) -> pa.Array:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), list(names)).dictionary_decode()


def score(predicted: Predicted, grav: Floats) -> dict[str, Any]:
    """Score the predictions against the true severities.

    Parameters
    ----------
    grav
        Severity of each person, 1 to 4, NaN where it is not known; an accident counts when all of its people are known.

    Returns
    -------
    Metrics by name, and `calibration`: mean probability of severe, its true share and people, by bin. Empty where no
    severity is known.
    """
    known = ~np.isnan(grav)
    if not known.any():
        return {}
    y, proba = (grav[known] - 1).astype(np.int64), predicted.proba[known]
    n = len(predicted.level)
    severe = np.isin(y, SEVERE)
    complete = np.bincount(predicted.accident, ~known, minlength=n) == 0
    any_severe = np.bincount(predicted.accident[known], severe, minlength=n)[complete] > 0
    p_any, alert = predicted.decided.p_any_severe[complete], predicted.decided.alert[complete]
    p_severe = proba[:, SEVERE].sum(axis=1)
    values: dict[str, Any] = {"people": len(y), "accidents": int(complete.sum()), **evaluate.scores(y, proba)}
    values |= {"severe_predicted": float(p_severe.mean()), "severe_true": float(severe.mean())}
    if complete.any():
        values |= {"accident_severe_predicted": float(p_any.mean()), "accident_severe_true": float(any_severe.mean())}
    if any_severe.any() and not any_severe.all():
        values["accident_auc_severe"] = evaluate.roc_auc(any_severe, p_any)
        values["alert_recall"] = float(alert[any_severe].mean())
    if alert.any():
        values["alert_precision"] = float(any_severe[alert].mean())
    values["calibration"] = [
        [float(p_severe[rows].mean()), float(severe[rows].mean()), len(rows)]
        for rows in np.array_split(np.argsort(p_severe, kind="stable"), BINS)
        if len(rows)
    ]
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in values.items()}
