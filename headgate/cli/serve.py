"""`headgate serve`: uvicorn with our application, a first screen, and a refusal to be open by accident."""

from __future__ import annotations

from collections.abc import Mapping

import typer
import uvicorn

from headgate.bootstrap import is_loopback, make_app
from headgate.core.errors import SourceMisconfigured
from headgate.core.model import SourceSpec
from headgate.core.units import spoken_window
from headgate.settings import Configuration


def serve(
    configuration: Configuration, flags: Mapping[str, object], *, open_to_all: bool = False
) -> None:
    """Serve until told to stop. Raises SourceMisconfigured for a public address without a key."""
    settings = configuration.settings
    if not is_loopback(settings.host) and not settings.api_keys and not open_to_all:
        raise SourceMisconfigured(
            f"{settings.host} can be reached from other machines, and there is no API key: set"
            " HEADGATE_API_KEYS (`openssl rand -hex 24` makes one), or listen on 127.0.0.1, or say"
            " --insecure-no-auth if everybody who can reach it may use it"
        )
    typer.echo(first_screen(configuration))
    uvicorn.run(
        make_app(flags, bound_host=settings.host),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=75,
    )


def first_screen(configuration: Configuration) -> str:
    """What a person wants to know at the start: where, what is limited, what to try."""
    settings = configuration.settings
    address = f"http://{settings.host}:{settings.port}"
    sources = "\n".join(f"    {_of(source.spec)}" for source in configuration.sources)
    return f"""Headgate listens at {address}   (the page is there, the API at {address}/docs)
  database  {configuration.database}
  sources
{sources}
  try
    curl {address}/ingest -H 'Content-Type: application/json' -d '{{"ids": [1, 2, 3, 4, 5], "priority": "HIGH"}}'
"""


def _of(spec: SourceSpec) -> str:
    limits = ", ".join(map(spoken_window, spec.quota.windows)) or "no quota"
    return f"{spec.name}: {limits}, {spec.rules.batch_size} ids a call"
