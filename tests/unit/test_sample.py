"""The generated sample: written like the publisher's files, joined up, plausible, and worth learning from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score
from threadpoolctl import threadpool_limits

from include.accidents.data.columns import LETTER_CODES, Kind, Table, columns
from include.accidents.data.files import MARKER, find, is_sample, recognise
from include.accidents.errors import InputError
from include.accidents.synthetic.drawing import vehicle_classes
from include.accidents.synthetic.sample import write_sample
from include.accidents.synthetic.simulate import simulate


def read(folder: Path, table: Table, year: int) -> pd.DataFrame:
    """A file as the facts of its vintage say to read it, cells as text."""
    old = year < 2019
    tabs = table is Table.CARACTERISTIQUES and year == 2009
    return pd.read_csv(
        find(folder)[year][table],
        sep="\t" if tabs else "," if old else ";",
        encoding="latin-1" if old else "utf-8",
        dtype=str,
        keep_default_na=False,
    )


@pytest.fixture(scope="module")
def modern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modern")
    write_sample(folder, years=(2021, 2022, 2023), accidents_per_year=4000)
    return folder


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    write_sample(folder, years=(2005, 2009, 2013, 2018), accidents_per_year=1500)
    return folder


# --- files


def test_the_default_sample_is_two_complete_years_of_6000_accidents(tmp_path: Path) -> None:
    paths = write_sample(tmp_path)
    assert [recognise(path.name) for path in paths] == [(t, y) for y in (2022, 2023) for t in Table]
    assert len(read(tmp_path, Table.CARACTERISTIQUES, 2022)) == 6000


def test_the_files_bear_the_publishers_names(tmp_path: Path) -> None:
    names = {path.name for path in write_sample(tmp_path, years=range(2005, 2025), accidents_per_year=3)}
    assert len(names) == 80
    assert {
        "caracteristiques_2016.csv",
        "caracteristiques-2017.csv",
        "carcteristiques-2021.csv",
        "carcteristiques-2022.csv",
        "caract-2023.csv",
        "caract-2024.csv",
        "usagers_2013.csv",
        "lieux-2019.csv",
    } <= names
    assert list(find(tmp_path)) == list(range(2005, 2025))


def test_the_same_seed_gives_the_same_bytes_whatever_other_years_are_written(tmp_path: Path) -> None:
    first = write_sample(tmp_path / "a", years=(2018, 2023), accidents_per_year=200, seed=3)
    alone = write_sample(tmp_path / "b", years=(2023,), accidents_per_year=200, seed=3)
    other = write_sample(tmp_path / "c", years=(2023,), accidents_per_year=200, seed=4)
    assert [path.read_bytes() for path in first[4:]] == [path.read_bytes() for path in alone]
    assert all(a.read_bytes() != c.read_bytes() for a, c in zip(alone, other, strict=True))


def test_the_folder_says_that_it_is_a_sample_and_nothing_unfinished_stays(tmp_path: Path) -> None:
    assert not is_sample(tmp_path)
    write_sample(tmp_path, years=(2022,), accidents_per_year=10)
    assert is_sample(tmp_path)
    assert "generated at random" in (tmp_path / MARKER).read_text()
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("name", ["usagers-2021.csv", "LIEUX_2020.CSV", "lieux-2021.csv.gz"])
def test_a_folder_of_real_files_is_never_written_to(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("real")
    with pytest.raises(InputError, match=r"not a generated sample.*another folder"):
        write_sample(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_year_before_the_first_and_no_accident_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no files of 2004"):
        write_sample(tmp_path, years=(2010, 2004))
    with pytest.raises(InputError, match="0 accidents"):
        write_sample(tmp_path, accidents_per_year=0)
    assert not list(tmp_path.iterdir())


def test_a_single_accident_is_a_sample(tmp_path: Path) -> None:
    write_sample(tmp_path, years=(2009, 2023), accidents_per_year=1)
    for year in (2009, 2023):
        assert set(read(tmp_path, Table.USAGERS, year)["grav"]) & {"2", "3", "4"}


# --- formats


def test_todays_files_have_todays_columns_in_order(modern: Path) -> None:
    for table in Table:
        expected = [described.name for described in columns(table)]
        found = [name.lower() for name in read(modern, table, 2023).columns]
        assert found == expected


def test_2022_names_its_key_accident_id_and_only_there(modern: Path) -> None:
    keys = {(t, y): read(modern, t, y).columns[0] for t in Table for y in (2021, 2022, 2023)}
    assert [where for where, key in keys.items() if key == "Accident_Id"] == [(Table.CARACTERISTIQUES, 2022)]
    assert set(keys.values()) == {"Num_Acc", "Accident_Id"}


def test_people_have_no_identifier_before_2022(modern: Path) -> None:
    assert "id_usager" not in read(modern, Table.USAGERS, 2021)
    assert read(modern, Table.USAGERS, 2022).columns[1] == "id_usager"


def test_todays_cells_have_the_publishers_quirks(modern: Path) -> None:
    place = read(modern, Table.CARACTERISTIQUES, 2023)
    road = read(modern, Table.LIEUX, 2023)
    people = read(modern, Table.USAGERS, 2023)
    assert place["hrmn"].str.fullmatch(r"[0-2]\d:[0-5]\d").all()
    assert place["lat"].str.fullmatch(r"( -)?\d+,\d{10}").all()
    assert place["dep"].isin(["2A", "2B"]).any()
    assert place["com"].str.fullmatch(r"\d{5}|2[AB]\d{3}|N/C").all()
    assert people["id_usager"].str.fullmatch("\\d+(\u00a0\\d{3})+").all()
    assert people["num_veh"].str.fullmatch(r"[A-Z\[]01").all()
    assert {"A", "B"} & set(people["actp"])
    assert " -1" in set(people["trajet"])
    assert "-1" not in set(people["trajet"])
    assert "" in set(people["an_nais"])
    assert "(1)" in set(road["pr"])
    assert "N/A" in set(road["v2"])
    assert {"#ERREUR", "#VALEURMULTI"} & set(road["nbv"])
    assert {"300", "500", "700", "800", "900"} & set(road["vma"])
    assert road["larrout"].str.contains(",").any()
    assert find(modern)[2023][Table.LIEUX].read_bytes().startswith(b'"Num_Acc";"catr";')


def test_from_2023_some_accidents_have_several_places(modern: Path) -> None:
    rows = {year: read(modern, Table.LIEUX, year)["Num_Acc"] for year in (2022, 2023)}
    assert rows[2022].is_unique
    assert 1.25 < len(rows[2023]) / rows[2023].nunique() < 1.33
    assert rows[2023].is_monotonic_increasing


def test_old_files_have_the_columns_and_cells_of_their_time(old: Path) -> None:
    place = read(old, Table.CARACTERISTIQUES, 2013)
    road = read(old, Table.LIEUX, 2013)
    vehicles = read(old, Table.VEHICULES, 2013)
    people = read(old, Table.USAGERS, 2013)
    assert list(place)[:5] == ["Num_Acc", "an", "mois", "jour", "hrmn"]
    assert list(road)[-1] == "env1"
    assert "vma" not in road
    assert list(vehicles) == ["Num_Acc", "senc", "catv", "occutc", "obs", "obsm", "choc", "manv", "num_veh"]
    assert list(people)[6] == "secu"
    assert "id_vehicule" not in people
    assert set(place["an"]) == {"13"}
    assert place["hrmn"].str.fullmatch(r"0|[1-9]\d{0,3}").all()
    assert (place["hrmn"].str.len() < 3).any()
    assert place["dep"].isin(["590", "201", "202", "971", "974"]).any()
    assert place["dep"].str.len().eq(3).all()
    assert place["lat"].str.fullmatch(r"-?\d{6,7}|").all()
    assert "0000000" in set(place["lat"])
    assert vehicles["catv"].str.fullmatch(r"\d\d").all()
    assert set(vehicles["num_veh"]) >= {"A01", "B02"}
    assert people["secu"].str.fullmatch(r"[12349][123]|").all()
    assert not set(people["actp"]) & set(LETTER_CODES)


def test_the_accents_of_old_files_are_latin_1_and_2009_is_tab_separated(old: Path) -> None:
    raw = find(old)[2009][Table.CARACTERISTIQUES].read_bytes()
    assert raw.startswith(b"Num_Acc\tan\tmois")
    assert "Érables".encode("latin-1") in raw


def test_territories_appear_with_their_first_vintage(tmp_path: Path) -> None:
    write_sample(tmp_path, years=(2011, 2018, 2024), accidents_per_year=8000)
    departments = {y: set(read(tmp_path, Table.CARACTERISTIQUES, y)["dep"]) for y in (2011, 2018, 2024)}
    assert not departments[2011] & {"976", "988"}
    assert departments[2018] & {"976", "988"} == {"976"}
    assert departments[2024] >= {"976", "987", "988"}


# --- content


def test_the_four_files_of_a_year_join_without_a_gap(modern: Path, old: Path) -> None:
    for folder, year, vehicle in (
        (modern, 2023, "id_vehicule"),
        (modern, 2021, "id_vehicule"),
        (old, 2018, ""),
    ):
        tables = {table: read(folder, table, year) for table in Table}
        accidents = set(tables[Table.CARACTERISTIQUES]["Num_Acc"])
        assert all(set(frame["Num_Acc"]) == accidents for frame in tables.values())
        keys = ["Num_Acc", vehicle or "num_veh"]
        vehicles, people = tables[Table.VEHICULES][keys], tables[Table.USAGERS][keys]
        assert not vehicles.duplicated().any()
        assert len(people.merge(vehicles)) == len(people)


def test_no_number_is_used_in_two_years(modern: Path) -> None:
    for table, key in (
        (Table.LIEUX, "Num_Acc"),
        (Table.VEHICULES, "id_vehicule"),
        (Table.USAGERS, "id_usager"),
    ):
        first, second = (set(read(modern, table, year)[key]) for year in (2022, 2023))
        assert not first & second


def test_every_accident_hurts_someone(modern: Path) -> None:
    for year in (2021, 2022, 2023):
        people = read(modern, Table.USAGERS, year)
        assert people["grav"].isin(["2", "3", "4"]).groupby(people["Num_Acc"]).any().all()


def test_pedestrians_belong_to_the_vehicle_that_hit_them(modern: Path) -> None:
    people = read(modern, Table.USAGERS, 2023)
    pedestrians = people[people["catu"] == "3"]
    assert 0.05 < len(pedestrians) / len(people) < 0.1
    assert set(pedestrians["place"]) == {"10"}
    drivers = people.loc[people["catu"] == "1", "id_vehicule"]
    assert pedestrians["id_vehicule"].isin(drivers).all()


def test_of_people_who_fled_next_to_nothing_is_known_from_2021_on(modern: Path, old: Path) -> None:
    people = read(modern, Table.USAGERS, 2021)
    fled = people[people["sexe"] == " -1"]
    assert 0.01 < len(fled) / len(people) < 0.04
    assert set(fled["an_nais"]) == {""}
    assert set(fled["grav"]) == {"1", " -1"}
    assert " -1" not in set(people.loc[people["sexe"] != " -1", "grav"])
    assert "-1" not in set(read(old, Table.USAGERS, 2018)["sexe"])


@pytest.fixture(scope="module")
def drawn() -> dict[Table, dict[str, np.ndarray]]:
    return simulate(2023, 20_000, seed=1)


def test_every_code_drawn_is_one_of_the_dictionary(drawn: dict[Table, dict[str, np.ndarray]]) -> None:
    for table in Table:
        for described in columns(table):
            if described.kind is Kind.CODE:
                strange = set(drawn[table][described.name].tolist()) - set(described.codes) - {-1, 0}
                assert not strange, described.name


def test_shares_are_like_those_of_2021(drawn: dict[Table, dict[str, np.ndarray]]) -> None:
    people, vehicles = drawn[Table.USAGERS], drawn[Table.VEHICULES]
    severity = [float((people["grav"] == grav).mean()) for grav in (1, 2, 3, 4)]
    assert severity == pytest.approx([0.427, 0.025, 0.148, 0.40], abs=0.005)
    assert float((vehicles["catv"] == 7).mean()) == pytest.approx(0.587, abs=0.02)
    assert len(people["grav"]) / 20_000 == pytest.approx(2.285, abs=0.05)
    assert len(vehicles["catv"]) / 20_000 == pytest.approx(1.722, abs=0.04)


def test_whoever_is_less_protected_is_hurt_worse(drawn: dict[Table, dict[str, np.ndarray]]) -> None:
    people = pd.DataFrame(drawn[Table.USAGERS])
    people["class"] = vehicle_classes(drawn[Table.VEHICULES]["catv"])[people["id_vehicule"]]
    people["severe"] = people["grav"].isin([2, 3])
    severe = people[people["catu"] == 1].groupby("class")["severe"].mean()
    assert severe["truck"] < severe["car"] < severe["moped"] < severe["motorcycle"]
    assert people.loc[people["catu"] == 3, "severe"].mean() > 2 * severe["car"]
    belts = people[(people["class"] == "car") & (people["catu"] == 1)].groupby("secu1")["severe"].mean()
    assert belts[0] > 1.5 * belts[1]


def test_models_can_learn_from_it_but_not_everything() -> None:
    train, test = (features(simulate(year, 4000, seed=0)) for year in (2022, 2023))
    model = HistGradientBoostingClassifier(max_iter=40, learning_rate=0.2, random_state=0)
    with threadpool_limits(1):
        model.fit(train.drop(columns="grav"), train["grav"])
        predicted = model.predict(test.drop(columns="grav"))
    score = f1_score(test["grav"], predicted, average="weighted")
    assert 0.6 < score < 0.75


def features(tables: dict[Table, dict[str, np.ndarray]]) -> pd.DataFrame:
    """A person's own row, with what their accident and vehicle are, and how many take part."""
    place, road, vehicles, people = (pd.DataFrame(tables[table]) for table in Table)
    vehicles["vehicles"] = vehicles.groupby("num_acc")["catv"].transform("size")
    people["people"] = people.groupby("num_acc")["catu"].transform("size")
    merged = (
        people.merge(vehicles.drop(columns=["num_acc", "num_veh"]), on="id_vehicule")
        .merge(place, on="num_acc")
        .merge(road, on="num_acc")
    )
    known = merged[merged["grav"] > 0]
    return known.drop(columns=["num_acc", "id_usager", "id_vehicule", "dep", "com", "voie"])
