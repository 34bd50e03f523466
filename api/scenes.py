"""What a request may say: the scene of an accident, in the words of the BAAC files.

The fields come from the table of columns. A body is read and checked in one go, without an object a row: at
thousands of requests a second this is most of what an answer costs.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NotRequired, Required

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema
from pydantic_core import from_json
from typing_extensions import TypedDict

from include.accidents import communes
from include.accidents.communes import Commune
from include.accidents.features import DRIVER, PEDESTRIAN
from include.accidents.schema import (
    COLUMNS,
    DEPARTMENTS,
    LETTER_CODES,
    NOT_GIVEN,
    Column,
    Kind,
    Table,
    columns,
    department_number,
    in_france,
)

MAX_VEHICLES, MAX_PEOPLE, MAX_SCENES = 100, 300, 1000
MAX_PEOPLE_IN_ALL = 10_000
MAX_MARK = 20  # characters of a vehicle's id
NOT_ASKED = frozenset({"num_acc", "grav", "adr", "voie", "v1", "v2", "pr", "pr1", "id_usager"})
WHOLE_NUMBERS = frozenset({"day", "month", "year", "lanes", "people", "km/h"})
"""Units that come in whole numbers."""

_STRICT: Final = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)

Defect = tuple[str, str]
"""The path of a field, and what is wrong with it."""


class SceneError(ValueError):
    """A request that is no scene or contradicts itself.

    Attributes
    ----------
    defects
        Pairs of field path and message.
    example
        The scene that was probably meant, where one can be made of the request.
    """

    def __init__(self, defects: Sequence[Defect], example: dict[str, Any] | None = None) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in defects))
        self.defects = defects
        self.example = example


# --- fields ------------------------------------------------------------------------------------------------

# The files write "not given" as -1 or as an empty cell; so may a request, in every field.
_NOTHING: Final[Mapping[int | str, None]] = dict.fromkeys((*NOT_GIVEN, *map(str, NOT_GIVEN), ""))
_BLANK: Final = {"type": "string", "pattern": r"^\s*$"}
_NULL: Final = {"type": "null"}


def _choice(choices: Mapping[int | str, int | None], expected: str, schema: Mapping[str, Any]) -> Any:
    """Return a type that reads one of the choices, or that it is not given; a text is taken in any case."""
    known: dict[Any, int | None] = {None: None, **_NOTHING, **choices}
    known |= {key.casefold(): value for key, value in known.items() if isinstance(key, str)}

    def read(value: Any) -> int | None:
        try:
            if type(value) is not bool:  # `True` is equal to 1 and no code
                return known[value]  # also of 1.0: to JSON, that is a whole number
        except (KeyError, TypeError):
            pass
        if type(value) is str and (text := value.strip().casefold()) in known:
            return known[text]
        raise ValueError(f"{_shown(value)} is not {expected}")

    return Annotated[int | None, PlainValidator(read), WithJsonSchema(dict(schema))]


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.60}"
    except ValueError:  # Python refuses to write such a number
        return "a number of thousands of digits"


def _any_of(*choices: int | str) -> dict[str, Any]:
    whole = sorted({c for c in (*choices, *_NOTHING) if isinstance(c, int)})
    texts = sorted({c for c in (*choices, *_NOTHING) if isinstance(c, str)})
    return {"anyOf": [{"type": "integer", "enum": whole}, {"type": "string", "enum": texts}, _BLANK, _NULL]}


def _code(column: Column) -> Any:
    choices: dict[int | str, int | None] = {}
    for value in column.missing:
        choices |= {value: None, str(value): None}
    for code, label in column.codes.items():
        choices |= {code: code, str(code): code, f"{code:02}": code, label.fr: code, label.en: code}
    for letter, code in LETTER_CODES.items() if column.name == "actp" else ():
        choices[letter] = code
    allowed = ", ".join(f"{code} ({label.en})" for code, label in column.codes.items())
    return _choice(choices, f"a code of {column.name}; allowed: {allowed}", _any_of(*choices))


def _department() -> Any:
    choices: dict[int | str, int | None] = {}
    for code, name in DEPARTMENTS.items():
        number = department_number(code)
        choices |= {code: number, name: number}
        if code.isdigit():
            choices |= {str(int(code)): number, int(code): number}
    expected = "a department; give its INSEE code, for instance 59, 2A or 971, or its name"
    return _choice(choices, expected, _any_of(*choices))


def _time_of_day() -> Any:
    choices: dict[int | str, int | None] = {}
    for minutes in range(24 * 60):
        hour, minute = divmod(minutes, 60)
        choices |= {f"{hour}:{minute:02}": minutes, f"{hour:02}:{minute:02}": minutes}
    schema = {
        "anyOf": [
            {"type": "string", "pattern": r"^(([01]?[0-9]|2[0-3]):[0-5][0-9]|-1|\s*)$"},
            {"type": "integer", "enum": sorted(NOT_GIVEN)},
            _NULL,
        ]
    }
    return _choice(choices, "a time of day; write HH:MM", schema)


def _number(column: Column) -> Any:
    """Return a type that reads a number within the column's range, also from a text, also with a decimal comma."""
    low, high, whole = column.low, column.high, column.unit in WHOLE_NUMBERS
    if low is None or high is None:
        raise ValueError(f"{column.name} has no range")
    missing = column.missing | NOT_GIVEN if column.name != "long" else column.missing  # France lies on 1° W, too
    expected = f"a {'whole ' * whole}number from {low:g} to {high:g}" + f" ({column.unit})" * bool(column.unit)

    def read(value: Any) -> float | None:
        number = _from_text(value) if type(value) is str else value
        if number is None:
            return None
        if type(number) is int or type(number) is float:
            if number in missing:
                return None
            if low <= number <= high and not (whole and number % 1):
                return int(number) if whole else float(number)
        raise ValueError(f"{_shown(value)} is not {expected}")

    digits = r"[+-]?[0-9]+([.,]0+)?" if whole else r"[+-]?[0-9]+([.,][0-9]+)?"
    schema = {
        "anyOf": [
            {"type": "integer" if whole else "number", "minimum": low, "maximum": high},
            {"type": "string", "pattern": rf"^\s*({digits})?\s*$"},
            _NULL,
        ]
    }
    outside = sorted(value for value in missing if not low <= value <= high)
    schema["anyOf"] += [{"type": "integer", "enum": outside}] if outside else []
    return Annotated[float | None, PlainValidator(read), WithJsonSchema(schema)]


_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?")


def _from_text(text: str) -> float | str | None:
    """Return the number that a text says, None for a blank one, and any other text as it is."""
    bare = text.strip()
    if not bare:
        return None
    return float(bare.replace(",", ".")) if _NUMBER.fullmatch(bare) else text


def _commune_code() -> Any:
    """Return a type that reads the INSEE code of a commune; a number may have lost its leading zero."""
    form = r"[0-9]{4,5}|2[ABab][0-9]{3}"
    expected = "the INSEE code of a commune, five characters, for instance 59350, 2A004 or 97411"

    def read(value: Any) -> str | None:
        if value is None:
            return None
        text = value.strip() if type(value) is str else ""
        if type(value) in (int, float) and value % 1 == 0 and abs(value) < 100_000:
            text = str(int(value))
        elif type(value) is not str:
            raise ValueError(f"{_shown(value)} is not {expected}")
        if text in _NOTHING:
            return None
        if not re.fullmatch(form, text):
            raise ValueError(f"{_shown(value)} is not {expected}")
        return text.zfill(5).upper()

    schema = {
        "anyOf": [
            {"type": "string", "pattern": rf"^\s*({form}|-1)?\s*$"},
            {"type": "integer", "minimum": 1000, "maximum": 99_999},
            {"type": "integer", "enum": sorted(NOT_GIVEN)},
            _NULL,
        ]
    }
    return Annotated[str | None, PlainValidator(read), WithJsonSchema(schema)]


def _mark_of_person() -> Any:
    """Return a type that reads the id of a person's vehicle. A blank or -1 is kept: it may be some vehicle's id."""

    def read(value: Any) -> str | None:
        if value is None or (type(value) is str and len(value) <= MAX_MARK):
            return value
        if type(value) is int and value in NOT_GIVEN:
            return str(value)
        raise ValueError(f"{_shown(value)} is not the id of a vehicle, a text of 1 to {MAX_MARK} characters")

    schema = {
        "anyOf": [{"type": "string", "maxLength": MAX_MARK}, {"type": "integer", "enum": sorted(NOT_GIVEN)}, _NULL]
    }
    return Annotated[str | None, PlainValidator(read), WithJsonSchema(schema)]


def _type_of(column: Column) -> Any:
    if column.name == "dep":
        return _department()
    if column.name == "hrmn":
        return _time_of_day()
    return _code(column) if column.kind is Kind.CODE else _number(column)


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

Mark = Annotated[str, Field(min_length=1, max_length=MAX_MARK)]


def _typed(name: str, about: str, of: Sequence[Column], **more: Any) -> Any:
    fields = {c.name: NotRequired[Annotated[_type_of(c), Field(description=_about(c))]] for c in of}
    make: Any = TypedDict  # the fields come from the table of columns, which type checkers cannot follow
    made = make(name, fields | more, total=False)
    made.__doc__, made.__pydantic_config__ = about, _STRICT
    return made


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
            _mark_of_person(),
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
_PARTS: Final = ("accident", "vehicles", "people")
_PEOPLE_OR_VEHICLES: Final = [
    {"required": [part], "properties": {part: {"type": "array", "minItems": 1}}} for part in ("people", "vehicles")
]
Scene.__pydantic_config__ = {**_STRICT, "json_schema_extra": {"examples": [EXAMPLE], "anyOf": _PEOPLE_OR_VEHICLES}}

_ONE: Final[Any] = TypeAdapter(Scene)
_SEVERAL: Final[Any] = TypeAdapter(Annotated[list[Scene], Field(min_length=1, max_length=MAX_SCENES)])

Said = dict[str, Any]
"""A scene as it was read and checked: codes as numbers, None for what is not known.

`people_assumed` is True when `people` was left out and filled with one driver a vehicle, `position_of_commune` when
`lat` and `long` are those of the commune `com`; else both keys are absent.
"""


def read(body: bytes) -> list[Said]:
    """Read one scene or a list of scenes from JSON.

    Raises
    ------
    pydantic.ValidationError
        For what is no JSON, no scene, or holds a value that cannot be.
    SceneError
        For a flat record; a scene without people and vehicles; vehicles that share an id; people of a vehicle that is
        not there; a commune or a position that cannot be; too many people in all.
    """
    several = body.lstrip()[:1] == b"["
    try:
        scenes: list[Said] = _SEVERAL.validate_json(body) if several else [_ONE.validate_json(body)]
    except ValidationError as error:
        flat = _flat_record(body)
        if flat is None:
            raise
        raise flat from error
    defects: list[Defect] = []
    for i, scene in enumerate(scenes):
        defects += _complete(scene, f"[{i}]." if several else "")
    total = sum(len(scene.get("people", ())) for scene in scenes)
    if total > MAX_PEOPLE_IN_ALL:
        defects.append(
            ("body", f"{total} people in all; send at most {MAX_PEOPLE_IN_ALL} at a time, or a CSV to predict-csv")
        )
    if defects:
        raise SceneError(defects)
    return scenes


def _complete(scene: Said, prefix: str) -> list[Defect]:
    """Fill in what follows from the rest of the scene, in place; return what contradicts it."""
    defects = [] if scene.get("people") else _assume_people(scene, prefix)
    accident = scene.get("accident")
    if accident and ("com" in accident or "lat" in accident or "long" in accident):
        defects += _position_defects(accident, prefix)
        if accident.get("com") is not None:
            defects += _place_in_commune(scene, accident, prefix)
    return defects + _contradictions(scene, prefix)


def _assume_people(scene: Said, prefix: str) -> list[Defect]:
    vehicles = scene.get("vehicles")
    if not vehicles:
        message = "are missing, and vehicles too; give the people, or vehicles alone: one driver in each is assumed"
        return [(f"{prefix}people", message)]
    scene["people"] = [{"vehicle": vehicle["id"], "catu": DRIVER} for vehicle in vehicles]
    scene["people_assumed"] = True
    return []


def _contradictions(scene: Said, prefix: str) -> list[Defect]:
    marks: set[str | None] = {None}
    defects = []
    for i, vehicle in enumerate(scene.get("vehicles", ())):
        if vehicle["id"] in marks:
            defects.append((f"{prefix}vehicles[{i}].id", f"two vehicles have the same id {vehicle['id']!r}"))
        marks.add(vehicle["id"])
    for i, person in enumerate(scene.get("people", ())):
        mark = person.get("vehicle")
        if mark in marks:
            continue
        if mark.strip() in _NOTHING:
            person["vehicle"] = None
        else:
            message = f"there is no vehicle {mark!r} in this scene; give a vehicle of it this id"
            defects.append((f"{prefix}people[{i}].vehicle", message))
    return defects


# --- the place ---------------------------------------------------------------------------------------------

# Guadeloupe's until 2007, and so in the files of these years.
_FORMER_CODES: Final[Mapping[str, str]] = {"97123": "97701", "97127": "97801"}
_CODE_OF: Final = {department_number(code): code for code in DEPARTMENTS}


def _position_defects(accident: Said, prefix: str) -> list[Defect]:
    lat, long = accident.get("lat"), accident.get("long")
    # The files write 0 and 0, or -1 and -1, where nobody located the accident; alone, both may be a longitude.
    if lat is None and "lat" in accident and long in (0, *NOT_GIVEN):
        accident["long"] = long = None
    if lat is None and long is None:
        return []
    if lat is None or long is None:
        missing, given = ("lat", "long") if lat is None else ("long", "lat")
        return [(f"{prefix}accident.{missing}", f"is missing; give it, or leave {given} out too")]
    if in_france(lat, long):
        return []
    return [(f"{prefix}accident.lat", f"lat {lat}, long {long} lies outside France; {_remedy(lat, long)}")]


def _remedy(lat: float, long: float) -> str:
    for wrong, (north, east) in {
        "lat and long are swapped": (long, lat),
        "long has lost its sign": (lat, -long),
        "lat has lost its sign": (-lat, long),
        "lat and long have lost their signs": (-lat, -long),
    }.items():
        if in_france(north, east):
            return f"{wrong}: lat {north}, long {east} lies in France"
    return "give degrees (WGS84) of a place in France or overseas, or leave both out"


def _place_in_commune(scene: Said, accident: Said, prefix: str) -> list[Defect]:
    """Set the département and the position from the commune where they are not given."""
    code, department = accident["com"], accident.get("dep")
    commune = communes.find(_FORMER_CODES.get(code, code))
    if commune is None:
        return [(f"{prefix}accident.com", _no_such_commune(code))]
    if department is None:
        accident["dep"] = department_number(commune.department)
    elif department not in _departments(code, commune):
        lies, given = _CODE_OF[department_number(commune.department)], _CODE_OF[department]
        message = (
            f"{commune.name} ({code}) lies in département {lies} ({DEPARTMENTS[lies]}), "
            f"not in {given} ({DEPARTMENTS[given]}); correct com or dep, or leave dep out"
        )
        return [(f"{prefix}accident.com", message)]
    if accident.get("lat") is None and accident.get("long") is None and not math.isnan(commune.lat):
        accident |= {"lat": commune.lat, "long": commune.long}
        scene["position_of_commune"] = True
    return []


def _departments(code: str, commune: Commune) -> set[int | None]:
    """Return the commune's département, and that of its code: communes that moved were in it."""
    former = code[:3] if code.startswith(("97", "98")) else code[:2]
    return {department_number(commune.department), department_number(former)}


def _no_such_commune(code: str) -> str:
    near = ", ".join(f"{commune.code} ({commune.name})" for commune in communes.closest(code))
    remedy = f"the closest are {near}" if near else "its first two characters are the département's"
    return f"there is no commune {code}; {remedy}; give an INSEE code, not a postal code"


# --- a flat record -----------------------------------------------------------------------------------------

_PART_OF: Final[Mapping[str, str]] = {
    name: part
    for part, of in zip(_PARTS, (ACCIDENT, VEHICLE, PERSON), strict=True)
    for name in (column.name for column in of)
} | {"com": "accident"}
_LEFT_OUT: Final = {column.name for column in COLUMNS} | {"id", "vehicle"}
"""Fields of the files, and of a scene's form, that tell nothing of how the accident happened."""

MAX_NAMES = 10  # of unknown fields that a message lists
MAX_SHOWN = 60  # characters of a value or a name that a message shows


def _flat_record(body: bytes) -> SceneError | None:
    """Return what to say of a body with one person's fields side by side; None for any other body."""
    try:
        content = from_json(body)
    except ValueError:
        return None
    records = content if isinstance(content, list) else [content]
    at, record = next(((i, each) for i, each in enumerate(records) if _is_flat(each)), (0, None))
    if record is None:
        return None
    scene, unknown = _nested(record)
    which = f"[{at}]" if isinstance(content, list) else "this"
    message = f"{which} is a flat record; a scene has the parts {', '.join(_PARTS[:-1])} and {_PARTS[-1]}. "
    message += f"Send your values as {orjson.dumps(scene).decode()}"
    if unknown:
        names = ", ".join(name[:MAX_SHOWN] for name in unknown[:MAX_NAMES])
        more = f" and {len(unknown) - MAX_NAMES} more" if len(unknown) > MAX_NAMES else ""
        message += f". Left out, as no fields of a scene: {names}{more}"
    return SceneError([("body", message)], scene)


def _is_flat(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and not any(part in record for part in _PARTS)
        and any(name.casefold() in _PART_OF for name in record)
    )


def _nested(record: Mapping[str, Any]) -> tuple[Said, list[str]]:
    """Return a record's values as a scene, and the names that no scene has."""
    parts: dict[str, Said] = {part: {} for part in _PARTS}
    unknown = []
    for key, value in record.items():
        name = key.casefold()
        if name not in _PART_OF:
            unknown += [key] if name not in _LEFT_OUT else []
        elif _is_plain(value):
            parts[_PART_OF[name]][name] = value[:MAX_SHOWN] if isinstance(value, str) else value
    accident, vehicle, person = (parts[part] for part in _PARTS)
    scene: Said = {"accident": accident} if accident else {}
    if vehicle:
        scene["vehicles"] = [{"id": "A", **vehicle}]
    if person or not vehicle:
        scene["people"] = [{"vehicle": "A", **person} if vehicle else person]
    return scene, unknown


def _is_plain(value: Any) -> bool:
    """Tell whether a value is one that a message can show."""
    if isinstance(value, int | float):
        return abs(value) < 1 << 53  # neither infinite nor longer than JSON's readers take
    return isinstance(value, str)


# --- the schema --------------------------------------------------------------------------------------------


def schemas() -> dict[str, Any]:
    """Return the JSON schemas of a scene and its parts, as components of the OpenAPI."""
    made = _ONE.json_schema(ref_template="#/components/schemas/{model}")
    return {**made.pop("$defs"), "Scene": made}


# --- scenes to tables --------------------------------------------------------------------------------------


Columns = dict[str, npt.NDArray[Any]]
"""The columns of one table by name: float32 with NaN for what is missing, links as positions (int64)."""


def to_tables(scenes: Sequence[Said]) -> tuple[Columns, Columns, Columns]:
    """Turn requests into the columns of accidents, vehicles and people that features are made from.

    The accidents have one column more: `people_assumed`, 1 where the people were not given, else 0.
    """
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
    assumed = np.array(["people_assumed" in scene for scene in scenes], dtype=np.float32)
    return (
        _columns(accidents, _OF_ACCIDENT) | {"people_assumed": assumed},
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


# --- what is given -----------------------------------------------------------------------------------------

_OF_PEDESTRIANS: Final = frozenset({"locp", "actp", "etatp"})
_POSITION: Final = frozenset({"lat", "long"})
_LINKS: Final = frozenset({"id", "vehicle"})
_MORE_EQUIPMENT: Final = frozenset({"secu2", "secu3"})


def given_fields(scene: Said) -> frozenset[str]:
    """Return the names of the fields that a scene gives.

    A field of vehicles or people counts when at least half of them give it; what only pedestrians have, when half of
    those on foot do (of all people, where nobody is). Further equipment counts as given with the first. A position
    that stands for the commune is not given, nor is anything of people who are only assumed.
    """
    accident = scene.get("accident", {})
    given = {name for name, value in accident.items() if value is not None}
    if "position_of_commune" in scene:
        given -= _POSITION
    given |= _given_by_half(scene.get("vehicles", ()))
    if "people_assumed" not in scene:
        people = scene["people"]
        of_people = _given_by_half(people)
        on_foot = [person for person in people if person.get("catu") == PEDESTRIAN]
        if on_foot:
            of_people = (of_people - _OF_PEDESTRIANS) | (_given_by_half(on_foot) & _OF_PEDESTRIANS)
        if "secu1" in of_people:
            of_people |= _MORE_EQUIPMENT
        given |= of_people
    return frozenset(given - _LINKS)


def _given_by_half(rows: Sequence[Said]) -> set[str]:
    names = [name for row in rows for name, value in row.items() if value is not None]
    if len(rows) <= 2:  # of two, one is half
        return set(names)
    return {name for name, count in Counter(names).items() if 2 * count >= len(rows)}
