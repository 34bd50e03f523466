"""The stack's addresses and secrets, and the environment of each service."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from include.accidents.storage.buckets import BUCKETS
from ops import envfile
from ops.local.launch import MARKER
from ops.local.lock import held
from ops.local.s3_keys import OPENS
from ops.local.settings import HOST, PORTS, ROOT, Settings, cores, model_slots

REGION: Final = "us-east-1"

#: Where MLflow keeps its artifacts.
ARTIFACTS: Final = "mlflow"

#: The users with a pair of keys for S3, besides the owner of `.local/env`.
S3_USERS: Final = ("MLFLOW", "TASKS")

_FROM_THE_SHELL: Final = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
)


@dataclass(frozen=True)
class Known:
    """Addresses and secrets, each of a private file: `.local/env`, Airflow's own keys, the services' keys of S3."""

    env: Mapping[str, str]
    airflow: Mapping[str, str]
    s3: Mapping[str, str]


def addresses(settings: Settings, saved: Mapping[str, str]) -> dict[str, str]:
    """Return the content of `.local/env`: addresses from the settings, secrets as saved or else new."""
    values = {name: f"http://{HOST}:{settings.ports[service]}" for service, (_, name) in PORTS.items()}
    return {
        "AIRFLOW_URL": values["AIRFLOW_URL"],
        "AIRFLOW_USER": "admin",
        "AIRFLOW_PASSWORD": saved.get("AIRFLOW_PASSWORD") or envfile.token(),
        "MLFLOW_TRACKING_URI": values["MLFLOW_TRACKING_URI"],
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": saved.get("MLFLOW_TRACKING_PASSWORD") or envfile.token(),
        "AWS_ENDPOINT_URL": values["AWS_ENDPOINT_URL"],
        "AWS_ACCESS_KEY_ID": saved.get("AWS_ACCESS_KEY_ID") or secrets.token_hex(10),
        "AWS_SECRET_ACCESS_KEY": saved.get("AWS_SECRET_ACCESS_KEY") or envfile.token(),
        "AWS_DEFAULT_REGION": REGION,
        "ACCIDENTS_API_URL": values["ACCIDENTS_API_URL"],
        "ACCIDENTS_API_KEY": saved.get("ACCIDENTS_API_KEY") or envfile.token(),
        "ACCIDENTS_SIGNING_KEY": saved.get("ACCIDENTS_SIGNING_KEY") or envfile.token(),
        "ACCIDENTS_RAW_DIR": str(ROOT / settings.raw_dir),
        "ACCIDENTS_MODELS_FILE": _models_file(settings.models_file),
    }


def _models_file(address: str) -> str:
    return address if address.startswith("s3://") else str(ROOT / address)


def airflow_secrets(saved: Mapping[str, str]) -> dict[str, str]:
    """Return the keys that only Airflow's own parts share, as saved or else new."""
    fernet = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return {
        "AIRFLOW__CORE__FERNET_KEY": saved.get("AIRFLOW__CORE__FERNET_KEY") or fernet,
        "AIRFLOW__API__SECRET_KEY": saved.get("AIRFLOW__API__SECRET_KEY") or envfile.token(),
        "AIRFLOW__API_AUTH__JWT_SECRET": saved.get("AIRFLOW__API_AUTH__JWT_SECRET") or envfile.token(),
    }


def s3_pairs(saved: Mapping[str, str]) -> dict[str, str]:
    """Return the pairs of keys of the users of S3, as saved or else new."""
    pairs = {}
    for user in S3_USERS:
        pairs[f"{user}_KEY_ID"] = saved.get(f"{user}_KEY_ID") or secrets.token_hex(10)
        pairs[f"{user}_SECRET"] = saved.get(f"{user}_SECRET") or envfile.token()
    return pairs


def common(settings: Settings) -> dict[str, str]:
    """Return the environment of every process: a few variables of the shell, and a home of the stack's own."""
    kept = {name: os.environ[name] for name in _FROM_THE_SHELL if os.environ.get(name)}
    local = f"{HOST},localhost"
    return kept | {
        MARKER: str(settings.folder),
        "HOME": str(settings.folder / "home"),
        "NO_PROXY": local,
        "no_proxy": local,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        # Airflow renames its processes; with this variable their environment, and so the marker, stays readable.
        "SPT_NOENV": "1",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def settings_of_the_project(env: Mapping[str, str]) -> dict[str, str]:
    """Return the `ACCIDENTS_` settings that hold no secret; those that only the shell sets pass through."""
    ours = {name: value for name, value in env.items() if name in {"ACCIDENTS_RAW_DIR", "ACCIDENTS_MODELS_FILE"}}
    shell = {name: value for name, value in os.environ.items() if name.startswith("ACCIDENTS_") and name not in env}
    return shell | ours


def airflow(settings: Settings, internal: Mapping[str, str]) -> dict[str, str]:
    """Return Airflow's configuration; the shell's `AIRFLOW__…` passes through where we set nothing."""
    home = settings.airflow_home
    url = f"http://{HOST}:{settings.ports['airflow']}"
    ours = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(cores() + 2),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        # Tasks that died with their worker or scheduler are tried again after a minute instead of five.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(settings.ports["airflow"]),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__MAXIMUM_PAGE_LIMIT": "1000",
        "AIRFLOW__API_AUTH__JWT_ISSUER": url,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(home / "bundles"),
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    } | dict(internal)
    if sys.platform == "darwin":
        ours["OBJC_DISABLE_INITIALIZE_FORK_SAFETY"] = "YES"  # Airflow forks its tasks; macOS forbids that otherwise
    shell = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW__") and name not in ours}
    return shell | ours


def tasks(settings: Settings, env: Mapping[str, str]) -> dict[str, str]:
    """Return what Airflow's tasks need besides their connections."""
    return {
        "ACCIDENTS_CACHE_DIR": str(settings.folder / "cache"),
        **settings_of_the_project(env),
        "ACCIDENTS_SIGNING_KEY": env["ACCIDENTS_SIGNING_KEY"],
    }


def api(env: Mapping[str, str]) -> dict[str, str]:
    """Return what the API needs: the registry, and the keys of its callers and of the models' signatures."""
    names = (
        *("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
        *("ACCIDENTS_API_KEY", "ACCIDENTS_SIGNING_KEY"),
    )
    return settings_of_the_project(env) | {name: env[name] for name in names}


def mlflow(settings: Settings, known: Known) -> dict[str, str]:
    """Return what MLflow's server needs: its database, its login, the keys of the store of its artifacts."""
    env = known.env
    return _aws("MLFLOW", known) | {
        "AWS_DEFAULT_REGION": REGION,
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{settings.folder / 'mlflow.db'}",
        "MLFLOW_AUTH_CONFIG_PATH": str(settings.folder / "run" / "mlflow.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": env["MLFLOW_TRACKING_USERNAME"],
        "MLFLOW_AUTH_ADMIN_PASSWORD": env["MLFLOW_TRACKING_PASSWORD"],
        "MLFLOW_S3_ENDPOINT_URL": env["AWS_ENDPOINT_URL"],
        # Saves a process that only the features for generative AI use.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def s3(settings: Settings, known: Known) -> dict[str, str]:
    """Return the environment of rclone.

    The pair of keys of `.local/env` opens everything, MLflow's its own bucket, that of the tasks all others. MLflow and
    the tasks see a folder that holds only the buckets that they may use.

    Returns
    -------
    Variables: the folder that each pair of keys opens, no settings file, and the PATH.
    """
    env, pairs, folder = known.env, known.s3, settings.folder / "s3"
    catalogue = urlsplit(settings.models_file)
    buckets = {"MLFLOW": {ARTIFACTS}, "TASKS": {*BUCKETS, *([catalogue.netloc] if catalogue.scheme == "s3" else [])}}
    everything = {"type": "local", "_root": str(folder), "_secret_access_key": env["AWS_SECRET_ACCESS_KEY"]}
    opens = {env["AWS_ACCESS_KEY_ID"]: everything}
    for user, names in buckets.items():
        opens[pairs[f"{user}_KEY_ID"]] = {
            "type": "combine",
            "_root": "",
            "upstreams": " ".join(f'"{name}={folder / name}"' for name in sorted(names)),
            "_secret_access_key": pairs[f"{user}_SECRET"],
        }
    # rclone splits the program's command at every space, so it must not hold a path.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {"RCLONE_CONFIG": "/dev/null", OPENS: json.dumps(opens), "PATH": path}


def _aws(user: str, known: Known) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": known.s3[f"{user}_KEY_ID"], "AWS_SECRET_ACCESS_KEY": known.s3[f"{user}_SECRET"]}


def settings_file(settings: Settings, known: Known) -> dict[str, str]:
    """Return the values of the placeholders in `airflow_settings.yaml`."""
    logins = dict(known.env) | _aws("TASKS", known)
    return logins | {
        "ACCIDENTS_API_HOST": HOST,
        "ACCIDENTS_API_PORT": str(settings.ports["api"]),
        "AIRFLOW_HOST": HOST,
        "AIRFLOW_PORT": str(settings.ports["airflow"]),
        "MLFLOW_HOST": HOST,
        "MLFLOW_PORT": str(settings.ports["mlflow"]),
        "ACCIDENTS_MODEL_SLOTS": str(model_slots()),
    }


def prepare(settings: Settings) -> Known:
    """Create or update the files of secrets; return their contents."""
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.folder.chmod(0o700)
    with held(settings.folder / "run" / "secrets.lock"):
        return Known(
            env=_update(settings.env_file, partial(addresses, settings)),
            airflow=_update(settings.airflow_home / "secrets.env", airflow_secrets),
            s3=_update(settings.folder / "run" / "s3.env", s3_pairs),
        )


def _update(path: Path, compose: Callable[[Mapping[str, str]], dict[str, str]]) -> dict[str, str]:
    saved = envfile.read(path)
    values = compose(saved)
    if saved != values:
        envfile.write_private(path, envfile.render(values))
    return values
