from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from include.accidents.cli import models as model_commands
from include.accidents.models import catalogue

TREE = {
    "pipeline": [["clf", {"class": "sklearn.tree.DecisionTreeClassifier"}]],
    "param_grid": {"clf__max_depth": [1, 6]},
    "max_rows": 1000,
}


def invoke(*words: str) -> Result:
    return CliRunner().invoke(model_commands.models, list(words), env={"COLUMNS": "200"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "models.json"
    path.write_text(json.dumps({"models": {"Tree": TREE}}))
    return path


def test_check_tells_every_defect_of_a_file(file: Path, tmp_path: Path) -> None:
    assert "1 models, no defect" in invoke("check", "--file", str(file)).output
    file.write_text(json.dumps({"models": {"Tree": {**TREE, "max_row": 3, "max_rows": 1}}}))
    refused = invoke("check", "--file", str(file))
    assert refused.exit_code == 1
    assert "/models/Tree/max_row: 'max_row' is not known here (did you mean 'max_rows'?)" in refused.output
    assert "/models/Tree/max_rows" in refused.output
    absent = invoke("check", "--file", str(tmp_path / "absent.json"))
    assert absent.exit_code == 1
    assert "cannot be read" in absent.output


def test_a_catalogue_in_s3_that_cannot_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "k"), ("SECRET_ACCESS_KEY", "s"), ("ENDPOINT_URL", "http://127.0.0.1:9"), ("MAX_ATTEMPTS", "1")):  # fmt: skip
        monkeypatch.setenv(f"AWS_{name}", value)
    refused = invoke("check", "--file", "s3://bucket/models.json")
    assert refused.exit_code == 1
    assert "s3://bucket/models.json cannot be read (Could not connect" in refused.output
    assert ".local/env" in refused.output


def test_list_counts_the_fits(file: Path) -> None:
    row = next(line for line in invoke("list", "--file", str(file)).output.splitlines() if "Tree" in line)
    assert row.split() == ["Tree", "grid", "2", "12", "1,000"]


def test_explain_shows_the_candidates_and_the_cost(file: Path) -> None:
    said = invoke("explain", "Tree", "--file", str(file)).output
    for words in ("DecisionTreeClassifier(random_state=42)", '{"clf__max_depth": 6}', "6 for the search", "5 for the evaluation", "on 1,000 people"):  # fmt: skip
        assert words in said, words
    assert "did you mean 'Tree'" in invoke("explain", "Tre", "--file", str(file)).output


def test_schema_prints_what_is_published() -> None:
    assert json.loads(invoke("schema").output) == catalogue.json_schema()
