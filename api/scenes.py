"""What a request may say: the scene of an accident, in the words of the BAAC files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from include.accidents.raw import Scenes
from include.accidents.schema import Column, Kind, Table, columns, department_number

MAX_VEHICLES, MAX_PEOPLE, MAX_SCENES = 100, 300, 1000
NOT_ASKED = frozenset({"num_acc", "grav", "adr", "voie", "v1", "v2", "pr", "pr1", "com", "id_usager"})


class Strict(BaseModel):
    """Refuses unknown fields, NaN and infinity."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


def _code_reader(column: Column) -> Callable[[Any], Any]:
    by_label = {
        text.casefold(): code for code, label in column.codes.items() for text in (label.fr, label.en, str(code))
    }

    def read(value: Any) -> Any:
        if value is None or isinstance(value, bool) or not isinstance(value, (int, str)):
            if value is None:
                return None
            raise ValueError("give a code (a whole number) or its label")
        if isinstance(value, int) and value in column.missing:
            return None
        found = by_label.get(str(value).strip().casefold())
        if found is None:
            allowed = ", ".join(f"{code} ({label.en})" for code, label in list(column.codes.items())[:60])
            raise ValueError(f"{value!r:.60} is not a code of {column.name}; allowed: {allowed}")
        return found

    return read


def _department(value: Any) -> Any:
    if value is None:
        return None
    number = department_number(str(value)) if isinstance(value, (int, str)) and not isinstance(value, bool) else None
    if number is None:
        raise ValueError(f"{value!r:.60} is not a department; give its INSEE code, for instance 59, 2A or 971")
    return number


def _time_of_day(value: Any) -> Any:
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,2}):(\d{2})", value) if isinstance(value, str) else None
    if not found or int(found[1]) > 23 or int(found[2]) > 59:
        raise ValueError(f"{value!r:.60} is not a time of day; write HH:MM")
    return 60 * int(found[1]) + int(found[2])


def _field(column: Column) -> Any:
    about = f"{column.label.en} ({column.label.fr})"
    if column.name == "dep":
        kind: Any = Annotated[int | None, BeforeValidator(_department, json_schema_input_type=str | int | None)]
    elif column.name == "hrmn":
        kind = Annotated[int | None, BeforeValidator(_time_of_day, json_schema_input_type=str | None)]
    elif column.kind is Kind.CODE:
        about += ": " + "; ".join(f"{code} {label.en}" for code, label in column.codes.items())
        kind = Annotated[int | None, BeforeValidator(_code_reader(column), json_schema_input_type=int | str | None)]
    else:
        kind = Annotated[float | None, Field(ge=column.low, le=column.high)]
    return (kind, Field(default=None, description=about))


def _fields(*tables: Table) -> dict[str, Any]:
    return {
        column.name: _field(column)
        for table in tables
        for column in columns(table)
        if column.name not in NOT_ASKED and (column.kind in (Kind.CODE, Kind.NUMBER) or column.name == "dep")
    }


Mark = Annotated[str, Field(min_length=1, max_length=20)]

AccidentFields: Any = create_model("AccidentFields", __base__=Strict, **_fields(Table.CARACTERISTIQUES, Table.LIEUX))
VehicleFields: Any = create_model(
    "VehicleFields",
    __base__=Strict,
    **_fields(Table.VEHICULES),
)
PersonFields: Any = create_model(
    "PersonFields",
    __base__=Strict,
    **_fields(Table.USAGERS),
)


class Accident(AccidentFields):  # its fields come from the table of columns
    """Circumstances and place."""


class Vehicle(VehicleFields):
    """One vehicle, under a name that its people refer to."""

    id: Mark = Field(description="A name for this vehicle, used by its people, for instance A.")


class Person(PersonFields):
    """One person."""

    vehicle: Mark | None = Field(None, description="The person's vehicle; of a pedestrian: the vehicle that hit them.")


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


class Scene(Strict):
    """One accident: its circumstances and place, the vehicles, and the people. What is not known is left out."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, json_schema_extra={"examples": [EXAMPLE]})

    accident: Accident = Field(default_factory=Accident)
    vehicles: list[Vehicle] = Field(default_factory=list, max_length=MAX_VEHICLES)
    people: list[Person] = Field(min_length=1, max_length=MAX_PEOPLE)

    def model_post_init(self, _: Any) -> None:
        """Check that vehicles have distinct names and that people name one of them."""
        marks = [vehicle.id for vehicle in self.vehicles]
        if len(set(marks)) < len(marks):
            raise ValueError("two vehicles have the same id")
        for i, person in enumerate(self.people):
            if person.vehicle is not None and person.vehicle not in marks:
                raise ValueError(f"people[{i}].vehicle: there is no vehicle {person.vehicle!r} in this scene")


def to_tables(scenes: Sequence[Scene]) -> Scenes:
    """Turn requests into the canonical tables that features are made from."""
    vehicles = [(i, vehicle) for i, scene in enumerate(scenes) for vehicle in scene.vehicles]
    at: dict[tuple[int, str | None], int] = {
        (i, vehicle.id): position for position, (i, vehicle) in enumerate(vehicles)
    }
    people = [(i, person) for i, scene in enumerate(scenes) for person in scene.people]
    return Scenes(
        accidents=_frame(Accident, [scene.accident for scene in scenes]),
        vehicles=_frame(Vehicle, [v for _, v in vehicles]).assign(accident=_positions([i for i, _ in vehicles])),
        people=_frame(Person, [p for _, p in people]).assign(
            accident=_positions([i for i, _ in people]),
            vehicle=_positions([at.get((i, p.vehicle), -1) for i, p in people]),
        ),
    )


def _frame(kind: Any, rows: Sequence[Any]) -> pd.DataFrame:
    names = [name for name in kind.model_fields if name not in ("id", "vehicle")]
    # None becomes NaN: what is not given is missing.
    return pd.DataFrame({n: np.array([getattr(r, n) for r in rows], dtype=np.float32) for n in names})


def _positions(values: Sequence[int]) -> Any:
    return np.asarray(values, dtype=np.int64)
