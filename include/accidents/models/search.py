"""Search the hyper-parameters of a model."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from include.accidents.data import split
from include.accidents.errors import ModelError
from include.accidents.features.levels import RECORD
from include.accidents.models import isolate, judging
from include.accidents.models.candidates import HALVING_FACTOR, HALVING_MIN_ROWS, candidates, minutes
from include.accidents.models.training import fit, limit_threads

if TYPE_CHECKING:
    from include.accidents.data.dataset import Dataset
    from include.accidents.models.specification import Defaults, ModelSpec, Params

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    Attributes
    ----------
    params
        The best parameters, as the catalogue writes their values.
    score
        Mean score of the best candidate over the folds; None when there was only one candidate.
    results
        A row for each candidate that was tried, best first, under the names of scikit-learn's `cv_results_`; `rows` is
        the most people that it was trained on.
    ended
        Why the search ended before all candidates were tried; empty when all were tried.
    """

    params: Params
    score: float | None
    results: list[dict[str, Any]]
    ended: str = ""


def search(spec: ModelSpec, defaults: Defaults, data: Dataset) -> SearchResult:
    """Try the candidates on folds of whole accidents, in a child process.

    After `search.minutes` or `minutes` the best candidate so far is taken.

    Returns
    -------
    The best parameters, and all results.

    Raises
    ------
    ModelError
        When all candidates failed.
    OutOfTimeError
        When the time ended before the first candidate was done.
    """
    tried = candidates(spec, defaults)
    if len(tried) == 1:
        log.info("One candidate alone: nothing to search.")
        return SearchResult(tried[0], None, [])
    limit = minutes(spec, defaults)
    progress = _Progress(len(tried), limit)
    ended = ""
    try:
        isolate.run(_try_all, spec, defaults, tried, data, minutes=limit, what="The search", on_progress=progress.add)
    except isolate.OutOfTimeError:
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
    return SearchResult(best[0]["params"], best[0]["mean_test_score"], best, ended)


class _Progress:
    """Collects the results that the child sends, and logs the progress of the search."""

    def __init__(self, expected: int, minutes: float) -> None:
        self.rows: list[dict[str, Any]] = []
        self._expected, self._deadline = expected, time.monotonic() + minutes * 60

    def add(self, row: dict[str, Any]) -> None:
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
    """Return the last result of each candidate, best first; those trained on most people come before all others."""
    last = {row["candidate"]: dict(row) for row in rows}
    order = sorted(last.values(), key=lambda r: (r["error"] != "", -r["rows"], -np.nan_to_num(r["mean_test_score"])))
    return [{**row, "rank_test_score": rank} for rank, row in enumerate(order, start=1)]


def _try_all(
    spec: ModelSpec, defaults: Defaults, tried: Sequence[Params], data: Dataset, on_progress: isolate.OnProgress
) -> None:
    limit_threads()
    for row in rounds(spec, defaults, tried, data):
        on_progress(row)


def rounds(spec: ModelSpec, defaults: Defaults, tried: Sequence[Params], data: Dataset) -> Iterator[dict[str, Any]]:
    """Judge the candidates in this process; a halving search has several rounds, each on more accidents."""
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
            yield judged[-1]
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
            held_out = data.take(judging.judged_rows(data, test_rows, RECORD.name, len(parts), defaults.seed))
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
