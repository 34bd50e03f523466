"""The levels of knowledge: which fields of a scene are known at each moment.

Sources: the dictionary defines each field. A first call brings what French emergency services ask a caller: where,
what kind of accident with which vehicles, how many people (the "alert" that first-aid courses and the driving licence
teach). Questions of the operator and the address add the road, the weather, the collision and rough ages. Those who
arrive see positions, equipment and damage. The police establish the rest afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from include.accidents.data.columns import Label

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
"""Ordered from the least to the most knowledge."""

RECORD: Final = LEVELS["record"]
