"""The version of the method: a hash of the results of training and judging a small model on a fixed set of files.

With the data, the specification and the libraries it decides whether a search, a training or an evaluation is made
again. Like the version of the features it follows behaviour. Comments and names do not change it. Other masks, folds,
weights, metrics, rules of the decision, another order of candidates or other years to judge on do.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from include.accidents.data import dataset
from include.accidents.features import clean
from include.accidents.features.knowledge import STATES
from include.accidents.features.levels import LEVELS
from include.accidents.features.version import probe_scenes
from include.accidents.models import decision, judging, search, temporal, training
from include.accidents.models.specification import DEFAULT_RECALL, Defaults, ModelSpec

if TYPE_CHECKING:
    from include.accidents.data.dataset import Dataset

DECIMALS: Final = 4
DECIMALS_OF_DECISIONS: Final = 2
"""Processors differ in the last digits, and in more of them after an iterative fit of a regression."""
_SPEC: Final = {
    "pipeline": [
        ["clf", {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 6, "min_samples_leaf": 20}}]
    ],
    "class_weight": 0.2,
}


@cache
def method_version() -> str:
    """Return the version of the method; the first call takes about three seconds.

    Returns
    -------
    12 hexadecimal digits, the same on every Python and platform.
    """
    data = dataset.join([clean.clean(scenes)[0] for scenes, _ in probe_scenes()])
    spec, defaults = ModelSpec.model_validate(_SPEC), Defaults(evaluation_folds=3)
    validated = judging.cross_validate(
        partial(training.fit, spec, defaults, {}), data, n_splits=3, seed=defaults.seed, max_rows=None
    )
    rules = decision.learn(validated.judged, dict.fromkeys(LEVELS, DEFAULT_RECALL), {})
    digest = hashlib.sha256(json.dumps(_rounded(validated.metrics), sort_keys=True).encode())
    for state in STATES:
        judged = validated.judged[state]
        for array in (np.round(judged.proba * 10**DECIMALS), judged.y, judged.accident, judged.people):
            digest.update(array.astype("<i8").tobytes())
        digest.update(json.dumps(_decided(rules, judged, state)).encode())
    digest.update(json.dumps([_searched(spec, defaults, data), _judged_years(data)]).encode())
    return digest.hexdigest()[:12]


def _searched(spec: ModelSpec, defaults: Defaults, data: Dataset) -> list[Any]:
    """Return the candidates of a small search, best first, with their scores."""
    tried = [{"clf__max_depth": depth} for depth in (2, 6)]
    rows = list(search.rounds(spec, defaults, tried, data))
    return [[row["params"], row["rows"], round(row["mean_test_score"], DECIMALS)] for row in search.ranked(rows)]


def _judged_years(data: Dataset) -> list[Any]:
    """Return each year that a model is judged on, with the numbers of people it learns from and is judged on."""
    years = [[later, len(earlier), len(rows)] for later, earlier, rows in judging.origins(data)]
    return [*years, temporal.CALIBRATION_FOLDS]


def _rounded(metrics: dict[str, float]) -> dict[str, float]:
    return {name: round(value, DECIMALS) + 0.0 for name, value in metrics.items()}


def _decided(rules: decision.Decision, judged: judging.Judgements, state: str) -> list[Any]:
    """Return the mean probabilities that an accident has somebody severe, and somebody killed."""
    at = np.full(len(judged.people), STATES.index(state))
    decided = decision.decide(rules, at, judged.proba, judged.accident)
    means = (decided.p_any_severe.mean(), decided.p_any_killed.mean())
    return [round(float(mean), DECIMALS_OF_DECISIONS) for mean in means]
