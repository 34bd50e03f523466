"""The one file of connections, pools and variables: read, filled in, checked, rendered."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from include.accidents.errors import SettingsError
from ops import airflow_settings

CONNECTION = """
airflow:
  connections:
    - conn_id: store
      conn_type: aws
      conn_login: ${KEY}
      conn_password: ${SECRET}
      conn_port: ${PORT}
      conn_extra:
        endpoint_url: http://${HOST}:${PORT}
"""
ENVIRON = {"KEY": "me", "SECRET": "s3cret", "PORT": "9000", "HOST": "minio"}


def write(folder: Path, text: str) -> Path:
    path = folder / "airflow_settings.yaml"
    path.write_text(text)
    return path


def test_placeholders_are_filled_in_also_within_extra(tmp_path: Path) -> None:
    settings = airflow_settings.load(write(tmp_path, CONNECTION), ENVIRON)

    store = settings.connections["store"]
    assert (store["conn_type"], store["login"], store["password"], store["port"]) == ("aws", "me", "s3cret", 9000)
    assert json.loads(store["extra"]) == {"endpoint_url": "http://minio:9000"}


@pytest.mark.parametrize("absent", ENVIRON)
def test_a_missing_variable_is_named(tmp_path: Path, absent: str) -> None:
    environ = {name: value for name, value in ENVIRON.items() if name != absent}
    with pytest.raises(SettingsError, match=rf"\$\{{{absent}\}}.*set {absent} in the environment"):
        airflow_settings.load(write(tmp_path, CONNECTION), environ)


def test_an_empty_secret_counts_as_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="SECRET"):
        airflow_settings.load(write(tmp_path, CONNECTION), {**ENVIRON, "SECRET": ""})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("airflow: [", "is not YAML"),
        ("connections: []", "airflow: Field required"),
        ("airflow: {pools: {}, connections: {conn_id: x}}", "airflow.connections: Input should be a valid list"),
        ("airflow: {connections: [{conn_type: http}]}", "airflow.connections.0.conn_id: Field required"),
        (
            "airflow: {connections: [{conn_id: a, conn_hots: b}]}",
            "airflow.connections.0.conn_hots: Extra inputs are not permitted",
        ),
        (
            "airflow: {connections: [{conn_id: a, conn_port: http}]}",
            "airflow.connections.0.conn_port: Input should be a valid integer",
        ),
        ("airflow: {connections: [{conn_id: a}, {conn_id: a}]}", "two entries"),
        ("airflow: {pools: [{pool_name: p}]}", "airflow.pools.0.pool_slot: Field required"),
    ],
)
def test_a_defect_is_named_with_its_remedy(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)) as caught:
        airflow_settings.load(write(tmp_path, text), ENVIRON)
    assert caught.value.remedy


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.yaml does not exist"):
        airflow_settings.load(tmp_path / "nothing.yaml", ENVIRON)


def test_pools_and_variables_are_rendered_as_airflow_imports_them(tmp_path: Path) -> None:
    text = """
airflow:
  pools: [{pool_name: heavy, pool_slot: "${CORES}", pool_description: Heavy work}]
  variables: [{variable_name: greeting, variable_value: "hello ${NAME}"}]
"""
    settings = airflow_settings.load(write(tmp_path, text), {"CORES": "4", "NAME": "world"})

    assert settings.pools == {"heavy": {"slots": 4, "description": "Heavy work", "include_deferred": False}}
    assert settings.variables == {"greeting": "hello world"}


def test_written_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    paths = airflow_settings.load(write(tmp_path, CONNECTION), ENVIRON).write(tmp_path)

    assert [path.name for path in paths] == ["connections.json", "pools.json", "variables.json"]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    assert json.loads(paths[0].read_text())["store"]["login"] == "me"


def test_the_file_of_the_project_holds_no_secret_and_defines_what_the_tasks_use() -> None:
    names = set(re.findall(r"\$\{(\w+)\}", airflow_settings.FILE.read_text()))
    settings = airflow_settings.load(airflow_settings.FILE, dict.fromkeys(names, "1"))

    assert set(settings.connections) == {"minio", "mlflow", "api", "airflow_api"}
    assert set(settings.pools) == {"models"}
    assert all(connection.get("password", "1") == "1" for connection in settings.connections.values())
