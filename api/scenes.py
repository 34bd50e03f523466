"""What a request may say: the scene of an accident, in the words of the BAAC files.

The fields come from the table of columns. A body is read and checked in one go, without an object a row: at
thousands of requests a second this is most of what an answer costs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NotRequired, Required

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, TypeAdapter, WithJsonSchema
from typing_extensions import TypedDict

from include.accidents.schema import DEPARTMENTS, Column, Kind, Table, columns, department_number

MAX_VEHICLES, MAX_PEOPLE, MAX_SCENES = 100, 300, 1000
MAX_PEOPLE_IN_ALL = 10_000
NOT_ASKED = frozenset({"num_acc", "grav", "adr", "voie", "v1", "v2", "pr", "pr1", "com", "id_usager"})
WHOLE_NUMBERS = frozenset({"day", "month", "year", "lanes", "people", "km/h"})
"""Units that come in whole numbers."""

_STRICT: Final = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class SceneError(ValueError):
    """A scene that contradicts itself; `defects` are pairs of field path and message."""

    def __init__(self, defects: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in defects))
        self.defects = defects


# --- fields ------------------------------------------------------------------------------------------------


def _choice(choices: Mapping[int | str, int | None], told: str, schema: Mapping[str, Any]) -> Any:
    """Return a type that reads one of the choices; a text is taken in any case."""
    folded = {key.casefold() if isinstance(key, str) else key: value for key, value in choices.items()}

    def read(value: Any) -> int | None:
        if value is None:
            return None
        value = _whole(value)
        if type(value) is int and value in folded:  # `True` is equal to 1 and no code
            return folded[value]
        if type(value) is str and (found := value.strip().casefold()) in folded:
            return folded[found]
        raise ValueError(f"{value!r:.60} is not {told}")

    return Annotated[int | None, PlainValidator(read), WithJsonSchema(dict(schema))]


def _whole(value: Any) -> Any:
    """Return a whole number as such: to JSON, 1.0 is one."""
    return int(value) if type(value) is float and value.is_integer() else value


def _any_of(*choices: int | str) -> dict[str, Any]:
    whole = sorted({c for c in choices if isinstance(c, int)})
    texts = sorted({c for c in choices if isinstance(c, str)})
    return {"anyOf": [{"type": "integer", "enum": whole}, {"type": "string", "enum": texts}, {"type": "null"}]}


def _code(column: Column) -> Any:
    choices: dict[int | str, int | None] = dict.fromkeys(column.missing)
    for code, label in column.codes.items():
        choices |= {code: code, str(code): code, label.fr: code, label.en: code}
    allowed = ", ".join(f"{code} ({label.en})" for code, label in column.codes.items())
    return _choice(choices, f"a code of {column.name}; allowed: {allowed}", _any_of(*choices))


def _department() -> Any:
    choices: dict[int | str, int | None] = {}
    for code, name in DEPARTMENTS.items():
        number = department_number(code)
        choices |= {code: number, name: number}
        if code.isdigit():
            choices |= {str(int(code)): number, int(code): number}
    told = "a department; give its INSEE code, for instance 59, 2A or 971, or its name"
    return _choice(choices, told, _any_of(*choices))


def _time_of_day() -> Any:
    pattern = r"^([01]?[0-9]|2[0-3]):[0-5][0-9]$"

    def read(value: Any) -> int | None:
        if value is None:
            return None
        if isinstance(value, str) and re.fullmatch(pattern[1:-1], value):
            hours, minutes = value.split(":")
            return 60 * int(hours) + int(minutes)
        raise ValueError(f"{value!r:.60} is not a time of day; write HH:MM")

    schema = {"anyOf": [{"type": "string", "pattern": pattern}, {"type": "null"}]}
    return Annotated[int | None, PlainValidator(read), WithJsonSchema(schema)]


def _type_of(column: Column) -> Any:
    if column.name == "dep":
        return _department()
    if column.name == "hrmn":
        return _time_of_day()
    if column.kind is Kind.CODE:
        return _code(column)
    if column.unit in WHOLE_NUMBERS:
        return Annotated[int | None, Field(ge=column.low, le=column.high), BeforeValidator(_whole)]
    return Annotated[float | None, Field(ge=column.low, le=column.high)]


def _about(column: Column) -> str:
    text = f"{column.label.en} ({column.label.fr})"
    if column.unit and column.name != "hrmn":
        text += f", {column.unit}"
    return text + "".join(f"; {code} {label.en}" for code, label in column.codes.items())


def asked(*tables: Table) -> tuple[Column, ...]:
    """Return the columns of these tables that a scene may give."""
    return tuple(
        column
        for table in tables
        for column in columns(table)
        if column.name not in NOT_ASKED and (column.kind in (Kind.CODE, Kind.NUMBER) or column.name == "dep")
    )


ACCIDENT: Final = asked(Table.CARACTERISTIQUES, Table.LIEUX)
VEHICLE: Final = asked(Table.VEHICULES)
PERSON: Final = asked(Table.USAGERS)

Mark = Annotated[str, Field(min_length=1, max_length=20)]


def _typed(name: str, about: str, of: Sequence[Column], **more: Any) -> Any:
    fields = {c.name: NotRequired[Annotated[_type_of(c), Field(description=_about(c))]] for c in of}
    make: Any = TypedDict  # the fields come from the table of columns, which type checkers cannot follow
    made = make(name, fields | more, total=False)
    made.__doc__, made.__pydantic_config__ = about, _STRICT
    return made


Accident: Any = _typed("Accident", "Circumstances and place.", ACCIDENT)
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
            Mark | None,
            Field(description="The id of the person's vehicle; of a pedestrian: of the vehicle that hit them."),
        ]
    ],
)

EXAMPLE: dict[str, Any] = {
    "accident": {
        "an": 2024, "mois": 11, "jour": 16, "hrmn": "18:40", "dep": "59", "agg": 1, "lum": 3, "atm": 2,
        "int": 1, "col": 1, "catr": 3, "circ": 2, "nbv": 2, "surf": 2, "vma": 80,
    },
    "vehicles": [{"id": "A", "catv": 7, "choc": 1, "manv": 1}, {"id": "B", "catv": 33, "choc": 1, "manv": 17}],
    "people": [
        {"vehicle": "A", "place": 1, "catu": 1, "sexe": 1, "an_nais": 1980, "secu1": 1},
        {"vehicle": "B", "place": 1, "catu": 1, "sexe": 1, "an_nais": 1998, "secu1": 2},
    ],
}  # fmt: skip
"""A car and a motorcycle, head-on, in codes."""

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
    "One accident: its circumstances and place, the vehicles, and the people. What is not known is left out.",
    (),
    accident=NotRequired[Accident],
    vehicles=NotRequired[Annotated[list[Vehicle], Field(max_length=MAX_VEHICLES)]],
    people=Required[Annotated[list[Person], Field(min_length=1, max_length=MAX_PEOPLE)]],
)
Scene.__pydantic_config__ = {**_STRICT, "json_schema_extra": {"examples": [EXAMPLE]}}

_ONE: Final[Any] = TypeAdapter(Scene)
_SEVERAL: Final[Any] = TypeAdapter(Annotated[list[Scene], Field(min_length=1, max_length=MAX_SCENES)])

Said = dict[str, Any]
"""A scene as it was said and checked: codes as numbers, None for what is not known."""


def read(body: bytes) -> list[Said]:
    """Read one scene or a list of scenes from JSON.

    Raises
    ------
    pydantic.ValidationError
        For what is no JSON, no scene, or holds a value that cannot be.
    SceneError
        For vehicles that share an id, people of a vehicle that is not there, or too many people in all.
    """
    several = body.lstrip()[:1] == b"["
    scenes: list[Said] = _SEVERAL.validate_json(body) if several else [_ONE.validate_json(body)]
    defects = [defect for i, scene in enumerate(scenes) for defect in _contradictions(scene, f"[{i}]." * several)]
    total = sum(len(scene["people"]) for scene in scenes)
    if total > MAX_PEOPLE_IN_ALL:
        defects.append(
            ("body", f"{total} people in all; send at most {MAX_PEOPLE_IN_ALL} at a time, or a CSV to predict-csv")
        )
    if defects:
        raise SceneError(defects)
    return scenes


def _contradictions(scene: Said, prefix: str) -> list[tuple[str, str]]:
    marks: set[str | None] = {None}
    defects = []
    for i, vehicle in enumerate(scene.get("vehicles", ())):
        if vehicle["id"] in marks:
            defects.append((f"{prefix}vehicles[{i}].id", f"two vehicles have the same id {vehicle['id']!r}"))
        marks.add(vehicle["id"])
    for i, person in enumerate(scene["people"]):
        if person.get("vehicle") not in marks:
            told = f"there is no vehicle {person['vehicle']!r} in this scene; give a vehicle of it this id"
            defects.append((f"{prefix}people[{i}].vehicle", told))
    return defects


def schemas() -> dict[str, Any]:
    """Return the JSON schemas of a scene and its parts, as components of the OpenAPI."""
    made = _ONE.json_schema(ref_template="#/components/schemas/{model}")
    return {**made.pop("$defs"), "Scene": made}


# --- scenes to tables --------------------------------------------------------------------------------------


Columns = dict[str, npt.NDArray[Any]]
"""The columns of one table by name: float32 with NaN for what is missing, links as positions (int64)."""


def to_tables(scenes: Sequence[Said]) -> tuple[Columns, Columns, Columns]:
    """Turn requests into the columns of accidents, vehicles and people that features are made from."""
    accidents: list[Said] = []
    vehicles: list[Said] = []
    people: list[Said] = []
    vehicle_of: list[int] = []
    accident_of_vehicle: list[int] = []
    accident_of_person: list[int] = []
    for i, scene in enumerate(scenes):
        accidents.append(scene.get("accident", {}))
        own = scene.get("vehicles", ())
        at: dict[str | None, int] = {None: -1}
        for vehicle in own:
            at[vehicle["id"]] = len(vehicles)
            vehicles.append(vehicle)
        accident_of_vehicle += [i] * len(own)
        those = scene["people"]
        people += those
        accident_of_person += [i] * len(those)
        vehicle_of += [at[person.get("vehicle")] for person in those]
    return (
        _columns(accidents, _OF_ACCIDENT),
        _columns(vehicles, _OF_VEHICLE) | {"accident": _positions(accident_of_vehicle)},
        _columns(people, _OF_PERSON) | {"accident": _positions(accident_of_person), "vehicle": _positions(vehicle_of)},
    )


_OF_ACCIDENT, _OF_VEHICLE, _OF_PERSON = (
    {column.name: i for i, column in enumerate(of)} for of in (ACCIDENT, VEHICLE, PERSON)
)


def _columns(said: Sequence[Said], names: Mapping[str, int]) -> Columns:
    """Fill one table, a value a field that was given; all else stays missing."""
    n = len(said)
    made = np.full((len(names), n), np.nan, dtype=np.float32)
    at: list[int] = []
    values: list[float] = []
    for row, fields in enumerate(said):
        for name, value in fields.items():
            if value is not None and name in names:
                at.append(names[name] * n + row)
                values.append(value)
    made.reshape(-1)[at] = values
    return dict(zip(names, made, strict=True))


def _positions(values: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.asarray(values, dtype=np.int64)
