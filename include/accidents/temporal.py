"""How a model holds over years: trained on the earlier ones, judged on the later ones (rolling origin)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from include.accidents import decision, evaluate, split
from include.accidents.clean import Dataset
from include.accidents.evaluate import STATES, Fit
from include.accidents.knowledge import RECORD

CALIBRATION_FOLDS = 7
"""A seventh of the earlier accidents is not learned from: it gives the rules and thresholds of the decision."""


def over_years(
    fit: Fit, data: Dataset, recall: Mapping[str, float], *, seed: int, max_rows: int | None
) -> dict[str, float]:
    """Return the mean over the newest origins, as `temporal_*` at `record` and `temporal_{state}_*`.

    Nothing when there is one year alone, or a year without every class.
    """
    found: list[dict[str, float]] = []
    for _, earlier, later in evaluate.origins(data):
        past = data.take(earlier)
        learned, kept = split.folds(past.y, past.accident, n_splits=CALIBRATION_FOLDS, seed=seed)[0]
        fitted = fit(past.take(split.sample_accidents(learned, past.accident, past.y, max_rows, seed)))
        of_past = {
            state: evaluate.judge(fitted, past.take(evaluate.judged_rows(past, kept, state, 1, seed)), state)
            for state in STATES
        }
        rules = decision.learn(of_past, recall, {})
        judged = {
            state: evaluate.judge(fitted, data.take(evaluate.judged_rows(data, later, state, 1, seed)), state)
            for state in STATES
        }
        found.append(
            {
                f"{'' if state == RECORD.name else f'{state}_'}{name}": value
                for state in STATES
                for name, value in decision.metrics(judged[state], rules, state).items()
            }
        )
    names = [name for name in (found[0] if found else ()) if all(name in each for each in found)]
    return {f"temporal_{name}": float(np.mean([each[name] for each in found])) for name in names}
