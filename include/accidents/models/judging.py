"""Judgements: the predictions of a model for people whom it did not learn from, at every level of knowledge.

They are made by folds of whole accidents. The rules of the decision and the fields to ask for follow from them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from include.accidents.data import split
from include.accidents.data.dataset import Dataset
from include.accidents.features import knowledge
from include.accidents.features.knowledge import DRIVERS_ALONE, STATES
from include.accidents.features.levels import FIELDS, LEVELS, RECORD
from include.accidents.models.evaluate import (
    N_CLASSES,
    SELECTION_METRICS,
    SEVERE,
    Labels,
    Probabilities,
    probabilities,
    scores,
)

if TYPE_CHECKING:
    from include.accidents.features.declaration import Floats

ASKED_PEOPLE: Final = 300  # people on whom the gain of each field is measured

# Folds are judged on whole accidents, stratified by the worst injury. On this many people the standard error of
# weighted F1 is 0.002 (root of 0.2 / n, times 1.2 because people of one accident resemble each other). The rules of the
# decision need as many: learned from half of them, they lose 0.0002 of the accidents' AUC.
JUDGED_PEOPLE: Final = 50_000
# In each other state: its thresholds rest on some 1,300 accidents with somebody severe; the standard error of the
# recall is 0.011.
JUDGED_PEOPLE_OF_A_STATE: Final = 8_000

QUESTIONS: Final[tuple[tuple[str, ...], ...]] = (
    ("lat", "long"),
    ("secu1", "secu2", "secu3"),
    *((field,) for field in FIELDS if field not in ("lat", "long", "secu1", "secu2", "secu3")),
)
"""Fields that are asked for together, under the name of the first one."""


@dataclass(frozen=True)
class Judgements:
    """Predictions of a model for people whom it did not learn from, in one state of knowledge.

    Attributes
    ----------
    proba
        Shape (people, 4).
    y
        Class of each person, shape (people,).
    accident
        Position of each person's accident, shape (people,).
    people
        Number of people of each class in each accident, also those without a prediction, shape (accidents, 4).
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
    """Join judgements of different accidents."""
    first = np.cumsum([0, *(len(part.people) for part in parts[:-1])])
    return Judgements(
        np.concatenate([part.proba for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.accident + start for part, start in zip(parts, first, strict=True)]),
        np.concatenate([part.people for part in parts]),
    )


def judge(estimator: Any, data: Dataset, state: str) -> Judgements:
    """Predict the people who are known in one of `STATES`."""
    _, accident = np.unique(data.accident, return_inverse=True)
    people = np.zeros((int(accident.max()) + 1, N_CLASSES), dtype=np.int64)
    np.add.at(people, (accident, data.y), 1)
    x, rows = at_state(data.x, state)
    # An accident without a prediction for anybody is not judged.
    judged_accidents, position = np.unique(accident[rows], return_inverse=True)
    return Judgements(probabilities(estimator, x), data.y[rows], position, people[judged_accidents])


def at_state(x: Floats, state: str) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return the features of the people who are known in a state, and whether each row is one of them."""
    level = LEVELS["first_call"] if state == DRIVERS_ALONE else LEVELS[state]
    hidden = knowledge.at_level(x, level)
    return knowledge.drivers_alone(hidden) if state == DRIVERS_ALONE else (hidden, np.ones(len(x), dtype=np.bool_))


def judged_rows(data: Dataset, rows: split.Indices, state: str, parts: int, seed: int) -> split.Indices:
    """Return the held-out rows that are judged in a state, when each of `parts` folds gives its share."""
    most = JUDGED_PEOPLE if state == RECORD.name else JUDGED_PEOPLE_OF_A_STATE
    return split.sample_accidents(rows, data.accident, data.y, -(-most // parts), seed)


def enough_folds(parts: Sequence[tuple[split.Indices, split.Indices]]) -> list[tuple[split.Indices, split.Indices]]:
    """Return the first folds, at least two, that hold out `JUDGED_PEOPLE` together: more would judge nobody else."""
    held_out = np.cumsum([len(test) for _, test in parts])
    return list(parts[: max(int(np.searchsorted(held_out, JUDGED_PEOPLE)) + 1, 2)])


Fit = Callable[[Dataset], Any]


@dataclass(frozen=True)
class CrossValidated:
    """A model's cross-validation: metrics, judgements by state, fields to ask for by level."""

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
        Trains a model on the given data.
    n_splits
        Number of folds of accidents; `enough_folds` of them are held out.
    max_rows
        Most people that each fold trains on.
    states
        States of knowledge in which the folds are judged; `record` is one of them.

    Returns
    -------
    The mean and the standard deviation over the folds at `record`, as `cv_*` and `cv_*_std`; the out-of-fold judgements
    in each state; and the fields that improve an answer most, if every state is judged.
    """
    of_folds: list[dict[str, float]] = []
    judged: dict[str, list[Judgements]] = {state: [] for state in states}
    parts = enough_folds(split.folds(data.y, data.accident, n_splits=n_splits, seed=seed))
    for train, test in parts:
        rows = split.sample_accidents(train, data.accident, data.y, max_rows, seed)
        fitted = fit(data.take(rows))
        for state in states:
            held_out = data.take(judged_rows(data, test, state, len(parts), seed))
            judged[state].append(judge(fitted, held_out, state))
        of_record = judged[RECORD.name][-1]
        of_folds.append(scores(of_record.y, of_record.proba))
    names = [name for name in of_folds[0] if all(name in fold for fold in of_folds)]
    means = {f"cv_{name}": float(np.mean([fold[name] for fold in of_folds])) for name in names}
    spread = {f"cv_{name}_std": float(np.std([fold[name] for fold in of_folds])) for name in SELECTION_METRICS}
    asked = data.take(split.sample_accidents(test, data.accident, data.y, ASKED_PEOPLE, seed))
    return CrossValidated(
        means | spread,
        {state: joined(parts) for state, parts in judged.items()},
        sharpening(fitted, asked) if len(states) == len(STATES) else {},
    )


def dumps(result: CrossValidated) -> dict[str, bytes]:
    """Return the files that hold a cross-validation: JSON, and arrays without pickle."""
    sink = io.BytesIO()
    arrays = {
        f"{state}/{part}": getattr(judged, part)
        for state, judged in result.judged.items()
        for part in ("proba", "y", "accident", "people")
    }
    np.savez_compressed(sink, **{name: _small(array) for name, array in arrays.items()})  # type: ignore[arg-type]
    facts = {"metrics": result.metrics, "sharpen": result.sharpen}
    return {"cv.json": json.dumps(facts).encode(), "judged.npz": sink.getvalue()}


def loads(cv: bytes, judged: bytes) -> CrossValidated:
    """Return the cross-validation that the files of `dumps` hold."""
    facts = json.loads(cv)
    with np.load(io.BytesIO(judged), allow_pickle=False) as arrays:
        states = dict.fromkeys(name.partition("/")[0] for name in arrays.files)
        judgements = {
            state: Judgements(
                arrays[f"{state}/proba"].astype(np.float64),
                *(arrays[f"{state}/{part}"].astype(np.int64) for part in ("y", "accident", "people")),
            )
            for state in states
        }
    return CrossValidated(facts["metrics"], judgements, facts["sharpen"])


def _small(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int32)


def origins(data: Dataset, most: int = 3) -> Iterator[tuple[int, split.Indices, split.Indices]]:
    """Yield a year, the rows of the years before it, and its own rows: for the newest `most` years, oldest first."""
    year = years_of(data)
    for later in np.unique(year)[1:][-most:]:
        yield int(later), np.flatnonzero(year < later), np.flatnonzero(year == later)


def years_of(data: Dataset) -> npt.NDArray[np.int64]:
    """Return the year of each person's accident: the first four of the twelve digits of its number."""
    return np.asarray(data.accident // 10**8)


def sharpening(estimator: Any, data: Dataset) -> dict[str, list[str]]:
    """Rank, for each level, the fields that a scene may lack.

    The gain of a field is the log loss of "severe" without it, minus that with it, on the same people. A field that is
    not known at a level is added there. The gain of a known field, which may be left out, is measured on records.

    Returns
    -------
    Names of `QUESTIONS` by level; the one that improves the answer most comes first.
    """
    severe = np.isin(data.y, SEVERE)

    def loss(x: Floats) -> float:
        p = np.clip(probabilities(estimator, x)[:, SEVERE].sum(axis=1), 1e-9, 1 - 1e-9)
        return float(-np.where(severe, np.log(p), np.log1p(-p)).mean())

    complete = loss(data.x)
    left_out = {together[0]: loss(knowledge.without(data.x, together)) - complete for together in QUESTIONS}
    by_level: dict[str, list[str]] = {}
    for level in LEVELS.values():
        unknown = [together for together in QUESTIONS if not level.fields.issuperset(together)]
        before = loss(knowledge.at_level(data.x, level)) if unknown else 0.0
        added = {
            together[0]: before - loss(knowledge.without(data.x, level.unknown - set(together))) for together in unknown
        }
        gains = left_out | added
        by_level[level.name] = sorted(gains, key=lambda name: -gains[name])
    return by_level


def baseline(train_test: Dataset, global_test: Dataset, *, n_splits: int, seed: int) -> dict[str, float]:
    """Score the prediction of the classes' shares for everybody, which any model must beat."""
    from sklearn.dummy import DummyClassifier

    def fit(data: Dataset) -> Any:
        return DummyClassifier(strategy="prior").fit(data.x, data.y)

    validated = cross_validate(fit, train_test, n_splits=n_splits, seed=seed, max_rows=None, states=[RECORD.name])
    tested = scores(global_test.y, probabilities(fit(train_test), global_test.x))
    return validated.metrics | {f"test_{name}": value for name, value in tested.items()}
