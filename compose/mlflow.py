"""Become MLflow's server with a login, its database brought up to date first. Runs in a container.

Everything comes from MLflow's own environment variables (`MLFLOW_BACKEND_STORE_URI`, `MLFLOW_AUTH_ADMIN_…`).
"""

from __future__ import annotations

import configparser
import os
import tempfile
from pathlib import Path


def main() -> None:
    """Migrate, see that the administrator's password is the given one, and start the server."""
    from mlflow.db import upgrade

    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    upgrade.main([uri], standalone_mode=False)
    _set_password(uri, os.environ["MLFLOW_AUTH_ADMIN_USERNAME"], os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"])
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(_write_settings(uri))
    command = ["mlflow", "server", "--app-name", "basic-auth", "--host", "0.0.0.0", "--port", "5000"]  # noqa: S104
    # Of several processes, uvicorn kills those that do not answer within 5 s, again and again while they import MLflow
    # on a busy machine; one process has threads enough.
    os.execvp("mlflow", [*command, "--workers", "1", "--artifacts-destination", "s3://mlflow"])  # noqa: S606, S607


def _set_password(uri: str, user: str, password: str) -> None:
    """Let the administrator's password follow the environment; MLflow itself heeds it only the first time."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    users = SqlAlchemyStore()
    users.init_db(uri)
    if not users.has_user(user):
        users.create_user(user, password, is_admin=True)
    elif not users.authenticate_user(user, password):
        users.update_user(user, password=password)


def _write_settings(uri: str) -> Path:
    """Write the file of MLflow's login, which takes its database from nowhere else."""
    settings = configparser.ConfigParser(interpolation=None)
    settings["mlflow"] = {
        "database_uri": uri,
        "default_permission": "READ",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        # A check of a password is slow on purpose, and a client sends it with every request.
        "auth_cache_ttl_seconds": "60",
    }
    path = Path(tempfile.mkdtemp()) / "auth.ini"
    with path.open("w", encoding="utf-8") as stream:
        settings.write(stream)
    return path


if __name__ == "__main__":
    main()
