"""Search the hyper-parameters of a model, and train it with the best ones."""

from __future__ import annotations

import io
import logging
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from include.accidents import catalogue, split
from include.accidents.catalogue import Defaults, ModelSpec
from include.accidents.clean import Dataset

log = logging.getLogger(__name__)

# One thread a model: the models of a run train side by side, and the pool `models` has a slot a core.
THREADS = 1


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
    """The best parameters of a search, as the catalogue writes them.

    Attributes
    ----------
    choice
        Position in the grid's list of values, by parameter.
    score
        Mean score of the best candidate over the folds; None when there was only one candidate.
    candidates
        All candidates with mean score and seconds, best first.
    """

    choice: dict[str, int]
    score: float | None
    candidates: list[dict[str, Any]]


def search(spec: ModelSpec, defaults: Defaults, data: Dataset) -> Found:
    """Try every combination of the grid on folds of whole accidents."""
    from sklearn.model_selection import GridSearchCV

    values = catalogue.grid(spec)
    n_candidates = int(np.prod([len(v) for v in values.values()], dtype=np.int64))
    if n_candidates == 1:
        log.info("One candidate alone: nothing to search.")
        return Found(dict.fromkeys(values, 0), None, [])
    parts = [
        (split.sample_accidents(train, data.accident, data.y, spec.max_rows, defaults.seed), test)
        for train, test in split.folds(data.y, data.accident, n_splits=defaults.search_folds, seed=defaults.seed)
    ]
    log.info("Trying %d candidates on %d folds.", n_candidates, len(parts))
    searched = GridSearchCV(
        estimator(spec, defaults),
        values,
        scoring=defaults.scoring,
        cv=parts,
        refit=False,
        error_score="raise",
    ).fit(data.x, data.y)
    results = searched.cv_results_
    candidates: list[dict[str, Any]] = [
        {
            "choice": {key: _position(values[key], value) for key, value in params.items()},
            "score": float(results["mean_test_score"][i]),
            "std": float(results["std_test_score"][i]),
            "seconds": round(float(results["mean_fit_time"][i]), 2),
        }
        for i, params in enumerate(results["params"])
    ]
    candidates.sort(key=lambda candidate: -candidate["score"])
    return Found(candidates[0]["choice"], candidates[0]["score"], candidates)


def estimator(spec: ModelSpec, defaults: Defaults, choice: Mapping[str, int] | None = None) -> Any:
    """Return the unfitted pipeline of a model, with the chosen values of its grid."""
    made = catalogue.build(spec, seed=defaults.seed, threads=THREADS)
    values = catalogue.grid(spec)
    return made.set_params(**{key: values[key][i] for key, i in (choice or {}).items()})


def train(spec: ModelSpec, defaults: Defaults, choice: Mapping[str, int], data: Dataset) -> Any:
    """Fit the model on train_test (at most `max_rows` people, whole accidents)."""
    rows = split.sample_accidents(np.arange(len(data.y)), data.accident, data.y, spec.max_rows, defaults.seed)
    return estimator(spec, defaults, choice).fit(data.x[rows], data.y[rows])


def pickled(fitted: Any) -> bytes:
    """Return the `.pkl` for people; no service ever reads it."""
    buffer = io.BytesIO()
    pickle.dump(fitted, buffer)
    return buffer.getvalue()


def _position(values: list[Any], value: Any) -> int:
    return next(i for i, v in enumerate(values) if v is value)
