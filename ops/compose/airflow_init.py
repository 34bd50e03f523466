"""Sets up Airflow's database, connections, pools, variables and the administrator's login. Runs in a container.

The values come from `airflow_settings.yaml` and the environment. It can be repeated; any failure stops the start.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from include.accidents.errors import SettingsError
from ops import airflow_settings


def main() -> None:
    """Run Airflow's own commands in this process: in processes of their own, each would import Airflow for seconds."""
    try:
        settings = airflow_settings.load(airflow_settings.FILE, os.environ)
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    name, password = os.environ["AIRFLOW_USER"], os.environ["AIRFLOW_PASSWORD"]
    login = (f"--username={name}", f"--password={password}")
    person = ("--role=Admin", "--firstname=Admin", "--lastname=Admin", f"--email={name}@localhost")
    with TemporaryDirectory() as folder:
        files = {path.stem: str(path) for path in settings.write(Path(folder))}
        _airflow("db", "migrate")
        _airflow("connections", "import", "--overwrite", files["connections"])
        _airflow("pools", "import", files["pools"])
        if settings.variables:
            _airflow("variables", "import", files["variables"])
        _airflow("users", "create", *person, *login)
        _airflow("users", "reset-password", *login)  # for a user who exists already, with another password


def _airflow(*command: str) -> None:
    from airflow.__main__ import main as airflow

    sys.argv = ["airflow", *command]
    airflow()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
