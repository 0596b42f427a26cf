"""The only place that picks concrete classes and wires them: configuration in, one process's parts out."""

from __future__ import annotations

import gc
import ipaddress
import os
import random
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from starlette.applications import Starlette

from headgate import __version__
from headgate.api.backend import Access, SourceCard
from headgate.api.worker_app import create_worker_app
from headgate.clock import HostClock
from headgate.core.model import WorkerCard
from headgate.service import Limits, Service
from headgate.settings import Configuration, ConfiguredSource, Settings, load
from headgate.sources.base import Source
from headgate.sources.http import HttpSource
from headgate.sources.http_options import HttpOptions
from headgate.sources.simulated import SimulatedOptions, SimulatedSource
from headgate.store.commands.configure import configure
from headgate.store.commands.release import release
from headgate.store.engine import Engine
from headgate.store.postgres.url import PostgresUrl
from headgate.store.sqlite.engine import SqliteEngine
from headgate.telemetry import Telemetry, configure_logging
from headgate.worker.dispatcher import Tools
from headgate.worker.runner import Worker

if TYPE_CHECKING:
    from fastapi import FastAPI

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]", "testserver")


class Gate:
    """One process, opened: the service and, once started, the worker behind it."""

    def __init__(
        self, configuration: Configuration, *, bound_host: str | None = None, serves: bool = True
    ) -> None:
        """`bound_host`: the address that we listen on ourselves; None where the server does not tell.

        `serves`: whether there is anything to be seen by whoever can reach it.
        """
        settings = configuration.settings
        clock = HostClock()
        self._telemetry = Telemetry()
        reached = failpoint(os.environ)
        self._engine = _engine(configuration.database)(
            clock=clock, observe=self._telemetry, failpoint=reached
        )
        self.service = Service(
            self._engine,
            clock=clock,
            sources={source.spec.name: source.spec for source in configuration.sources},
            default_source=configuration.default_source,
            limits=Limits(max_ids=settings.max_ids),
        )
        self.access = _access(settings, bound_host)
        self._open_to_others = serves and not (bound_host is not None and is_loopback(bound_host))
        self.cards = {
            source.spec.name: SourceCard(
                source.type, source.spec.name == configuration.default_source
            )
            for source in configuration.sources
        }
        self._configuration = configuration
        called = _called(configuration)
        self._worker = Worker(
            [(source.spec, _source(source)) for source in called],
            Tools(
                engine=self._engine,
                clock=clock,
                worker=self._engine.worker,
                observe=self._telemetry,
                jitter=random.random,
                failpoint=reached,
            ),
            WorkerCard(
                self._engine.worker,
                socket.gethostname(),
                os.getpid(),
                __version__,
                tuple(source.spec.name for source in called),
            ),
        )

    async def start(self) -> None:
        """Put the configuration in force and begin to dispatch."""
        specs = [source.spec for source in self._configuration.sources]
        await self._engine.open()
        await self._engine.run(configure, specs, self._configuration.quotas)
        if not self.access.api_keys and self._open_to_others:
            self.say(
                "no API key is set: whoever can reach this address may use it (HEADGATE_API_KEYS)"
            )
        await self._say_what_nobody_serves()
        if self._configuration.settings.worker:
            await self._worker.start()
        _settle_garbage_collector()

    async def _say_what_nobody_serves(self) -> None:
        """Work of a source that the file no longer names is kept, and nobody does it."""
        for view in await self.service.sources():
            queue = view.queue
            if view.name not in self.cards and queue.waiting + queue.ready + queue.backing_off:
                self.say(
                    f"the source {view.name!r} has work left and is not in the configuration:"
                    " put it back, or let another take it over with `was`"
                )

    def say(self, words: str) -> None:
        self._telemetry.say(words)

    async def stop(self) -> None:
        """Begin no new call, let running ones finish, and close the store."""
        await self._worker.stop()
        await self._engine.close()


def _engine(database: Path | PostgresUrl) -> Callable[..., Engine]:
    match database:
        case PostgresUrl() as url:
            # here, so that whoever has a file loads no driver
            from headgate.store.postgres.engine import PostgresEngine

            return partial(PostgresEngine, url)
        case Path() as file:
            return partial(SqliteEngine, file)
        case _ as never:
            assert_never(never)


def _settle_garbage_collector() -> None:
    """Leave alone what lives as long as the process, and look for cycles less often: they are rare here.

    Measured at 32 connections: p99 of an accept 19-23 ms without, 8-10 ms with.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


def _access(settings: Settings, bound_host: str | None) -> Access:
    hosts = tuple(host.lower() for host in settings.allowed_hosts)
    if not hosts and bound_host is not None and is_loopback(bound_host):
        hosts = (*LOOPBACK_NAMES, bound_host.lower())
    return Access(
        api_keys=tuple(key.get_secret_value() for key in settings.api_keys),
        cors_origins=tuple(settings.cors_origins),
        allowed_hosts=hosts,
        max_body_bytes=settings.max_body_bytes,
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _called(configuration: Configuration) -> Sequence[ConfiguredSource]:
    """The sources that this process calls."""
    wanted = configuration.settings.worker_sources
    every = configuration.sources
    return [source for source in every if source.spec.name in wanted] if wanted else every


def _source(configured: ConfiguredSource) -> Source:
    match configured.options:
        case SimulatedOptions() as options:
            return SimulatedSource(options)
        case HttpOptions() as options:
            return HttpSource(options, concurrency=configured.spec.rules.concurrency)
        case _:
            assert_never(configured.options)


def open_gate(
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    *,
    bound_host: str | None = None,
    serves: bool = True,
) -> Gate:
    """Read the configuration and open what it names. Raises SourceMisconfigured with every mistake."""
    configuration = load(environ, flags=flags)
    settings = configuration.settings
    configure_logging(json=settings.log_format == "json", level=settings.log_level)
    return Gate(configuration, bound_host=bound_host, serves=serves)


def make_app(
    flags: Mapping[str, object] | None = None, *, bound_host: str | None = None
) -> FastAPI:
    """The application of this process's environment; nothing is read or opened before it is used."""
    # here, so that whoever serves no API starts without FastAPI
    from headgate.api.app import create_app

    return create_app(lambda: open_gate(os.environ, flags or {}, bound_host=bound_host))


def make_worker_app(flags: Mapping[str, object]) -> Starlette:
    """The application of a process that only calls sources."""
    return create_worker_app(lambda: open_gate(os.environ, flags, serves=False))


async def bring_up_to_date(configuration: Configuration) -> None:
    """Open the database, which applies the migrations that it lacks, and close it again."""
    async with _opened(configuration):
        pass


async def let_go(configuration: Configuration, sources: Sequence[str]) -> None:
    """End what holds these sources. Raises NotFound for one that the database does not know, and ends none then."""
    async with _opened(configuration) as engine:
        await engine.run(release, sources)


@asynccontextmanager
async def _opened(configuration: Configuration) -> AsyncIterator[Engine]:
    """The database, for one command."""
    engine = _engine(configuration.database)(clock=HostClock(), failpoint=failpoint(os.environ))
    try:
        await engine.open()
        yield engine
    finally:
        await engine.close()


async def move_over(file: Path, url: PostgresUrl, say: Callable[[str], None]) -> None:
    """Move a file to PostgreSQL. Raises NotMoved, or Unavailable if the database is lost on the way."""
    from headgate.store.move import move  # here, so that whoever has a file loads no driver

    await move(file, url, clock=HostClock(), say=say, failpoint=failpoint(os.environ))


def failpoint(environ: Mapping[str, str]) -> Callable[[str], None]:
    """`HEADGATE_FAILPOINT=name` or `name:3`, for tests: the process ends there, as by a power cut, the third time."""
    name, _, nth = environ.get("HEADGATE_FAILPOINT", "").partition(":")
    left = int(nth or 1)

    def reached(here: str) -> None:
        nonlocal left
        if here == name:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reached if name else lambda _: None
