"""What a request may say, and what is answered to one that may not be said."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import orjson
import pytest
from pydantic import ValidationError

from api import scene_reader, scene_tables
from api.problems import respond
from api.scene_tables import given_fields
from api.schemas import fields, scenes
from api.schemas.errors import SceneError
from api.schemas.scenes import EXAMPLE, EXAMPLE_IN_LABELS
from include.accidents.data import communes
from include.accidents.data.columns import LETTER_CODES
from include.accidents.data.departments import DEPARTMENTS, department_number

CAR = {"id": "A", "catv": 7}
RECORD = {"catr": 3, "vma": 50, "dep": 77, "lat": 48.60, "catv": 2, "place": 10, "catu": 3, "secu1": 0.0}
"""One person as courses send it, with the fields of the accident, the vehicle and the person side by side."""


def read(scene: Any) -> list[dict[str, Any]]:
    return scene_reader.read(json.dumps(scene).encode())


def read_accident(**fields: Any) -> dict[str, Any]:
    (scene,) = read({"accident": fields, "vehicles": [CAR]})
    accident: dict[str, Any] = scene["accident"]
    return accident


def read_person(**fields: Any) -> dict[str, Any]:
    (scene,) = read({"people": [fields]})
    person: dict[str, Any] = scene["people"][0]
    return person


def problem(scene: Any) -> dict[str, Any]:
    """The problem document of a scene that is refused."""
    with pytest.raises((ValidationError, SceneError)) as caught:
        read(scene)
    response = respond(caught.value)
    assert response.status_code == 422
    told: dict[str, Any] = orjson.loads(response.body)
    return told


def defect(scene: Any) -> tuple[str, str]:
    """Field and message of the only defect of a scene."""
    (found,) = problem(scene)["errors"]
    return found["field"], found["message"]


def accident_defect(**fields: Any) -> tuple[str, str]:
    return defect({"accident": fields, "vehicles": [CAR]})


# --- people that are left out


@pytest.mark.parametrize("people", [{}, {"people": []}])
def test_without_people_a_driver_is_assumed_in_each_vehicle(people: dict[str, Any]) -> None:
    (scene,) = read({"vehicles": [CAR, {"id": "B", "catv": 33}], **people})
    assert scene["people"] == [{"vehicle": "A", "catu": 1}, {"vehicle": "B", "catu": 1}]
    assert scene["people_assumed"] is True


def test_people_that_are_given_are_not_added_to() -> None:
    (scene,) = read({"vehicles": [CAR, {"id": "B"}], "people": [{"vehicle": "A"}]})
    assert scene["people"] == [{"vehicle": "A"}]
    assert "people_assumed" not in scene


@pytest.mark.parametrize("scene", [{}, {"people": []}, {"vehicles": []}, {"accident": {"dep": "59"}}])
def test_a_scene_of_nobody_and_nothing_is_refused_in_one_line(scene: dict[str, Any]) -> None:
    field, message = defect(scene)
    assert field == "people"
    assert "give the people, or vehicles alone" in message


def test_in_a_list_the_scene_without_people_is_named() -> None:
    field, _ = defect([EXAMPLE, {}])
    assert field == "[1].people"


def test_assumed_people_count_towards_the_limit() -> None:
    crowd = {"vehicles": [{"id": f"V{i}"} for i in range(100)]}
    assert len(read([crowd] * 100)) == 100
    field, message = defect([crowd] * 101)
    assert (field, message.partition(";")[0]) == ("body", "10100 people in all")


def test_the_columns_of_accidents_say_whose_people_are_assumed() -> None:
    accidents, _, people = scene_tables.to_tables([*read(EXAMPLE), *read({"vehicles": [CAR]})])
    assert accidents["people_assumed"].tolist() == [0, 1]
    assert accidents["people_assumed"].dtype == np.float32
    assert people["accident"].tolist() == [0, 0, 1]
    assert people["catu"].tolist() == [1, 1, 1]


def test_the_schema_says_that_people_may_be_left_out_and_what_is_then_assumed() -> None:
    schema = scenes.schemas()["Scene"]
    assert "people" not in schema.get("required", [])
    assert "one driver in each vehicle" in schema["properties"]["people"]["description"]
    assert [part["required"] for part in schema["anyOf"]] == [["people"], ["vehicles"]]


# --- the commune


@pytest.mark.parametrize(
    ("given", "code", "department"),
    [
        ("59350", "59350", "59"),
        (59350, "59350", "59"),
        (59350.0, "59350", "59"),
        (1053, "01053", "01"),
        ("1053", "01053", "01"),
        (" 2a004 ", "2A004", "2A"),
        ("75111", "75111", "75"),
        ("75056", "75056", "75"),
        ("69381", "69381", "69"),
        ("13201", "13201", "13"),
        ("97411", "97411", "974"),
        ("97801", "97801", "978"),
        ("98818", "98818", "988"),
    ],
)
def test_a_commune_gives_the_departement_and_the_position(given: Any, code: str, department: str) -> None:
    (scene,) = read({"accident": {"com": given}, "vehicles": [CAR]})
    commune = communes.find(code)
    assert commune is not None
    expected = {"com": code, "dep": department_number(department), "lat": commune.lat, "long": commune.long}
    assert scene["accident"] == expected
    assert scene["position_of_commune"] is True


def test_a_position_that_is_given_stays() -> None:
    (scene,) = read({"accident": {"com": "59350", "lat": 50.6, "long": 3.1}, "vehicles": [CAR]})
    assert (scene["accident"]["lat"], scene["accident"]["long"]) == (50.6, 3.1)
    assert "position_of_commune" not in scene


def test_a_commune_whose_position_nobody_knows_gives_the_departement_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = communes.Commune("98806", "Farino", "988", 736, math.nan, math.nan)
    monkeypatch.setattr(communes, "find", lambda _: nowhere)
    (scene,) = read({"accident": {"com": "98806"}, "vehicles": [CAR]})
    assert scene["accident"] == {"com": "98806", "dep": 988}
    assert "position_of_commune" not in scene


def test_a_commune_that_does_not_exist_is_refused_with_the_closest_ones() -> None:
    field, message = accident_defect(com="59999")
    assert field == "accident.com"
    assert message.startswith("there is no commune 59999")
    closest = communes.closest("59999")
    assert closest
    assert all(f"{commune.code} ({commune.name})" in message for commune in closest)


@pytest.mark.parametrize("com", ["N/C", "Lille", "593500", "5935", True, 1.5, 10**30, [59350], "²0000"])
def test_what_is_no_code_of_a_commune_is_refused(com: Any) -> None:
    field, message = accident_defect(com=com)
    assert field == "accident.com"
    assert "INSEE code" in message


@pytest.mark.parametrize(
    ("com", "dep"),
    [
        ("59350", "59"),
        ("59350", "Nord"),
        ("75111", "75"),
        ("69123", "Rhône"),
        ("2B033", "2b"),
        ("97801", "978"),
        ("97127", "971"),  # Saint-Martin, as it was written until 2007
        ("97127", "978"),
        ("49144", "49"),  # Freigné moved to Loire-Atlantique
        ("49144", "44"),
    ],
)
def test_a_commune_may_be_given_with_its_departement(com: str, dep: str) -> None:
    accident = read_accident(com=com, dep=dep)
    assert DEPARTMENTS[scene_reader._CODE_OF[accident["dep"]]]
    assert accident["lat"] is not None


@pytest.mark.parametrize(
    ("com", "dep", "lies"),
    [
        ("59350", "62", "59 (Nord)"),
        ("75111", "92", "75 (Paris)"),
        ("2A004", "2B", "2A (Corse-du-Sud)"),
        ("97801", "971", "978 (Saint-Martin)"),
        ("97105", "977", "971 (Guadeloupe)"),
    ],
)
def test_a_commune_of_another_departement_is_refused(com: str, dep: str, lies: str) -> None:
    field, message = accident_defect(com=com, dep=dep)
    assert field == "accident.com"
    assert f"lies in département {lies}, not in {dep} " in message


# --- the position


@pytest.mark.parametrize(
    ("lat", "long"), [(48.85, 2.35), (49.2, -1), (47.1, 0), (14.6, -61.0), (-21.1, 55.5), (-22.3, 166.4)]
)
def test_a_position_in_france_is_taken(lat: float, long: float) -> None:
    accident = read_accident(lat=lat, long=long)
    assert (accident["lat"], accident["long"]) == (lat, long)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"lat": 48.85}, "long"),
        ({"long": 2.35}, "lat"),
        ({"lat": 48.85, "long": ""}, "long"),
        ({"lat": 0, "long": 2.35}, "lat"),
        ({"long": 0}, "lat"),
        ({"lat": 48.85, "com": "59350"}, "long"),
    ],
)
def test_one_coordinate_alone_is_refused_and_the_other_named(given: dict[str, Any], missing: str) -> None:
    field, message = accident_defect(**given)
    assert (field, message.partition(";")[0]) == (f"accident.{missing}", "is missing")


@pytest.mark.parametrize("nobody", [0, "0", "0000000", -1, "-1", "", None])
def test_an_accident_that_nobody_located_has_no_position(nobody: Any) -> None:
    assert read_accident(lat=nobody, long=nobody) == {"lat": None, "long": None}


@pytest.mark.parametrize(
    ("lat", "long", "remedy"),
    [
        (2.35, 48.85, "lat and long are swapped: lat 48.85, long 2.35"),
        (20.9, 55.4, "lat has lost its sign: lat -20.9, long 55.4"),
        (16.2, 61.5, "long has lost its sign: lat 16.2, long -61.5"),
        (17.5, 149.6, "lat and long have lost their signs: lat -17.5, long -149.6"),
        (40.7, -74.0, "give degrees (WGS84) of a place in France or overseas"),
    ],
)
def test_a_position_abroad_is_refused_with_the_likely_reason(lat: float, long: float, remedy: str) -> None:
    field, message = accident_defect(lat=lat, long=long)
    assert field == "accident.lat"
    assert message.startswith(f"lat {lat}, long {long} lies outside France; ")
    assert remedy in message


# --- requests say what files say


@pytest.mark.parametrize("nothing", [-1, -1.0, "-1", " -1", "", "  ", None])
def test_every_field_may_say_that_it_is_not_given(nothing: Any) -> None:
    for part, columns in (("accident", fields.ACCIDENT), ("vehicles", fields.VEHICLE), ("people", fields.PERSON)):
        given = {column.name: nothing for column in columns if column.name not in ("lat", "long")}
        given |= {"com": nothing} if part == "accident" else {}
        scene: dict[str, Any] = {"vehicles": [CAR], "people": [{}]}
        scene[part] = given if part == "accident" else [{"id": "A", **given} if part == "vehicles" else given]
        (found,) = read(scene)
        row = found[part] if part == "accident" else found[part][0]
        assert {row[name] for name in given} == {None}


@pytest.mark.parametrize("nothing", [-1, "-1", "", " ", None])
def test_a_person_may_have_no_vehicle(nothing: Any) -> None:
    assert read_person(vehicle=nothing, catu=3)["vehicle"] is None


def test_a_vehicle_may_be_called_minus_one() -> None:
    (scene,) = read({"vehicles": [{"id": "-1"}], "people": [{"vehicle": "-1"}]})
    assert scene["people"][0]["vehicle"] == "-1"


@pytest.mark.parametrize("mark", ["B", 5, "x" * 21, True])
def test_a_vehicle_that_is_not_there_is_refused(mark: Any) -> None:
    field, _ = defect({"vehicles": [CAR], "people": [{"vehicle": mark}]})
    assert field == "people[0].vehicle"


@pytest.mark.parametrize("zero", [0, 0.0, "0"])
def test_zero_means_not_given_where_the_dictionary_gives_it_no_meaning(zero: Any) -> None:
    names = ("circ", "plan", "nbv", "vma", "larrout")
    assert read_accident(**dict.fromkeys(names, zero)) == dict.fromkeys(names)
    assert read_person(an_nais=zero, trajet=zero) == {"an_nais": None, "trajet": None}


def test_zero_stays_where_it_means_something() -> None:
    assert read_accident(infra=0, vosp="0", lartpc=0) == {"infra": 0, "vosp": 0, "lartpc": 0}
    assert read_person(secu1=0, actp="0") == {"secu1": 0, "actp": 0}


@pytest.mark.parametrize("letter", ["A", "a", "B", " b"])
def test_a_pedestrians_action_may_be_a_letter(letter: str) -> None:
    assert read_person(actp=letter)["actp"] == LETTER_CODES[letter.strip().upper()]


@pytest.mark.parametrize("letter", ["C", "AB"])
def test_another_letter_is_refused(letter: str) -> None:
    assert defect({"people": [{"actp": letter}]})[0] == "people[0].actp"


def test_letters_are_codes_of_no_other_field() -> None:
    assert defect({"people": [{"locp": "A"}]})[0] == "people[0].locp"


def test_numbers_may_be_texts_with_a_decimal_comma() -> None:
    accident = read_accident(vma="80", an="2024", larrout="5,2", lat="48,85", long=" +2.35 ", nbv="2.0", hrmn="7:05")
    expected = {"vma": 80, "an": 2024, "larrout": 5.2, "lat": 48.85, "long": 2.35, "nbv": 2, "hrmn": 425}
    assert accident == expected


def test_codes_may_be_texts_with_a_leading_zero() -> None:
    (scene,) = read({"vehicles": [{"id": "A", "catv": "07", "manv": "01"}]})
    assert scene["vehicles"] == [{"id": "A", "catv": 7, "manv": 1}]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vma", 5),
        ("vma", "131"),
        ("vma", "80,5"),
        ("vma", 80.5),
        ("vma", "fifty"),
        ("vma", True),
        ("vma", [50]),
        ("vma", "1e2"),
        ("vma", "٨٠"),
        ("an", 10**30),
        ("an", "9" * 400),
        ("hrmn", "25:00"),
        ("hrmn", 1715),
        ("dep", "N/C"),
        ("dep", 0),
        ("lum", 0.5),
        ("lum", "6"),
    ],
)
def test_a_value_that_cannot_be_is_refused_and_named(name: str, value: Any) -> None:
    field, message = accident_defect(**{name: value})
    assert field == f"accident.{name}"
    assert " is not " in message


# --- a flat record


def test_a_flat_record_gets_one_defect_that_shows_it_as_a_scene() -> None:
    told = problem(RECORD)
    nested = {
        "accident": {"catr": 3, "vma": 50, "dep": 77, "lat": 48.60},
        "vehicles": [{"id": "A", "catv": 2}],
        "people": [{"vehicle": "A", "place": 10, "catu": 3, "secu1": 0.0}],
    }
    (found,) = told["errors"]
    assert found["field"] == "body"
    assert "the parts accident, vehicles and people" in found["message"]
    assert orjson.dumps(nested).decode() in found["message"]
    assert told["example"] == nested


def test_the_scene_that_is_shown_can_be_sent_once_its_values_can_be() -> None:
    shown = problem({**RECORD, "long": 2.89})["example"]
    (scene,) = read(shown)
    assert scene["vehicles"][0]["catv"] == 2


def test_what_was_not_known_to_a_caller_of_a_flat_record_is_left_out() -> None:
    told = problem({**RECORD, "Num_Acc": "202100000001", "grav": 3, "id_vehicule": "x", "victim_age": 60, "agg_": 2})
    assert told["example"] == problem(RECORD)["example"]
    assert told["detail"].endswith("Left out, as no fields of a scene: victim_age, agg_")


def test_many_unknown_names_are_counted_not_listed() -> None:
    told = problem({**RECORD, **{f"x{i}": 1 for i in range(1000)}})
    assert told["detail"].endswith("x9 and 990 more")


def test_names_of_a_flat_record_may_be_in_capitals() -> None:
    assert problem({"CATV": 7})["example"] == {"vehicles": [{"id": "A", "catv": 7}]}


def test_a_flat_record_without_people_and_vehicles_is_shown_with_a_person() -> None:
    assert problem({"lum": 1})["example"] == {"accident": {"lum": 1}, "people": [{}]}


def test_a_flat_record_in_a_list_is_named_by_its_position() -> None:
    (found,) = problem([EXAMPLE, RECORD, RECORD])["errors"]
    assert found["field"] == "body"
    assert found["message"].startswith("[1] is a flat record")


@pytest.mark.parametrize("value", [[7], {"a": 7}, "7" * 1000, 10**300, None])
def test_a_value_that_cannot_be_shown_makes_no_long_answer(value: Any) -> None:
    assert len(problem({"catv": value, "lum": 1})["detail"]) < 300


@pytest.mark.parametrize("body", [{"colour": 7}, {**RECORD, "people": [{"colour": 7}]}, [[RECORD]], "catv"])
def test_what_is_no_flat_record_gets_its_own_defects(body: Any) -> None:
    told = problem(body)
    assert "flat record" not in told["detail"]
    assert "example" not in told


# --- what is given


def test_the_fields_that_are_given_are_named() -> None:
    (scene,) = read(EXAMPLE)
    accident, vehicle, person = EXAMPLE["accident"], EXAMPLE["vehicles"][0], EXAMPLE["people"][0]
    assert given_fields(scene) == {*accident, "dep", *vehicle, *person, "secu2", "secu3"} - {"id", "vehicle"}


def test_what_is_not_given_is_not_named() -> None:
    (scene,) = read({"accident": {"vma": -1, "lum": None}, "people": [{"an_nais": ""}]})
    assert given_fields(scene) == frozenset()


def test_a_field_of_vehicles_or_people_counts_when_half_of_them_give_it() -> None:
    people = [{"sexe": 1, "place": 1}, {"sexe": 2}, {"secu1": -1}, {}]
    vehicles = [{"id": "A", "choc": 1, "catv": 7}, {"id": "B", "catv": 7}, {"id": "C", "choc": 2, "manv": 1}]
    (scene,) = read({"vehicles": vehicles, "people": people})
    assert given_fields(scene) == {"sexe", "choc", "catv"}


def test_a_pedestrians_fields_count_when_half_of_those_on_foot_give_them() -> None:
    drivers = [{"catu": 1, "locp": 0}] * 3
    (given,) = read({"people": [*drivers, {"catu": 3, "locp": 2}, {"catu": 3}]})
    (not_given,) = read({"people": [*drivers, {"catu": 3}, {"catu": 3}]})
    assert "locp" in given_fields(given)
    assert "locp" not in given_fields(not_given)


def test_the_position_of_a_commune_is_not_given() -> None:
    (by_commune,) = read({"accident": {"com": "59350"}, "people": [{}]})
    (exact,) = read({"accident": {"com": "59350", "lat": 50.6, "long": 3.1}, "people": [{}]})
    assert given_fields(by_commune) == {"com", "dep"}
    assert given_fields(exact) == {"com", "dep", "lat", "long"}


def test_nothing_is_given_of_people_who_are_assumed() -> None:
    (scene,) = read({"vehicles": [CAR]})
    assert given_fields(scene) == {"catv"}


def test_the_example_in_labels_says_what_its_codes_say() -> None:
    (scene,) = read(EXAMPLE_IN_LABELS)
    assert scene["accident"] == {"lum": 1, "dep": 59, "agg": 2, "vma": 50}
    assert scene["people"][1]["catu"] == 3
