"""Masked copies of the training accidents: scenes with less knowledge, from which a model learns what a gap means.

A model that only saw complete records takes a gap for a value: LightGBM reads it as 0 in a column that had none, and in
the files a missing sex means a person who fled. They are copies, because the model must also learn from the complete
scenes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from include.accidents.data.dataset import Dataset, join
from include.accidents.features import knowledge
from include.accidents.features.levels import FIELDS, LEVELS

LEVEL_SHARES: Final = {"first_call": 0.42, "dispatch": 0.33, "on_scene": 0.05, "record": 0.20}
"""Share of the copies that begin at each level. Most begin with little knowledge: the originals are complete."""

DROPPED: Final = {"an_nais": 0.25, "sexe": 0.2, "secu1": 0.2, "catv": 1.0}
"""Rate at which a copy that loses many fields loses these, beside those that its level hides; others: `SELDOM`."""

SELDOM: Final = 0.18

BELOW_RECORD: Final = 0.5
"""Factor on the rate of dropped fields in copies below `record`, which lack most fields anyway."""

WITHOUT_POSITION: Final = 0.5
"""Share of the copies without coordinates, independent of other losses: most callers give none."""

WITH_COMMUNE: Final = 0.15
"""Share of the copies at first call or dispatch that keep their position, as if the caller named the commune."""

DRIVERS_ALONE: Final = 0.08
"""Share of the copies with the drivers alone, as of scenes that give the vehicles without the people."""


def with_masked_copies(data: Dataset, share: float, seed: int) -> Dataset:
    """Add masked copies of a share of the accidents (1: of each one once).

    Parameters
    ----------
    share
        0 or more; 1.5 copies each accident once, and half of them a second time.

    Returns
    -------
    The original rows, then those of the copies, under the same accident numbers.
    """
    random = np.random.default_rng(seed)
    copies = [data]
    while share > 0:
        copies.append(_masked(data, min(share, 1.0), random))
        share -= 1
    return join(copies)


def _masked(data: Dataset, share: float, random: np.random.Generator) -> Dataset:
    distinct, inverse = np.unique(data.accident, return_inverse=True)
    copied = data.take((random.random(len(distinct)) < share)[inverse])
    if len(copied.y) == 0:
        return copied
    distinct, inverse = np.unique(copied.accident, return_inverse=True)
    level = random.choice(len(LEVELS), size=len(distinct), p=[LEVEL_SHARES[name] for name in LEVELS])
    # Squared, so that most copies lose a few more fields, and some lose many.
    rate = 2 * random.random(len(distinct)) ** 2 * np.where(level == len(LEVELS) - 1, 1.0, BELOW_RECORD)
    dropped = {field: random.random(len(distinct)) < rate * DROPPED.get(field, SELDOM) for field in FIELDS}
    dropped["lat"] = dropped["long"] = random.random(len(distinct)) < WITHOUT_POSITION
    located = random.random(len(distinct)) < WITH_COMMUNE
    hidden = {}
    for field in FIELDS:
        unknown = np.array([field in each.unknown for each in LEVELS.values()])
        if field in ("lat", "long"):
            hidden[field] = np.where(unknown[level], ~located, dropped[field])[inverse]
        else:
            hidden[field] = (unknown[level] | dropped[field])[inverse]
    x = copied.x.copy(order="F")
    knowledge.hide(x, hidden)
    rough = np.array(["an_nais" in each.rough for each in LEVELS.values()])
    knowledge.make_ages_rough(x, rough[level][inverse])
    _lose_one_role(x, inverse, random)
    return _lose_people(Dataset(x, copied.y, copied.accident), inverse, random)


def _lose_one_role(x: npt.NDArray[np.float32], accident: npt.NDArray[np.intp], random: np.random.Generator) -> None:
    """Hide a field of the person, of their driver or of the other driver in some copies, each independently."""
    for roles in knowledge.ROLES:
        lost = random.random((len(roles), int(accident.max()) + 1)) < 0.05
        for name, of_role in zip(roles, lost, strict=True):
            x[of_role[accident], knowledge.POSITIONS[name]] = np.nan


def _lose_people(data: Dataset, accident: npt.NDArray[np.intp], random: np.random.Generator) -> Dataset:
    """Keep only the drivers of some accidents, as of scenes that give the vehicles without the people."""
    chosen = (random.random(int(accident.max()) + 1) < DRIVERS_ALONE)[accident]
    whole = data.take(~chosen)
    part = data.take(chosen)
    x, drivers = knowledge.drivers_alone(part.x)
    return join([whole, Dataset(x, part.y[drivers], part.accident[drivers])])
