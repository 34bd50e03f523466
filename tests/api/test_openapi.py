"""Schemathesis asks what the OpenAPI allows, and what it does not, with every check on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, settings

from api.main import create_app
from include.accidents import registry
from tests.api.world import KEY, SIGNING, World, serve, wait_for

MAX_EXAMPLES = 12  # a route: some twenty seconds in all


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


schema = schemathesis.pytest.from_fixture("described")


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


@schema.parametrize()
@settings(max_examples=MAX_EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_the_api_does_what_its_openapi_says(case: Any) -> None:
    case.call_and_validate(headers={"X-Api-Key": KEY} if case.path.endswith(("rollback", "{model}")) else {})
