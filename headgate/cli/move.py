"""`headgate move`: from a file to PostgreSQL, and what to do next."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from headgate.bootstrap import move_over
from headgate.core.errors import HeadgateError, SourceMisconfigured
from headgate.settings.values import database_at
from headgate.store.postgres.url import PostgresUrl

Source = Annotated[str, typer.Argument(help="The file, as sqlite:///path.")]
Target = Annotated[
    str,
    typer.Argument(
        help="An empty database, as postgresql://user:password@host/name.",
        envvar="HEADGATE_DATABASE_URL",
        show_default=False,
    ),
]


def move(source: Source, target: Target) -> None:
    """Copy everything from a file to PostgreSQL, compare both, and leave the file alone.

    Run it again after an interruption: it goes on.
    """
    file, url = _database("source", source), _database("target", target)
    if not isinstance(file, Path):
        raise SourceMisconfigured("source: should be a file, as sqlite:///path")
    if not isinstance(url, PostgresUrl):
        raise SourceMisconfigured("target: should be a database, as postgresql://user@host/name")
    try:
        asyncio.run(move_over(file, url, typer.echo))
    except HeadgateError as error:
        typer.echo(f"headgate: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(
        f"Next: set HEADGATE_DATABASE_URL to the database's URL, on every process, and start them.\n"
        f"{file} is left as it is; start nothing on it any more, since it and the database are two quotas now."
    )


def _database(argument: str, url: str) -> Path | PostgresUrl:
    try:
        return database_at(url, Path.cwd())
    except ValueError as error:
        raise SourceMisconfigured(f"{argument}: {error}") from None
