"""Ends a command that failed: with the cause and the fix, without a traceback, with exit status 1."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import typer
from rich.console import Console

from include.accidents.errors import AccidentsError


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show an error that a person can act on, and end the command with status 1."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        yield
    except AccidentsError as error:
        for line in error.log:
            console.print(line, style="dim", markup=False)
        console.print(f"[bold red]Error:[/] {_plain(error.cause)}\n[bold]Fix:[/] {_plain(error.remedy)}")
        raise typer.Exit(1) from error
    except httpx.HTTPError as error:
        fix = "see that the services run (`make status`), then try again."
        console.print(f"[bold red]Error:[/] {_plain(f'a service does not answer ({error}).')}\n[bold]Fix:[/] {fix}")
        raise typer.Exit(1) from error
    except OSError as error:
        console.print(f"[bold red]Error:[/] {_plain(str(error))}")
        raise typer.Exit(1) from error


def _plain(text: str) -> str:
    """Return a text that Rich does not read as markup."""
    return text.replace("[", r"\[")
