"""The API as callers meet it: served by uvicorn, asked by many at once, by mistaken ones and by strangers."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import json
import threading
import weakref
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from sklearn.preprocessing import FunctionTransformer

from api import uploads
from api.app import create_app
from api.models import Models
from api.schemas.scenes import EXAMPLE
from include.accidents.features import matrix
from include.accidents.features.version import feature_version
from include.accidents.models import evaluate
from include.accidents.registry import loading, promotion, skops_files
from tests.api.world import KEY, SIGNING, World, serve, wait_for
from tests.helpers import sample_files, sample_scenes

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("registry"))
    promotion.promote(made.client, made.add(seed=1), SIGNING.encode(), "first")
    return made


@pytest.fixture(scope="module")
def app(world: World) -> FastAPI:
    return create_app(world.settings(max_body_bytes=100_000, max_upload_bytes=4 << 20))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[httpx.Client]:
    with serve(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        wait_for(app, "Forest", "BestModel")
        yield client


def keyed(client: httpx.Client, path: str) -> httpx.Response:
    return client.post(path, headers={"X-Api-Key": KEY})


def test_an_onnx_copy_answers_scenes_files_and_explanations_as_the_library_does(
    client: httpx.Client, world: World
) -> None:
    for name, copied in (("Copied", True), ("Plain", False)):
        world.add(name, of="Boosted", copied=copied)
        assert keyed(client, f"/api/v1/reload_model/{name}").status_code == 200
    engines = {model["name"]: model["engine"] for model in client.get("/api/v1/models").json()}
    assert {"Copied": "onnxruntime", "Plain": "scikit-learn", "Forest": "scikit-learn"}.items() <= engines.items()
    merged = uploads.merged(sample_scenes(2022))
    answers: dict[str, Any] = {}
    for name in ("Copied", "Plain"):
        query = {"params": {"model": name}}
        scenes = [client.post(f"/api/v1/predict/{name}", json=scene(i)).json()["scenes"][0] for i in range(20)]
        file = client.post("/api/v1/predict-csv", content=merged, headers={"content-type": "text/csv"}, **query)
        explained = client.post("/api/v1/explain", json=EXAMPLE, **query).json()
        assert explained["model"]["name"] == name
        answers[name] = (
            [person["probabilities"] for each in scenes for person in each["people"]],
            [{f"p_{label}": float(row[f"p_{label}"]) for label in evaluate.CLASSES} for row in rows_of(file)],
            [field["changes"] for field in sorted(explained["fields"], key=lambda each: each["field"])],
        )
    for ours, theirs in zip(*answers.values(), strict=True):
        assert len(ours) > 10
        for one, other in zip(ours, theirs, strict=True):
            assert one == pytest.approx(other, abs=3e-6)  # the copy within 1e-6, and rounding to six digits


# --- many at once ------------------------------------------------------------------------------------------


def scene(i: int) -> dict[str, Any]:
    vehicles = [{"id": "A", "catv": (7, 33, 1, 14)[i % 4], "choc": i % 9}]
    person = {"vehicle": "A", "catu": 1 + i % 3, "sexe": 1 + i % 2, "an_nais": 1930 + i, "secu1": i % 3, "place": 1}
    return {"accident": {"agg": 1 + i % 2, "vma": 30 + 10 * (i % 9)}, "vehicles": vehicles, "people": [person]}


def metric(client: httpx.Client, name: str) -> float:
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def test_requests_that_wait_together_are_predicted_together_and_answered_apart(client: httpx.Client) -> None:
    asked = [scene(i) for i in range(80)]
    alone = [client.post("/api/v1/predict", json=each).json()["scenes"] for each in asked]
    batches, requests = (metric(client, f"accidents_batch_requests_{x}") for x in ("count", "sum"))
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda each: client.post("/api/v1/predict", json=each).json()["scenes"], asked))
    assert together == alone
    assert len({json.dumps(scene) for scene in alone}) > 2, "answers that are all alike would hide a mix-up"
    assert metric(client, "accidents_batch_requests_sum") - requests == len(asked)
    assert metric(client, "accidents_batch_requests_count") - batches < len(asked)


def test_reloads_lose_and_mix_no_answer(client: httpx.Client, world: World) -> None:
    first, second = loading.newest(world.client, "BestModel"), None
    second = str(promotion.promote(world.client, world.add(seed=2), SIGNING.encode(), "second").version)
    keyed(client, "/api/v1/reload_model/BestModel")
    stop, seen, failed = threading.Event(), [], []

    def ask() -> None:
        while not stop.is_set():
            answer = client.post("/api/v1/predict", json=EXAMPLE)
            (seen if answer.status_code == 200 else failed).append(answer)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for version in (first, second, first, second):
        world.client.set_registered_model_alias("BestModel", "production", version)
        assert keyed(client, "/api/v1/reload_model/BestModel").json()["version"] == version
        assert client.post("/api/v1/predict", json=EXAMPLE).json()["model"]["version"] == version
    stop.set()
    for asker in askers:
        asker.join()
    assert not failed
    scenes_of: dict[str, set[str]] = {}
    for answer in seen:
        told = answer.json()
        scenes_of.setdefault(told["model"]["version"], set()).add(json.dumps(told["scenes"]))
    assert set(scenes_of) <= {first, second}
    assert all(len(scenes) == 1 for scenes in scenes_of.values()), "an answer mixes versions"


def test_what_is_garbage_when_a_model_is_loaded_does_not_stay(client: httpx.Client, world: World) -> None:
    class Node:
        itself: Node

    node = Node()
    node.itself, gone = node, weakref.ref(node)
    del node
    promotion.promote(world.client, world.add(seed=5), SIGNING.encode(), "another")
    keyed(client, "/api/v1/reload_model/BestModel").raise_for_status()
    gc.collect()
    assert gone() is None


def test_rolling_back_serves_the_version_before(client: httpx.Client, world: World) -> None:
    before = loading.newest(world.client, "BestModel")
    newer = str(promotion.promote(world.client, world.add(seed=3), SIGNING.encode(), "third").version)
    keyed(client, "/api/v1/reload_model/BestModel")
    assert keyed(client, "/api/v1/rollback").json() == {
        "model": "BestModel", "previous_version": newer, "version": before
    }  # fmt: skip
    assert client.post("/api/v1/predict", json=EXAMPLE).json()["model"]["version"] == before
    assert loading.newest(world.client, "BestModel") == before


def test_rolling_back_to_a_version_that_may_not_be_used_changes_nothing(client: httpx.Client, world: World) -> None:
    current = str(promotion.promote(world.client, world.add(seed=4), SIGNING.encode(), "fourth").version)
    world.client.set_registered_model_alias("BestModel", "production", "1")
    keyed(client, "/api/v1/reload_model/BestModel")
    answer = keyed(client, "/api/v1/rollback")
    assert answer.status_code == 409
    assert "no version of BestModel before version 1" in answer.json()["detail"]
    world.client.set_registered_model_alias("BestModel", "production", current)
    for earlier in range(1, int(current)):
        world.client.set_model_version_tag("BestModel", str(earlier), "signature", "forged")
    keyed(client, "/api/v1/reload_model/BestModel")
    answer = keyed(client, "/api/v1/rollback")
    assert answer.status_code == 409
    assert "signature" in answer.json()["detail"]
    assert loading.newest(world.client, "BestModel") == current
    assert client.post("/api/v1/predict", json=EXAMPLE).json()["model"]["version"] == current


def unchanged(x: Any) -> Any:
    """A function that no model may bring along."""
    return x


def test_a_model_with_a_type_that_is_not_on_the_list_is_refused_and_the_old_one_stays(
    client: httpx.Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = world.add("Typed", seed=1)
    assert keyed(client, "/api/v1/reload_model/Typed").status_code == 200
    stranger = "tests.api.test_serving.unchanged"
    # It is signed where the list is another one; the API's reader has today's.
    monkeypatch.setattr(skops_files, "TRUSTED_TYPES", (*skops_files.TRUSTED_TYPES, stranger))
    world.add("Typed", seed=2, first=FunctionTransformer(unchanged))
    answer = keyed(client, "/api/v1/reload_model/Typed")
    assert answer.status_code == 409
    assert stranger in answer.json()["detail"]
    asked = client.post("/api/v1/predict/Typed", json=EXAMPLE).json()
    assert asked["model"]["version"] == str(good.version)


def test_served_requests_are_counted(client: httpx.Client) -> None:
    def told() -> dict[str, Any]:
        return next(m for m in client.get("/api/v1/models").json() if m["name"] == "Forest")

    before = told()["requests"]
    client.post("/api/v1/predict/Forest", json=EXAMPLE)
    assert told()["requests"] == before + 1
    assert told()["data_version"] == "d"


def test_the_worst_and_the_expected_follow_from_the_lines(client: httpx.Client) -> None:
    (scene,) = client.post("/api/v1/predict", json=EXAMPLE).json()["scenes"]
    worst = max(scene["people"], key=lambda person: person["severe_probability"])
    assert scene["worst"] == {key: worst[key] for key in ("person", "class", "severe_probability")}
    for name, expected in scene["expected"].items():
        assert expected == pytest.approx(sum(p["probabilities"][name] for p in scene["people"]), abs=1e-5)
    for person in scene["people"]:
        severe = person["probabilities"]["killed"] + person["probabilities"]["hospitalised"]
        assert person["severe_probability"] == pytest.approx(severe, abs=1e-5)
        assert person["severe"] == (person["severe_probability"] >= scene["severe_threshold"])
    assert scene["alert"] == (scene["p_any_severe"] >= scene["alert_threshold"])
    assert scene["p_any_killed"] <= scene["p_any_severe"]
    assert (scene["level"], list(scene["assumed"])) == ("on_scene", ["position"])


def test_a_call_that_names_the_vehicles_alone_is_answered_and_says_what_was_assumed(client: httpx.Client) -> None:
    called = {
        "accident": {"com": "59350", "hrmn": "18:40"},
        "vehicles": [{"id": "A", "catv": 7}, {"id": "B", "catv": 33}],
    }
    (scene,) = client.post("/api/v1/predict", json=called).json()["scenes"]
    assert [person["vehicle"] for person in scene["people"]] == ["A", "B"]
    assert (scene["level"], scene["sharpen"][0]) == ("first_call", "people")
    assert "driver" in scene["assumed"]["people"]
    assert "Lille (59350)" in scene["assumed"]["position"]
    emptied = {**called, "people": []}
    assert client.post("/api/v1/predict", json=emptied).json()["scenes"] == [scene]


def test_what_sharpens_an_answer_is_what_the_scene_does_not_give(client: httpx.Client) -> None:
    called = {"accident": {"dep": "59"}, "vehicles": [{"id": "A", "catv": 7}], "people": [{"vehicle": "A", "catu": 1}]}
    (scene,) = client.post("/api/v1/predict", json=called).json()["scenes"]
    assert 2 <= len(scene["sharpen"]) <= 3
    assert not {"accident.dep", "vehicles.catv", "people.catu", "people.locp"} & set(scene["sharpen"])
    more = {"com": "59350", "vma": 50, "catr": 3, "lum": 1, "agg": 1, "atm": 1, "int": 1, "col": 3}
    (sharper,) = client.post("/api/v1/predict", json={**called, "accident": more}).json()["scenes"]
    # The commune stands for the position: a caller on the phone has no coordinates.
    assert not {f"accident.{name}" for name in (*more, "lat")} & set(sharper["sharpen"])


def test_the_communes_are_found_by_the_beginning_of_their_name(client: httpx.Client) -> None:
    found = client.get("/api/v1/communes", params={"name": "saint-den", "department": "974"}).json()
    assert [(c["code"], c["name"]) for c in found] == [("97411", "Saint-Denis")]
    assert client.get("/api/v1/communes", params={"name": "zzzz"}).json() == []


def test_until_it_has_looked_through_the_registry_it_says_that_it_starts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_look, usual = threading.Event(), Models._catch_up

    def later(self: Models) -> None:
        may_look.wait(60)
        usual(self)

    monkeypatch.setattr(Models, "_catch_up", later)
    app = create_app(world.settings())
    with serve(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        for answer in (client.get("/ready"), client.post("/api/v1/predict", json=EXAMPLE)):
            assert (answer.status_code, answer.json()["title"]) == (503, "Starting")
            assert answer.headers["retry-after"] == "2"
        may_look.set()
        wait_for(app, "BestModel")
        assert client.get("/ready").status_code == 200


def test_every_answer_tells_whether_its_model_was_trained_on_generated_accidents(client: httpx.Client) -> None:
    assert client.post("/api/v1/predict/Forest", json=EXAMPLE).json()["model"]["sample"] is True
    body = {"content": uploads.merged(sample_scenes(2022)), "headers": {"content-type": "text/csv"}}
    assert client.post("/api/v1/predict-csv?model=Forest", **body).headers["x-model-sample"] == "true"


# --- files -------------------------------------------------------------------------------------------------


def rows_of(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text), delimiter=";"))


def expected_probabilities(world: World, year: int) -> Any:
    version = loading.newest(world.client, "Forest")
    assert version is not None
    loaded = loading.load(world.client, "Forest", version, SIGNING.encode(), feature_version())
    return evaluate.probabilities(loaded.estimator, matrix.build(sample_scenes(year)))


@pytest.mark.parametrize("packed", [False, True])
def test_the_merged_csv_comes_back_with_the_probabilities(client: httpx.Client, world: World, packed: bool) -> None:
    keyed(client, "/api/v1/reload_model/Forest")
    merged = uploads.merged(sample_scenes(2022))
    body = gzip.compress(merged) if packed else merged
    answer = client.post("/api/v1/predict-csv?model=Forest", content=body, headers={"content-type": "text/csv"})
    rows = rows_of(answer)
    made = np.array([[float(row[f"p_{name}"]) for name in evaluate.CLASSES] for row in rows])
    np.testing.assert_allclose(made, expected_probabilities(world, 2022), atol=1e-5)
    original = list(csv.DictReader(io.StringIO(merged.decode()), delimiter=";"))
    assert [{key: row[key] for key in original[0]} for row in rows] == original
    assert rows[0]["predicted_class"] == evaluate.CLASSES[int(made[0].argmax())]


def without_severities(content: bytes) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode()), delimiter=";"))
    at = rows[0].index("grav")
    return "\n".join(";".join(c for i, c in enumerate(row) if i != at) for row in rows).encode()


def test_a_file_with_severities_is_scored_and_one_without_is_not(client: httpx.Client) -> None:
    merged, kind = uploads.merged(sample_scenes(2022)), {"content-type": "text/csv"}
    scored = client.post("/api/v1/predict-csv", content=merged, headers=kind)
    scores = json.loads(scored.headers["x-scores"])
    assert scores["people"] == sum(row["grav"] in {"1", "2", "3", "4"} for row in rows_of(scored)) > 0
    assert 0 < scores["alert_recall"] <= 1
    assert sum(people for _, _, people in scores["calibration"]) == scores["people"]
    new = client.post("/api/v1/predict-csv", content=without_severities(merged), headers=kind)
    assert "x-scores" not in new.headers
    assert [row["p_severe"] for row in rows_of(new)] == [row["p_severe"] for row in rows_of(scored)]


@pytest.mark.parametrize("known", [True, False])
def test_a_zip_holds_the_predictions_and_where_there_are_severities_the_scores(
    client: httpx.Client, known: bool
) -> None:
    merged = uploads.merged(sample_scenes(2022))
    content = merged if known else without_severities(merged)
    answer = client.post(
        "/api/v1/predict-csv", content=content, headers={"content-type": "text/csv", "accept": "application/zip"}
    )
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        names = {"predictions.csv"} | ({"scores.json", "calibration.png"} if known else set())
        assert set(packed.namelist()) == names
        assert packed.read("predictions.csv").count(b"\n") == content.count(b"\n") + (not known)
        if known:
            assert packed.read("calibration.png").startswith(b"\x89PNG")


def test_four_files_without_the_column_of_severities_are_predicted(client: httpx.Client) -> None:
    files = [("files", (n, without_severities(c) if "usagers" in n else c)) for n, c in sample_files(2022).values()]
    answer = client.post("/api/v1/predict-csv", files=files)
    assert answer.status_code == 200, answer.text
    assert "x-scores" not in answer.headers


def test_the_four_files_come_back_merged(client: httpx.Client, world: World) -> None:
    keyed(client, "/api/v1/reload_model/Forest")
    files = [("files", content) for content in sample_files(2022).values()]
    rows = rows_of(client.post("/api/v1/predict-csv?model=Forest", files=files))
    made = np.array([[float(row[f"p_{name}"]) for name in evaluate.CLASSES] for row in rows])
    np.testing.assert_allclose(made, expected_probabilities(world, 2022), atol=1e-5)


MERGED = "num_acc;num_veh;catv;catu;dep;hrmn\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a;b\n1;2\n", "num_acc"),
        (b"", "num_acc"),
        (f"{MERGED}".encode(), "no person"),
        (f"{MERGED}1;A;7;1;59;\n1;B;777;1;59;\n".encode(), "person 2, column 'catv'"),
        (f"{MERGED}1;A;7;1;5Z;\n".encode(), "column 'dep'"),
        (f"{MERGED}1;A;7;1;59;25:00\n".encode(), "column 'hrmn'"),
        (f"{MERGED}1;A;inf;1;59;\n".encode(), "column 'catv'"),
        (f"{MERGED}1;A;car;1;59;\n".encode(), "car"),
        (f"{MERGED}1;A;7\n".encode(), "Expected 6 columns"),
        (MERGED.encode("utf-16"), "UTF-8"),
        (gzip.compress(b"0" * (5 << 20)), "more than"),
        (gzip.compress(b"x" * 100)[:-9], "damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(client: httpx.Client, content: bytes, told: str) -> None:
    answer = client.post("/api/v1/predict-csv", content=content, headers={"content-type": "text/csv"})
    assert answer.status_code == 422
    assert told in answer.json()["detail"]


def test_a_merged_csv_may_be_written_as_people_do(client: httpx.Client) -> None:
    said = f'{MERGED}1;"A";7;1;2A;07:30\n1;A;7;2;"2A";450\n2;;;3;971;\n'
    rows = rows_of(client.post("/api/v1/predict-csv", content=said.encode(), headers={"content-type": "text/csv"}))
    assert [row["hrmn"] for row in rows] == ["07:30", "450", ""]
    assert all(0.99 < sum(float(row[f"p_{name}"]) for name in evaluate.CLASSES) < 1.01 for row in rows)


def test_files_that_are_not_four_or_one_are_refused(client: httpx.Client) -> None:
    files = [("files", content) for content in sample_files(2022).values()]
    assert "send one merged CSV" in client.post("/api/v1/predict-csv", files=files[:3]).json()["detail"]
    name, content = files[0][1]
    wrong = [("files", (name.replace("2022", "2021"), content)), *files[1:]]
    assert "one year" in client.post("/api/v1/predict-csv", files=wrong).json()["detail"]


# --- explanations ------------------------------------------------------------------------------------------


def test_the_fields_that_moved_an_answer_are_told_strongest_first(client: httpx.Client) -> None:
    told = client.post("/api/v1/explain?model=Forest&person=1", json=EXAMPLE).json()
    strengths = [abs(each["severe_change"]) for each in told["fields"]]
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[0] > 0
    paths = {each["field"] for each in told["fields"]}
    assert {"accident.agg", "vehicles[1].catv", "vehicles[others].catv", "people[1].secu1"} <= paths
    without = json.loads(json.dumps(EXAMPLE))
    del without["accident"]["agg"]
    moved = next(each for each in told["fields"] if each["field"] == "accident.agg")
    asked = [client.post("/api/v1/predict/Forest", json=s).json()["scenes"][0]["people"][1] for s in (EXAMPLE, without)]
    assert moved["severe_change"] == pytest.approx(
        asked[0]["severe_probability"] - asked[1]["severe_probability"], abs=1e-5
    )


def test_who_is_not_there_cannot_be_explained(client: httpx.Client) -> None:
    answer = client.post("/api/v1/explain?person=2", json=EXAMPLE)
    assert answer.status_code == 404
    assert "There is no person 2" in answer.json()["detail"]


# --- bad input and strangers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"null", "body"),
        (b'"\xff"', "body"),
        ('{"people": [{}]}'.encode("utf-16"), "body"),
        (b"[" * 50_000, "body"),
        (b'{"people":' + b"[" * 40_000 + b"]" * 40_000 + b"}", "body"),
        (b'{"people": [{"an_nais": ' + b"9" * 5000 + b"}]}", "body"),
        (b'{"people": [{"an_nais": 1e400}]}', "an_nais"),
        (b'{"people": [{"catu": -1e308}]}', "catu"),
        (b'{"people": [{}], "accident": {"lat": NaN}}', "accident.lat"),
        (b'{"people": [{}], "accident": {"lat": -Infinity}}', "accident.lat"),
        (b'{"people": [{"vehicle": "\\ud800"}]}', "body"),
        (b'[{"people": [{}]}, {"people": [{"sexe": 3}]}]', "[1].people[0].sexe"),
        (b"[]", "body"),
        (json.dumps([{"people": [{}] * 300}] * 34).encode(), "body"),
    ],
)
def test_what_cannot_be_is_refused_with_its_field(client: httpx.Client, body: bytes, field: str) -> None:
    answer = client.post("/api/v1/predict", content=body, headers=JSON)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in answer.json()["errors"][0]["field"]


def test_a_body_over_the_limit_is_refused_whether_it_tells_its_length_or_not(client: httpx.Client) -> None:
    body = b" " * 100_001
    told = client.post("/api/v1/predict", content=body, headers=JSON)
    streamed = client.post("/api/v1/predict", content=iter([body[:60_000], body[60_000:]]), headers=JSON)
    for answer in (told, streamed):
        assert answer.status_code == 413
        assert "100,000 bytes" in answer.json()["detail"]


def test_another_type_of_body_is_refused(client: httpx.Client) -> None:
    for path in ("/api/v1/predict", "/api/v1/predict-csv", "/api/v1/explain"):
        answer = client.post(path, content=b"<a/>", headers={"content-type": "application/xml"})
        assert answer.status_code == 415


def test_a_stranger_host_is_refused(client: httpx.Client) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        answer = client.get("/api/v1/models", headers={"host": host})
        assert answer.status_code == 400
    assert client.get("/health", headers={"host": "localhost:1234"}).status_code == 200


def test_every_answer_bears_its_id_and_protects_the_browser(client: httpx.Client) -> None:
    for path, status in (("/", 200), ("/docs", 200), ("/health", 200), ("/nowhere", 404), ("/static/../main.py", 404)):
        answer = client.get(path, headers={"x-request-id": "caller-7"})
        assert answer.status_code == status
        assert answer.headers["x-request-id"] == "caller-7"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "unsafe" not in client.get("/").headers["content-security-policy"]
    assert client.get("/health", headers={"x-request-id": "a b\tc"}).headers["x-request-id"] != "a b\tc"


def test_wrong_keys_are_counted_and_limited(world: World) -> None:
    app = create_app(world.settings(wrong_keys_per_minute=3))
    with serve(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        wait_for(app, "Forest")  # or the reload below would take longer than a minute on a slow machine
        before = metric(client, "accidents_refused_keys_total")
        statuses = [client.post("/api/v1/rollback", headers={"X-Api-Key": f"guess{i}"}).status_code for i in range(4)]
        assert statuses == [401, 401, 401, 429]
        assert keyed(client, "/api/v1/reload_model/Forest").status_code == 200, "the right key always passes"
        assert client.post("/api/v1/rollback").headers["retry-after"] == "60", "and does not end the wait"
        assert metric(client, "accidents_refused_keys_total") - before == 5


def test_metrics_tell_requests_predictions_models_and_reloads(client: httpx.Client) -> None:
    client.post("/api/v1/predict/Forest", json=EXAMPLE)
    text = client.get("/metrics").text
    for line in (
        'accidents_requests_total{method="POST",route="/api/v1/predict/{model}",status="200"}',
        'accidents_request_seconds_count{route="/api/v1/predict"}',
        'accidents_predictions_total{class="',
        'accidents_model_info{model="Forest",run_id="',
        'accidents_reloads_total{model="BestModel",outcome="loaded"}',
    ):
        assert line in text, line


def test_the_worked_examples_are_answers_that_the_api_gives(client: httpx.Client) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    (scene,) = schemas["Scene"]["examples"]
    for path, name in (("predict", "Prediction"), ("explain", "Explanation")):
        (example,) = schemas[name]["examples"]
        answer = client.post(f"/api/v1/{path}", json=scene).json()
        assert shape(answer) == shape(example)


def shape(value: Any) -> Any:
    """Return what an answer is made of, without its values; of its lists of fields, the first."""
    if isinstance(value, dict):
        return {key: shape(each[:1] if key in ("fields", "sharpen") else each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value).__name__ if isinstance(value, str | float | bool) else None


def test_the_documentation_needs_no_other_host(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assert "https://" not in page
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200
