from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from include.accidents.data import reader, split
from include.accidents.data.scenes import Scenes
from include.accidents.errors import InputError
from include.accidents.features import arrays, clean, declaration, definitions, knowledge, matrix
from include.accidents.features.definitions import NAMES
from tests.helpers import sample_files, sample_scenes


def one_accident(scenes: Scenes, at: int) -> Scenes:
    vehicles = scenes.vehicles[scenes.vehicles["accident"] == at]
    people = scenes.people[scenes.people["accident"] == at]
    where = {old: new for new, old in enumerate(vehicles.index)}
    return Scenes(
        scenes.accidents.iloc[[at]].reset_index(drop=True),
        vehicles.assign(accident=0).reset_index(drop=True),
        people.assign(accident=0, vehicle=people["vehicle"].map(lambda v: where.get(v, -1))).reset_index(drop=True),
    )


def scene(accident: dict, vehicles: list[dict], people: list[dict]) -> Scenes:
    return Scenes(
        pd.DataFrame([accident or {"an": np.nan}]),
        pd.DataFrame([{"accident": 0, **v} for v in vehicles], columns=["accident", "catv", "choc", "manv", "obs"]),
        pd.DataFrame([{"accident": 0, "vehicle": -1, **p} for p in people]),
    )


@pytest.mark.parametrize("year", [2018, 2023])
def test_a_scene_served_alone_has_the_features_of_the_training_frame(year: int) -> None:
    scenes = sample_scenes(year)
    whole = matrix.build(scenes)
    for at in range(0, 400, 7):
        alone = matrix.build(one_accident(scenes, at))
        np.testing.assert_array_equal(alone, whole[(scenes.people["accident"] == at).to_numpy()])


@pytest.mark.parametrize("year", [2005, 2009, 2018, 2021, 2024])
def test_files_of_one_accident_alone_give_its_rows_of_the_training_frame(year: int) -> None:
    scenes = sample_scenes(year)
    whole = matrix.build(scenes)
    for at in (0, 123, 399):
        number = str(scenes.accidents["num_acc"][at]).encode()
        alone, _ = reader.read_year({t: (n, lines_with(c, number)) for t, (n, c) in sample_files(year).items()}, year)
        np.testing.assert_array_equal(matrix.build(alone), whole[(scenes.people["accident"] == at).to_numpy()])


def lines_with(content: bytes, number: bytes) -> bytes:
    header, *rows = content.splitlines(keepends=True)
    return header + b"".join(row for row in rows if number in row)


@pytest.mark.parametrize("year", [2018, 2023])
def test_a_field_that_is_taken_away_is_missing_where_it_was_and_nowhere_zero(year: int) -> None:
    scenes = sample_scenes(year)
    before = matrix.frame(matrix.build(scenes))
    for name in ("vma", "lum", "hrmn", "lat", "long"):
        less = Scenes(scenes.accidents.assign(**{name: np.float32(np.nan)}), scenes.vehicles, scenes.people)
        after = matrix.frame(matrix.build(less))
        place = ["lat", "long", "accidents_near", "accidents_around"]  # one coordinate alone is no position
        made = {"hrmn": ["hour"], "lat": place, "long": place}.get(name, [name])
        assert after[made].isna().all(axis=None)
        assert after.drop(columns=made).equals(before.drop(columns=made))


def test_no_feature_depends_on_the_severity() -> None:
    scenes = sample_scenes(2023)
    shuffled = scenes.people.assign(grav=scenes.people["grav"].sample(frac=1, random_state=0).to_numpy())
    np.testing.assert_array_equal(
        matrix.build(scenes), matrix.build(Scenes(scenes.accidents, scenes.vehicles, shuffled))
    )


def test_what_is_not_given_is_missing_and_not_zero() -> None:
    made = matrix.frame(matrix.build(scene({}, [], [{"catu": 1}])))
    given = {
        "catu",
        "n_people",
        "n_vehicles",
        "n_pedestrians",
        "n_bicycles",
        "n_motorcycles",
        "n_cars",
        "n_heavy",
        # Of the others all is known: there are none.
        "exposed_others",
        "in_other_vehicles",
        "others_belt",
        "others_helmet",
        "others_no_equipment",
    }
    assert set(made.columns[made.notna().all()]) == given


def test_a_person_is_set_against_the_others() -> None:
    people = [
        {"catu": 1, "vehicle": 0, "secu1": 1, "sexe": 1, "an_nais": 1980},
        {"catu": 2, "vehicle": 0, "secu1": 0},
        {"catu": 1, "vehicle": 1, "secu1": 2, "sexe": 2},
        {"catu": 3, "vehicle": 0},
    ]
    vehicles = [{"catv": 7, "obs": 2}, {"catv": 33}]
    made = matrix.frame(matrix.build(scene({"an": 2020, "mois": 1, "jour": 1}, vehicles, people)))
    assert made["exposed"].tolist() == [0, 0, 1, 1]
    assert made["exposed_others"].tolist() == [2, 2, 1, 1]
    assert made["lighter_people"].tolist() == [2, 2, 1, 0]
    assert made["lightest_other"].tolist() == [75, 75, 75, made["own_mass"][2]]
    assert made["in_other_vehicles"].tolist() == [2, 2, 3, 3]
    assert made["others_belt"].tolist() == [0, 1, 1, 1]
    assert made["others_no_equipment"].tolist() == [1, 0, 1, 1]
    assert made["driver_sexe"].fillna(-1).tolist() == [1, 1, 2, -1]
    assert made["other_driver_sexe"].fillna(-1).tolist() == [2, 2, 1, 1]
    assert made["other_driver_age"].fillna(-1).tolist() == [-1, -1, 40, 40]
    assert made["other_obs"].fillna(-1).tolist() == [-1, -1, 2, 2]
    assert made["other_on_board"].tolist() == [1, 1, 2, 2]


def test_what_nobody_said_of_the_others_is_missing() -> None:
    people = [{"catu": 1, "vehicle": 0, "secu1": 1}, {"catu": 1, "vehicle": 1}]
    made = matrix.frame(matrix.build(scene({}, [{"catv": 7}, {}], people)))
    assert made["others_belt"].fillna(-1).tolist() == [-1, 1]
    assert made["exposed_others"].fillna(-1).tolist() == [-1, 0]


def test_a_kind_is_not_counted_where_one_is_unknown() -> None:
    """None of three cars is a lorry; of two cars and something, nobody knows."""
    car, unknown = {"catv": 7}, {"catv": np.nan}
    driver = {"catu": 1, "vehicle": 0}
    all_known = matrix.frame(matrix.build(scene({}, [car, car, car], [driver])))
    one_unknown = matrix.frame(matrix.build(scene({}, [car, car, unknown], [driver])))
    kinds = ["n_bicycles", "n_motorcycles", "n_cars", "n_heavy"]
    assert all_known[kinds].values.tolist() == [[0, 0, 3, 0]]
    assert one_unknown[kinds].isna().all(axis=None)
    assert one_unknown["n_vehicles"].tolist() == [3]


def test_pedestrians_are_not_counted_where_somebodys_role_is_unknown() -> None:
    made = matrix.frame(matrix.build(scene({}, [], [{"catu": 3}, {"catu": np.nan}])))
    assert made["n_people"].tolist() == [2, 2]
    assert made["n_pedestrians"].isna().all()


def test_of_a_person_without_a_role_nothing_is_known_of_their_vehicle() -> None:
    """They may have been in it, or hit by it."""
    people = [{"catu": np.nan, "vehicle": 0, "sexe": 2}, {"catu": 1, "vehicle": 0}]
    made = matrix.frame(matrix.build(scene({}, [{"catv": 7, "choc": 1}, {"catv": 14}], people)))
    for name in ("catv", "choc", "own_mass", "mass_ratio", "on_board", "other_catv", "driver_sexe", "exposed"):
        assert np.isnan(made[name][0]), name
    assert made["sexe"][0] == 2
    assert made["catv"][1] == 7
    assert np.isnan(made["on_board"][1])


def test_the_seat_tells_the_role_where_that_is_not_given() -> None:
    people = [{"place": place, "vehicle": 0, "catu": np.nan} for place in (1, 2, 9, 10, np.nan)]
    made = matrix.frame(matrix.build(scene({}, [{"catv": 7}], people)))
    assert made["catu"].fillna(-1).tolist() == [1, 2, 2, 3, -1]
    said = matrix.frame(matrix.build(scene({}, [{"catv": 7}], [{"place": 1, "catu": 2, "vehicle": 0}])))
    assert said["catu"].tolist() == [2]


@pytest.mark.parametrize(
    ("slots", "told"),
    [
        ((0, 0, 0), {"no_equipment": 1, "belt": 0}),
        ((0, np.nan, np.nan), {"no_equipment": 1, "helmet": 0}),
        ((1, 0, 0), {"no_equipment": 0, "belt": 1, "helmet": 0}),  # since 2019: a belt, and nothing to add
        ((0, 2, 0), {"no_equipment": 0, "helmet": 1, "belt": 0}),
        ((2, 6, 0), {"no_equipment": 0, "helmet": 1, "gloves": 1}),
        ((8, 0, 0), {"no_equipment": np.nan, "belt": np.nan}),  # cannot be determined
        ((0, 8, 0), {"no_equipment": 1}),
        ((np.nan, 0, 0), {"no_equipment": np.nan, "belt": np.nan}),
        ((np.nan, 1, 0), {"no_equipment": np.nan, "belt": 1, "helmet": np.nan}),
        ((np.nan, np.nan, np.nan), {"no_equipment": np.nan, "belt": np.nan}),
    ],
)
def test_no_equipment_says_that_the_first_slot_is_none_and_nothing_was_used(
    slots: tuple[float, ...], told: dict[str, float]
) -> None:
    person = {"catu": 1, **dict(zip(("secu1", "secu2", "secu3"), slots, strict=True))}
    made = matrix.frame(matrix.build(scene({}, [], [person])))
    for name, value in told.items():
        np.testing.assert_array_equal(made[name][0], value, err_msg=name)


@pytest.mark.parametrize("year", [2018, 2019, 2023])
def test_nobody_who_wears_a_belt_or_a_helmet_is_without_equipment(year: int) -> None:
    scenes = sample_scenes(year)
    made = matrix.frame(matrix.build(scenes))
    slots = [name for name in ("secu1", "secu2", "secu3") if name in scenes.people]
    worn = scenes.people[slots].isin([1, 2]).any(axis=1)
    assert (made["no_equipment"][worn.to_numpy()] == 0).all()
    assert (made["no_equipment"] == 1).any()


def test_of_assumed_people_nothing_is_counted() -> None:
    vehicles, people = [{"catv": 7}, {"catv": 33}], [{"catu": 1, "vehicle": 0}, {"catu": 1, "vehicle": 1}]
    known = matrix.frame(matrix.build(scene({}, vehicles, people)))
    assumed = matrix.frame(matrix.build(scene({"people_assumed": 1}, vehicles, people)))
    counted = list(definitions.COUNTED_PEOPLE)
    assert assumed[counted].isna().all(axis=None)
    pd.testing.assert_frame_equal(assumed.drop(columns=counted), known.drop(columns=counted))
    assert known["n_people"].tolist() == [2, 2]


def test_columns_in_a_mapping_give_what_frames_give() -> None:
    scenes = sample_scenes(2023)
    columns = ({n: t[n].to_numpy() for n in t} for t in (scenes.accidents, scenes.vehicles, scenes.people))
    np.testing.assert_array_equal(matrix.from_columns(*columns), matrix.build(scenes))


def test_an_impact_is_on_ones_own_side_or_on_the_other() -> None:
    driver, beside, behind, unsaid = (
        {"vehicle": 0, "catu": c, "place": p} for c, p in ((1, 1), (2, 2), (2, 5), (2, np.nan))
    )
    for choc, told in ((8, [1, -1, 0]), (2, [-1, 1, 0]), (1, [0, 0, 0]), (np.nan, [np.nan] * 3)):
        made = matrix.frame(matrix.build(scene({}, [{"catv": 7, "choc": choc}], [driver, beside, behind, unsaid])))
        np.testing.assert_array_equal(made["impact_side"], [*told, np.nan])


def test_a_scene_in_paris_has_more_accidents_near_than_one_in_the_country() -> None:
    def near(**place: float) -> tuple[float, float]:
        made = matrix.frame(matrix.build(scene(place, [], [{"catu": 3}])))
        return made["accidents_near"][0], made["accidents_around"][0]

    paris, country, nowhere = near(lat=48.86, long=2.35), near(lat=44.6, long=3.4), near(lat=48.86)
    assert paris[0] > 1000
    assert paris[1] > 10_000
    assert country[0] < 10
    assert country[1] < 100
    assert np.isnan(nowhere).all()


def test_the_heaviest_other_vehicle_is_the_one_met() -> None:
    people = [{"catu": 1, "vehicle": 0}, {"catu": 1, "vehicle": 1}, {"catu": 1, "vehicle": 2}]
    made = matrix.frame(matrix.build(scene({}, [{"catv": 7}, {"catv": 14}, {"catv": 1}], people)))
    assert made["other_catv"].tolist() == [14, 7, 14]
    assert made["mass_ratio"][2] < made["mass_ratio"][0] < 0 < made["mass_ratio"][1]


def test_a_pedestrian_meets_the_vehicle_that_hit_them_and_rides_none() -> None:
    people = [{"catu": 1, "vehicle": 0}, {"catu": 3, "vehicle": 0}]
    made = matrix.frame(matrix.build(scene({}, [{"catv": 7}], people)))
    assert made["other_catv"].fillna(-1).tolist() == [-1, 7]
    assert made["own_mass"][1] == arrays.PEDESTRIAN_MASS
    assert np.isnan(made["catv"][1])
    assert made["on_board"][0] == 1


def test_the_fourteenth_of_july_is_a_holiday_and_its_weekday_is_right() -> None:
    made = matrix.frame(matrix.build(scene({"an": 2024, "mois": 7, "jour": 14}, [], [{"catu": 1}])))
    assert made["holiday"][0] == 1
    assert made["weekday"][0] == 6


def test_an_accident_is_on_one_side_of_the_split_for_ever() -> None:
    numbers = np.repeat(np.arange(202100000001, 202100020001), 2)
    held = split.is_held_out(numbers)
    assert (held[::2] == held[1::2]).all()
    assert 0.09 < held.mean() < 0.11
    # Pinned: another answer would let a champion be judged on rows that it was trained on.
    assert np.flatnonzero(held[::2])[:5].tolist() == [5, 30, 51, 64, 70]
    np.testing.assert_array_equal(split.is_held_out(numbers[::-1]), held[::-1])


def test_no_accident_stands_on_both_sides_of_a_fold() -> None:
    data, _ = clean.clean(sample_scenes(2023))
    parts = split.folds(data.y, data.accident, n_splits=3, seed=0)
    assert sorted(np.concatenate([test for _, test in parts])) == list(range(len(data.y)))
    for train, test in parts:
        assert not np.intersect1d(data.accident[train], data.accident[test]).size


def test_a_cap_takes_whole_accidents_and_keeps_the_shares_of_injuries() -> None:
    data, _ = clean.clean(sample_scenes(2023, 3000))
    rows = split.sample_accidents(np.arange(len(data.y)), data.accident, data.y, 2000, 0)
    assert 1800 < len(rows) < 2200
    taken = np.isin(data.accident, data.accident[rows])
    assert taken.sum() == len(rows)
    assert abs((data.y[rows] == 1).mean() - (data.y == 1).mean()) < 0.01


def test_people_without_a_known_severity_are_dropped_and_counted() -> None:
    scenes = sample_scenes(2023)
    data, dropped = clean.clean(scenes)
    unknown = int(scenes.people["grav"].isna().sum())
    assert unknown > 0
    assert dropped == {"severity not given": unknown}
    assert len(data.y) + unknown == len(scenes.people)


def test_too_few_accidents_are_refused_with_a_remedy() -> None:
    data, _ = clean.clean(sample_scenes(2023))
    few = data.take(np.arange(30))
    with pytest.raises(InputError, match="add years or complete files"):
        clean.hold_out(few)


def declare(name: str = "noise", source: str = "catv") -> declaration.Features:
    declared = declaration.Features({"age": definitions.FEATURES[NAMES.index("age")]})

    def make(scene: arrays.SceneArrays) -> declaration.Floats:
        return scene.of_vehicle("catv")

    make.__name__ = name
    declared.feature("Bruit", "Noise", source)(make)
    return declared


def test_a_feature_is_declared_once_and_of_columns_that_there_are() -> None:
    assert list(declare()) == ["age", "noise"]
    with pytest.raises(ValueError, match="age is declared twice"):
        declare("age")
    with pytest.raises(ValueError, match="'decibel'"):
        declare(source="catv, decibel")
    with pytest.raises(TypeError, match="make"):
        declaration.Feature(name="noise", label=definitions.FEATURES[0].label, source=("catv",))  # type: ignore[call-arg]


def test_a_feature_tells_when_it_is_known() -> None:
    known = {each.name: knowledge.known_at(each) for each in definitions.FEATURES}
    assert (known["n_cars"], known["driver_age"], known["belt"], known["motor"], known["n_people"]) == (
        *("first_call", "dispatch", "on_scene", "record", "first_call"),
    )
