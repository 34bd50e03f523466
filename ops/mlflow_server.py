"""Runs MLflow's server with a login: `python -m ops.mlflow_server OPTIONS OF mlflow server`.

First the database is migrated, and the administrator's password is set to the one in the environment. Secrets come
from MLflow's own environment variables (`MLFLOW_BACKEND_STORE_URI`, `MLFLOW_AUTH_ADMIN_…`), so that no command line
shows them. It imports nothing of the project: MLflow's image holds this file alone.
"""

from __future__ import annotations

import configparser
import os
import secrets
import sys
import tempfile
from pathlib import Path


def main(options: list[str]) -> None:
    """Migrate the database, set the administrator's password, and serve."""
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    # MLflow reads both when its login is imported; its workers are children of this process.
    os.environ.setdefault("MLFLOW_FLASK_SERVER_SECRET_KEY", secrets.token_hex(32))
    _allow_names(os.environ.get("ACCIDENTS_ALLOWED_HOSTS", ""))
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(_write_settings(uri))
    from mlflow.cli import cli
    from mlflow.db import upgrade

    upgrade.main([uri], standalone_mode=False)
    _set_password(uri, os.environ["MLFLOW_AUTH_ADMIN_USERNAME"], os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"])
    # With several processes, uvicorn kills those that do not answer within 5 s. On a busy machine, importing MLflow
    # takes longer. One process has enough threads.
    fixed = ["server", "--app-name", "basic-auth", "--workers", "1", "--artifacts-destination", "s3://mlflow"]
    cli([*fixed, *options], prog_name="mlflow")


def _allow_names(extra: str) -> None:
    """Set the host names that MLflow accepts: this machine's, its own in containers, and extra ones.

    MLflow needs each with and without a port, and its page's own address among the allowed origins. `*` (any name) is
    not an origin: else any site could send requests in the name of a person who is logged in.
    """
    more = [name.strip() for name in extra.split(",") if name.strip()]
    hosts = [f"{name}{port}" for name in ("127.0.0.1", "localhost", "mlflow", *more) for port in ("", ":*")]
    named = [name for name in more if name != "*"]
    origins = [f"{scheme}://{name}{port}" for scheme in ("http", "https") for name in named for port in ("", ":*")]
    os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(hosts)
    os.environ["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(origins)


def _set_password(uri: str, user: str, password: str) -> None:
    """Set the administrator's password to the environment's; MLflow itself reads that only the first time."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    users = SqlAlchemyStore()
    users.init_db(uri)
    if not users.has_user(user):
        users.create_user(user, password, is_admin=True)
    elif not users.authenticate_user(user, password):
        users.update_user(user, password=password)


def _write_settings(uri: str) -> Path:
    """Write the settings file of MLflow's login: its database can be set nowhere else."""
    settings = configparser.ConfigParser(interpolation=None)
    settings["mlflow"] = {
        "database_uri": uri,
        "default_permission": "READ",
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        # A check of a password is slow on purpose, and a client sends it with every request.
        "auth_cache_ttl_seconds": "60",
    }
    path = Path(os.environ.get("MLFLOW_AUTH_CONFIG_PATH") or Path(tempfile.mkdtemp()) / "auth.ini")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        settings.write(stream)
    return path


if __name__ == "__main__":
    main(sys.argv[1:])
