from __future__ import annotations

import csv
import gzip
import io

import numpy as np
import pytest

from include.accidents.data import cells, merge, positions, reader
from include.accidents.data.checks import Action, Level, level
from include.accidents.data.columns import Table
from include.accidents.data.files import recognise
from include.accidents.errors import InputError
from include.accidents.settings import Thresholds
from tests.helpers import REAL_2021, REAL_FORMATS, read_folder, sample_files

VINTAGES = [2005, 2009, 2013, 2016, 2017, 2018, 2019, 2020, 2021, 2022, 2023, 2024]


def changed(year: int, table: Table, change) -> dict[Table, tuple[str, bytes]]:
    files = dict(sample_files(year))
    name, content = files[table]
    files[table] = (name, change(content))
    return files


def lines_of(content: bytes) -> list[bytes]:
    return content.splitlines(keepends=True)


@pytest.mark.parametrize("year", VINTAGES)
def test_any_vintage_gives_the_same_typed_columns(year: int) -> None:
    scenes, report = reader.read_year(sample_files(year), year)
    newest, _ = reader.read_year(sample_files(2024), 2024)
    for name in ("accidents", "vehicles", "people"):
        found, expected = getattr(scenes, name), getattr(newest, name)
        assert dict(found.dtypes) == dict(expected.dtypes)
        assert list(found.columns) == list(expected.columns)
    assert (scenes.accidents["an"] == year).all()
    assert len(scenes.accidents) == 400
    assert report.rows_in[Table.USAGERS] == report.rows_out[Table.USAGERS] == len(scenes.people)
    assert (scenes.people["vehicle"] >= 0).mean() > 0.95
    assert scenes.people["grav"].isin([1, 2, 3, 4]).mean() > 0.95
    assert scenes.accidents["hrmn"].between(0, 1439).all()
    assert scenes.accidents["dep"].notna().all()


def test_lieux_of_several_rows_an_accident_do_not_multiply_people() -> None:
    scenes, report = reader.read_year(sample_files(2023), 2023)
    assert report.rows_in[Table.LIEUX] > 400
    assert report.dropped(Table.LIEUX) == {"further place of an accident": report.rows_in[Table.LIEUX] - 400}
    merged = io.StringIO(b"".join(merge.merged_csv(scenes)).decode(), newline="")
    assert sum(1 for _ in csv.reader(merged, delimiter=";")) - 1 == report.rows_in[Table.USAGERS]


def test_a_vehicle_belongs_to_the_accident_of_its_people() -> None:
    scenes, _ = reader.read_year(sample_files(2018), 2018)
    people = scenes.people[scenes.people["vehicle"] >= 0]
    own = scenes.vehicles.take(people["vehicle"].to_numpy())
    assert (own["accident"].to_numpy() == people["accident"].to_numpy()).all()
    assert (own["num_veh"].to_numpy() == people["num_veh"].to_numpy()).all()


@pytest.mark.parametrize(
    "change",
    [
        lambda c: b"\xef\xbb\xbf" + c,
        gzip.compress,
        lambda c: c.replace(b"\n", b"\r\n"),
        lambda c: b"".join([b'"";' + line if i == 0 else b'"%d";' % i + line for i, line in enumerate(lines_of(c))]),
        lambda c: c.replace("\u00a0".encode(), "\u00c2\u00a0".encode()),
    ],
    ids=["byte-order mark", "gzip", "CRLF", "index column", "no-break space decoded wrongly"],
)
def test_a_harmless_quirk_changes_nothing(change) -> None:
    expected, _ = reader.read_year(sample_files(2022), 2022)
    found, _ = reader.read_year(changed(2022, Table.USAGERS, change), 2022)
    assert found.people.equals(expected.people)


def test_unknown_codes_become_missing_and_are_counted() -> None:
    first = lines_of(sample_files(2022)[Table.CARACTERISTIQUES][1])[0].decode().strip().replace('"', "").split(";")

    def spoil(content: bytes) -> bytes:
        lines = lines_of(content)
        cells = lines[1].strip().split(b";")
        cells[first.index("lum")] = b'"77"'
        return b"".join([lines[0], b";".join(cells) + b"\n", *lines[2:]])

    scenes, report = reader.read_year(changed(2022, Table.CARACTERISTIQUES, spoil), 2022)
    assert np.isnan(scenes.accidents["lum"][0])
    (found,) = (f for f in report.findings if f.column == "lum")
    assert (found.rule, found.rows, found.line, found.examples) == ("unknown code", 1, 2, {"77": 1})
    assert found.action is Action.MISSING


def cell_changed(year: int, table: Table, row: int, name: str, change) -> dict[Table, tuple[str, bytes]]:
    """The files of a year with one cell rewritten."""

    def spoil(content: bytes) -> bytes:
        lines = lines_of(content)
        names = lines[0].strip().replace(b'"', b"").lower().split(b";")
        cells = lines[row].rstrip().split(b";")
        at = names.index(name.encode())
        cells[at] = change(cells[at], lines, at)
        return b"".join([*lines[:row], b";".join(cells) + b"\n", *lines[row + 1 :]])

    return changed(year, table, spoil)


def test_an_impossible_age_is_missing_and_counted() -> None:
    for born in (b'"1899"', b'"2024"'):  # 123 years old, and not yet born
        scenes, report = reader.read_year(cell_changed(2022, Table.USAGERS, 1, "an_nais", lambda *_, b=born: b), 2022)
        assert np.isnan(scenes.people["an_nais"][0])
        (found,) = (f for f in report.findings if f.rule.startswith("age"))
        assert (found.rows, found.action, list(found.examples)) == (1, Action.MISSING, [born.decode().strip('"')])


def without_severity(content: bytes) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode()), delimiter=";"))
    at = [name.lower() for name in rows[0]].index("grav")
    return "\n".join(";".join(row[:at] + row[at + 1 :]) for row in rows).encode()


def test_files_of_new_accidents_need_no_severity() -> None:
    files = changed(2022, Table.USAGERS, without_severity)
    scenes, _ = reader.read_year(files, 2022, need_severity=False)
    known, _ = reader.read_year(sample_files(2022), 2022)
    assert scenes.people["grav"].isna().all()
    assert scenes.people.drop(columns="grav").equals(known.people.drop(columns="grav"))
    assert dict(scenes.people.dtypes) == dict(known.people.dtypes)
    with pytest.raises(InputError, match="column 'grav' is missing"):
        reader.read_year(files, 2022)


def test_a_severity_that_is_not_needed_is_read_all_the_same() -> None:
    scenes, _ = reader.read_year(sample_files(2022), 2022, need_severity=False)
    known, _ = reader.read_year(sample_files(2022), 2022)
    assert scenes.people.equals(known.people)


def test_without_severity_another_column_is_needed_all_the_same() -> None:
    files = changed(2022, Table.USAGERS, lambda c: c.replace(b'"sexe"', b'"gender"', 1))
    with pytest.raises(InputError, match="column 'sexe' is missing"):
        reader.read_year(files, 2022, need_severity=False)


@pytest.mark.parametrize(("gone", "left"), [("lat", "long"), ("long", "lat")])
def test_one_coordinate_alone_is_no_position_and_is_counted(gone: str, left: str) -> None:
    files = cell_changed(2022, Table.CARACTERISTIQUES, 1, gone, lambda *_: b'""')
    scenes, report = reader.read_year(files, 2022)
    assert scenes.accidents[["lat", "long"]].iloc[0].isna().all()
    assert scenes.accidents[["lat", "long"]].iloc[1:].notna().all(axis=None)
    (found,) = (f for f in report.findings if f.column in ("lat", "long"))
    assert (found.column, found.rule) == (left, "one coordinate without the other")
    assert (found.rows, found.line, found.action, len(found.examples)) == (1, 2, Action.MISSING, 1)


def test_both_coordinates_missing_are_no_finding() -> None:
    files = cell_changed(2022, Table.CARACTERISTIQUES, 1, "lat", lambda *_: b'""')
    name, content = files[Table.CARACTERISTIQUES]
    at = lines_of(content)[0].strip().replace(b'"', b"").split(b";").index(b"long")
    cells = lines_of(content)[1].rstrip().split(b";")
    both = b";".join([*cells[:at], b'""', *cells[at + 1 :]])
    files[Table.CARACTERISTIQUES] = (name, content.replace(b";".join(cells), both))
    scenes, report = reader.read_year(files, 2022)
    assert scenes.accidents[["lat", "long"]].iloc[0].isna().all()
    assert not [f for f in report.findings if f.column in ("lat", "long")]


def test_to_2018_an_accident_that_nobody_located_is_not_on_the_meridian() -> None:
    name, content = sample_files(2013)[Table.CARACTERISTIQUES]
    rows = list(csv.reader(io.StringIO(content.decode("latin-1"))))
    at = [name.lower() for name in rows[0]]
    for row in rows[1:301]:  # a larger share than may be repaired
        row[at.index("lat")] = row[at.index("long")] = "0000000"
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    files = {**sample_files(2013), Table.CARACTERISTIQUES: (name, text.getvalue().encode("latin-1"))}
    scenes, report = reader.read_year(files, 2013)
    located = scenes.accidents[["lat", "long"]].notna()
    assert located["lat"].equals(located["long"])
    assert not located[:300].any(axis=None)
    assert located[300:]["lat"].any()
    (found,) = (f for f in report.findings if f.column == "long")
    assert (found.rule, found.line) == ("not located (longitude 0, no latitude)", 2)
    assert found.rows >= 300
    assert level(found, report, Thresholds()) is Level.NOTE


def test_an_accident_on_the_meridian_stays_there() -> None:
    files = cell_changed(2022, Table.CARACTERISTIQUES, 1, "long", lambda *_: b'"0,0"')
    scenes, report = reader.read_year(files, 2022)
    assert scenes.accidents["long"][0] == 0
    assert scenes.accidents["lat"].notna()[0]
    assert not [f for f in report.findings if f.column in ("lat", "long")]


def test_a_vehicle_of_another_accident_is_not_a_persons_own() -> None:
    def of_the_last(_: bytes, lines: list[bytes], at: int) -> bytes:
        return lines[-1].rstrip().split(b";")[at]

    scenes, report = reader.read_year(cell_changed(2022, Table.USAGERS, 1, "id_vehicule", of_the_last), 2022)
    assert scenes.people["vehicle"][0] == -1
    (found,) = (f for f in report.findings if f.column == "vehicle")
    assert (found.rows, found.rule) == (1, "person without a vehicle of the accident")


@pytest.mark.parametrize(
    ("table", "change", "told"),
    [
        (Table.USAGERS, lambda c: c.replace(b'"grav"', b'"gravite"', 1), ["usagers", "'grav'", "missing"]),
        (Table.USAGERS, lambda c: c.replace(b'"sexe"', b'"grav"', 1), ["usagers", "'grav'", "twice"]),
        (Table.LIEUX, lambda c: c + b'"1";"2"\n', ["lieux", "line"]),
        (Table.VEHICULES, lambda c: lines_of(c)[0], ["vehicules", "no row"]),
        (Table.USAGERS, lambda c: gzip.compress(c)[:-20], ["usagers", "gzip"]),
        (Table.CARACTERISTIQUES, lambda c: b"hello\nworld\n", ["carcteristiques", "line 1"]),
        (Table.USAGERS, lambda c: c.replace(b'"2022', b'"1999'), ["usagers", "of no accident"]),
        (Table.USAGERS, lambda c: c.replace(b'"2022', b'"x', 1), ["usagers", "line 2", "'num_acc'", "'x0"]),
    ],
    ids=[
        "missing column",
        "doubled column",
        "unreadable line",
        "no rows",
        "cut gzip",
        "no CSV",
        "no match",
        "bad key",
    ],
)
def test_a_defect_is_named_with_its_file_and_a_remedy(table: Table, change, told: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        reader.read_year(changed(2022, table, change), 2022)
    for word in told:
        assert word in caught.value.cause
    assert caught.value.remedy


def test_a_file_of_another_year_is_refused() -> None:
    with pytest.raises(InputError, match="its name says 2021, but its accidents are of 2022"):
        reader.read_year({**sample_files(2022)}, 2021)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_2021.is_dir(), reason="the real files of 2021 are not beside the project")
def test_the_real_files_of_2021_are_read_whole() -> None:
    scenes, report = reader.read_year(read_folder(REAL_2021)[2021], 2021)
    assert (len(scenes.accidents), len(scenes.vehicles), len(scenes.people)) == (56518, 97315, 129153)
    assert scenes.people["grav"].value_counts().to_dict() == {1: 55108, 4: 51681, 3: 19085, 2: 3219}
    assert not any(report.dropped(table) for table in Table)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL_FORMATS.is_dir(), reason="the real files of older years are not beside the project")
def test_real_files_of_older_years_are_read_without_a_repair() -> None:
    read = {}
    for path in sorted(REAL_FORMATS.glob("*.csv")):
        table, year = recognise(path.name)
        read[path.name] = reader._read(table, path.name, path.read_bytes(), year)
        assert read[path.name].findings == []
        assert cells.repair(read[path.name]) == []
        assert read[path.name].rows == 399
    (unlocated,) = positions.repair_positions(read["caracteristiques_2013.csv"])
    assert (unlocated.column, unlocated.rows, unlocated.action) == ("long", 154, Action.IGNORED)
    first = read["caracteristiques_2013.csv"].frame().iloc[0]
    assert (first["an"], first["hrmn"], first["dep"]) == (2013, 17 * 60 + 15, 59)
    assert abs(first["lat"] - 50.51199) < 1e-5
    assert abs(first["long"] - 2.90046) < 1e-5
    assert abs(read["lieux_2009.csv"].frame()["larrout"].iloc[0] - 5.2) < 1e-6


def placed(year: int, *places: tuple[str, float, float], written: str | None = None) -> tuple[np.ndarray, list]:
    """Read a year whose first accidents lie in these departments at these degrees; their positions, the findings."""
    name, content = sample_files(year)[Table.CARACTERISTIQUES]
    text = content.decode("latin-1")
    rows = list(csv.reader(io.StringIO(text), delimiter=max(";,", key=text.partition("\n")[0].count)))
    at = [rows[0].index(column) for column in ("dep", "lat", "long")]
    for row, (dep, *degrees) in zip(rows[1:], places, strict=False):
        texts = [f"{round(each * 1e5)}" if year <= 2018 else f"{each:.6f}".replace(".", ",") for each in degrees]
        texts[0] = written or texts[0]
        for column, cell in zip(at, (dep, *texts), strict=True):
            row[column] = cell
    made = "\n".join(";".join(f'"{cell}"' for cell in row) for row in rows).encode()
    read = reader._read(Table.CARACTERISTIQUES, name, made, year)
    findings = [*cells.repair(read), *positions.repair_positions(read)]
    return read.frame()[["lat", "long"]].to_numpy()[: len(places)], findings


def test_overseas_positions_without_a_sign_get_that_of_their_department() -> None:
    unsigned = (("974", 20.97, 55.69), ("972", 14.63, 61.01), ("973", 4.92, 52.31), ("971", 16.2, 61.5))
    found, findings = placed(2015, *unsigned, ("590", 50.5, 2.9), ("290", 48.4, -4.5))
    expected = [(-20.97, 55.69), (14.63, -61.01), (4.92, -52.31), (16.2, -61.5), (50.5, 2.9), (48.4, -4.5)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    (corrected,) = [each for each in findings if each.action is Action.CORRECTED]
    assert (corrected.column, corrected.rows) == ("lat", 4)


def test_overseas_positions_with_their_sign_stay() -> None:
    found, findings = placed(2021, ("974", -20.97, 55.69), ("972", 14.63, -61.01))
    np.testing.assert_allclose(found, [(-20.97, 55.69), (14.63, -61.01)], atol=1e-4)
    assert not [each for each in findings if each.action is Action.CORRECTED]


@pytest.mark.parametrize("year", [2015, 2021])
def test_a_position_outside_france_is_missing_and_a_finding(year: int) -> None:
    abroad = (("75", 0.1, 0.1), ("13", 40.4, -3.7), ("974", 25.0, 55.69))
    found, findings = placed(year, *abroad, ("75", 48.85, 2.35))
    assert np.isnan(found[:3]).all()
    np.testing.assert_allclose(found[3], (48.85, 2.35), atol=1e-4)
    foreign = {each.column: each.rows for each in findings if each.rule == "not in France"}
    assert set(foreign) == {"lat", "long"}
    assert foreign["lat"] == foreign["long"] >= 3


def test_a_person_on_skates_is_on_foot_to_2017() -> None:
    def on_skates(content: bytes) -> bytes:
        rows = list(csv.reader(io.StringIO(content.decode("latin-1"))))
        at = rows[0].index("catu")
        for row in rows[1:4]:
            row[at] = "4"
        return "\n".join(",".join(row) for row in rows).encode()

    scenes, report = reader.read_year(changed(2015, Table.USAGERS, on_skates), 2015)
    assert (scenes.people["catu"].iloc[:3] == 3).all()
    assert not [each for each in report.findings if each.column == "catu"]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("2,016E+11", "a spreadsheet has rounded it, and its digits are lost.*take the publisher's file"),
        ("2.02100E+11", "a spreadsheet has rounded it"),
        ("abc", "is not an accident's number.*correct or remove that line"),
    ],
)
def test_a_number_of_an_accident_that_a_spreadsheet_rounded_is_refused_with_that_reason(cell: str, told: str) -> None:
    def rounded(content: bytes) -> bytes:
        lines = lines_of(content)
        return b"".join([*lines[:2], lines[2].replace(b'"202100000002"', f'"{cell}"'.encode()), *lines[3:]])

    with pytest.raises(InputError, match=told):
        reader.read_year(changed(2021, Table.CARACTERISTIQUES, rounded), 2021)


@pytest.mark.parametrize("cell", ["4877005.0", "4877005", "48.77005", "48,77005"])
def test_a_coordinate_to_2018_is_degrees_however_it_is_written(cell: str) -> None:
    found, _ = placed(2015, ("750", 48.77005, 2.3), written=cell)
    np.testing.assert_allclose(found[0], (48.77005, 2.3), atol=1e-5)
