"""The table of communes: what is found in it, and how it is made."""

from __future__ import annotations

import gzip
import json
import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from include.accidents.cli.main import app
from include.accidents.data import communes, reader, split
from include.accidents.data.departments import DEPARTMENTS
from include.accidents.errors import InputError
from include.accidents.synthetic.sample import write_sample
from tests.helpers import REAL_2021, read_folder

ALL = [f"{first + number}" for first, count in ((75101, 20), (69381, 9), (13201, 16)) for number in range(count)]


def names(text: str, limit: int = 10, department: str | None = None) -> list[str]:
    return [commune.name for commune in communes.starting_with(text, limit, department)]


def distance(commune: communes.Commune | None, lat: float, long: float) -> float:
    """Return the distance in km between a commune and a position."""
    assert commune is not None
    return 111.2 * math.hypot(commune.lat - lat, (commune.long - long) * math.cos(math.radians(lat)))


@pytest.mark.parametrize(
    ("code", "name", "department", "lat", "long"),
    [
        ("59350", "Lille", "59", 50.63, 3.06),
        ("75056", "Paris", "75", 48.86, 2.34),
        ("75118", "Paris 18e Arrondissement", "75", 48.89, 2.34),
        ("69123", "Lyon", "69", 45.76, 4.84),
        ("13055", "Marseille", "13", 43.30, 5.39),
        ("2A004", "Ajaccio", "2A", 41.92, 8.74),
        ("97105", "Basse-Terre", "971", 15.99, -61.73),
        ("97209", "Fort-de-France", "972", 14.61, -61.07),
        ("97302", "Cayenne", "973", 4.93, -52.33),
        ("97411", "Saint-Denis", "974", -20.89, 55.46),
        ("97502", "Saint-Pierre", "975", 46.78, -56.18),
        ("97611", "Mamoudzou", "976", -12.78, 45.22),
        ("97701", "Saint-Barthélemy", "977", 17.90, -62.83),
        ("97801", "Saint-Martin", "978", 18.07, -63.07),
        ("98613", "Uvea", "986", -13.29, -176.20),
        ("98735", "Papeete", "987", -17.54, -149.57),
        ("98818", "Nouméa", "988", -22.27, 166.45),
    ],
)
def test_a_code_gives_the_name_and_the_position(code: str, name: str, department: str, lat: float, long: float) -> None:
    found = communes.find(code)
    assert found is not None
    assert (found.code, found.name, found.department) == (code, name, department)
    assert found.population > 500
    assert distance(found, lat, long) < 5


def test_a_code_may_be_in_lower_case_and_between_blanks() -> None:
    assert communes.find(" 2a004 ") == communes.find("2A004") is not None


@pytest.mark.parametrize("code", ["", "59", "59999", "9999", "75001", "Lille", "١٢٣٤٥"])
def test_a_code_that_does_not_exist_is_not_found(code: str) -> None:
    assert communes.find(code) is None


def test_every_arrondissement_has_a_position() -> None:
    assert all(distance(communes.find(code), 46, 3) < 500 for code in ALL)


@pytest.mark.parametrize(
    ("code", "name", "successor"),
    [
        ("01033", "Valserhône", None),  # a merged commune's own code goes on with the new name
        ("59355", "Lomme", "59350"),  # an associated commune of Lille
        ("50602", "Tourlaville", "50129"),  # a delegated commune of Cherbourg-en-Cotentin
        ("22051", "Jugon-les-Lacs", "22084"),  # nobody but the successor is known of this one
    ],
)
def test_the_code_of_a_merged_commune_gives_a_position(code: str, name: str, successor: str | None) -> None:
    found, after = communes.find(code), communes.find(successor or code)
    assert found is not None
    assert after is not None
    assert found.name == name
    assert distance(found, after.lat, after.long) < 8


def test_the_table_is_sound() -> None:
    table = list(communes._table().values())
    assert len(table) > 38_000
    assert {commune.department for commune in table} == set(DEPARTMENTS)
    assert all(len(commune.code) == 5 and commune.name for commune in table)
    known = np.array([(commune.lat, commune.long) for commune in table if not math.isnan(commune.lat)])
    assert len(known) > 20_000
    assert not np.isnan(known).any()
    mainland = [c for c in table if len(c.department) == 2 and not math.isnan(c.lat)]
    assert all(41 < commune.lat < 51.2 and -5.3 < commune.long < 9.7 for commune in mainland)
    people = sum(commune.population for commune in table)
    located = sum(commune.population for commune in table if not math.isnan(commune.lat))
    assert located / people > 0.93


def test_the_largest_commune_comes_first() -> None:
    found = communes.starting_with("saint-den")
    assert [(commune.name, commune.department) for commune in found[:2]] == [
        ("Saint-Denis", "974"),
        ("Saint-Denis", "93"),
    ]
    assert [commune.population for commune in found] == sorted((c.population for c in found), reverse=True)
    assert len(found) == 10


def test_the_article_may_be_left_out_or_written() -> None:
    assert names("havre")[0] == names("le hav")[0] == names("LE-HAVRE")[0] == "Le Havre"
    assert names("rochelle")[0] == "La Rochelle"
    assert "L'Haÿ-les-Roses" in names("hay les r")
    assert "Les Sables-d'Olonne" in names("sables")


def test_accents_hyphens_and_apostrophes_do_not_count() -> None:
    assert names("ile", 300) == names("Île", 300) == names("ÎLE", 300)
    assert {"L'Île-d'Yeu", "Île-de-Batz"} <= set(names("ile", 300))
    assert names("l ile d yeu") == names("L’Île-d’Yeu") == ["L'Île-d'Yeu"]
    assert names("oeuilly") == names("Œuilly") != []


def test_a_search_can_be_limited_to_a_departement() -> None:
    assert {commune.department for commune in communes.starting_with("saint", 50, "974")} == {"974"}
    assert names("saint", 2, "974") == ["Saint-Denis", "Saint-Paul"]
    assert names("lille", department="75") == []


def test_a_name_stands_once_in_a_departement() -> None:
    found = communes.starting_with("", 100_000)
    assert len({(commune.name, commune.department) for commune in found}) == len(found)
    assert found[0].name == "Paris"


def test_nothing_starts_with_what_no_name_starts_with() -> None:
    assert names("zzz") == names("lille", limit=0) == []


def test_a_search_takes_a_few_milliseconds() -> None:
    communes.starting_with("x")  # reads the table
    start = time.perf_counter()
    for _ in range(10):
        communes.starting_with("s")
    assert (time.perf_counter() - start) / 10 < 0.05


@pytest.mark.parametrize(
    ("code", "first"),
    [("59999", "59670"), ("1001", "01001"), ("2a999", "2A363"), ("97499", "97424"), ("75001", "75056")],
)
def test_the_closest_codes_are_of_the_same_departement(code: str, first: str) -> None:
    found = communes.closest(code)
    assert found[0].code == first
    assert len(found) == 3
    assert len({commune.department for commune in found}) == 1


@pytest.mark.parametrize("code", ["00000", "75O56", "", "99123", "-5935"])
def test_a_code_of_no_departement_has_no_closest(code: str) -> None:
    assert communes.closest(code) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"not gzip", communes.TABLE.read_bytes()[:-100], gzip.compress(b"code;name\n"), gzip.compress(b"\xff")],
    ids=["empty", "no gzip", "cut", "other text", "no UTF-8"],
)
def test_a_table_that_was_changed_is_refused(content: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "communes.csv.gz").write_bytes(content)
    monkeypatch.setattr(communes, "TABLE", tmp_path / "communes.csv.gz")
    communes._table.cache_clear()
    try:
        with pytest.raises(InputError, match="is damaged or was changed"):
            communes.find("59350")
    finally:
        communes._table.cache_clear()


# --- how the table is made


def official(code: str, name: str, kind: str = "commune-actuelle", **more: object) -> dict[str, object]:
    return {"code": code, "nom": name, "departement": "59", "type": kind, **more}


def geonames(name: str, code: str, lat: float, long: float, others: str = "", people: int = 500) -> list[str]:
    cells = [""] * 19
    cells[0], cells[1], cells[3], cells[4], cells[5] = str(people), name, others, str(lat), str(long)
    cells[8], cells[11], cells[13], cells[14] = "FR", "59", code, str(people)
    return cells


def accidents(*rows: tuple[str | None, float, float], held_out: bool = False) -> pd.DataFrame:
    """Return accidents that are in global_test or not."""
    numbers = np.arange(2000, dtype=np.int64)
    numbers = numbers[split.is_held_out(numbers) == held_out][: len(rows)]
    return pd.DataFrame(rows, columns=["com", "lat", "long"]).assign(num_acc=numbers)


LIST = [
    official("59001", "Bourg-d'Œuf", population=900, anciensCodes=["59009", "20001", "75001"]),
    official("59002", "Vallon"),
    official("59003", "Hameau", "commune-deleguee", chefLieu="59001"),
    official("98411", "Kerguelen") | {"departement": "984"},
]
PLACES = [
    geonames("Grand Bourg", "59001", 50.5, 3.5, people=9000),
    geonames("Bourg d'Oeuf", "59001", 50.0, 3.0),
    geonames("Hameau", "59001", 50.1, 3.1),
    geonames("Val", "", 50.2, 3.2),
]


def made(of: pd.DataFrame, places: list[list[str]] = PLACES) -> tuple[dict[str, str], dict[str, int]]:
    """Return the lines of a table by code, and where their positions come from."""
    text, sources = communes.make(of, LIST, places)
    return {line[:5]: line[6:] for line in text.splitlines()[1:]}, sources


def test_a_commune_with_few_accidents_has_the_position_of_geonames() -> None:
    lines, sources = made(accidents(*[("59001", 50.01, 3.01)] * (communes.ENOUGH - 1)))
    assert lines == {
        "59001": "Bourg-d'Œuf;59;900;50.0000;3.0000",
        "59002": "Vallon;59;0;;",
        "59003": "Hameau;59;0;50.1000;3.1000",
        "59009": "Bourg-d'Œuf;59;0;50.0000;3.0000",
    }
    assert sources == {"geonames": 2, "none": 1, "successor": 1}


def test_a_commune_with_enough_accidents_has_their_median() -> None:
    lines, _ = made(accidents(*[("59001", 50.01, 3.01)] * communes.ENOUGH, ("59001", 50.4, 3.4)))
    assert lines["59001"] == "Bourg-d'Œuf;59;900;50.0100;3.0100"


def test_accidents_of_a_merged_commune_count_for_its_successor() -> None:
    lines, _ = made(accidents(*[("59009", 50.01, 3.01)] * communes.ENOUGH))
    assert lines["59001"].endswith("50.0100;3.0100")


def test_accidents_of_global_test_elsewhere_or_without_a_position_do_not_count() -> None:
    nowhere = [(None, 50.0, 3.0), ("59002", math.nan, 3.0), ("59002", 48.0, 3.0), ("59002", -50.0, 3.0), ("N/C", 1, 1)]
    assert made(accidents(*nowhere))[0]["59002"] == "Vallon;59;0;;"
    assert made(accidents(("59002", 50.0, 3.0), held_out=True))[0]["59002"] == "Vallon;59;0;;"
    assert made(accidents(("59002", 50.0, 3.0)))[0]["59002"] == "Vallon;59;0;50.0000;3.0000"


def test_a_place_far_from_the_accidents_is_not_that_commune() -> None:
    lines, _ = made(accidents(("59001", 50.5, 3.5)))
    assert lines["59001"].endswith("50.5000;3.5000")


def test_a_place_without_a_code_is_found_by_its_name() -> None:
    places = [*PLACES, geonames("VALLON", "", 50.3, 3.3)]
    assert made(accidents(), places)[0]["59002"].endswith("50.3000;3.3000")


def test_a_place_may_have_another_name_or_else_the_largest_counts() -> None:
    first, second = geonames("A", "59002", 50.3, 3.3, "x,Vallon"), geonames("B", "59002", 50.4, 3.4, people=9000)
    assert made(accidents(), [first, second])[0]["59002"].endswith("50.3000;3.3000")
    assert made(accidents(), [geonames("A", "59002", 50.3, 3.3), second])[0]["59002"].endswith("50.4000;3.4000")


def test_the_same_sources_give_the_same_bytes() -> None:
    text, _ = communes.make(accidents(), LIST, PLACES)
    assert communes.to_file(text) == communes.to_file(text)
    assert gzip.decompress(communes.to_file(text)).decode() == text


def test_the_command_writes_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_sample(tmp_path / "raw", years=(2021, 2022), accidents_per_year=100)
    (tmp_path / "communes.json").write_text(json.dumps(LIST), "utf-8")
    (tmp_path / "cities.txt").write_text("".join("\t".join(place) + "\n" for place in PLACES), "utf-8")
    monkeypatch.setattr(communes, "TABLE", tmp_path / "communes.csv.gz")
    sources = [str(tmp_path / name) for name in ("raw", "communes.json", "cities.txt")]
    result = CliRunner().invoke(app, ["communes", *sources])
    assert result.exit_code == 0, result.output
    text = gzip.decompress(communes.TABLE.read_bytes()).decode()
    assert text.startswith(communes.HEADER)
    assert communes.digest(text) in result.output
    result = CliRunner().invoke(app, ["communes", sources[0], sources[2], sources[1]])
    assert result.exit_code == 1
    assert "not the list of communes" in result.output


def test_another_file_than_the_sources_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    for content in ("", "{}", "[1]", '[{"code": "59001"}]', "a\tb\n"):
        other.write_text(content)
        with pytest.raises(InputError, match="is not the list of communes"):
            communes.read_official(other)
        with pytest.raises(InputError, match="is not a table of GeoNames"):
            communes.read_geonames(other)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_2021.is_dir(), reason="the real files of 2021 are not beside the project")
def test_accidents_that_the_table_never_saw_are_near_their_commune() -> None:
    of = reader.read_year(read_folder(REAL_2021)[2021], 2021)[0].accidents[["num_acc", "com", "lat", "long"]].dropna()
    held_out = split.is_held_out(of["num_acc"].to_numpy())
    lille = of[(of["com"] == "59350") & ~held_out]
    assert distance(communes.find("59350"), lille["lat"].median(), lille["long"].median()) < 0.02
    rows = of[held_out]
    km = [distance(communes.find(*at[:1]), *at[1:]) for at in zip(rows["com"], rows["lat"], rows["long"], strict=True)]
    known = np.array(km)[~np.isnan(km)]
    assert len(known) / len(km) > 0.95
    assert np.median(known) < 1.3
    assert np.quantile(known, 0.9) < 3.2
