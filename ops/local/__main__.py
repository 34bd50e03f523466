"""The commands of the embedded stack: `python -m ops.local COMMAND`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from include.accidents.cli.errors import errors_shown
from include.accidents.errors import SettingsError
from ops import demo as demonstration
from ops.follow import follow
from ops.local import environment, settings, stack
from ops.local.stack import Stack
from ops.local.supervisor import Supervisor

app = typer.Typer(
    help="S3, MLflow, the API and Airflow on this machine, without containers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _stack() -> Stack:
    chosen = settings.load()
    return Stack(chosen, environment.prepare(chosen))


@app.command()
@errors_shown()
def up() -> None:
    """Start the stack and wait until every service is ready."""
    console = Console()
    running = _stack()
    running.up(console)
    console.print(demonstration.addresses(running.env, running.settings.env_file), highlight=False, soft_wrap=True)


@app.command()
@errors_shown()
def down() -> None:
    """Stop every process of the stack; stored data stay."""
    console = Console()
    stopped = Supervisor(settings.load()).stop()
    console.print("The stack is down." if stopped else "The stack is not running.")


@app.command()
@errors_shown()
def status() -> None:
    """Show the services: state, process, address, time since the start."""
    console = Console()
    running = _stack()
    _require_running(running.supervisor)
    processes = running.supervisor.processes()
    table = Table("service", "state", "pid", "address", "up for")
    for service in running.services:
        process = processes[service.name]
        alive = process.state in {"RUNNING", "STARTING"}
        uptime = f"{_clock(time.time() - process.started)}" if alive else process.detail
        colour = "green" if process.state == "RUNNING" else "yellow" if alive else "red"
        table.add_row(service.name, f"[{colour}]{process.state}[/]", str(process.pid or ""), service.address, uptime)
    console.print(table)


@app.command()
@errors_shown()
def logs(
    service: Annotated[str | None, typer.Argument(help="One service; otherwise all, a few lines each.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many lines.")] = 50,
) -> None:
    """Show the end of the services' logs."""
    console = Console()
    folder = settings.load().logs
    known = sorted(path.stem for path in folder.glob("*.log"))
    if service and service not in known:
        raise SettingsError(f"There is no log of {service!r}.", f"name one of {', '.join(known) or 'none yet'}.")
    for name in [service] if service else known:
        path = folder / f"{name}.log"
        console.rule(str(path), align="left")
        for line in stack.tail(path, lines if service else min(lines, 10)):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
@errors_shown()
def trigger(
    models: Annotated[str, typer.Option(help="Names of models, with commas between them; otherwise all.")] = "",
    years: Annotated[str, typer.Option(help="Years, with commas between them; otherwise all.")] = "",
    conf: Annotated[str, typer.Option(help="Other values of the trigger form, as a JSON object.")] = "{}",
) -> None:
    """Start a run of the DAG, as the button on Airflow's page does, and follow it."""
    console = Console()
    running = _stack()
    _require_running(running.supervisor)
    run_id = running.airflow.trigger(_object(conf) | _chosen(models, years))
    console.print(f"Run {run_id}", highlight=False)
    succeeded = follow(running.airflow, run_id, console)
    if note := running.airflow.run(run_id).get("note"):
        console.print(f"\n{note}", markup=False, highlight=False, soft_wrap=True)
    if not succeeded:
        raise typer.Exit(1)


@app.command()
@errors_shown()
def demo(
    raw: Annotated[Path | None, typer.Option(help="Folder of CSV files (plain or .gz) to use.")] = None,
) -> None:
    """Start the stack, find its input, run the DAG, and show the results."""
    console = Console()
    running = _stack()
    folder = demonstration.find_input(raw, running.settings, console)
    running.up(console)
    run_id = running.airflow.trigger({"raw_dir": str(folder)})
    succeeded = follow(running.airflow, run_id, console)
    if succeeded:
        demonstration.show_results(running.env, run_id, folder, console)
    console.print(demonstration.addresses(running.env, running.settings.env_file), highlight=False, soft_wrap=True)
    if not succeeded:
        raise typer.Exit(1)


def _require_running(supervisor: Supervisor) -> None:
    if not supervisor.is_running():
        raise SettingsError("The stack is not running.", "start it by `make up`.")


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise SettingsError(f"--conf is not JSON: {error}.", 'write it as in \'{"raw_dir": "/data"}\'.') from error
    if not isinstance(value, dict):
        raise SettingsError(f"--conf is {text}, not a JSON object.", 'write it as in \'{"raw_dir": "/data"}\'.')
    return value


def _chosen(models: str, years: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if models:
        chosen["models"] = [name.strip() for name in models.split(",")]
    if years:
        try:
            chosen["years"] = [int(year) for year in years.split(",")]
        except ValueError as error:
            raise SettingsError(f"--years is {years}.", "write it as in 2022,2023.") from error
    return chosen


def _clock(seconds: float) -> str:
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


if __name__ == "__main__":
    app(prog_name="python -m ops.local")
