"""The quality of a model over years: trained on earlier years, judged on later ones (rolling origin)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from include.accidents.data import split
from include.accidents.features.knowledge import STATES
from include.accidents.features.levels import RECORD
from include.accidents.models import decision, judging

if TYPE_CHECKING:
    from include.accidents.data.dataset import Dataset
    from include.accidents.models.judging import Fit

CALIBRATION_FOLDS = 7
"""A seventh of the earlier accidents is held out: the rules and thresholds of the decision are learned from it."""


def over_years(
    fit: Fit, data: Dataset, recall: Mapping[str, float], *, seed: int, max_rows: int | None
) -> dict[str, float]:
    """Train on the years before each of the newest ones, and judge on that year.

    Returns
    -------
    Means over these years, as `temporal_*` at `record` and `temporal_{state}_*`, without metrics that one year lacks.
    Empty when there is only one year.
    """
    of_origins: list[dict[str, float]] = []
    for _, earlier, later in judging.origins(data):
        past = data.take(earlier)
        learned, kept = split.folds(past.y, past.accident, n_splits=CALIBRATION_FOLDS, seed=seed)[0]
        fitted = fit(past.take(split.sample_accidents(learned, past.accident, past.y, max_rows, seed)))
        of_past = {
            state: judging.judge(fitted, past.take(judging.judged_rows(past, kept, state, 1, seed)), state)
            for state in STATES
        }
        rules = decision.learn(of_past, recall, {})
        judged = {
            state: judging.judge(fitted, data.take(judging.judged_rows(data, later, state, 1, seed)), state)
            for state in STATES
        }
        of_origins.append(
            {
                f"{'' if state == RECORD.name else f'{state}_'}{name}": value
                for state in STATES
                for name, value in decision.metrics(judged[state], rules, state).items()
            }
        )
    names = [name for name in (of_origins[0] if of_origins else ()) if all(name in each for each in of_origins)]
    return {f"temporal_{name}": float(np.mean([each[name] for each in of_origins])) for name in names}
