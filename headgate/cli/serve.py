"""`headgate serve`: uvicorn with our application, a first screen, and a refusal to be open by accident."""

from __future__ import annotations

import resource
import socket
from collections.abc import Mapping
from pathlib import Path

import typer
import uvicorn
from starlette.types import ASGIApp

from headgate.bootstrap import is_loopback, make_app, make_worker_app
from headgate.core.errors import SourceMisconfigured
from headgate.core.model import SourceSpec
from headgate.core.units import spoken_window
from headgate.settings import Configuration
from headgate.store.postgres.url import PostgresUrl

BACKLOG = 2_048

FINISH_S = 10
"""How long requests may go on after a signal to stop; a body that does not come would hold the stop up for ever."""

OPEN_FILES = 65_536
"""Up to so many connections at once, where the machine allows it: systemd's first limit is 1,024."""


def serve(
    configuration: Configuration, flags: Mapping[str, object], *, open_to_all: bool = False
) -> None:
    """Serve until told to stop.

    Raises SourceMisconfigured for a public address without a key, and for one that cannot be listened on.
    """
    settings = configuration.settings
    if not is_loopback(settings.host) and not settings.api_keys and not open_to_all:
        raise SourceMisconfigured(
            f"{settings.host} can be reached from other machines, and there is no API key: set"
            " HEADGATE_API_KEYS (`openssl rand -hex 24` makes one), or listen on 127.0.0.1, or say"
            " --insecure-no-auth if everybody who can reach it may use it"
        )
    listener = listen(settings.host, settings.port)
    app = make_app(flags, bound_host=settings.host)
    _run(app, listener, first_screen(configuration, listener.getsockname()[1]))


def work(configuration: Configuration, flags: Mapping[str, object]) -> None:
    """Call the sources until told to stop. Raises SourceMisconfigured for an address that cannot be listened on."""
    settings = configuration.settings
    listener = listen(settings.host, settings.port)
    address = _address(settings.host, listener.getsockname()[1])
    greeting = f"Headgate works; it says how it is at {address}/healthz and {address}/readyz"
    _run(make_worker_app(flags), listener, greeting)


def _run(app: ASGIApp, listener: socket.socket, greeting: str) -> None:
    _allow_many_connections()
    config = uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=FINISH_S,
    )
    _Server(config, greeting).run(sockets=[listener])


def _allow_many_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Server(uvicorn.Server):
    """Greets once it really answers."""

    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            typer.echo(self._greeting)


def listen(host: str, port: int) -> socket.socket:
    """Take the address. Raises SourceMisconfigured if that cannot be done."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named: an answer of two writes took 40 ms
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SourceMisconfigured(
            f"cannot listen on {host} port {port} ({error.strerror}): stop what listens there, or choose"
            " another with --port or HEADGATE_PORT (0 takes any that is free)"
        ) from error
    listener.setblocking(False)
    return listener


def first_screen(configuration: Configuration, port: int) -> str:
    """What a person wants to know at the start: where, what is limited, what to try."""
    address = _address(configuration.settings.host, port)
    key = """ -H "Authorization: Bearer $KEY\"""" if configuration.settings.api_keys else ""
    sources = "\n".join(f"    {_of(source.spec)}" for source in configuration.sources)
    return f"""Headgate listens at {address}   (the page is there, the API at {address}/docs)
  database  {_where(configuration.database)}
  config    {from_where(configuration)}
  sources
{sources}
  try
    curl {address}/ingest{key} -H 'Content-Type: application/json' -d '{{"ids": [1, 2, 3, 4, 5], "priority": "HIGH"}}'
"""


def from_where(configuration: Configuration) -> str:
    """Which file was read: in another folder it is another one, or none."""
    file = configuration.settings.config
    return str(file) if file else f"no headgate.toml in {Path.cwd()}, what is built in is used"


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _where(database: Path | PostgresUrl) -> str:
    return f"PostgreSQL at {database.shown}" if isinstance(database, PostgresUrl) else str(database)


def _of(spec: SourceSpec) -> str:
    limits = ", ".join(map(spoken_window, spec.quota.windows)) or "no quota of its own"
    return f"{spec.name}: {limits}, {_ids(spec.rules.batch_size)} a call"


def _ids(count: int) -> str:
    return "1 id" if count == 1 else f"{count} ids"
