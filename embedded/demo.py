"""The parts of `make demo` beside the stack: its input, and what it shows at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import httpx
from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from embedded.settings import ROOT, Settings
from include.accidents import download, sample
from include.accidents.errors import SettingsError

EXPERIMENT: Final = "Gravite_Accidents"
BEST: Final = "BestModel"
METRICS: Final = ("cv_f1_weighted", "cv_accuracy", "test_f1_weighted", "test_f1_macro", "selection_score")

#: At dusk on a main road, a car turns into a motorcycle's path.
SCENE: Final[Mapping[str, Any]] = {
    "accident": {"dep": "59", "agg": 1, "lum": 2, "atm": 1, "catr": 3, "vma": 80, "col": 3, "mois": 10, "hrmn": "18:45"},
    "vehicles": [{"id": "A", "catv": 7, "choc": 1, "manv": 15}, {"id": "B", "catv": 33, "choc": 1, "manv": 1}],
    "people": [
        {"vehicle": "A", "catu": 1, "sexe": 2, "an_nais": 1980, "secu1": 1},
        {"vehicle": "B", "catu": 1, "sexe": 1, "an_nais": 1996, "secu1": 2},
    ],
}
SCENE_IN_WORDS: Final = "Département 59, 18:45 in October, dusk, 80 km/h: a car (A) turns into the way of a motorcycle (B)."


def find_input(given: Path | None, settings: Settings, console: Console) -> Path:
    """Choose the folder of raw files: the given one, `data/raw`, the official files, or a generated sample.

    Raises
    ------
    SettingsError
        If the given folder holds no CSV file.
    InputError
        If the official files can be reached but not fetched.
    """
    folder = (given or ROOT / settings.raw_dir).absolute()
    if has_csv(folder):
        return folder
    if given:
        raise SettingsError(f"{given} holds no CSV file (plain or .gz).", "name the folder that holds them: RAW=folder.")
    url = os.environ.get("ACCIDENTS_CATALOGUE_URL") or download.CATALOGUE_URL
    if download.reachable(url):
        console.print(f"Fetching the official files of the two latest years from {url} into {folder}.", highlight=False)
        fetch(folder, url, console)
        return folder
    generated = settings.folder / "sample"
    console.print(
        f"[yellow]{url} cannot be reached: the demo runs on a GENERATED sample ({generated}), not on real accidents.[/]",
        highlight=False,
        soft_wrap=True,
    )
    if not has_csv(generated):
        sample.write_sample(generated)
    return generated


def has_csv(folder: Path) -> bool:
    """Whether a folder holds a CSV file, plain or compressed."""
    return folder.is_dir() and any(each.name.lower().endswith((".csv", ".csv.gz")) for each in folder.iterdir())


def fetch(folder: Path, url: str, console: Console) -> None:
    """Download the official files, with a bar for each."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bars: dict[str, Any] = {}

        def advance(name: str, done: int, total: int | None) -> None:
            if name not in bars:
                bars[name] = progress.add_task(name)
            progress.update(bars[name], completed=done, total=total)

        download.download(folder, years=2, base_url=url, progress=advance)


def show_results(env: Mapping[str, str], run_id: str, console: Console) -> None:
    """Show the models of a run, and what the API says of an accident."""
    console.print(leaderboard(env["MLFLOW_TRACKING_URI"], run_id))
    console.print(prediction(env["ACCIDENTS_API_URL"]))


def leaderboard(url: str, run_id: str) -> Table:
    """Compare the models that MLflow holds of a run of the DAG; `►` marks the one in production."""
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        runs, (champion, version) = _runs(client, run_id), _production(client)
    table = Table(title=f"Models of {run_id}", title_justify="left")
    for name in ("", "model", *METRICS):
        table.add_column(name, justify="right" if name in METRICS else "left")
    for name, metrics in sorted(runs.items(), key=lambda each: -each[1].get("selection_score", 0)):
        mark = "[green]►[/]" if name == champion else ""
        table.add_row(mark, name, *(f"{metrics[each]:.4f}" if each in metrics else "–" for each in METRICS))
    table.caption = f"► in production: {champion}, version {version} of {BEST}" if champion else "none in production"
    return table


def prediction(url: str) -> RenderableType:
    """Ask the API how badly each person of the example is hurt."""
    response = httpx.post(f"{url}/api/v1/predict", json=SCENE, timeout=30, trust_env=False)
    response.raise_for_status()
    return prediction_table(response.json()["predictions"])


def prediction_table(people: list[dict[str, Any]]) -> RenderableType:
    """Draw a bar for each class of each person.

    Parameters
    ----------
    people
        In the order of the scene: each with `probabilities`, a share by class name.
    """
    table = Table(title="One prediction of the API", title_justify="left", caption=SCENE_IN_WORDS, caption_justify="left")
    for name in ("person", "will be", "probability", ""):
        table.add_column(name, justify="right" if name == "probability" else "left")
    for person, answer in zip(SCENE["people"], people, strict=True):
        shares = sorted(answer["probabilities"].items(), key=lambda each: -each[1])
        for position, (name, share) in enumerate(shares):
            who = f"in vehicle {person['vehicle']}" if position == 0 else ""
            table.add_row(who, name, f"{share:.0%}", Bar(size=1, begin=0, end=share, width=30))
        table.add_section()
    return table


def addresses(env: Mapping[str, str], env_file: Path) -> RenderableType:
    """List where to look, and with which login."""
    table = Table.grid(padding=(0, 2))
    table.add_row("Airflow", env["AIRFLOW_URL"], f"user {env['AIRFLOW_USER']}, password {env['AIRFLOW_PASSWORD']}")
    table.add_row("MLflow", env["MLFLOW_TRACKING_URI"], "")
    table.add_row("API", env["ACCIDENTS_API_URL"], "try it at /docs")
    table.add_row("S3", env["AWS_ENDPOINT_URL"], f"keys, like all of these, in {env_file}")
    return Group("", table)


def _runs(client: httpx.Client, run_id: str) -> dict[str, dict[str, float]]:
    """Read the metrics of each model that a run of the DAG has logged."""
    experiment = client.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": EXPERIMENT})
    experiment.raise_for_status()
    body = {
        "experiment_ids": [experiment.json()["experiment"]["experiment_id"]],
        "filter": f"tags.`airflow.dag_run_id` = '{run_id}'",
        "max_results": 1000,
    }
    found = client.post("/api/2.0/mlflow/runs/search", json=body)
    found.raise_for_status()
    return {
        run["info"]["run_name"]: {each["key"]: each["value"] for each in run["data"].get("metrics", [])}
        for run in found.json().get("runs", [])
    }


def _production(client: httpx.Client) -> tuple[str | None, str | None]:
    """Name the model in production and its version."""
    response = client.get("/api/2.0/mlflow/registered-models/alias", params={"name": BEST, "alias": "production"})
    if response.status_code in {httpx.codes.NOT_FOUND, httpx.codes.BAD_REQUEST}:
        return None, None
    response.raise_for_status()
    found = response.json()["model_version"]
    tags = {each["key"]: each["value"] for each in found.get("tags", [])}
    return cast(str | None, tags.get("model")), str(found["version"])
