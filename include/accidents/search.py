"""Search the hyper-parameters of a model, and train it with the best ones."""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.accidents import catalogue, child, evaluate, split
from include.accidents.catalogue import Defaults, Distribution, ModelSpec
from include.accidents.clean import Dataset
from include.accidents.errors import ModelError
from include.accidents.knowledge import RECORD
from include.accidents.masking import with_masked_copies
from include.accidents.schema import CLASSES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

Params = dict[str, Any]

# One thread a model: the models of a run train side by side, and the pool `models` has a slot a core.
THREADS = 1
RANDOM_CANDIDATES = 10  # of a random search that does not say how many
HALVING_FACTOR = 3  # as in scikit-learn: the best third goes on, on three times the accidents
HALVING_MIN_ROWS = 500  # fewer people hold hardly any who were killed


def limit_threads() -> None:
    """Let this process compute on `THREADS` cores, whatever libraries it has loaded or will load.

    Two models that each take every core are many times slower than two that take one each.
    """
    from threadpoolctl import threadpool_limits

    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(THREADS)
    threadpool_limits(THREADS)


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes
    ----------
    params
        The best parameters, as the catalogue writes their values.
    score
        Mean score of the best candidate over the folds; None when there was only one candidate.
    results
        A row a candidate that was tried, best first, under the names of scikit-learn's `cv_results_`; `rows` is the
        most people that it was trained on.
    ended
        Why the search ended before all candidates were tried; empty when it did not.
    """

    params: Params
    score: float | None
    results: list[dict[str, Any]]
    ended: str = ""


def candidates(spec: ModelSpec, defaults: Defaults) -> list[Params]:
    """Return the combinations that a search tries, as the catalogue writes their values."""
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    wanted = spec.search.candidates
    ranges: dict[str, Any] = {**spec.param_grid, **spec.param_distributions}
    if not any(isinstance(values, Distribution) for values in ranges.values()):
        grid = ParameterGrid(ranges)  # it counts and finds combinations without making all of them
        wanted = wanted or (RANDOM_CANDIDATES if spec.search.kind == "random" else len(grid))
        if len(grid) <= wanted:
            return list(grid)
    ranges = {key: _draws(values) if isinstance(values, Distribution) else values for key, values in ranges.items()}
    sampled = ParameterSampler(ranges, wanted or RANDOM_CANDIDATES, random_state=defaults.seed)
    return [
        {key: value.item() if isinstance(value, np.generic) else value for key, value in s.items()} for s in sampled
    ]


def _draws(values: Distribution) -> Any:
    from scipy import stats  # type: ignore[import-untyped]

    if values.distribution == "integers":
        return stats.randint(int(values.low), int(values.high) + 1)
    if values.distribution == "loguniform":
        return stats.loguniform(values.low, values.high)
    return stats.uniform(values.low, values.high - values.low)


def n_fits(spec: ModelSpec, defaults: Defaults) -> dict[str, int]:
    """Return how often the model is fitted for the search, the training and the cross-validation."""
    tried = len(candidates(spec, defaults))
    folds = spec.search.folds or defaults.search_folds
    rounds = [tried]
    while spec.search.kind == "halving" and rounds[-1] > 1:
        rounds.append(-(-rounds[-1] // HALVING_FACTOR))
    return {
        "search": sum(rounds) * folds if tried > 1 else 0,
        "training": 1,
        "evaluation": defaults.evaluation_folds,
    }


def minutes(spec: ModelSpec, defaults: Defaults) -> float:
    """Return after how many minutes a search takes the best of what it has tried."""
    return min(spec.search.minutes or np.inf, spec.minutes or defaults.minutes)


def search(spec: ModelSpec, defaults: Defaults, data: Dataset) -> Found:
    """Try the candidates on folds of whole accidents, in a child process.

    When `search.minutes` or `minutes` are over, the best of what was tried is taken.

    Raises
    ------
    ModelError
        When no candidate could be judged: all failed, or the time was over before the first one was done.
    """
    tried = candidates(spec, defaults)
    if len(tried) == 1:
        log.info("One candidate alone: nothing to search.")
        return Found(tried[0], None, [])
    limit = minutes(spec, defaults)
    progress = _Progress(len(tried), limit)
    ended = ""
    try:
        child.run(_try_all, spec, defaults, tried, data, minutes=limit, what="The search", hear=progress.hear)
    except child.OutOfTimeError:
        if not progress.rows:
            raise
        ended = f"{len(progress.rows)} of {len(tried)} candidates were tried within {limit:g} minutes"
        log.warning("%s: the best of them is taken.", ended)
    best = ranked(progress.rows)
    if not np.isfinite(best[0]["mean_test_score"]):
        raise ModelError(
            f"None of the {len(tried)} candidates could be fitted: {best[0]['error']}",
            "correct the model's pipeline or its grid in the catalogue.",
        )
    return Found(best[0]["params"], best[0]["mean_test_score"], best, ended)


class _Progress:
    """Gathers what the child tells, and says how far the search is."""

    def __init__(self, expected: int, minutes: float) -> None:
        self.rows: list[dict[str, Any]] = []
        self._expected, self._deadline = expected, time.monotonic() + minutes * 60

    def hear(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        best = ranked(self.rows)[0]
        log.info(
            "Candidate %d of %d: %s; best so far %.4f, %.0f s left; %d people, %s",
            row["candidate"] + 1,
            self._expected,
            row["error"] or f"{row['mean_test_score']:.4f}, {row['mean_fit_time']:.1f} s a fit",
            best["mean_test_score"],
            max(self._deadline - time.monotonic(), 0),
            row["rows"],
            row["params"],
        )


def ranked(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the last result of each candidate, best first: first those that saw most people."""
    last = {row["candidate"]: dict(row) for row in rows}
    order = sorted(last.values(), key=lambda r: (r["error"] != "", -r["rows"], -np.nan_to_num(r["mean_test_score"])))
    return [{**row, "rank_test_score": rank} for rank, row in enumerate(order, start=1)]


def _try_all(spec: ModelSpec, defaults: Defaults, tried: Sequence[Params], data: Dataset, tell: child.Tell) -> None:
    """Judge the candidates; of a halving search, round by round on more accidents."""
    limit_threads()
    folds = split.folds(data.y, data.accident, n_splits=spec.search.folds or defaults.search_folds, seed=defaults.seed)
    most = min(spec.max_rows or len(data.y), len(folds[0][0]))
    left = list(range(len(tried)))
    n_rounds = 1
    if spec.search.kind == "halving":
        n_rounds += int(np.ceil(np.log(len(left)) / np.log(HALVING_FACTOR) - 1e-9))
    for step in reversed(range(n_rounds)):
        rows = min(most, max(most // HALVING_FACTOR**step, HALVING_MIN_ROWS))
        parts = [(split.sample_accidents(a, data.accident, data.y, rows, defaults.seed), b) for a, b in folds]
        judged = []
        for i in left:
            judged.append(
                {"candidate": i, "params": tried[i], "rows": rows, **_try(spec, defaults, tried[i], data, parts)}
            )
            tell(judged[-1])
        left = [row["candidate"] for row in ranked(judged)[: -(-len(left) // HALVING_FACTOR)]]


def _try(
    spec: ModelSpec,
    defaults: Defaults,
    params: Params,
    data: Dataset,
    parts: Sequence[tuple[split.Indices, split.Indices]],
) -> dict[str, Any]:
    from sklearn.metrics import get_scorer

    score = get_scorer(spec.search.scoring or defaults.scoring)
    scores, seconds = [], []
    try:
        for train_rows, test_rows in parts:
            started = time.perf_counter()
            fitted = fit(spec, defaults, params, data.take(train_rows))
            seconds.append(time.perf_counter() - started)
            held_out = data.take(evaluate.judged_rows(data, test_rows, RECORD.name, len(parts), defaults.seed))
            scores.append(float(score(fitted, held_out.x, held_out.y)))
        error = "" if np.isfinite(scores).all() else "its score is NaN"
    except Exception as raised:  # one bad candidate does not end the search
        error = f"{type(raised).__name__}: {raised}"[:300]
    return {
        **{f"split{k}_test_score": value for k, value in enumerate(scores)},
        "mean_test_score": float(np.mean(scores)) if not error else float("nan"),
        "std_test_score": float(np.std(scores)) if not error else float("nan"),
        "mean_fit_time": float(np.mean(seconds)) if seconds else float("nan"),
        "error": error,
    }


def estimator(spec: ModelSpec, defaults: Defaults, params: Params | None = None) -> Any:
    """Return the unfitted pipeline of a model, with the chosen parameters."""
    return catalogue.build(spec, params, seed=defaults.seed, threads=THREADS)


def fit(spec: ModelSpec, defaults: Defaults, params: Params | None, data: Dataset) -> Any:
    """Fit the model on all rows of `data`, with the class weights that it asks for, and on masked copies.

    The copies weigh 1 each: where less is known, weights for the rare classes would foretell far too many of them.
    """
    made = estimator(spec, defaults, params)
    unseen = np.flatnonzero(np.isnan(data.x).all(axis=0))
    share = defaults.masked_share if spec.masked_share is None else spec.masked_share
    learned = with_masked_copies(data, share, defaults.seed)
    x = evaluate.without_unseen(learned.x, unseen)
    if spec.class_weight is None:
        made.fit(x, learned.y)
    else:
        weights = np.ones(len(learned.y))
        weights[: len(data.y)] = class_weights(spec, data.y)
        made.fit(x, learned.y, **{f"{made.steps[-1][0]}__sample_weight": weights})
    setattr(made, evaluate.UNSEEN, unseen.tolist())
    return made


def class_weights(spec: ModelSpec, y: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the weight of each person, by class and with mean 1."""
    said = spec.class_weight
    if isinstance(said, dict):
        by_class = np.array([said.get(name, 1.0) for name in CLASSES])
    else:
        rarity = len(y) / np.maximum(np.bincount(y, minlength=len(CLASSES)), 1)
        by_class = rarity ** (1.0 if said == "balanced" else said or 0.0)
    weights = by_class[y].astype(np.float64)
    return np.asarray(weights / weights.mean())


def train(spec: ModelSpec, defaults: Defaults, params: Params | None, data: Dataset) -> Any:
    """Fit the model on train_test (at most `max_rows` people, whole accidents), here in this process."""
    rows = split.sample_accidents(np.arange(len(data.y)), data.accident, data.y, spec.max_rows, defaults.seed)
    return fit(spec, defaults, params, data.take(rows))


def train_in_time(
    spec: ModelSpec, defaults: Defaults, params: Params | None, data: Dataset, dump: Callable[[Any], bytes]
) -> bytes:
    """Train in a child process within the model's `minutes`; return the fitted model as `dump` writes it."""
    minutes = spec.minutes or defaults.minutes
    made: bytes = child.run(_train, spec, defaults, params, data, dump, minutes=minutes, what="The training")
    return made


def _train(
    spec: ModelSpec,
    defaults: Defaults,
    params: Params | None,
    data: Dataset,
    dump: Callable[[Any], bytes],
    tell: child.Tell,
) -> bytes:
    limit_threads()
    return dump(train(spec, defaults, params, data))


def write_pickle(fitted: Any, target: IO[bytes]) -> None:
    """Write the `.pkl` for people; no service ever reads it."""
    pickle.dump(fitted, target)


def picture(found: Sequence[Mapping[str, Any]], scoring: str) -> Figure:
    """Draw each candidate's mean score with its spread over the folds, best first."""
    from matplotlib.figure import Figure

    shown = [row for row in found if not row["error"]][:40]
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
