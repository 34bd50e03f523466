"""The parts of `make demo` beside the stack: its input, and the results that it shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from rich.bar import Bar
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from api.schemas.scenes import EXAMPLE, EXAMPLE_IN_WORDS
from include.accidents.data import download, files
from include.accidents.errors import SettingsError
from include.accidents.registry.names import ALIAS, BASELINE, BEST, DAG_RUNS, EXPERIMENT, LEADERBOARD, of_selection
from include.accidents.settings import Settings as PipelineSettings
from include.accidents.synthetic import sample
from ops.local.settings import ROOT, Settings

_LEFT: Final[Mapping[str, Any]] = {"title_justify": "left", "caption_justify": "left"}

#: This file marks a folder whose download has not finished: it may lack files.
UNFINISHED: Final = ".unfinished"
METRICS: Final = ("cv_f1_weighted", "cv_accuracy", "test_f1_weighted", "test_f1_macro", "selection_score")


def find_input(given: Path | None, settings: Settings, console: Console) -> Path:
    """Choose the folder of raw files: the given one, `data/raw`, the official files, or a generated sample.

    Returns
    -------
    The folder, which holds the CSV files when it is returned.

    Raises
    ------
    SettingsError
        If the given folder holds no CSV file.
    InputError
        If the publisher can be reached, but the official files cannot be downloaded.
    """
    folder = (given or ROOT / settings.raw_dir).absolute()
    unfinished = folder / UNFINISHED
    if has_csv(folder) and not unfinished.exists():
        return folder
    if given:
        raise SettingsError(
            f"{given} holds no CSV file (plain or .gz).", "name the folder that holds them: RAW=folder."
        )
    url = PipelineSettings().catalogue_url or download.CATALOGUE_URL
    if download.reachable(url):
        console.print(f"Fetching the official files of the two latest years from {url} into {folder}.", highlight=False)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished.touch()
        fetch(folder, url, console)
        unfinished.unlink()
        return folder
    generated = settings.folder / "sample"
    console.print(
        f"[yellow]{url} cannot be reached: unless real files are in the raw bucket already, this demo runs on a "
        f"GENERATED sample, not on real accidents ({generated}).[/]",
        highlight=False,
        soft_wrap=True,
    )
    if not has_csv(generated):
        sample.write_sample(generated)
    return generated


def has_csv(folder: Path) -> bool:
    """Return whether a folder holds a CSV file, plain or compressed."""
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


def show_results(env: Mapping[str, str], run_id: str, folder: Path, console: Console) -> None:
    """Show the models of a run, the data that they were trained on, and a prediction of the API."""
    run_results = results(env, run_id)
    console.print(leaderboard(run_results))
    console.print(origin(run_results, folder), highlight=False, soft_wrap=True)
    console.print(prediction(env["ACCIDENTS_API_URL"]))


@dataclass(frozen=True)
class LoggedModel:
    """A model that a run of the DAG logged to MLflow."""

    run_id: str
    model: str
    metrics: Mapping[str, float]
    years: str = ""
    sample: bool = False


@dataclass(frozen=True)
class Results:
    """The results of a run of the DAG in MLflow: its models, the baseline's row, and the version in production."""

    run_id: str
    runs: Sequence[LoggedModel]
    baseline: Sequence[LoggedModel]
    production: Mapping[str, str] | None


def results(env: Mapping[str, str], run_id: str) -> Results:
    """Read the results of a run of the DAG from MLflow."""
    url, login = env["MLFLOW_TRACKING_URI"], (env["MLFLOW_TRACKING_USERNAME"], env["MLFLOW_TRACKING_PASSWORD"])
    with httpx.Client(base_url=url, auth=login, timeout=30, trust_env=False) as client:
        runs = sorted(_runs(client, run_id), key=_rank)
        return Results(run_id, runs, _baseline(client, runs, run_id), _production(client))


def origin(run_results: Results, folder: Path) -> str:
    """Describe the accidents that the models learned from, and whether those of the folder were left out."""
    if not run_results.runs:
        return ""
    years = run_results.runs[0].years.strip("[]")
    if run_results.runs[0].sample:
        return f"[yellow]Learned from GENERATED accidents ({years}), not from real ones.[/]"
    unused = ""
    if files.is_sample(folder):
        unused = f" [yellow]Real files were in the raw bucket: the generated ones of {folder} were left out.[/]"
    return f"Learned from real accidents: {years}.{unused}"


def leaderboard(run_results: Results) -> Table:
    """Compare the models of a run; `►` marks the one in production."""
    rows, production = sorted([*run_results.runs, *run_results.baseline], key=_rank), run_results.production
    look: dict[str, Any] = {"box": SIMPLE_HEAD, "pad_edge": False, "collapse_padding": True, **_LEFT}
    title = f"Models of {run_results.run_id}"
    table = Table(title=title, caption=_caption(run_results.runs, production), **look)
    for name in ("", "model"):
        table.add_column(name, no_wrap=True)
    for name in METRICS:
        table.add_column("_\n".join(name.rsplit("_", 1)), justify="right")
    for run in rows:
        mark = "[green]►[/]" if production and run.run_id == production["run_id"] else ""
        table.add_row(mark, run.model, *(_number(run.metrics.get(each)) for each in METRICS))
    return table


def prediction(url: str) -> Group:
    """Show the API's prediction for each person of the example, and its decision on the accident."""
    response = httpx.post(f"{url}/api/v1/predict", json=EXAMPLE, timeout=30, trust_env=False)
    response.raise_for_status()
    (scene,) = response.json()["scenes"]
    return Group(prediction_table(scene["people"]), decision(scene))


def decision(scene: Mapping[str, Any]) -> str:
    """Describe the API's decision on an accident, and how reliable it is."""
    return (
        f"Somebody killed or hospitalised: {_share(scene['p_any_severe'])}. "
        f"{'Alert' if scene['alert'] else 'No alert'}: with what is known ({scene['level']}) an alert begins at "
        f"{_share(scene['alert_threshold'])}; it finds {_share(scene['alert_recall'])} of such accidents, and "
        f"{_share(scene['alert_precision'])} of the alerts are right."
    )


def prediction_table(people: Sequence[Mapping[str, Any]]) -> Table:
    """Draw a bar for each class of each person.

    Parameters
    ----------
    people
        The API's answer: each with `vehicle` and `probabilities`, a share by class name.

    Returns
    -------
    A table for the console; the likeliest class of each person comes first.
    """
    table = Table(title="A prediction of the API", caption=EXAMPLE_IN_WORDS, **_LEFT)
    for name in ("person", "outcome", "share", ""):
        table.add_column(name, justify="right" if name == "share" else "left")
    for person in people:
        shares = sorted(person["probabilities"].items(), key=lambda each: -each[1])
        for position, (name, share) in enumerate(shares):
            who = f"in vehicle {person['vehicle']}" if position == 0 else ""
            table.add_row(who, name, _share(share), Bar(size=1, begin=0, end=share, width=30))
        table.add_section()
    return table


def _share(probability: float) -> str:
    """Return a probability as text; a small one is not shown as 0."""
    if 0 < probability < 0.01:
        return "< 1%"
    return "> 99%" if 0.99 < probability < 1 else f"{probability:.0%}"


def addresses(env: Mapping[str, str], env_file: Path) -> str:
    """List the addresses of the services, with their logins."""
    airflow = f"user {env['AIRFLOW_USER']}, password {env['AIRFLOW_PASSWORD']}"
    mlflow = f"user {env['MLFLOW_TRACKING_USERNAME']}, password {env['MLFLOW_TRACKING_PASSWORD']}"
    return f"""
Airflow  {env["AIRFLOW_URL"]}  {airflow}
MLflow   {env["MLFLOW_TRACKING_URI"]}  {mlflow}
API      {env["ACCIDENTS_API_URL"]}  (a page for people; /docs for programs)
S3       {env["AWS_ENDPOINT_URL"]}  (keys, and all of this for programs: {env_file})"""


def _runs(client: httpx.Client, dag_run_id: str) -> list[LoggedModel]:
    """Read the models that a run of the DAG registered, of several tries the newest."""
    experiment = client.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": EXPERIMENT})
    experiment.raise_for_status()
    body = {
        "experiment_ids": [experiment.json()["experiment"]["experiment_id"]],
        "filter": f"tags.`{DAG_RUNS}` LIKE '%{dag_run_id}%'",
        "order_by": ["attributes.start_time ASC"],
        "max_results": 1000,
    }
    response = client.post("/api/2.0/mlflow/runs/search", json=body)
    response.raise_for_status()
    models = {}
    for run in response.json().get("runs", []):
        tags, metrics = _pairs(run["data"].get("tags", [])), _pairs(run["data"].get("metrics", []))
        if "registered_version" in tags:
            years = str(_pairs(run["data"].get("params", [])).get("years", ""))
            models[tags["model"]] = LoggedModel(
                run["info"]["run_id"], tags["model"], metrics, years, tags.get("sample") == "true"
            )
    return list(models.values())


def _baseline(client: httpx.Client, runs: Sequence[LoggedModel], dag_run_id: str) -> list[LoggedModel]:
    """Read the baseline's row from the leaderboard of the selected run; the baseline has no run of its own."""
    path = of_selection(dag_run_id, LEADERBOARD)
    for run in runs:
        response = client.get("/get-artifact", params={"run_uuid": run.run_id, "path": path})
        if response.is_success:
            return [LoggedModel("", row["model"], row) for row in response.json() if row["model"] == BASELINE]
    return []


def _production(client: httpx.Client) -> dict[str, str] | None:
    """Read the tags of the version in production, and its `version`; None when there is none."""
    response = client.get("/api/2.0/mlflow/registered-models/alias", params={"name": BEST, "alias": ALIAS})
    if response.status_code in {httpx.codes.NOT_FOUND, httpx.codes.BAD_REQUEST}:
        return None
    response.raise_for_status()
    model_version = response.json()["model_version"]
    return {**_pairs(model_version.get("tags", [])), "version": str(model_version["version"])}


def _caption(runs: Sequence[LoggedModel], production: Mapping[str, str] | None) -> str:
    if production is None:
        return "no model is in production"
    earlier = "" if any(run.run_id == production["run_id"] for run in runs) else ", of an earlier run"
    return f"► in production: {production['model']}{earlier} ({BEST} version {production['version']})"


def _rank(model: LoggedModel) -> float:
    return -model.metrics.get("selection_score", 0)


def _pairs(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {each["key"]: each["value"] for each in entries}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
