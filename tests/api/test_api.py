"""The API against a real MLflow registry (SQLite and a folder), with models trained on generated accidents."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from api import scene_reader, scene_tables
from api.app import create_app
from api.schemas.scenes import EXAMPLE
from api.settings import ApiSettings, read_settings
from include.accidents.errors import ModelError, SettingsError
from include.accidents.features import definitions, matrix
from include.accidents.features.version import feature_version
from include.accidents.registry import loading, promotion, skops_files
from tests.api.world import KEY, SIGNING, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[TestClient]:
    promotion.promote(world.client, world.add(), SIGNING.encode(), "first")
    with TestClient(create_app(world.settings())) as client:
        for name in ("Forest", "BestModel"):
            assert client.post(f"/api/v1/reload_model/{name}", headers={"X-Api-Key": KEY}).status_code == 200
        yield client


def reload(client: TestClient, model: str, key: str | None = KEY) -> Any:
    return client.post(f"/api/v1/reload_model/{model}", headers={"X-Api-Key": key} if key else {})


def test_a_scene_gets_a_line_a_person(client: TestClient) -> None:
    answer = client.post("/api/v1/predict", json=EXAMPLE)
    assert answer.status_code == 200
    told = answer.json()
    assert told["model"]["name"] == "BestModel"
    assert told["model"]["trained_as"] == "Forest"
    (scene,) = told["scenes"]
    assert [p["vehicle"] for p in scene["people"]] == ["A", "B"]
    for person in scene["people"]:
        assert set(person["probabilities"]) == {"unharmed", "killed", "hospitalised", "light"}
        assert sum(person["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert person["class"] == max(person["probabilities"], key=person["probabilities"].get)


def test_the_answer_is_the_models_on_the_same_features(client: TestClient, world: World) -> None:
    version = loading.newest(world.client, "BestModel")
    assert version is not None
    loaded = loading.load(world.client, "BestModel", version, SIGNING.encode(), feature_version())
    expected = loaded.estimator.predict_proba(
        matrix.from_columns(*scene_tables.to_tables(scene_reader.read(json.dumps(EXAMPLE).encode())))
    )
    people = client.post("/api/v1/predict", json=EXAMPLE).json()["scenes"][0]["people"]
    np.testing.assert_allclose([list(p["probabilities"].values()) for p in people], expected, atol=1e-6)


def test_labels_say_the_same_as_codes(client: TestClient) -> None:
    said = json.loads(json.dumps(EXAMPLE))
    said["accident"]["agg"] = "Hors agglomération"
    said["people"][0]["catu"] = "driver"
    assert client.post("/api/v1/predict", json=said).json() == client.post("/api/v1/predict", json=EXAMPLE).json()


def test_a_list_of_scenes_gets_an_answer_each(client: TestClient) -> None:
    alone = {"people": [{"catu": 3}]}
    scenes = client.post("/api/v1/predict/Forest", json=[EXAMPLE, alone]).json()["scenes"]
    assert [len(scene["people"]) for scene in scenes] == [2, 1]
    assert scenes[0] == client.post("/api/v1/predict/Forest", json=EXAMPLE).json()["scenes"][0]


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"people": []}, "people"),
        ({"people": [{"catu": 7}]}, "people[0].catu"),
        ({"people": [{"colour": 7}]}, "people[0].colour"),
        ({"people": [{"grav": 2}]}, "people[0].grav"),
        ({"people": [{}], "accident": {"vma": 1e9}}, "accident.vma"),
        ({"people": [{}], "accident": {"hrmn": "25:00"}}, "accident.hrmn"),
        ({"people": [{}], "accident": {"dep": "999"}}, "accident.dep"),
        ({"people": [{"catu": True}]}, "people[0].catu"),
        ({"people": [{"vehicle": "Z"}]}, "people[0].vehicle"),
        ({"people": [{}] * 301}, "people"),
        ({"people": [{}], "vehicles": [{"id": "A"}, {"id": "A"}]}, "same id"),
    ],
)
def test_a_bad_field_is_named(client: TestClient, said: Any, field: str) -> None:
    answer = client.post("/api/v1/predict", json=said)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in answer.json()["detail"]
    assert "list[Scene]" not in answer.text


def test_not_a_number_is_refused(client: TestClient) -> None:
    for value in ("NaN", "Infinity", "1e999"):
        said = f'{{"people": [{{}}], "accident": {{"vma": {value}}}}}'
        answer = client.post("/api/v1/predict", content=said, headers={"content-type": "application/json"})
        assert answer.status_code == 422


def test_an_unknown_model_is_a_404_that_tells_what_is_loaded(client: TestClient) -> None:
    answer = client.post("/api/v1/predict/Oracle", json=EXAMPLE)
    assert answer.status_code == 404
    assert "Forest" in answer.json()["detail"]


@pytest.mark.parametrize("key", [None, "", "wrong", "é"])
def test_reloading_wants_the_key(client: TestClient, key: str | None) -> None:
    answer = client.post(
        "/api/v1/reload_model/Forest", headers={} if key is None else {"X-Api-Key": key.encode("latin-1")}
    )
    assert answer.status_code == 401


def test_a_reload_swaps_to_the_newest_version_and_says_so(client: TestClient, world: World) -> None:
    before = reload(client, "Forest").json()["version"]
    added = world.add(seed=int(before) + 10)
    assert reload(client, "Forest").json() == {
        "model": "Forest", "previous_version": before, "version": str(added.version)
    }  # fmt: skip
    assert client.post("/api/v1/predict/Forest", json=EXAMPLE).json()["model"]["version"] == str(added.version)


@pytest.mark.parametrize(
    ("spoilt", "told"), [({"key": "x" * 32}, "signature"), ({"version": "old"}, "trained on features old")]
)
def test_a_model_that_may_not_be_used_is_refused_and_the_old_one_stays(
    client: TestClient, world: World, spoilt: dict[str, str], told: str
) -> None:
    name = "Strange" + told[:3]
    good = world.add(name, seed=1)
    assert reload(client, name).status_code == 200
    world.add(name, seed=2, **spoilt)
    answer = reload(client, name)
    assert answer.status_code == 409
    assert told in answer.json()["detail"]
    assert client.post(f"/api/v1/predict/{name}", json=EXAMPLE).json()["model"]["version"] == str(good.version)


def test_a_version_seen_before_it_was_signed_is_served_once_it_is(client: TestClient, world: World) -> None:
    models = client.app.state.models  # type: ignore[attr-defined]
    version = str(world.add("Hasty", seed=8).version)
    signature = loading.signature(world.client, "Hasty", version)
    world.client.delete_model_version_tag("Hasty", version, "signature")
    models._catch_up()
    assert models.get("Hasty") is None
    world.client.set_model_version_tag("Hasty", version, "signature", signature)
    models._catch_up()
    assert models.get("Hasty").model.version == version


def test_a_model_that_cannot_be_fetched_for_a_while_is_tried_again_and_stops_no_other(
    client: TestClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = client.app.state.models  # type: ignore[attr-defined]
    version = str(world.add("Aside", seed=7).version)
    usual = loading.load

    def away(client: Any, name: str, *rest: Any) -> Any:
        if name == "Aside":
            raise OSError("connection refused")
        return usual(client, name, *rest)

    newer = str(world.add(seed=8).version)
    monkeypatch.setattr(loading, "load", away)
    models._catch_up()
    assert models.get("Aside") is None
    assert models.get("Forest").model.version == newer
    monkeypatch.setattr(loading, "load", usual)
    models._catch_up()
    assert models.get("Aside").model.version == version


def test_a_model_that_left_the_registry_is_served_no_more(client: TestClient, world: World) -> None:
    models = client.app.state.models  # type: ignore[attr-defined]
    world.add("Leaving", seed=9)
    models._catch_up()
    assert models.get("Leaving") is not None
    world.client.delete_registered_model("Leaving")
    models._catch_up()
    assert models.get("Leaving") is None
    assert client.post("/api/v1/predict/Leaving", json=EXAMPLE).status_code == 404
    assert 'name="Leaving"' not in client.get("/metrics").text


def test_a_forged_tag_breaks_the_signature(world: World) -> None:
    version = world.add("Forged", seed=3)
    world.client.set_model_version_tag("Forged", version.version, "sample", "false")
    with pytest.raises(ModelError, match="signature"):
        loading.load(world.client, "Forged", str(version.version), SIGNING.encode(), feature_version())


def test_a_type_that_is_not_on_the_list_is_refused() -> None:
    import skops.io

    class Stranger:
        pass

    Stranger.__module__, Stranger.__qualname__ = "tests.api.test_api", "World"
    with pytest.raises(ModelError, match="not on the list"):
        skops_files.loads(skops.io.dumps({"a": Path("x"), "b": World.__new__(World)}))


def test_fields_and_models_are_listed(client: TestClient) -> None:
    told = client.get("/api/v1/features").json()
    assert {f["name"] for f in told["features"]} == set(definitions.NAMES)
    assert any(c["fr"] == "Plein jour" for f in told["fields"] if f["name"] == "lum" for c in f["codes"])
    assert "grav" not in {f["name"] for f in told["fields"]}
    assert {m["name"] for m in client.get("/api/v1/models").json()} >= {"Forest", "BestModel"}


def test_without_a_model_it_lives_but_is_not_ready(tmp_path: Path) -> None:
    empty = ApiSettings(
        allowed_hosts="testserver",
        api_key=SecretStr(KEY),
        signing_key=SecretStr(SIGNING),
        MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/m.db",
    )
    with TestClient(create_app(empty)) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503
        assert client.post("/api/v1/predict", json=EXAMPLE).status_code == 503
        assert reload(client, "Forest").status_code == 409


def test_it_does_not_start_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite://")
    monkeypatch.delenv("ACCIDENTS_API_KEY", raising=False)
    monkeypatch.setenv("ACCIDENTS_SIGNING_KEY", "short")
    with pytest.raises(SettingsError, match="ACCIDENTS_API_KEY is not set, ACCIDENTS_SIGNING_KEY is shorter"):
        read_settings()
