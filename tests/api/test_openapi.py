"""Schemathesis asks what the OpenAPI allows, and what it does not, with every check on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection

from api.main import create_app
from include.accidents import registry
from tests.api.world import KEY, SIGNING, World, serve, wait_for

# A route: some twenty seconds in all. `make fuzz` asks more, and something else each time.
MORE = os.environ.get("ACCIDENTS_FUZZ_EXAMPLES")
MAX_EXAMPLES = int(MORE or 12)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    world = World(tmp_path_factory.mktemp("registry"))
    for seed in (1, 2):
        registry.promote(world.client, world.add(seed=seed), SIGNING.encode(), "x")
    return create_app(world.settings(wrong_keys_per_minute=100_000))


@pytest.fixture(scope="module")
def described(app: FastAPI) -> Iterator[Any]:
    with serve(app) as url:
        wait_for(app, "Forest", "BestModel")
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """People name vehicles of their scene and no two vehicles one name: a rule that JSON Schema cannot say."""
    for scene in body if isinstance(body, list) else [body]:
        if not isinstance(scene, dict) or not isinstance(scene.get("people"), list):
            continue
        vehicles = scene.get("vehicles")
        for i, vehicle in enumerate(vehicles if isinstance(vehicles, list) else []):
            if isinstance(vehicle, dict) and isinstance(vehicle.get("id"), str) and 0 < len(vehicle["id"]) <= 20:
                vehicle["id"] = f"V{i}"
        for person in scene["people"]:
            named = person.get("vehicle") if isinstance(person, dict) else None
            if isinstance(named, str) and 0 < len(named) <= 20:
                person["vehicle"] = "V0" if isinstance(vehicles, list) and vehicles else None
    return body


ROUTES = [
    ("POST", "/api/v1/predict"),
    ("POST", "/api/v1/predict/{model}"),
    ("POST", "/api/v1/predict-csv"),
    ("POST", "/api/v1/explain"),
    ("GET", "/api/v1/models"),
    ("GET", "/api/v1/features"),
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
