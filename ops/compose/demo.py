"""`make compose-demo`: the compose stack up, one run of the DAG from beginning to end, its models and a prediction."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from dotenv import dotenv_values
from rich.console import Console

from include.accidents.cli.errors import errors_shown
from include.accidents.errors import SettingsError
from ops import demo
from ops.follow import follow
from ops.local import health, settings, stack
from ops.local.settings import HOST, ROOT

PATIENCE_SECONDS: Final = 120
USER: Final = "admin"


@errors_shown()
def main(raw: Annotated[Path | None, typer.Option(help="Folder of CSV files (plain or .gz) to use.")] = None) -> None:
    """Start the stack, find its input, run the DAG, and show the results."""
    console = Console()
    if not _run(raw, console):
        raise typer.Exit(1)


def _run(raw: Path | None, console: Console) -> bool:
    file = os.environ.get("ACCIDENTS_ENV_FILE", ".env")
    written = {name: value for name, value in dotenv_values(ROOT / file).items() if value is not None}
    known = written | os.environ  # as Compose reads them
    given = raw or (Path(known["ACCIDENTS_RAW_DIR"]) if known.get("ACCIDENTS_RAW_DIR") else None)
    folder = demo.find_input(given, settings.load(), console)
    environ = {**os.environ, "ACCIDENTS_RAW_DIR": str(folder)}
    if subprocess.run([ROOT / "ops" / "compose" / "stack.sh", "up", "--build"], env=environ, check=False).returncode:  # noqa: S603
        return False
    env = clients(known)
    airflow = stack.connect(env)
    _wait_for_dag(health.dag(airflow, lambda: _start_of("airflow-dag-processor", file)))
    run_id = airflow.trigger({})
    succeeded = follow(airflow, run_id, console)
    if succeeded:
        demo.show_results(env, run_id, folder, console)
    console.print(
        f"\nAirflow  {env['AIRFLOW_URL']}\nMLflow   {env['MLFLOW_TRACKING_URI']}\n"
        f"API      {env['ACCIDENTS_API_URL']}  (a page for people; /docs for programs)\nThe logins are in {file}.",
        highlight=False,
    )
    return succeeded


def clients(known: Mapping[str, str]) -> dict[str, str]:
    """Compose addresses and logins from the settings, under the names of the embedded stack's env file."""

    def url(service: str, usual: int) -> str:
        return f"http://{HOST}:{known.get(f'ACCIDENTS_{service}_PORT') or usual}"

    return {
        "AIRFLOW_URL": url("AIRFLOW", 8080),
        "AIRFLOW_USER": USER,
        "AIRFLOW_PASSWORD": known["AIRFLOW_PASSWORD"],
        "MLFLOW_TRACKING_URI": url("MLFLOW", 5000),
        "MLFLOW_TRACKING_USERNAME": USER,
        "MLFLOW_TRACKING_PASSWORD": known["MLFLOW_PASSWORD"],
        "ACCIDENTS_API_URL": url("API", 8000),
        "ACCIDENTS_API_KEY": known["ACCIDENTS_API_KEY"],
        "AWS_ENDPOINT_URL": url("S3", 9000),
        "AWS_ACCESS_KEY_ID": known["MINIO_ROOT_USER"],
        "AWS_SECRET_ACCESS_KEY": known["MINIO_ROOT_PASSWORD"],
    }


def _start_of(service: str, file: str) -> float:
    """Return when the container of a service was started, in seconds since the epoch."""
    listed = _output("docker", "compose", "--env-file", file, "ps", "--quiet", service)
    started = _output("docker", "inspect", "--format", "{{.State.StartedAt}}", *listed.split())
    return datetime.fromisoformat(started.strip()).timestamp()


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603


def _wait_for_dag(check: health.Check) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while missing := check():
        if time.monotonic() > deadline:
            raise SettingsError(
                f"After {PATIENCE_SECONDS} s: {missing}.", "see `docker compose logs airflow-dag-processor`."
            )
        time.sleep(1)


if __name__ == "__main__":
    typer.run(main)
