"""The table of columns: complete against the dictionary, and usable for judging a cell."""

from __future__ import annotations

import math

import pytest

from include.accidents.data import communes
from include.accidents.data.columns import (
    CLASS_LABELS,
    CLASSES,
    COLUMNS,
    LETTER_CODES,
    OLD_EQUIPMENT,
    RETIRED_COLUMNS,
    Kind,
    Table,
    column,
    columns,
)
from include.accidents.data.departments import DEPARTMENTS, TERRITORIES, department_number, in_france
from include.accidents.data.vehicles import VEHICLE_CLASSES, VehicleClass

# Counted in the dictionary of 2005 to 2021, without the codes that mean "not given".
CODES_OF_THE_DICTIONARY = {
    "lum": range(1, 6),
    "agg": range(1, 3),
    "int": range(1, 10),
    "atm": range(1, 10),
    "col": range(1, 8),
    "catr": [1, 2, 3, 4, 5, 6, 7, 9],
    "circ": range(1, 5),
    "vosp": range(4),
    "prof": range(1, 5),
    "plan": range(1, 5),
    "surf": range(1, 10),
    "infra": range(10),
    "situ": [0, 1, 2, 3, 4, 5, 6, 8],
    "senc": range(1, 4),
    "catv": [*range(22), *range(30, 44), 50, 60, 80, 99],
    "obs": range(18),
    "obsm": [0, 1, 2, 4, 5, 6, 9],
    "choc": range(10),
    "manv": range(1, 27),
    "motor": range(1, 7),
    "place": range(1, 11),
    "catu": range(1, 4),
    "grav": range(1, 5),
    "sexe": range(1, 3),
    "trajet": [1, 2, 3, 4, 5, 9],
    "secu1": range(10),
    "secu2": range(10),
    "secu3": range(10),
    "locp": range(10),
    "actp": [0, 1, 2, 3, 4, 5, 6, 9, 10, 11],
    "etatp": range(1, 4),
}


def test_every_code_of_the_dictionary_is_there_and_no_other() -> None:
    codes = {described.name: sorted(described.codes) for described in COLUMNS if described.kind is Kind.CODE}
    assert codes == {name: list(expected) for name, expected in CODES_OF_THE_DICTIONARY.items()}


def test_no_code_both_says_something_and_means_not_given() -> None:
    for described in (*COLUMNS, *RETIRED_COLUMNS):
        assert not described.missing & set(described.codes), described.name


@pytest.mark.parametrize("name", ["circ", "plan", "motor", "trajet", "senc", "manv", "etatp"])
def test_zero_means_not_given_where_the_dictionary_says_so(name: str) -> None:
    found = next(described for described in COLUMNS if described.name == name)
    assert found.missing == {-1, 0}


@pytest.mark.parametrize("name", ["vosp", "infra", "situ", "obs", "obsm", "choc", "secu1", "locp", "actp"])
def test_zero_is_an_answer_where_it_says_none(name: str) -> None:
    found = next(described for described in COLUMNS if described.name == name)
    assert found.missing == {-1}
    assert found.codes[0].fr.startswith(("Aucun", "Sans objet", "Non renseigné ou sans objet"))


def test_every_column_and_code_has_a_french_and_an_english_label() -> None:
    for described in (*COLUMNS, *RETIRED_COLUMNS):
        for label in (described.label, *described.codes.values()):
            assert label.fr.strip(), described.name
            assert label.en.strip(), described.name


def test_labels_of_a_column_can_be_told_apart() -> None:
    for described in COLUMNS:
        for language in ("fr", "en"):
            labels = [getattr(label, language) for label in described.codes.values()]
            assert len(set(labels)) == len(labels), described.name


def test_columns_come_in_the_order_of_the_files() -> None:
    names = [described.name for described in columns(Table.USAGERS)]
    assert names[:6] == ["num_acc", "id_usager", "id_vehicule", "num_veh", "place", "catu"]
    assert [len(columns(table)) for table in Table] == [15, 18, 11, 16]


def test_a_column_is_found_by_table_and_name() -> None:
    assert column(Table.LIEUX, "vma").unit == "km/h"
    with pytest.raises(KeyError, match="vehicules has no column 'vma'"):
        column(Table.VEHICULES, "vma")


@pytest.mark.parametrize("limit", [1, 2, 5, 6, 180, 300, 500, 700, 800, 900])
def test_speed_limits_that_no_road_has_are_out_of_range(limit: int) -> None:
    vma = column(Table.LIEUX, "vma")
    assert vma.low is not None
    assert vma.high is not None
    assert not vma.low <= limit <= vma.high


def test_every_number_has_a_range() -> None:
    for described in COLUMNS:
        if described.kind is Kind.NUMBER:
            assert described.low is not None
            assert described.high is not None
            assert described.low < described.high


def test_letters_of_a_pedestrians_action_have_codes_of_their_own() -> None:
    actions = column(Table.USAGERS, "actp").codes
    assert actions[LETTER_CODES["A"]].fr == "Monte ou descend du véhicule"
    assert actions[LETTER_CODES["B"]].fr == "Inconnue"


def test_columns_that_a_vintage_lacks_say_since_when_they_exist() -> None:
    since = {described.name: described.first_year for described in COLUMNS if described.first_year > 2005}
    assert since == {
        "vma": 2019,
        "id_vehicule": 2019,
        "motor": 2019,
        "id_usager": 2022,
        "secu1": 2019,
        "secu2": 2019,
        "secu3": 2019,
    }
    assert {described.name: described.last_year for described in RETIRED_COLUMNS} == {
        "gps": 2018,
        "env1": 2018,
        "secu": 2018,
    }


def test_old_equipment_codes_mean_what_they_mean_today() -> None:
    today = column(Table.USAGERS, "secu1").codes
    assert set(OLD_EQUIPMENT) <= set(today)
    secu = RETIRED_COLUMNS[-1].codes
    assert secu[21].fr == "Casque, utilisé"
    assert secu[12].en == "Seat belt, not used"


def test_classes_of_the_target_follow_the_codes_of_severity() -> None:
    assert CLASSES == ("unharmed", "killed", "hospitalised", "light")
    assert [CLASS_LABELS[name].fr for name in CLASSES] == [
        "Indemne",
        "Tué",
        "Blessé hospitalisé",
        "Blessé léger",
    ]


def test_every_category_of_vehicle_has_a_class_and_every_class_a_category() -> None:
    assert set(VEHICLE_CLASSES) == set(column(Table.VEHICULES, "catv").codes)
    assert {vehicle.kind for vehicle in VEHICLE_CLASSES.values()} == set(VehicleClass)


def test_masses_are_known_but_for_unknown_vehicles_and_order_as_on_the_road() -> None:
    masses = {code: vehicle.mass for code, vehicle in VEHICLE_CLASSES.items()}
    assert {code for code, mass in masses.items() if mass is None} == {0, 99}
    ordered = [masses[code] or 0 for code in (1, 2, 33, 3, 7, 10, 13, 14, 15, 17, 40, 39)]
    assert ordered == sorted(ordered)
    assert len(set(ordered)) == len(ordered)


@pytest.mark.parametrize(
    ("code", "number"),
    [("01", 1), ("1", 1), ("59", 59), ("2A", 201), ("2b", 202), (" 971", 971), ("988", 988)],
)
def test_a_department_has_a_number(code: str, number: int) -> None:
    assert department_number(code) == number


@pytest.mark.parametrize("code", ["", "20", "96", "00", "970", "590", "N/A", "2C"])
def test_what_is_no_department_has_none(code: str) -> None:
    assert department_number(code) is None


def test_all_101_departments_and_the_territories_are_named_once() -> None:
    numbers = {department_number(code) for code in DEPARTMENTS}
    assert len(DEPARTMENTS) == len(numbers) == 101 + 6
    assert None not in numbers
    assert DEPARTMENTS["2A"] == "Corse-du-Sud"
    assert DEPARTMENTS["974"] == "La Réunion"


def test_every_territory_has_a_box() -> None:
    overseas = {code for code in DEPARTMENTS if len(code) == 3}
    assert set(TERRITORIES) == {"metropolitan France", "Corsica"} | overseas
    for box in TERRITORIES.values():
        assert -90 < box.south < box.north < 90
        assert -180 < box.west < box.east < 180


@pytest.mark.parametrize(
    ("lat", "long"),
    [
        (48.8566, 2.3522),  # Paris
        (48.4590, -5.0960),  # Ushant
        (51.0890, 2.5440),  # Bray-Dunes
        (42.3330, 2.5300),  # Prats-de-Mollo
        (48.9670, 8.2330),  # Lauterbourg
        (41.3870, 9.1590),  # Bonifacio
        (16.2411, -61.5331),  # Pointe-à-Pitre
        (14.6161, -61.0588),  # Fort-de-France
        (4.9372, -52.3260),  # Cayenne
        (-20.8789, 55.4481),  # Saint-Denis
        (46.7791, -56.1773),  # Saint-Pierre
        (-12.7806, 45.2278),  # Mamoudzou
        (17.8979, -62.8508),  # Gustavia
        (18.0682, -63.0840),  # Marigot
        (-13.2825, -176.1736),  # Mata-Utu
        (-17.5516, -149.5585),  # Papeete
        (-22.2758, 166.4580),  # Nouméa
    ],
)
def test_france_is_in_france(lat: float, long: float) -> None:
    assert in_france(lat, long)
    assert not in_france(long, lat)


@pytest.mark.parametrize(
    ("lat", "long"),
    [
        (0, 0),
        (51.5072, -0.1276),  # London
        (41.3874, 2.1686),  # Barcelona
        (45.4642, 9.1900),  # Milan
        (40.7128, -74.0060),  # New York
        (-33.8688, 151.2093),  # Sydney
        (20.8789, 55.4481),  # Saint-Denis without its sign
        (math.nan, 2.35),
        (48.85, math.inf),
    ],
)
def test_what_lies_abroad_is_not_in_france(lat: float, long: float) -> None:
    assert not in_france(lat, long)


def test_every_commune_lies_in_france() -> None:
    positions = [(c.lat, c.long) for c in communes._table().values() if not math.isnan(c.lat)]
    assert positions
    assert all(in_france(lat, long) for lat, long in positions)
