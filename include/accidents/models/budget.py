"""The budget of a model: how many people it may learn from, so that every stage ends within its time limit.

One or two fits on few accidents measure its speed. Without this, a model that is too slow for the data would be killed
at its limit, and nothing would come of the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from include.accidents.data import split
from include.accidents.errors import ModelError
from include.accidents.models import evaluate, isolate, training

if TYPE_CHECKING:
    from include.accidents.data.dataset import Dataset
    from include.accidents.models.specification import Defaults, ModelSpec, Params

PROBES: Final = (1_500, 4_500)  # people of the fits that measure
ASKED: Final = 1_500  # people who are predicted to measure
LEAST: Final = 1_500  # people; from fewer, hardly any of whom was killed, no model learns
FITS: Final = 3  # of one stage at most: two folds, or three years
JUDGED: Final = 120_000  # people predicted in one stage
SHARE: Final = 0.7  # of the time limit that is planned for: other models may take the cores meanwhile


@dataclass(frozen=True)
class Probe:
    """A fit on few people: its seconds, those of predicting `ASKED` others, and the log loss on these."""

    people: int
    seconds: float
    seconds_of_predictions: float
    log_loss: float


@dataclass(frozen=True)
class Plan:
    """How many people a model learns from at most (None: all), and the measurements that say so."""

    max_rows: int | None
    probes: tuple[Probe, ...]


def plan(
    spec: ModelSpec, defaults: Defaults, params: Params | None, data: Dataset, on_progress: Callable[[str], None]
) -> Plan:
    """Measure the speed of a model, and plan how many people it learns from.

    Parameters
    ----------
    params
        Parameters of one candidate.
    on_progress
        Called with a sentence for each measurement.

    Returns
    -------
    The catalogue's `max_rows` where the time suffices for it, else fewer people.

    Raises
    ------
    ModelError
        When not even the fewest people can be learned from in time; it names the minutes that would be enough.
    """
    minutes = spec.minutes or defaults.minutes
    available = min(spec.max_rows or len(data.y), len(data.y))
    probes: list[Probe] = []

    def add(probe: Probe) -> None:
        probes.append(probe)
        on_progress(
            f"Measured: {probe.people:,} people are learned from in {probe.seconds:.1f} s, {ASKED:,} are predicted in "
            f"{probe.seconds_of_predictions:.2f} s."
        )

    try:
        isolate.run(
            _measure,
            *(spec, defaults, params, data, available, SHARE * minutes * 60),
            minutes=minutes,
            what="The measurement of its speed",
            on_progress=add,
        )
    except isolate.OutOfTimeError:
        if not probes:
            raise ModelError(*_too_small(minutes, None)) from None
    except ModelError as error:  # this candidate cannot be fitted; the search says so, and may find another
        on_progress(f"The speed was not measured: {error.cause}")
        return Plan(spec.max_rows, ())
    enough = _largest(probes, available, SHARE * minutes * 60)
    if enough >= available:
        return Plan(spec.max_rows, tuple(probes))
    if enough < min(LEAST, available):
        raise ModelError(*_too_small(minutes, seconds_of_a_stage(probes, LEAST) / SHARE / 60))
    return Plan(enough, tuple(probes))


def _too_small(minutes: float, needed: float | None) -> tuple[str, str]:
    """Return cause and remedy of an error."""
    more = f"at least {np.ceil(needed * 10) / 10:g} 'minutes'" if needed else f"far more than {minutes:g} 'minutes'"
    return (
        f"{minutes:g} minutes are too few to learn from {LEAST:,} people.",
        f"give the model {more} in the catalogue.",
    )


def _measure(
    spec: ModelSpec,
    defaults: Defaults,
    params: Params | None,
    data: Dataset,
    available: int,
    seconds: float,
    on_progress: isolate.OnProgress,
) -> None:
    """Fit on few people; a second time on more, unless even a time that grows as the square would suffice."""
    training.limit_threads()
    learned, others = split.folds(data.y, data.accident, n_splits=2, seed=defaults.seed)[0]
    held_out = data.take(split.sample_accidents(others, data.accident, data.y, ASKED, defaults.seed))
    probes: list[Probe] = []
    for people in PROBES:
        rows = split.sample_accidents(learned, data.accident, data.y, min(people, available), defaults.seed)
        started = time.perf_counter()
        fitted = training.fit(spec, defaults, params, data.take(rows))
        fit_ended = time.perf_counter()
        proba = evaluate.probabilities(fitted, held_out.x)
        predicted = (time.perf_counter() - fit_ended) * ASKED / len(held_out.y)
        loss = evaluate.scores(held_out.y, proba)["log_loss"]
        probes.append(Probe(len(rows), fit_ended - started, predicted, loss))
        on_progress(probes[-1])
        if seconds_of_a_stage(probes, available) <= seconds:
            return


def seconds_of_a_stage(probes: Sequence[Probe], people: int) -> float:
    """Estimate the seconds of the slowest stage of a model that learns from so many people."""
    fit = _extrapolated([(p.people, p.seconds) for p in probes], people)
    ask = _extrapolated([(p.people, p.seconds_of_predictions) for p in probes], people)
    return FITS * fit + JUDGED / ASKED * ask


def _extrapolated(measured: Sequence[tuple[int, float]], people: int) -> float:
    """Estimate the seconds for more people by the slower law.

    Returns
    -------
    From one measurement, as if they grew as the square. From two, the larger of a straight line, which fits models with
    a large constant cost, and of a power, which fits kernel machines.
    """
    (first, seconds), (second, more) = measured[0], measured[-1]
    if people <= first:
        return seconds
    if first == second:
        return seconds * (people / first) ** 2
    more = max(more, seconds, 1e-6)
    line = more + (more - seconds) / (second - first) * (people - second)
    power = min(float(np.log(more / max(seconds, 1e-6)) / np.log(second / first)), 3.0)
    return max(line, float(more * (people / second) ** power))


def _largest(probes: Sequence[Probe], available: int, seconds: float) -> int:
    """Return the most people, up to those available, with whom a stage ends in time; in steps of 1 %."""
    counts = np.unique(np.geomspace(1, available, 2_000).astype(np.int64))
    fits = [int(n) for n in counts if seconds_of_a_stage(probes, int(n)) <= seconds]
    return available if available in fits else max(fits, default=0)
