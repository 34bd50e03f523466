"""The fields of a request: a type for each column, with its codes, labels, ranges and units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, PlainValidator, WithJsonSchema

from include.accidents.data.columns import LETTER_CODES, NOT_GIVEN, Column, Kind, Table, columns
from include.accidents.data.departments import DEPARTMENTS, department_number

MAX_MARK = 20  # characters of a vehicle's id
NOT_ASKED = frozenset({"num_acc", "grav", "adr", "voie", "v1", "v2", "pr", "pr1", "id_usager"})
WHOLE_NUMBERS = frozenset({"day", "month", "year", "lanes", "people", "km/h"})
"""Units that come in whole numbers."""

STRICT: Final = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


# --- fields ------------------------------------------------------------------------------------------------

# The files write "not given" as -1 or as an empty cell; so may a request, in every field.
_NOTHING: Final[Mapping[int | str, None]] = dict.fromkeys((*NOT_GIVEN, *map(str, NOT_GIVEN), ""))
_BLANK: Final = {"type": "string", "pattern": r"^\s*$"}
_NULL: Final = {"type": "null"}


def _choice(choices: Mapping[int | str, int | None], expected: str, schema: Mapping[str, Any]) -> Any:
    """Return a type that reads one of the choices, or "not given"; upper and lower case are the same."""
    known: dict[Any, int | None] = {None: None, **_NOTHING, **choices}
    known |= {key.casefold(): value for key, value in known.items() if isinstance(key, str)}

    def read(value: Any) -> int | None:
        try:
            if type(value) is not bool:  # `True` equals 1, but is not a code
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
    """Return the number in a text, None for a blank one, and any other text as it is."""
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


def mark_of_person() -> Any:
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


def type_of(column: Column) -> Any:
    """Return the type of a field, as pydantic reads it."""
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
