"""`python -m include.accidents` on folders."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from include.accidents.cli.main import app
from include.accidents.synthetic.sample import write_sample

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    raw = tmp_path_factory.mktemp("raw")
    write_sample(raw, years=(2018, 2023), accidents_per_year=900)
    return raw


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_check_shows_each_year_and_writes_pages(folder: Path, tmp_path: Path) -> None:
    code, told = call("check", folder, "--html", tmp_path)
    assert code == 0
    assert "2018: caracteristiques" in told
    assert "lieux num_acc: further place of an accident" in told
    assert "2018 will train." in told
    assert max(len(line) for line in told.splitlines() if line.startswith("  ") and " × " not in line) <= 80
    assert {p.name for p in tmp_path.iterdir()} == {"report_2018.html", "report_2023.html"}


def test_check_ends_with_status_1_when_a_threshold_is_passed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCIDENTS_CHECK_REPAIRED_FAILURE", "0")
    code, told = call("check", folder)
    assert code == 1
    assert "2018: caracteristiques" in told
    assert "2023: caracteristiques" in told
    assert re.search(r"20\d\d is refused: \d+ rules? (is|are) broken too often\.", told)
    assert "Fix:" in told


def test_check_gives_json_for_programs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCIDENTS_CHECK_REPAIRED_FAILURE", "0")
    result = CliRunner().invoke(app, ["check", str(folder), "--json"])
    assert result.exit_code == 1
    years = json.loads(result.stdout)
    assert [year["year"] for year in years] == [2018, 2023]
    assert any(year["refused"] for year in years)
    for year in years:
        assert year["verdict"].startswith(f"{year['year']} {'is refused' if year['refused'] else 'will train'}")
        assert {finding["level"] for finding in year["findings"]} <= {"note", "warning", "failure"}
        assert set(year["tables"]) == {"caracteristiques", "lieux", "vehicules", "usagers"}


def test_prepare_then_clean_write_the_buckets_as_folders(folder: Path, tmp_path: Path) -> None:
    code, told = call("prepare", folder, tmp_path, "--year", 2018)
    assert code == 0
    assert "2018: version 2018-" in told
    code, told = call("clean", folder, tmp_path)
    assert code == 0
    assert "in global_test" in told
    assert (tmp_path / "accidents-train-csv" / "X_train_test.csv").is_file()
    assert (tmp_path / "accidents-preprocessed-csv" / "df_accidents.csv").is_file()


def test_sample_writes_files_that_check_reads(tmp_path: Path) -> None:
    assert call("sample", tmp_path, "--year", 2009, "--accidents", 50)[0] == 0
    assert (tmp_path / "SAMPLE").is_file()
    assert call("check", tmp_path)[0] == 0


def test_download_without_a_network_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCIDENTS_CATALOGUE_URL", "no address")
    code, told = call("download", tmp_path)
    assert code == 1
    assert "'no address'" in told
    assert "ACCIDENTS_CATALOGUE_URL" in told


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda raw: (raw / "usagers-2023.csv").write_text("<html>"), "usagers-2023.csv, line 1"),
        (lambda raw: (raw / "lieux-2018.csv").unlink(), "2018 lacks lieux"),
        (lambda raw: (raw / "notes.csv").write_text("a;b"), "notes.csv"),
        (lambda raw: (raw / "caract-2023.csv").write_bytes(b"\xff\xfeN\x00u\x00;\x001"), "caract-2023.csv"),
    ],
)
def test_no_traceback_reaches_a_user(folder: Path, tmp_path: Path, spoil, told: str) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    spoil(tmp_path)
    ended = subprocess.run(
        [sys.executable, "-m", "include.accidents", "clean", str(tmp_path), str(tmp_path / "out")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert told in ended.stderr.replace("\n", "")
    assert "Fix:" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_nothing_of_airflow_is_imported() -> None:
    code = "import sys; import include.accidents.cli.main, include.accidents.pipeline.clean; print('airflow' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
