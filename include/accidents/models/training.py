"""Fit a model: on its rows and on masked copies of them, with its class weights."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from include.accidents.data import split
from include.accidents.data.columns import CLASSES
from include.accidents.models import evaluate, isolate
from include.accidents.models.build import build_pipeline
from include.accidents.models.masking import with_masked_copies

if TYPE_CHECKING:
    from include.accidents.data.dataset import Dataset
    from include.accidents.models.specification import Defaults, ModelSpec, Params

# One thread for each model: the models of a run train side by side, and the pool `models` has one slot for each core.
THREADS = 1


def limit_threads() -> None:
    """Let this process compute on `THREADS` cores, in every library that it has loaded or will load.

    Two models that each take every core are many times slower than two that take one each.
    """
    from threadpoolctl import threadpool_limits

    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(THREADS)
    threadpool_limits(THREADS)


def estimator(spec: ModelSpec, defaults: Defaults, params: Params | None = None) -> Any:
    """Return the unfitted pipeline of a model, with the chosen parameters."""
    return build_pipeline(spec, params, seed=defaults.seed, threads=THREADS)


def fit(spec: ModelSpec, defaults: Defaults, params: Params | None, data: Dataset) -> Any:
    """Fit the model on all rows of `data`, with its class weights, and on masked copies.

    Each copy has weight 1: where less is known, weights for the rare classes would predict far too many of them.

    Returns
    -------
    The fitted pipeline, with the positions of the columns without a value in its attribute `evaluate.UNSEEN`.
    """
    pipeline = estimator(spec, defaults, params)
    unseen = np.flatnonzero(np.isnan(data.x).all(axis=0))
    share = defaults.masked_share if spec.masked_share is None else spec.masked_share
    learned = with_masked_copies(data, share, defaults.seed)
    # Copies stand beside their originals, so that unshuffled folds, like CalibratedClassifierCV's, keep them together.
    order = np.argsort(learned.accident, kind="stable")
    x, y = evaluate.without_unseen(learned.x[order], unseen), learned.y[order]
    if spec.class_weight is None:
        pipeline.fit(x, y)
    else:
        weights = np.ones(len(y))
        weights[: len(data.y)] = class_weights(spec, data.y)
        pipeline.fit(x, y, **{f"{pipeline.steps[-1][0]}__sample_weight": weights[order]})
    setattr(pipeline, evaluate.UNSEEN, unseen.tolist())
    return pipeline


def class_weights(spec: ModelSpec, y: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the weight of each person, by class and with mean 1."""
    class_weight = spec.class_weight
    if isinstance(class_weight, dict):
        by_class = np.array([class_weight.get(name, 1.0) for name in CLASSES])
    else:
        rarity = len(y) / np.maximum(np.bincount(y, minlength=len(CLASSES)), 1)
        by_class = rarity ** (1.0 if class_weight == "balanced" else class_weight or 0.0)
    weights = by_class[y].astype(np.float64)
    return np.asarray(weights / weights.mean())


def train(spec: ModelSpec, defaults: Defaults, params: Params | None, data: Dataset) -> Any:
    """Fit the model on train_test (at most `max_rows` people, whole accidents), in this process."""
    rows = split.sample_accidents(np.arange(len(data.y)), data.accident, data.y, spec.max_rows, defaults.seed)
    return fit(spec, defaults, params, data.take(rows))


def train_in_time(
    spec: ModelSpec, defaults: Defaults, params: Params | None, data: Dataset, dump: Callable[[Any], bytes]
) -> bytes:
    """Train in a child process within the model's `minutes`; return the fitted model in the form of `dump`."""
    minutes = spec.minutes or defaults.minutes
    content: bytes = isolate.run(_train, spec, defaults, params, data, dump, minutes=minutes, what="The training")
    return content


def _train(
    spec: ModelSpec,
    defaults: Defaults,
    params: Params | None,
    data: Dataset,
    dump: Callable[[Any], bytes],
    on_progress: isolate.OnProgress,
) -> bytes:
    limit_threads()
    return dump(train(spec, defaults, params, data))


def write_pickle(fitted: Any, target: IO[bytes]) -> None:
    """Write the `.pkl` for people; no service reads it."""
    pickle.dump(fitted, target)
