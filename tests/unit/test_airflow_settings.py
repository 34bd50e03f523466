from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from include import airflow_settings
from include.accidents.errors import SettingsError

FILE = Path(__file__).resolve().parents[2] / "airflow_settings.yaml"
NAMES = re.findall(r"^[^#\n]*\$\{(\w+)\}", FILE.read_text(), re.MULTILINE)


def environment() -> dict[str, str]:
    return {name: "8000" if name.endswith(("PORT", "SLOTS")) else f"value of {name}" for name in NAMES}


def test_the_shipped_file_gives_the_designs_connections_and_pool() -> None:
    read = airflow_settings.load(FILE, environment())
    assert {"minio", "mlflow", "api"} <= read.connections.keys()
    assert read.connections["minio"]["conn_type"] == "aws"
    assert read.connections["api"]["password"] == "value of ACCIDENTS_API_KEY"
    assert "models" in read.pools


def test_no_secret_stands_in_the_file() -> None:
    for line in FILE.read_text().splitlines():
        if "password" in line or "conn_login" in line:
            assert "${" in line


@pytest.mark.parametrize("name", sorted(set(NAMES)))
def test_a_variable_that_is_not_set_is_named(name: str) -> None:
    env = environment()
    del env[name]
    with pytest.raises(SettingsError, match=name):
        airflow_settings.load(FILE, env)


def test_what_is_written_is_readable_by_the_owner_alone(tmp_path: Path) -> None:
    for path in airflow_settings.load(FILE, environment()).write(tmp_path):
        assert path.stat().st_mode & 0o777 == 0o600
        json.loads(path.read_text())


@pytest.mark.parametrize(
    ("text", "told"), [("airflow: [", "not YAML"), ("- a", "airflow"), ("airflow: {pools: [{a: 1}]}", "pool_name")]
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SettingsError, match=told):
        airflow_settings.load(tmp_path / "s.yaml", {})
