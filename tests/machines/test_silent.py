"""A connection that has gone silent, as when something between forgot it: who uses it next is not held up for long."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from headgate.clock import HostClock
from headgate.store.commands.beat import beat
from headgate.store.postgres.engine import PATIENCE_S, PostgresEngine
from headgate.store.postgres.url import parse_postgres_url
from headgate.store.queries.workers import workers
from tests.machines.links import Handle, Proxy
from tests.postgres import PostgresServer, create_database, run_sql
from tests.processes import HOST

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

NAME = "silent"
SESSIONS = """
select pid from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""


@pytest.fixture
def database(durable: PostgresServer) -> str:
    return create_database(durable.url, NAME)


@pytest.fixture
def link(durable: PostgresServer) -> Iterator[Handle]:
    """The way to the database."""
    with Proxy() as proxy:
        yield proxy.link("database", listen=HOST, target=(HOST, durable.port))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresEngine]:
    engine = PostgresEngine(parse_postgres_url(url), clock=HostClock())
    await engine.open()
    try:
        yield engine
    finally:
        await engine.close()


@pytest.mark.parametrize("way", ["up", "down"])
async def test_what_was_sent_into_a_hole_is_no_error_and_is_run_again(
    way: str, database: str, link: Handle
) -> None:
    async with opened(f"postgresql://postgres@{HOST}:{link.port}/{NAME}") as engine:
        await engine.run(beat, engine.worker)  # its connection is kept

        link.drop(**{way: True})
        running = asyncio.ensure_future(engine.run(beat, engine.worker))
        await asyncio.sleep(0.3)
        link.heal()

        async with asyncio.timeout(PATIENCE_S):
            await running
        assert link.swallowed


async def test_one_silent_connection_is_a_reason_to_trust_none_of_the_others(database: str) -> None:
    """As when the database's host is gone, and another one has its address."""
    async with opened(database) as engine:
        await asyncio.gather(*(engine.read(workers) for _ in range(6)))
        rows = await asyncio.to_thread(run_sql, database, SESSIONS)
        sessions = [row[0] for row in rows]
        assert len(sessions) >= 6, "more than can be tried one after the other"
        try:
            for pid in sessions:
                os.kill(pid, signal.SIGSTOP)
            async with asyncio.timeout(PATIENCE_S):
                await engine.read(workers)
        finally:
            for pid in sessions:
                os.kill(pid, signal.SIGCONT)
