"""Safety equipment: the kinds that were used, by the three slots `secu1` to `secu3`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

EQUIPMENT: Final[Mapping[str, frozenset[int]]] = {
    "belt": frozenset({1}),
    "helmet": frozenset({2}),
    "child_seat": frozenset({3}),
    "vest": frozenset({4}),
    "airbag": frozenset({5, 7}),
    "gloves": frozenset({6, 7}),
}
"""The codes that name each kind of equipment."""
NO_EQUIPMENT, UNDETERMINED = 0, 8


_CODES: Final = 10  # 0 to 9; a further entry stands for a slot that is not given


def _table() -> npt.NDArray[np.bool_]:
    """Return whether each code (column) names each kind of equipment (row); the last row stands for any kind."""
    named = [[code in codes for code in range(_CODES)] + [False] for codes in EQUIPMENT.values()]
    some = [code not in (NO_EQUIPMENT, UNDETERMINED) for code in range(_CODES)] + [False]
    return np.array([*named, some])


_NAMED: Final = _table()


def equipment_used(worn: Sequence[Floats]) -> dict[str, Floats]:
    """Return whether each kind of equipment was used.

    The slots name the equipment that was used. The first one decides what was not used: since 2019 the others hold 0
    ("none") where there is nothing to add, so a 0 there means nothing.

    Parameters
    ----------
    worn
        The slots `secu1` to `secu3`, each of shape (people,).

    Returns
    -------
    1, 0, or NaN where it is not known, shape (people,), by kind; the last one is `no_equipment`.
    """
    slots = np.stack(worn)
    # A table by code is ten times faster for one scene than np.isin by kind.
    named = _NAMED[:, np.where(np.isnan(slots), _CODES, slots).astype(np.int64)]
    used: npt.NDArray[np.bool_] = np.logical_or.reduce(named, axis=1)
    first = slots[0]
    used[-1] = (first == NO_EQUIPMENT) & ~used[-1]
    determined = ~np.isnan(first) & (first != UNDETERMINED)
    values = np.where(used | determined, used, np.float32(np.nan)).astype(np.float32)
    return dict(zip((*EQUIPMENT, "no_equipment"), values, strict=True))
