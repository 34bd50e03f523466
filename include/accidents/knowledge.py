"""What is known of an accident, and when: the table of levels, and the features at each of them.

The files are complete records; the people who ask have less. A level names the fields of a scene that are known at one
moment. `at_level` and `without` return the features that a scene has without the other fields: the same numbers that
`features.from_columns` makes of such a scene. Training, evaluation and the API share this table.

Sources: the dictionary says what each field is. What a first call brings is what French emergency services ask of a
caller: where, what kind of accident with which vehicles, how many people (the "alert" that first-aid courses and the
driving licence teach). Questions of the operator and the address add the road, the weather, the collision and rough
ages. Those who arrive see positions, equipment and damage. The rest is found out by the police afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from include.accidents.features import (
    ACCIDENT_CODES,
    CLASS_GROUPS,
    COUNTED_PEOPLE,
    DRIVER,
    DRIVER_CODES,
    NAMES,
    OTHER_CODES,
    PEDESTRIAN,
    PEDESTRIAN_MASS,
    PERSON_CODES,
    VEHICLE_CODES,
    Floats,
    equipment_used,
)
from include.accidents.schema import Label

Rows = npt.NDArray[np.bool_]

_FIRST_CALL = ("an", "mois", "jour", "hrmn", "dep", "com", "catv", "catu")
_DISPATCH = (*_FIRST_CALL, "catr", "vma", "agg", "int", "lum", "atm", "col")
_ON_SCENE = (
    *_DISPATCH,
    *("lat", "long", "circ", "nbv", "plan", "surf", "infra", "situ"),
    *("choc", "manv", "obs", "obsm"),
    *("place", "sexe", "an_nais", "secu1", "secu2", "secu3", "locp", "actp", "etatp"),
)
_RECORD = (*_ON_SCENE, "prof", "vosp", "larrout", "senc", "motor", "trajet")

FIELDS: Final[tuple[str, ...]] = tuple(name for name in _RECORD if name != "com")
"""The fields of a scene that features are made of; `com` only stands for `dep` and a position."""

ROUGH_YEARS: Final = 10
"""An age that is roughly known is known by its decade; the middle of the decade stands for it."""


@dataclass(frozen=True)
class Level:
    """One moment of knowledge.

    Attributes
    ----------
    name
        As the API and the metrics write it.
    label
        One sentence for people.
    fields
        The fields of a scene that are known. Vehicles and people are listed at every level.
    rough
        Fields that are known roughly: of `an_nais` the decade of the age.
    """

    name: str
    label: Label
    fields: frozenset[str]
    rough: frozenset[str] = frozenset()

    @property
    def unknown(self) -> frozenset[str]:
        """The fields that are not known, not even roughly."""
        return frozenset(FIELDS) - self.fields - self.rough


LEVELS: Final[Mapping[str, Level]] = {
    level.name: level
    for level in (
        Level(
            "first_call",
            Label(
                "Premier appel : le département ou la commune, le moment, les types de véhicules, combien de "
                "personnes, à pied ou non.",
                "First call: the département or commune, the moment, the kinds of vehicles, how many people, on foot "
                "or not.",
            ),
            frozenset(_FIRST_CALL),
        ),
        Level(
            "dispatch",
            Label(
                "Envoi des secours : aussi la route et sa limite, la lumière, la météo, la collision, les âges à peu "
                "près.",
                "Dispatch: also the road and its limit, the light, the weather, the collision, roughly the ages.",
            ),
            frozenset(_DISPATCH),
            frozenset({"an_nais"}),
        ),
        Level(
            "on_scene",
            Label(
                "Sur place : aussi la position exacte, les équipements, les manœuvres, les points de choc.",
                "On scene: also the exact position, the equipment, the manoeuvres, the points of impact.",
            ),
            frozenset(_ON_SCENE),
        ),
        Level(
            "record",
            Label("Dossier complet : tous les champs du fichier BAAC.", "Record: every field of the BAAC file."),
            frozenset(_RECORD),
        ),
    )
}
"""From the least to the most that is known."""

RECORD: Final = LEVELS["record"]

# Fields that apply to some scenes only, or repeat another: that they are absent says nothing of the level.
_SELDOM = frozenset({"com", "locp", "actp", "etatp", "secu2", "secu3", "vosp", "larrout", "obs", "obsm"})

POSITIONS: Final[Mapping[str, int]] = {name: i for i, name in enumerate(NAMES)}
"""The column of each feature."""
_AT: Final = POSITIONS
ROLES: Final = (
    ("age", "driver_age", "other_driver_age"),
    *((name, f"driver_{name}", f"other_driver_{name}") for name in DRIVER_CODES),
    *((name, f"other_{name}") for name in OTHER_CODES if name != "catv"),
)
"""Features that say the same of the person, of their driver or vehicle, and of the other one."""
_SLOTS: Final = ("secu1", "secu2", "secu3")
_OF_AGE: Final = ("age", "driver_age", "other_driver_age")
_OF_OTHERS_EQUIPMENT: Final = ("others_belt", "others_helmet", "others_no_equipment")
# Of a person whose role nobody knows, nothing is known of their vehicle either.
_OF_ROLE: Final = tuple(
    name
    for name in NAMES
    if name in VEHICLE_CODES
    or name.startswith(("other_", "driver_"))
    or name in ("catu", "on_board", "own_mass", "mass_ratio", "impact_side", "exposed", "exposed_others")
    or name in ("n_pedestrians", "lighter_people", "lightest_other", "in_other_vehicles")
)


def _features_of() -> dict[str, tuple[str, ...]]:
    """Return, for each field, the features that are missing without it."""
    found: dict[str, list[str]] = {field: [] for field in FIELDS}
    for name in (*ACCIDENT_CODES, "dep", "nbv", "vma", "larrout", *VEHICLE_CODES, *PERSON_CODES):
        found[name].append(name)
    for name in OTHER_CODES:
        found[name].append(f"other_{name}")
    for name in DRIVER_CODES:
        found[name] += [f"driver_{name}", f"other_driver_{name}"]
    for name in ("lat", "long"):  # one coordinate alone is no position
        found[name] += ["lat", "long", "accidents_near", "accidents_around"]
    found["hrmn"].append("hour")
    found["mois"] += ["month", "weekday", "holiday"]
    found["jour"] += ["weekday", "holiday"]
    found["an"] += ["weekday", "holiday", *_OF_AGE]
    found["an_nais"] += _OF_AGE
    found["place"].append("impact_side")
    found["choc"].append("impact_side")
    found["catv"] += [*(f"n_{group}" for group in CLASS_GROUPS), "other_mass", "mass_ratio"]
    return {field: tuple(names) for field, names in found.items()}


FEATURES_OF: Final[Mapping[str, tuple[str, ...]]] = _features_of()


def nearest(given: Collection[str]) -> Level:
    """Return the level whose fields are most like those that a scene gives; the lower one of two."""
    known = frozenset(given) - _SELDOM
    return min(LEVELS.values(), key=lambda level: len(known ^ _COUNTED[level.name]))


_COUNTED: Final = {level.name: level.fields - _SELDOM for level in LEVELS.values()}


def levels_of(x: Floats, accident: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """Return the position in `LEVELS` of the level of each accident, by the features of its people.

    Parameters
    ----------
    x
        Shape (people, features).
    accident
        The position of each person's accident, 0 to `n` - 1.
    """
    fields = [field for field in FIELDS if field not in _SELDOM]
    given = np.zeros((len(fields), n), dtype=np.bool_)
    for i, field in enumerate(fields):
        known = ~np.isnan(x[:, [_AT[name] for name in FEATURES_OF[field]]]).all(axis=1)
        given[i, accident[known]] = True
    wanted = np.array([[field in level.fields for field in fields] for level in LEVELS.values()])
    return np.asarray((given[None, :, :] != wanted[:, :, None]).sum(axis=1).argmin(axis=0))


# --- features without fields -------------------------------------------------------------------------------


def at_level(x: Floats, level: Level) -> Floats:
    """Return the features of the same people with what is known at a level, shape (people, features)."""
    hidden = without(x, level.unknown)
    if "an_nais" in level.rough:
        make_ages_rough(hidden, np.ones(len(hidden), dtype=np.bool_))
    return hidden


def without(x: Floats, fields: Iterable[str]) -> Floats:
    """Return the features of the same people when their scenes give some fields of nobody; `fields` of `FIELDS`."""
    hidden = x.copy(order="K")
    hide(hidden, {field: np.ones(len(x), dtype=np.bool_) for field in fields})
    return hidden


def drivers_alone(x: Floats) -> tuple[Floats, Rows]:
    """Return the features of the drivers when nobody has said who else there is, and which rows these are.

    So is a scene read that names the vehicles and leaves the people out.
    """
    drivers = x[:, _AT["catu"]] == DRIVER
    alone = x[drivers]
    for name in COUNTED_PEOPLE:
        alone[:, _AT[name]] = np.nan
    return alone, drivers


def hide(x: Floats, gone: Mapping[str, Rows]) -> None:
    """Make features missing, in place.

    Parameters
    ----------
    gone
        For each field, of which people it is gone; of an accident, it is gone of all people or of none.
    """
    nobody = np.zeros(len(x), dtype=np.bool_)
    missing = {field: gone.get(field, nobody) for field in FIELDS}
    # The seat tells the role where that is not given.
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
    """Hide what follows from the kinds of vehicles; that people on foot are light and exposed stays known."""
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
    """Read again what the slots that are left say; without the first one nothing is known of the others' equipment."""
    rows = np.logical_or.reduce([missing[slot] for slot in _SLOTS])
    if not rows.any():
        return
    for name, values in equipment_used([x[rows, _AT[slot]] for slot in _SLOTS]).items():
        x[rows, _AT[name]] = values
    with_others = missing["secu1"] & (x[:, _AT["n_people"]] > 1)
    for name in _OF_OTHERS_EQUIPMENT:
        x[with_others, _AT[name]] = np.nan


def make_ages_rough(x: Floats, rows: Rows) -> None:
    """Let the middle of its decade stand for each age, in place."""
    for name in _OF_AGE:
        ages = x[rows, _AT[name]]
        x[rows, _AT[name]] = np.floor(ages / ROUGH_YEARS) * ROUGH_YEARS + ROUGH_YEARS / 2
