from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from embedded import envfile, ports
from embedded.settings import Settings
from include.accidents.errors import SettingsError


def test_a_port_in_use_is_named_with_its_service_and_what_to_set(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError) as caught:
            ports.check_free(Settings(local_dir=tmp_path, mlflow_port=port))
    assert str(port) in caught.value.cause
    assert "mlflow" in caught.value.cause
    assert "ACCIDENTS_MLFLOW_PORT" in caught.value.remedy


def test_the_env_file_is_private_and_read_alike_by_us_and_by_a_shell(tmp_path: Path) -> None:
    path, values = tmp_path / "env", {"A": envfile.token(), "B": "http://127.0.0.1:1"}
    envfile.write_private(path, envfile.render(values))
    assert path.stat().st_mode & 0o777 == 0o600
    assert envfile.read(path) == values
    told = subprocess.run(["/bin/sh", "-c", f". {path}; echo $A $B"], capture_output=True, text=True, check=True)
    assert told.stdout.split() == list(values.values())


def test_a_number_that_is_no_port_is_refused() -> None:
    with pytest.raises(ValueError, match="mlflow_port"):
        Settings(mlflow_port=70000)


def test_secrets_are_long_and_differ() -> None:
    assert len({envfile.token() for _ in range(5)}) == 5
    assert len(envfile.token()) >= 32
