"""Names of files: what each stands for, and what a folder of them holds."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from include.accidents.data.columns import Table
from include.accidents.data.files import find, recognise
from include.accidents.errors import InputError


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"")


def four(year: int) -> list[str]:
    return [f"{table}-{year}.csv" for table in Table]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("caracteristiques_2013.csv", (Table.CARACTERISTIQUES, 2013)),
        ("caracteristiques-2017.csv", (Table.CARACTERISTIQUES, 2017)),
        ("carcteristiques-2021.csv", (Table.CARACTERISTIQUES, 2021)),
        ("caract-2023.csv", (Table.CARACTERISTIQUES, 2023)),
        ("Caract_2024.csv", (Table.CARACTERISTIQUES, 2024)),
        ("Caractéristiques-2019.csv", (Table.CARACTERISTIQUES, 2019)),
        ("lieux-2021.csv.gz", (Table.LIEUX, 2021)),
        ("LIEUX_2005.CSV", (Table.LIEUX, 2005)),
        ("vehicules-2018.csv", (Table.VEHICULES, 2018)),
        ("usagers_2012.csv", (Table.USAGERS, 2012)),
    ],
)
def test_every_form_that_the_publisher_and_copies_use_is_recognised(name: str, expected: tuple[Table, int]) -> None:
    assert recognise(name) == expected


def test_a_name_with_an_accent_in_two_characters_is_the_same_name() -> None:
    assert recognise("caracte\u0301ristiques-2019.csv") == (Table.CARACTERISTIQUES, 2019)


@pytest.mark.parametrize(
    "name",
    [
        "vehicules-immatricules-baac-2021.csv",
        "vehicules-2021.csv.part",
        "vehicules-2021.xlsx",
        "vehicules.csv",
        "vehicules-21.csv",
        "usagers-2004.csv",
        "lieux-2021 (1).csv",
        "my-lieux-2021.csv",
        "description-des-bases-2021.pdf",
        "",
    ],
)
def test_any_other_file_is_not_taken_for_one_of_the_four(name: str) -> None:
    assert recognise(name) is None


def test_a_folder_of_several_years_is_sorted_by_year_and_table(tmp_path: Path) -> None:
    put(
        tmp_path,
        *four(2022),
        "caract-2021.csv",
        "LIEUX_2021.csv",
        "vehicules-2021.csv.gz",
        "usagers-2021.csv",
    )
    found = find(tmp_path)
    assert list(found) == [2021, 2022]
    assert found[2021][Table.VEHICULES] == tmp_path / "vehicules-2021.csv.gz"
    assert all(set(files) == set(Table) for files in found.values())


REGISTRATIONS = (
    "vehicules-immatricules-baac-2021.csv", "vehicule-immatricule-baac-2024.csv", "immatriculations-2010.csv",
    "Immatriculation_2011.csv.gz",
)  # fmt: skip


def test_hidden_files_notes_folders_and_registrations_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, *four(2021), ".lieux-2021.csv", "README.md", "lieux-2020.csv.part", *REGISTRATIONS)
    (tmp_path / "old.csv").mkdir()
    with caplog.at_level(logging.INFO):
        assert list(find(tmp_path)) == [2021]
    for name in REGISTRATIONS:
        assert caplog.text.count(f"{name} is passed over") == 1


def test_an_empty_folder_holds_no_year(tmp_path: Path) -> None:
    assert find(tmp_path) == {}


def test_an_unknown_csv_is_refused_with_its_name_and_the_accepted_forms(tmp_path: Path) -> None:
    put(tmp_path, *four(2021), "accidents.csv")
    with pytest.raises(InputError, match=r"accidents\.csv.*rename it.*usagers-2021\.csv"):
        find(tmp_path)


def test_two_files_of_one_table_and_year_are_refused_by_name(tmp_path: Path) -> None:
    put(tmp_path, *four(2021), "lieux_2021.csv.gz")
    with pytest.raises(InputError, match=r"two files of lieux for 2021: lieux-2021\.csv and lieux_2021\.csv\.gz"):
        find(tmp_path)


def test_every_gap_of_every_year_is_named_at_once(tmp_path: Path) -> None:
    put(tmp_path, *four(2021)[:3], *four(2022)[2:], *four(2023))
    with pytest.raises(InputError) as refusal:
        find(tmp_path)
    assert "2021 lacks usagers; 2022 lacks caracteristiques and lieux" in str(refusal.value)
    assert "2023" not in str(refusal.value)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        find(tmp_path / "nowhere")
