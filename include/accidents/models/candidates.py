"""The candidates of a search: the combinations to try, the number of fits, and the time limit."""

from __future__ import annotations

from typing import Any

import numpy as np

from include.accidents.models.specification import Defaults, Distribution, ModelSpec, Params

HALVING_FACTOR = 3  # as in scikit-learn: the best third goes on, on three times the accidents
HALVING_MIN_ROWS = 500  # fewer people hold hardly any who were killed
RANDOM_CANDIDATES = 10  # of a random search without a number


def candidates(spec: ModelSpec, defaults: Defaults) -> list[Params]:
    """Return the combinations that a search tries, their values as the catalogue writes them."""
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    count = spec.search.candidates
    ranges: dict[str, Any] = {**spec.param_grid, **spec.param_distributions}
    if not any(isinstance(values, Distribution) for values in ranges.values()):
        grid = ParameterGrid(ranges)  # it counts and draws combinations without making all of them
        count = count or (RANDOM_CANDIDATES if spec.search.kind == "random" else len(grid))
        if len(grid) <= count:
            return list(grid)
    ranges = {key: _draws(values) if isinstance(values, Distribution) else values for key, values in ranges.items()}
    sampled = ParameterSampler(ranges, count or RANDOM_CANDIDATES, random_state=defaults.seed)
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
    """Return the number of fits of the search, the training and the cross-validation, by stage."""
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
    """Return the time limit of a search in minutes; then it takes the best candidate so far."""
    return min(spec.search.minutes or np.inf, spec.minutes or defaults.minutes)
