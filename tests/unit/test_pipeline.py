"""From raw files to splits over a folder: what is written, what is made again, and what a defect leaves behind."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from include.accidents.data import dataset, reader
from include.accidents.data.checks import CheckError
from include.accidents.data.scenes import Scenes
from include.accidents.errors import InputError, StorageError
from include.accidents.features import clean, dataset_files, definitions
from include.accidents.pipeline import clean as clean_stage
from include.accidents.pipeline import prepare, year_tables
from include.accidents.settings import Thresholds
from include.accidents.storage.buckets import PREPROCESSED, TRAIN
from include.accidents.storage.folder import FolderStore
from include.accidents.synthetic import sample


@pytest.fixture(scope="module")
def years(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    sample.write_sample(folder, years=(2018, 2021, 2023), accidents_per_year=700)
    return folder


def run(
    store: FolderStore, folder: Path, *years: int, force: bool = False, loaded: str = ""
) -> tuple[list[Any], Any, list[int]]:
    """Prepare and clean; also return the years whose files were read."""
    opened, prepared = [], []
    for entry, read in prepare.folder_years(folder):
        if entry.year in years:

            def watched(year=entry.year, read=read):
                opened.append(year)
                return read()

            prepared.append(
                prepare.prepare_year(store, entry.model_copy(update={"loaded": loaded}), watched, force=force)
            )
    return prepared, clean_stage.clean_data(store, prepared, force=force), opened


def written(store: FolderStore) -> dict[str, bytes]:
    return {str(p.relative_to(store.folder)): p.read_bytes() for p in store.folder.rglob("*") if p.is_file()}


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode()), delimiter=";"))


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "out")


def test_everything_for_people_is_written_and_agrees(store: FolderStore, years: Path) -> None:
    prepared, made, _ = run(store, years, 2018, 2021, 2023)
    parts = {name: rows(store.read(TRAIN, f"{name}.csv")) for name in ("X_train_test", "X_global_test")}
    targets = {name: rows(store.read(TRAIN, f"{name}.csv")) for name in ("y_train_test", "y_global_test")}
    whole = rows(store.read(PREPROCESSED, "df_accident_clean.csv"))
    side_by_side = [
        x | y for part in clean_stage.PARTS for x, y in zip(parts[f"X_{part}"], targets[f"y_{part}"], strict=True)
    ]
    assert whole == side_by_side
    assert list(whole[0]) == [*definitions.NAMES, "num_acc", "grav_class"]
    assert "num_acc" not in parts["X_train_test"][0]
    merged = rows(store.read(PREPROCESSED, "df_accidents.csv"))
    assert merged == [r for y in (2018, 2021, 2023) for r in rows(store.read(PREPROCESSED, f"df_accidents_{y}.csv"))]
    assert len(merged) == sum(p.people for p in prepared) == made.rows.read
    lost = sum(n for reasons in made.rows.dropped.values() for n in reasons.values())
    assert lost > 0
    assert made.rows.read == made.rows.train_test + made.rows.global_test + lost
    assert b"<h1>" in store.read(PREPROCESSED, "report_2023.html")


def test_the_csv_holds_the_same_numbers_as_the_parquet(store: FolderStore, years: Path) -> None:
    _, made, _ = run(store, years, 2021)
    data = dataset_files.dataset_from_parquet(store.read_version(TRAIN, made.version, "train_test.parquet"))
    told = rows(store.read(TRAIN, "X_train_test.csv"))
    x = np.array([[float(row[name] or "nan") for name in definitions.NAMES] for row in told], dtype=np.float32)
    np.testing.assert_array_equal(x, data.x)
    assert data.x.flags.c_contiguous


def test_a_year_in_pieces_has_the_same_features_as_in_one(years: Path) -> None:
    ((_, read),) = [pair for pair in prepare.folder_years(years) if pair[0].year == 2023]
    scenes, _ = reader.read_year(read(), 2023)
    mixed = Scenes(scenes.accidents, scenes.vehicles, scenes.people.sample(frac=1, random_state=0))
    whole, _ = clean.clean(mixed)
    pieces = list(clean.clean_and_divide(mixed, accidents=100))
    assert len(pieces) == 7
    for found, expected in zip(map(dataset.join, zip(*pieces, strict=True)), clean.hold_out(whole), strict=True):
        a, b = (np.column_stack([d.accident, d.y, d.x]) for d in (found, expected))
        np.testing.assert_array_equal(a[np.lexsort(a.T)], b[np.lexsort(b.T)])


def test_adding_a_year_reads_that_year_alone(store: FolderStore, years: Path) -> None:
    first, made, opened = run(store, years, 2021)
    assert opened == [2021]
    both, grown, opened = run(store, years, 2021, 2023)
    assert opened == [2023]
    assert first[0] == both[0]
    assert grown.version != made.version


def test_nothing_changed_nothing_is_written(store: FolderStore, years: Path) -> None:
    run(store, years, 2021)
    before = {path: path.stat().st_mtime_ns for path in store.folder.rglob("*") if path.is_file()}
    _, _, opened = run(store, years, 2021)
    assert opened == []
    assert {path: path.stat().st_mtime_ns for path in store.folder.rglob("*") if path.is_file()} == before
    assert run(store, years, 2021, force=True)[2] == [2021]


def test_other_feature_code_gives_another_version(store, years, monkeypatch) -> None:
    _, made, _ = run(store, years, 2021)
    monkeypatch.setattr(prepare, "feature_version", lambda: "other code")
    _, changed, opened = run(store, years, 2021)
    assert changed.version != made.version
    assert opened == [2021]
    assert store.manifest(TRAIN, made.version)["features"] != "other code"


def test_a_run_reads_the_version_that_it_was_told_whatever_came_after(store: FolderStore, years: Path) -> None:
    _, made, _ = run(store, years, 2021)
    before = store.read_version(TRAIN, made.version, "train_test.parquet")
    run(store, years, 2021, 2023)
    assert store.read_version(TRAIN, made.version, "train_test.parquet") == before
    assert len(dataset_files.dataset_from_parquet(before).y) == made.rows.train_test


def test_an_older_run_once_more_shows_its_own_files_again(store: FolderStore, years: Path) -> None:
    run(store, years, 2021)
    shown = store.read(PREPROCESSED, "df_accidents.csv"), store.read(TRAIN, "X_global_test.csv")
    run(store, years, 2021, 2023)
    assert store.read(PREPROCESSED, "df_accidents.csv") != shown[0]
    run(store, years, 2021)
    assert (store.read(PREPROCESSED, "df_accidents.csv"), store.read(TRAIN, "X_global_test.csv")) == shown


def test_an_old_run_that_is_repeated_leaves_what_a_newer_one_shows(store: FolderStore, years: Path) -> None:
    _, old, _ = run(store, years, 2021, loaded="2026-01-01T10:00:00+00:00")
    run(store, years, 2021, 2023, loaded="2026-01-02T10:00:00+00:00")
    before = written(store)
    _, again, opened = run(store, years, 2021, loaded="2026-01-01T10:00:00+00:00")
    assert (again, opened) == (old, [])
    assert written(store) == before


def test_a_newer_run_of_the_same_data_holds_the_place_against_a_late_older_one(store: FolderStore, years: Path) -> None:
    run(store, years, 2021, loaded="2026-01-01T10:00:00+00:00")
    run(store, years, 2021, loaded="2026-01-03T10:00:00+00:00")
    shown = store.read(TRAIN, "X_global_test.csv"), store.read(PREPROCESSED, "df_accident_clean.csv")
    run(store, years, 2021, 2023, loaded="2026-01-02T10:00:00+00:00")
    assert (store.read(TRAIN, "X_global_test.csv"), store.read(PREPROCESSED, "df_accident_clean.csv")) == shown
    run(store, years, 2021, 2023, loaded="2026-01-04T10:00:00+00:00")
    assert store.read(TRAIN, "X_global_test.csv") != shown[0]


def test_the_log_ends_with_what_became_of_every_row(store: FolderStore, years: Path, caplog: Any) -> None:
    caplog.set_level("INFO")
    _, made, _ = run(store, years, 2021)
    *_, year, clean_ = [r.getMessage() for r in caplog.records if "is version" in r.msg or "Data version" in r.msg]
    assert ["file", "rows", "read", "rows", "kept", "left", "out"] in [line.split() for line in year.splitlines()]
    assert any(line.startswith("usagers") for line in year.splitlines())
    assert caplog.records[-1].getMessage() == clean_
    told = {line.rsplit(maxsplit=1)[0].strip(): line.split()[-1] for line in clean_.splitlines()[2:]}
    assert told["train_test"] == f"{made.rows.train_test:,}"


def test_a_yearly_csv_that_was_overwritten_is_made_anew_for_all_years(store: FolderStore, years: Path) -> None:
    run(store, years, 2021)
    expected = store.read(PREPROCESSED, "df_accidents.csv")
    prepared, _, _ = run(store, years, 2021)
    store.write(PREPROCESSED, "df_accidents_2021.csv", b"edited by hand\n")
    store.write(PREPROCESSED, "versions/published/df_accidents.csv.json", b"{}")
    clean_stage.clean_data(store, prepared)
    assert store.read(PREPROCESSED, "df_accidents.csv") == expected


def test_a_spoilt_file_of_a_version_is_not_believed(store: FolderStore, years: Path) -> None:
    prepared, _, _ = run(store, years, 2021)
    store.write(PREPROCESSED, f"versions/{prepared[0].version}/people.parquet", b"spoilt")
    with pytest.raises(StorageError, match="SHA-256"):
        year_tables.scenes_of(store, prepared[0].version)


@pytest.mark.parametrize(
    ("bucket", "pattern"),
    [(PREPROCESSED, "versions/2*/*"), (TRAIN, "versions/*/*"), (TRAIN, "*.csv"), (PREPROCESSED, "*.csv")],
)
@pytest.mark.parametrize("half", [True, False])
def test_whatever_is_spoilt_is_made_anew_by_the_next_run(
    store: FolderStore, years: Path, bucket: str, pattern: str, half: bool
) -> None:
    prepared, _, _ = run(store, years, 2021)
    expected = {name: content for name, content in written(store).items() if not name.endswith(".json")}
    for path in list((store.folder / bucket).glob(pattern)):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if half else path.read_bytes()[:-2] + b"??")
    run(store, years, 2021)
    assert {name: content for name, content in written(store).items() if name in expected} == expected
    assert year_tables.scenes_of(store, prepared[0].version)


def test_a_version_that_is_made_once_more_stays_whole_until_the_new_one_is(store: FolderStore, monkeypatch) -> None:
    def write(letter: bytes, **more: bytes) -> None:
        with store.staging("b.bin") as drafts:
            drafts["b.bin"].write(letter * 20)
            store.write_version(TRAIN, "v", {**drafts, **more}, {})

    write(b"1", a=b"1" * 10)
    with monkeypatch.context() as patch:
        patch.setattr(store, "write", lambda *_: (_ for _ in ()).throw(OSError("killed before the manifest")))
        with pytest.raises(OSError, match="killed"):
            write(b"2")
    assert store.read_version(TRAIN, "v", "b.bin") == b"1" * 20
    for letter in (b"2", b"2", b"3"):
        write(letter, a=letter * 10)
        assert store.read_version(TRAIN, "v", "a") + store.read_version(TRAIN, "v", "b.bin") == letter * 30
        assert store.intact(TRAIN, "v")


def test_a_refused_year_leaves_its_report_and_nothing_else(store: FolderStore, years: Path) -> None:
    limits = Thresholds(repaired_failure=0, repaired_warning=0)
    ((entry, read),) = [pair for pair in prepare.folder_years(years) if pair[0].year == 2023]
    with pytest.raises(CheckError):
        prepare.prepare_year(store, entry, read, limits)
    left = [name for name in written(store) if not name.endswith(".json")]
    assert left == [f"{PREPROCESSED}/report_2023.html"]
    assert store.manifest(PREPROCESSED, prepare.year_version(entry)) is None
    assert b'class="failure"' in store.read(PREPROCESSED, "report_2023.html")
    made = prepare.prepare_year(store, entry, read, Thresholds())  # the remedy works
    with pytest.raises(CheckError):  # and a year that is there already is judged again
        prepare.prepare_year(store, entry, read, limits)
    assert b'class="failure"' in store.read(PREPROCESSED, "report_2023.html")
    assert made.people > 0


def test_a_write_that_breaks_off_leaves_no_part_behind(store: FolderStore, years: Path, monkeypatch) -> None:
    def breaks(_: Any, file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(prepare.tables, "write_table", breaks)
    with pytest.raises(OSError, match="disk full"):
        run(store, years, 2021)
    assert [name for name in written(store) if "report_2021.html" not in name] == []


def test_too_few_accidents_write_no_splits(store: FolderStore, tmp_path: Path) -> None:
    sample.write_sample(tmp_path / "few", years=(2021,), accidents_per_year=12)
    with pytest.raises(InputError, match="add years"):
        run(store, tmp_path / "few", 2021)
    assert not (store.folder / TRAIN).exists()


def test_the_manifest_accounts_for_every_row(store: FolderStore, years: Path) -> None:
    prepared, _, _ = run(store, years, 2023)
    manifest = json.loads(store.read(PREPROCESSED, f"versions/{prepared[0].version}/manifest.json"))
    for table, facts in manifest["report"]["tables"].items():
        assert facts["rows_in"] == facts["rows_out"] + sum(facts["dropped"].values()), table
    assert manifest["report"]["tables"]["lieux"]["dropped"]["further place of an accident"] > 0
