"""The schema of a request: the scene of an accident, with the fields of the BAAC files.

The fields come from the table of columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, NotRequired, Required

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from api.schemas.fields import (
    ACCIDENT,
    PERSON,
    STRICT,
    VEHICLE,
    Mark,
    _about,
    _commune_code,
    mark_of_person,
    type_of,
)
from include.accidents.data.columns import Column

MAX_VEHICLES, MAX_PEOPLE, MAX_SCENES = 100, 300, 1000
MAX_PEOPLE_IN_ALL = 10_000

ScenePayload = dict[str, Any]
"""A scene as it was read and checked: codes as numbers, None for what is not known.

`people_assumed` is True when `people` was left out and filled with one driver a vehicle, `position_of_commune` when
`lat` and `long` are those of the commune `com`; else both keys are absent.
"""


def _typed(name: str, about: str, of: Sequence[Column], **more: Any) -> Any:
    fields = {c.name: NotRequired[Annotated[type_of(c), Field(description=_about(c))]] for c in of}
    make: Any = TypedDict  # the fields come from the table of columns, which type checkers cannot follow
    typed_dict = make(name, fields | more, total=False)
    typed_dict.__doc__, typed_dict.__pydantic_config__ = about, STRICT
    return typed_dict


Accident: Any = _typed(
    "Accident",
    "Circumstances and place. A position is lat and long together, in France or overseas.",
    ACCIDENT,
    com=NotRequired[
        Annotated[
            _commune_code(),
            Field(
                description="Commune (INSEE code, not the postal code). It gives dep and the position where these "
                "are left out. It must lie in dep where both are given."
            ),
        ]
    ],
)
Vehicle: Any = _typed(
    "Vehicle",
    "One vehicle, under a name that its people refer to.",
    VEHICLE,
    id=Required[Annotated[Mark, Field(description="A name for this vehicle, used by its people, for instance A.")]],
)
Person: Any = _typed(
    "Person",
    "One person.",
    PERSON,
    vehicle=NotRequired[
        Annotated[
            mark_of_person(),
            Field(description="The id of the person's vehicle; of a pedestrian: of the vehicle that hit them."),
        ]
    ],
)

EXAMPLE: dict[str, Any] = {
    "accident": {
        "an": 2024, "mois": 11, "jour": 16, "hrmn": "18:40", "com": "59350", "agg": 1, "lum": 3, "atm": 2,
        "int": 1, "col": 1, "catr": 3, "circ": 2, "nbv": 2, "surf": 2, "vma": 80,
    },
    "vehicles": [{"id": "A", "catv": 7, "choc": 1, "manv": 1}, {"id": "B", "catv": 33, "choc": 1, "manv": 17}],
    "people": [
        {"vehicle": "A", "place": 1, "catu": 1, "sexe": 1, "an_nais": 1980, "secu1": 1},
        {"vehicle": "B", "place": 1, "catu": 1, "sexe": 1, "an_nais": 1998, "secu1": 2},
    ],
}  # fmt: skip
"""A car and a motorcycle, head-on, in codes."""
EXAMPLE_IN_WORDS: Final = (
    "The scene: Lille, a Saturday in November, 18:40, dark, light rain, a main road (80 km/h); a car (A) and a large "
    "motorcycle (B), which overtakes, collide head-on."
)

EXAMPLE_IN_LABELS: dict[str, Any] = {
    "accident": {"dep": "Nord", "agg": "En agglomération", "lum": "Plein jour", "vma": 50},
    "vehicles": [{"id": "voiture", "catv": "VL seul", "choc": "Avant"}],
    "people": [
        {"vehicle": "voiture", "catu": "Conducteur", "secu1": "Ceinture"},
        {
            "vehicle": "voiture", "catu": "Piéton", "an_nais": 1950,
            "locp": "Sur passage piéton avec signalisation lumineuse",
        },
    ],
}  # fmt: skip
"""A pedestrian hit on a crossing, in French labels."""

Scene: Any = _typed(
    "Scene",
    "One accident: its circumstances and place, the vehicles, and the people. What is not known is left out. Without "
    "people, one driver in each vehicle is assumed; then vehicles are needed.",
    (),
    accident=NotRequired[Accident],
    vehicles=NotRequired[Annotated[list[Vehicle], Field(max_length=MAX_VEHICLES)]],
    people=NotRequired[
        Annotated[
            list[Person],
            Field(
                max_length=MAX_PEOPLE,
                description="Everybody involved. Left out or empty where not yet known: one driver in each vehicle is "
                "then assumed.",
            ),
        ]
    ],
)
_PEOPLE_OR_VEHICLES: Final = [
    {"required": [part], "properties": {part: {"type": "array", "minItems": 1}}} for part in ("people", "vehicles")
]
PARTS: Final = ("accident", "vehicles", "people")
Scene.__pydantic_config__ = {**STRICT, "json_schema_extra": {"examples": [EXAMPLE], "anyOf": _PEOPLE_OR_VEHICLES}}


ONE: Final[Any] = TypeAdapter(Scene)
SEVERAL: Final[Any] = TypeAdapter(Annotated[list[Scene], Field(min_length=1, max_length=MAX_SCENES)])


def schemas() -> dict[str, Any]:
    """Return the JSON schemas of a scene and its parts, as components of the OpenAPI."""
    scene = ONE.json_schema(ref_template="#/components/schemas/{model}")
    return {**scene.pop("$defs"), "Scene": scene}
