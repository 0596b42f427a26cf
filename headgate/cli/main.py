"""`headgate serve | worker | migrate | release | move | check | version`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from headgate import __version__
from headgate.bootstrap import bring_up_to_date, let_go
from headgate.cli import move as moving
from headgate.cli import serve as serving
from headgate.core.errors import HeadgateError, SourceMisconfigured
from headgate.settings import load

app = typer.Typer(
    name="headgate",
    help="Pull records by id from rate-limited APIs: durable, prioritised, never over quota.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,  # a traceback must not show what a secret is
)

Host = Annotated[
    str | None, typer.Option(help="The address to listen on; 127.0.0.1 if none is given.")
]
Port = Annotated[
    int | None, typer.Option(help="The port to listen on; $PORT or 8000 if none is given.")
]
Config = Annotated[
    str | None,
    typer.Option(help="The file that names sources; ./headgate.toml if there is one."),
]
Open = Annotated[
    bool, typer.Option("--insecure-no-auth", help="Serve a public address without any API key.")
]


NoWorker = Annotated[
    bool, typer.Option("--no-worker", help="Call no source: `headgate worker` does, elsewhere.")
]
Sources = Annotated[
    str | None,
    typer.Option(help="The sources to call, with commas; all that are named if none is given."),
]
Released = Annotated[list[str], typer.Argument(help="The sources that are held.")]


@app.command()
def serve(
    host: Host = None,
    port: Port = None,
    config: Config = None,
    insecure_no_auth: Open = False,
    no_worker: NoWorker = False,
) -> None:
    """Serve the API and the page, and call the sources in the background."""
    flags = _given(host=host, port=port, config=config, worker=False if no_worker else None)
    serving.serve(load(os.environ, flags=flags), flags, open_to_all=insecure_no_auth)


@app.command()
def worker(
    host: Host = None, port: Port = None, config: Config = None, sources: Sources = None
) -> None:
    """Call the sources and serve nothing but /healthz and /readyz."""
    flags = _given(host=host, port=port, config=config, worker_sources=sources, worker=True)
    serving.work(load(os.environ, flags=flags), flags)


@app.command()
def migrate(config: Config = None) -> None:
    """Bring the tables of the database up to date; every start does so, too."""
    flags = _given(config=config, worker=False)  # which needs no secret of a source
    asyncio.run(bring_up_to_date(load(os.environ, flags=flags)))
    typer.echo("the tables are up to date")


@app.command()
def release(sources: Released, config: Config = None) -> None:
    """Call sources again that are held, since somebody knows that they may be called; windows go on counting."""
    flags = _given(config=config, worker=False)
    asyncio.run(let_go(load(os.environ, flags=flags), sources))
    typer.echo(f"released: {', '.join(sources)}")


app.command()(moving.move)


@app.command()
def check(config: Config = None) -> None:
    """Find every mistake in the configuration and say where it is and what to do."""
    found = load(os.environ, flags=_given(config=config))
    typer.echo(f"good: {serving.from_where(found)}")
    typer.echo(f"  {len(found.sources)} source(s), the default is {found.default_source}")
    for source in found.sources:
        typer.echo(f"  {source.spec.name} ({source.type})")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"headgate {__version__}")


def run(arguments: Sequence[str] | None = None) -> None:
    """The entry point: mistakes in the configuration are said one a line, and end with exit code 2; others with 1."""
    try:
        app(arguments)
    except SourceMisconfigured as error:
        for mistake in error.mistakes:
            typer.echo(f"headgate: {mistake}", err=True)
        sys.exit(2)
    except HeadgateError as error:
        typer.echo(f"headgate: {error.message}", err=True)
        sys.exit(1)


def _given(**flags: object) -> dict[str, object]:
    return {name: value for name, value in flags.items() if value is not None}
