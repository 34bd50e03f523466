"""The candidates of a search: which combinations are tried, how many fits that takes, and how long it may take."""

from __future__ import annotations

from typing import Any

import numpy as np

from include.accidents.models.specification import Defaults, Distribution, ModelSpec, Params

HALVING_FACTOR = 3  # as in scikit-learn: the best third goes on, on three times the accidents
HALVING_MIN_ROWS = 500  # fewer people hold hardly any who were killed
RANDOM_CANDIDATES = 10  # of a random search that does not say how many


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
