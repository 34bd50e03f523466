"""Commands about models: the catalogue's models and their cost, and the rollback to the version before."""

from __future__ import annotations

import json
import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from include.accidents.cli.errors import errors_shown
from include.accidents.errors import SettingsError

if TYPE_CHECKING:
    from include.accidents.data.dataset import Dataset
    from include.accidents.models.specification import Catalogue, Defaults, ModelSpec

models = typer.Typer(help="The catalogue of models.", no_args_is_help=True)
registry = typer.Typer(help="The registered models.", no_args_is_help=True)

PEOPLE_OF_A_YEAR = 129_000  # of 2021
PROBE_ACCIDENTS = 2000  # enough people to estimate the time of a larger fit

File = Annotated[
    str,
    typer.Option("--file", envvar="ACCIDENTS_MODELS_FILE", help="The catalogue: a path or s3://bucket/key."),
]
SHIPPED = "include/models.json"


@models.command()
@errors_shown()
def check(file: File = SHIPPED) -> None:
    """Check a catalogue; list every defect with its place."""
    checked = _load(file)
    Console().print(f"{file}: {len(checked.models)} models, no defect.")


@models.command(name="list")
@errors_shown()
def list_models(file: File = SHIPPED) -> None:
    """List the models of a catalogue with their searches."""
    from include.accidents.models import candidates

    checked = _load(file)
    table = Table("model", "search", "candidates", "fits", "people at most", box=SIMPLE_HEAD)
    for name, spec in checked.models.items():
        fits = candidates.n_fits(spec, checked.defaults)
        table.add_row(
            name,
            spec.search.kind,
            str(len(candidates.candidates(spec, checked.defaults))),
            str(sum(fits.values())),
            f"{spec.max_rows:,}" if spec.max_rows else "all",
        )
    Console().print(table)


@models.command()
@errors_shown()
def explain(
    name: str,
    file: File = SHIPPED,
    people: Annotated[int, typer.Option(min=100, help="People to learn from.")] = PEOPLE_OF_A_YEAR,
) -> None:
    """Show a model's estimator, the number of its fits, and about how long they take on one core."""
    from include.accidents.models import candidates, training

    checked = _load(file)
    spec = checked.model(name)
    console = Console()
    console.print(training.estimator(spec, checked.defaults), soft_wrap=True, markup=False)
    tried = candidates.candidates(spec, checked.defaults)
    console.print(f"\nSearch: {spec.search.kind}, {len(tried)} candidate{'s' if len(tried) > 1 else ''}:")
    for params in tried[:20]:
        console.print(f"  {json.dumps(params)}", markup=False)
    if len(tried) > 20:
        console.print(f"  … and {len(tried) - 20} more")
    fits = candidates.n_fits(spec, checked.defaults)
    console.print("Fits: " + ", ".join(f"{n} for the {what}" for what, n in fits.items()))
    learned = min(people, spec.max_rows or people)
    seconds = _seconds_of_a_fit(spec, checked.defaults, learned)
    minutes = spec.minutes or checked.defaults.minutes
    console.print(
        f"About {seconds:.0f} s a fit on {learned:,} people, {seconds * sum(fits.values()) / 60:.1f} minutes in all on "
        f"one core, by fits on generated data; each step may take {minutes:g} minutes."
    )


@models.command()
@errors_shown()
def schema() -> None:
    """Print the JSON Schema of the catalogue, as include/models.schema.json holds it."""
    from include.accidents.models import catalogue

    typer.echo(json.dumps(catalogue.json_schema(), indent=2, ensure_ascii=False))


@registry.callback()
def _registry() -> None:
    """Keep the name `rollback` on the command line: typer drops the name of an application's only command."""


@registry.command()
@errors_shown()
def rollback(
    reason: Annotated[str, typer.Option(help="Kept as a tag of the version that is left.")] = "by hand",
) -> None:
    """Let `production` point to the version of BestModel before the present one; the API follows by itself."""
    from mlflow import MlflowClient

    from include.accidents.features.version import feature_version
    from include.accidents.registry import promotion
    from include.accidents.settings import Settings

    settings = Settings()
    if not settings.mlflow_tracking_uri:
        raise SettingsError("MLFLOW_TRACKING_URI is not set.", "set -a; . .local/env; set +a")
    client, key = MlflowClient(settings.mlflow_tracking_uri), settings.signing_secret()
    done = promotion.rollback(client, key, feature_version(), reason=reason)
    Console().print(f"BestModel: version {done.left} → version {done.version} ({done.model}).")


def _load(file: str) -> Catalogue:
    from include.accidents.models import catalogue

    return catalogue.load(catalogue.decode(_content_of(file), file), file)


def _content_of(file: str) -> bytes:
    try:
        if not file.startswith("s3://"):
            return Path(file).read_bytes()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read ({error}).", "name the catalogue with --file.") from error
    import boto3  # the DAG goes through Airflow's connection instead
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = file.removeprefix("s3://").partition("/")
    try:
        return bytes(boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    except (BotoCoreError, ClientError, ValueError) as error:  # ValueError: no address
        remedy = "set -a; . .local/env; set +a gives the storage's address; else name another catalogue with --file."
        raise SettingsError(f"{file} cannot be read ({error}).", remedy) from error


def _seconds_of_a_fit(spec: ModelSpec, defaults: Defaults, people: int) -> float:
    """Time a fit on a generated sample and on its half, and follow that growth to `people`."""
    import numpy as np

    from include.accidents.models import candidates, training

    training.limit_threads()
    data = _generated()
    params = candidates.candidates(spec, defaults)[0]
    took, sizes = [], []
    for share in (0.5, 1.0):
        part = data.take(data.accident <= np.quantile(data.accident, share))
        started = time.perf_counter()
        training.fit(spec, defaults, params, part)
        took.append(time.perf_counter() - started)
        sizes.append(len(part.y))
    # A fixed cost makes the growth look small. It is taken as at least the root of the rows, and at most their cube.
    growth = float(np.clip(np.log(took[1] / took[0]) / np.log(sizes[1] / sizes[0]), 0.5, 3))
    return float(took[1] * (people / sizes[1]) ** growth)


def _generated() -> Dataset:
    from include.accidents.data import files, reader
    from include.accidents.features import clean
    from include.accidents.synthetic import sample

    logging.getLogger("include").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        sample.write_sample(Path(folder), years=(2023,), accidents_per_year=PROBE_ACCIDENTS)
        paths = files.find(Path(folder))[2023]
        contents = {table: (path.name, path.read_bytes()) for table, path in paths.items()}
    return clean.clean(reader.read_year(contents, 2023)[0])[0]
