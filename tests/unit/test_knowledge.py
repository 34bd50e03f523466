"""What is known of an accident, and when: the levels, and the features of scenes that give less."""

from __future__ import annotations

import json
from collections.abc import Collection
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from api import scene_reader, scene_tables
from api.schemas import scenes as requests
from include.accidents.data.columns import COLUMNS
from include.accidents.data.scenes import Scenes
from include.accidents.features import arrays, definitions, knowledge, levels, matrix
from include.accidents.features.declaration import Floats
from include.accidents.features.definitions import NAMES
from include.accidents.features.knowledge import FEATURES_OF
from include.accidents.features.levels import FIELDS, LEVELS
from tests.helpers import sample_scenes

YEARS = (2018, 2023)


def lacking(scenes: Scenes, fields: Collection[str]) -> Scenes:
    """The same scenes, whose tables lack some columns."""
    tables = (scenes.accidents, scenes.vehicles, scenes.people)
    return Scenes(*(table.drop(columns=[name for name in fields if name in table]) for table in tables))


def assumed(scenes: Scenes, people: npt.NDArray[np.bool_]) -> Scenes:
    """The same scenes when only these people are there, and nobody has said so: they are assumed."""
    return Scenes(scenes.accidents.assign(people_assumed=1), scenes.vehicles, scenes.people[people])


def differing(a: Floats, b: Floats) -> dict[str, float]:
    """By feature, in what share of the people two matrices differ; without those that are the same."""
    share = (~((a == b) | (np.isnan(a) & np.isnan(b)))).mean(axis=0)
    return {name: float(found) for name, found in zip(NAMES, share, strict=True) if found}


def given_by_accident(scenes: Scenes) -> list[set[str]]:
    """The fields that somebody or something of each accident has."""
    own = np.arange(len(scenes.accidents))
    given: list[set[str]] = [set() for _ in own]
    for table, accident in (
        (scenes.accidents, own),
        *((of, of["accident"].to_numpy()) for of in (scenes.vehicles, scenes.people)),
    ):
        for field in (name for name in FIELDS if name in table):
            for at in accident[table[field].notna().to_numpy()]:
                given[at].add(field)
    return given


# --- the features of scenes that give less -----------------------------------------------------------------


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("field", [name for name in FIELDS if name not in ("catv", "catu")])
def test_without_a_field_the_features_are_those_of_a_file_without_its_column(year: int, field: str) -> None:
    scenes = sample_scenes(year)
    hidden = knowledge.without(matrix.build(scenes), {field})
    np.testing.assert_array_equal(hidden, matrix.build(lacking(scenes, {field})))


@pytest.mark.parametrize("year", YEARS)
def test_fields_may_be_left_out_together(year: int) -> None:
    scenes, random = sample_scenes(year), np.random.default_rng(year)
    x = matrix.build(scenes)
    others = [name for name in FIELDS if name not in ("catv", "catu")]
    for fields in (*(random.choice(others, size=n, replace=False).tolist() for n in (2, 3, 5, 10, 20)), FIELDS):
        hidden = knowledge.without(x, fields)
        np.testing.assert_array_equal(hidden, matrix.build(lacking(scenes, fields)), err_msg=str(fields))


@pytest.mark.parametrize("year", YEARS)
def test_without_the_kinds_of_vehicles_only_the_choice_of_the_other_vehicle_may_differ(year: int) -> None:
    """The other vehicle is the heaviest; where no weight is known, a file's first one is taken.

    Among three vehicles and more that may be another one, and so are its features.
    """
    scenes = sample_scenes(year)
    hidden = knowledge.without(matrix.build(scenes), {"catv"})
    found = differing(hidden, matrix.build(lacking(scenes, {"catv"})))
    assert all(name.startswith("other_") for name in found), found
    assert max(found.values()) < 0.05
    of_three = matrix.build(scenes)[:, NAMES.index("n_vehicles")] > 2
    rebuilt = matrix.build(lacking(scenes, {"catv"}))
    np.testing.assert_array_equal(hidden[~of_three], rebuilt[~of_three])


@pytest.mark.parametrize("year", YEARS)
def test_without_the_roles_only_what_follows_from_all_peoples_roles_may_differ(year: int) -> None:
    """Without `catu` the seat tells the role. Where one person has no seat either, a file no longer tells how many
    are on foot or on board; the matrix, a row a person, still knows it of the others."""
    scenes = sample_scenes(year)
    hidden = knowledge.without(matrix.build(scenes), {"catu"})
    rebuilt = matrix.build(lacking(scenes, {"catu"}))
    found = differing(hidden, rebuilt)
    assert not found.keys() & {"catu", "place", "sexe", "age", "secu1", "catv", "n_people", "n_vehicles"}
    assert max(found.values()) < 0.2
    assert sum(found.values()) / len(NAMES) < 0.01
    people = scenes.people
    other_seat = people["place"].map(arrays.SEATS_OF_ROLES) != people["catu"]  # or none
    touched = people["accident"].isin(people["accident"][other_seat]).to_numpy()
    np.testing.assert_array_equal(hidden[~touched], rebuilt[~touched])


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("name", LEVELS)
def test_at_a_level_the_features_are_those_of_files_with_its_fields_alone(year: int, name: str) -> None:
    scenes, level = sample_scenes(year), LEVELS[name]
    rebuilt = matrix.build(lacking(scenes, level.unknown))
    if level.rough:
        knowledge.make_ages_rough(rebuilt, np.ones(len(rebuilt), dtype=np.bool_))
    np.testing.assert_array_equal(knowledge.at_level(matrix.build(scenes), level), rebuilt)


def test_a_rough_age_is_the_middle_of_its_decade() -> None:
    x = matrix.build(sample_scenes(2023))
    rough = knowledge.at_level(x, LEVELS["dispatch"])
    for name in ("age", "driver_age", "other_driver_age"):
        exact, found = x[:, NAMES.index(name)], rough[:, NAMES.index(name)]
        np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
        assert set(found[~np.isnan(found)]) <= set(range(5, 120, 10))
        assert np.nanmax(np.abs(found - exact)) <= levels.ROUGH_YEARS / 2


def test_what_is_left_out_changes_nothing_of_the_matrix_that_was_given() -> None:
    x = matrix.build(sample_scenes(2023))
    before = x.copy()
    for level in LEVELS.values():
        knowledge.at_level(x, level)
    knowledge.without(x, FIELDS)
    knowledge.drivers_alone(x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("year", YEARS)
def test_drivers_alone_have_the_features_of_scenes_whose_people_are_assumed(year: int) -> None:
    """At the first call, as such scenes are judged. Their vehicles weigh less: nobody but the driver is on board."""
    scenes, level = sample_scenes(year), LEVELS["first_call"]
    alone, drivers = knowledge.drivers_alone(knowledge.at_level(matrix.build(scenes), level))
    assert (scenes.people["catu"].to_numpy()[drivers] == arrays.DRIVER).all()
    assert drivers.sum() == (scenes.people["catu"] == arrays.DRIVER).sum()
    rebuilt = matrix.build(assumed(lacking(scenes, level.unknown), drivers))
    found = differing(alone, rebuilt)
    assert found.keys() <= {"own_mass", "other_mass", "mass_ratio", "other_catv"}, found
    assert found.get("other_catv", 0) < 0.01  # of two vehicles of one mass, the passengers made one the heavier
    at = NAMES.index("own_mass")
    passengers = (alone[:, at] - rebuilt[:, at]) / arrays.PERSON_MASS
    assert set(passengers[~np.isnan(passengers)]) <= set(range(300))


def test_of_drivers_alone_nothing_that_counts_people_is_known() -> None:
    alone, _ = knowledge.drivers_alone(matrix.build(sample_scenes(2023)))
    for name in definitions.COUNTED_PEOPLE:
        assert np.isnan(alone[:, NAMES.index(name)]).all(), name
    assert not np.isnan(alone[:, NAMES.index("n_vehicles")]).any()


# --- the levels --------------------------------------------------------------------------------------------


def level_of_request(scene: object) -> str:
    (read,) = scene_reader.read(json.dumps(scene).encode())
    return knowledge.nearest(scene_tables.given_fields(read)).name


def test_the_example_of_the_readme_is_nearest_to_what_is_known_on_scene() -> None:
    assert level_of_request(requests.EXAMPLE) == "on_scene"


def test_kinds_of_vehicles_a_moment_and_a_departement_are_a_first_call() -> None:
    assert knowledge.nearest({"dep", "catv", "catu", "an", "mois", "jour", "hrmn"}).name == "first_call"
    assert level_of_request({"accident": {"dep": "59"}, "vehicles": [{"id": "A", "catv": 7}]}) == "first_call"


@pytest.mark.parametrize("name", LEVELS)
def test_a_scene_that_gives_all_of_a_level_is_at_this_level(name: str) -> None:
    assert knowledge.nearest(LEVELS[name].fields).name == name


def test_everything_is_a_record_and_nothing_a_first_call() -> None:
    assert knowledge.nearest(FIELDS).name == "record"
    assert knowledge.nearest(()).name == "first_call"


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("name", LEVELS)
def test_the_level_by_the_features_is_the_level_by_the_fields(year: int, name: str) -> None:
    scenes = lacking(sample_scenes(year), LEVELS[name].unknown)
    of_fields = [knowledge.nearest(given).name for given in given_by_accident(scenes)]
    accident = scenes.people["accident"].to_numpy()
    of_features = knowledge.levels_of(matrix.build(scenes), accident, len(scenes.accidents))
    assert [tuple(LEVELS)[i] for i in of_features] == of_fields
    assert of_fields.count(name) > 0.8 * len(of_fields)


def test_each_level_knows_all_of_the_one_before_and_more() -> None:
    for less, more in pairwise(LEVELS.values()):
        assert less.fields < more.fields, more.name
        assert less.rough <= more.fields | more.rough
    assert LEVELS["record"].unknown == frozenset()


def test_every_field_is_known_at_some_level_and_is_a_column_of_the_files() -> None:
    columns = {column.name for column in COLUMNS}
    for field in FIELDS:
        assert field in columns
        assert FEATURES_OF[field], field
        assert any(field in level.fields for level in LEVELS.values())
    for level in LEVELS.values():
        assert level.fields | level.rough <= {*FIELDS, "com"}


def test_of_a_scene_without_fields_only_the_number_of_people_and_vehicles_is_known() -> None:
    left = knowledge.without(matrix.build(sample_scenes(2023)), FIELDS)
    several = left[:, NAMES.index("n_people")] > 1  # of a person alone it is known that there are no others
    known = [name for name, column in zip(NAMES, left[several].T, strict=True) if not np.isnan(column).all()]
    assert known == ["n_people", "n_vehicles"]


def test_every_level_has_a_sentence_in_both_languages() -> None:
    for level in LEVELS.values():
        for sentence in (level.label.fr, level.label.en):
            assert sentence.endswith("."), level.name
            assert len(sentence) > 20
        assert level.label.fr != level.label.en
