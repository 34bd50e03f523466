"""The features of an accident at each level of knowledge.

The files are complete records; a request gives less. `at_level` and `without` return the features of a scene without
some fields: the same numbers that `matrix.from_columns` makes of such a scene. Training, evaluation and the API share
them, and the table of `levels`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from include.accidents.features.arrays import DRIVER, PEDESTRIAN, PEDESTRIAN_MASS
from include.accidents.features.definitions import COUNTED_PEOPLE, FEATURES, NAMES
from include.accidents.features.equipment import equipment_used
from include.accidents.features.levels import FIELDS, LEVELS, ROUGH_YEARS, Level

if TYPE_CHECKING:
    from include.accidents.features.declaration import Feature, Floats

Rows = npt.NDArray[np.bool_]

# Fields that apply to some scenes only, or repeat another: their absence says nothing about the level.
_SELDOM = frozenset({"com", "locp", "actp", "etatp", "secu2", "secu3", "vosp", "larrout", "obs", "obsm"})

POSITIONS: Final[Mapping[str, int]] = {name: i for i, name in enumerate(NAMES)}
"""The column of each feature."""
_AT: Final = POSITIONS
ROLES: Final = (
    *((name, f"driver_{name}", f"other_driver_{name}") for name in ("age", "sexe", "trajet", "secu1")),
    *((name, f"other_{name}") for name in ("choc", "manv", "obs", "obsm", "motor", "senc")),
)
"""Features of the same field: of the person, of their driver or vehicle, and of the other driver or vehicle."""
_SLOTS: Final = ("secu1", "secu2", "secu3")
_OF_AGE: Final = ("age", "driver_age", "other_driver_age")
_OF_OTHERS_EQUIPMENT: Final = ("others_belt", "others_helmet", "others_no_equipment")
# Where a person's role is not known, nothing is known of their vehicle either.
_OF_ROLE: Final = tuple(each.name for each in FEATURES if each.of_vehicle)

DRIVERS_ALONE: Final = "drivers_alone"
"""The state of a scene that gives the vehicles without the people: one driver in each vehicle is assumed."""
STATES: Final = (*LEVELS, DRIVERS_ALONE)


FEATURES_OF: Final[Mapping[str, tuple[str, ...]]] = {
    field: tuple(each.name for each in FEATURES if field in each.source and not each.partly) for field in FIELDS
}
"""For each field, the features that are missing without it."""


def known_at(feature: Feature) -> str:
    """Return the first level of knowledge at which a feature can be made, at least roughly."""
    return next(level.name for level in LEVELS.values() if level.unknown.isdisjoint(feature.source))


def nearest(given: Collection[str]) -> Level:
    """Return the level whose fields are nearest to those that a scene gives; the lower one of two equally near."""
    known = frozenset(given) - _SELDOM
    return min(LEVELS.values(), key=lambda level: len(known ^ _COUNTED[level.name]))


_COUNTED: Final = {level.name: level.fields - _SELDOM for level in LEVELS.values()}


def levels_of(x: Floats, accident: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """Return the level of each accident, by the features of its people.

    Parameters
    ----------
    x
        Shape (people, features).
    accident
        The position of each person's accident, 0 to `n` - 1.

    Returns
    -------
    Positions in `LEVELS`, shape (n,).
    """
    fields = [field for field in FIELDS if field not in _SELDOM]
    given = np.zeros((len(fields), n), dtype=np.bool_)
    for i, field in enumerate(fields):
        known = ~np.isnan(x[:, [_AT[name] for name in FEATURES_OF[field]]]).all(axis=1)
        given[i, accident[known]] = True
    of_level = np.array([[field in level.fields for field in fields] for level in LEVELS.values()])
    return np.asarray((given[None, :, :] != of_level[:, :, None]).sum(axis=1).argmin(axis=0))


# --- features without fields -------------------------------------------------------------------------------


def at_level(x: Floats, level: Level) -> Floats:
    """Return the features of the same people as they are known at a level, shape (people, features)."""
    hidden = without(x, level.unknown)
    if "an_nais" in level.rough:
        make_ages_rough(hidden, np.ones(len(hidden), dtype=np.bool_))
    return hidden


def without(x: Floats, fields: Iterable[str]) -> Floats:
    """Return the features of the same people when `fields` (some of `FIELDS`) are missing for everybody."""
    hidden = x.copy(order="K")
    hide(hidden, {field: np.ones(len(x), dtype=np.bool_) for field in fields})
    return hidden


def drivers_alone(x: Floats) -> tuple[Floats, Rows]:
    """Return the features of the drivers, as of a scene that gives the vehicles without the people.

    Returns
    -------
    Shape (drivers, features), and whether each row of `x` is one of them, shape (people,).
    """
    drivers = x[:, _AT["catu"]] == DRIVER
    alone = x[drivers]
    for name in COUNTED_PEOPLE:
        alone[:, _AT[name]] = np.nan
    return alone, drivers


def hide(x: Floats, hidden: Mapping[str, Rows]) -> None:
    """Make features missing, in place.

    Parameters
    ----------
    hidden
        For each field, whether it is missing for each person, shape (people,). A field of the accident is missing for
        all of its people or for none.
    """
    nobody = np.zeros(len(x), dtype=np.bool_)
    missing = {field: hidden.get(field, nobody) for field in FIELDS}
    # Where the role is not given, the seat implies it.
    without_role = missing["catu"] & (missing["place"] | np.isnan(x[:, _AT["place"]]))
    _hide_kinds(x, missing["catv"])
    for field, names in FEATURES_OF.items():
        rows = without_role if field == "catu" else missing[field]
        for name in names if rows.any() else ():
            x[rows, _AT[name]] = np.nan
    _hide_equipment(x, missing)
    for name in _OF_ROLE if without_role.any() else ():
        x[without_role, _AT[name]] = np.nan
    x[without_role & (x[:, _AT["n_people"]] == 1), _AT["exposed_others"]] = 0


def _hide_kinds(x: Floats, rows: Rows) -> None:
    """Hide the features that follow from the kinds of vehicles; pedestrians are still known to be light and exposed."""
    if not rows.any():
        return
    on_foot = x[rows, _AT["catu"]] == PEDESTRIAN
    alone = x[rows, _AT["n_people"]] == 1
    others_on_foot = x[rows, _AT["n_pedestrians"]] - on_foot
    unknown = np.float32(np.nan)
    known = {
        "own_mass": np.where(on_foot, np.float32(PEDESTRIAN_MASS), unknown),
        "exposed": np.where(on_foot, np.float32(1), unknown),
        "exposed_others": np.where(others_on_foot > 0, others_on_foot, np.where(alone, np.float32(0), unknown)),
        "lightest_other": np.where(others_on_foot > 0, np.float32(PEDESTRIAN_MASS), unknown),
        "lighter_people": np.where(on_foot, np.float32(0), unknown),
    }
    for name, values in known.items():
        x[rows, _AT[name]] = values


def _hide_equipment(x: Floats, missing: Mapping[str, Rows]) -> None:
    """Compute the equipment from the slots that are left; without the first one, that of the others is unknown."""
    rows = np.logical_or.reduce([missing[slot] for slot in _SLOTS])
    if not rows.any():
        return
    for name, values in equipment_used([x[rows, _AT[slot]] for slot in _SLOTS]).items():
        x[rows, _AT[name]] = values
    with_others = missing["secu1"] & (x[:, _AT["n_people"]] > 1)
    for name in _OF_OTHERS_EQUIPMENT:
        x[with_others, _AT[name]] = np.nan


def make_ages_rough(x: Floats, rows: Rows) -> None:
    """Replace each age by the middle of its decade, in place."""
    for name in _OF_AGE:
        ages = x[rows, _AT[name]]
        x[rows, _AT[name]] = np.floor(ages / ROUGH_YEARS) * ROUGH_YEARS + ROUGH_YEARS / 2
