"""Schemathesis asks what the OpenAPI allows, and what it does not, with every check on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection

from api.app import create_app
from api.schemas import fields
from include.accidents.data.columns import Column, Kind
from include.accidents.registry import promotion
from tests.api.world import KEY, SIGNING, World, serve, wait_for

# A route: some twenty seconds in all. `make fuzz` asks more, and something else each time.
MORE = os.environ.get("ACCIDENTS_FUZZ_EXAMPLES")
MAX_EXAMPLES = int(MORE or 12)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    world = World(tmp_path_factory.mktemp("registry"))
    for seed in (1, 2):
        promotion.promote(world.client, world.add(seed=seed), SIGNING.encode(), "x")
    return create_app(world.settings(wrong_keys_per_minute=100_000))


@pytest.fixture(scope="module")
def described(app: FastAPI) -> Iterator[Any]:
    with serve(app) as url:
        wait_for(app, "Forest", "BestModel")
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Mend what JSON Schema cannot say of a scene; what is wrong in another way stays wrong."""
    for scene in body if isinstance(body, list) else [body]:
        if not isinstance(scene, dict):
            continue
        accidents, vehicles, people = (_dicts(scene.get(part)) for part in ("accident", "vehicles", "people"))
        for columns, rows in ((fields.ACCIDENT, accidents), (fields.VEHICLE, vehicles), (fields.PERSON, people)):
            for row in rows:
                _bring_texts_into_range(columns, row)
        for accident in accidents:
            _place(accident)
        _link(vehicles, people)
    return body


def _dicts(part: Any) -> list[dict[str, Any]]:
    return [row for row in (part if isinstance(part, list) else [part]) if isinstance(row, dict)]


def _bring_texts_into_range(columns: tuple[Column, ...], row: dict[str, Any]) -> None:
    """A number that is written as a text lies in the same range as one that is not."""
    for column in columns:
        value = row.get(column.name)
        if column.kind is not Kind.NUMBER or column.name == "hrmn" or not isinstance(value, str):
            continue
        if re.fullmatch(r"\s*[+-]?[0-9][0-9.,]*\s*", value):
            row[column.name] = f"{column.high:g}"


def _place(accident: dict[str, Any]) -> None:
    """A position has two coordinates and lies in France; a commune exists, and lies in the département."""
    given = [name for name in ("lat", "long") if name in accident]
    if all(_is_coordinate(accident[name], 90 if name == "lat" else 180) for name in given):
        accident.update(dict.fromkeys(given) if len(given) < 2 else {"lat": 48.85, "long": "2,35"})
    com = str(accident.get("com")).removesuffix(".0")  # to JSON, 1053.0 is a whole number
    if re.fullmatch(r"\s*([0-9]{4,5}|2[ABab][0-9]{3})\s*", com):
        accident["com"] = None if "dep" in accident else "59350"


def _is_coordinate(value: Any, high: float) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"\s*([+-]?[0-9][0-9.,]*)?\s*", value) is not None
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= high)


def _link(vehicles: list[dict[str, Any]], people: list[dict[str, Any]]) -> None:
    """No two vehicles have one name, and people name vehicles of their scene."""
    for i, vehicle in enumerate(vehicles):
        if isinstance(vehicle.get("id"), str) and 0 < len(vehicle["id"]) <= 20:
            vehicle["id"] = f"V{i}"
    for person in people:
        named = person.get("vehicle")
        if isinstance(named, str) and len(named) <= 20:
            person["vehicle"] = "V0" if vehicles else None


ROUTES = [
    ("POST", "/api/v1/predict"),
    ("POST", "/api/v1/predict/{model}"),
    ("POST", "/api/v1/predict-csv"),
    ("POST", "/api/v1/explain"),
    ("GET", "/api/v1/models"),
    ("GET", "/api/v1/features"),
    ("GET", "/api/v1/communes"),
    ("POST", "/api/v1/reload_model/{model}"),
    ("POST", "/api/v1/rollback"),
    ("GET", "/health"),
    ("GET", "/ready"),
    ("GET", "/metrics"),
]


def test_every_route_is_asked(described: Any) -> None:
    assert {(r.ok().method.upper(), r.ok().path) for r in described.get_all_operations()} == set(ROUTES)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_the_api_does_what_its_openapi_says(described: Any, method: str, path: str, mode: GenerationMode) -> None:
    operation = described[path][method]

    @settings(max_examples=MAX_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=not MORE)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        excluded = []
        if path.endswith("csv") and mode is GenerationMode.POSITIVE:  # a schema cannot say what a CSV holds
            case.body, case.media_type = b"num_acc;num_veh;catv;catu\n1;A;7;1\n1;A;7;2\n", "text/csv"
            excluded = [negative_data_rejection]  # it would take our own body for a wrong one
        case.call_and_validate(headers={"X-Api-Key": KEY} if method == "POST" else {}, excluded_checks=excluded)

    try:
        ask()
    except Unsatisfiable:  # a route that takes nothing cannot be asked wrongly
        assert mode is GenerationMode.NEGATIVE
