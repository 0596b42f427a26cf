"""A connection that has gone silent, as when something between forgot it: who uses it next is not held up for long."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headgate.clock import HostClock
from headgate.core.errors import Unavailable
from headgate.store.commands.beat import beat
from headgate.store.commands.renew import renew
from headgate.store.engine import Transaction
from headgate.store.postgres.engine import PATIENCE_S, PostgresEngine
from headgate.store.postgres.url import parse_postgres_url
from headgate.store.queries.workers import workers
from tests.machines.links import Handle, Proxy
from tests.postgres import FAST, PostgresServer, create_database, run_sql, served
from tests.processes import HOST, frozen

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

NAME = "silent"
SESSIONS = """
select pid from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
  and query like '{query}'
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One of our own: its processes are stopped."""
    with served(**FAST) as server:
        yield server


@pytest.fixture
def database(server: PostgresServer) -> str:
    return create_database(server.url, NAME)


@pytest.fixture
def link(server: PostgresServer) -> Iterator[Handle]:
    """The way to the database."""
    with Proxy() as proxy:
        yield proxy.link("database", listen=HOST, target=(HOST, server.port))


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


async def sessions(database: str, query: str = "%") -> list[int]:
    """The server's processes for those who are connected and asked this last."""
    look = SESSIONS.format(query=query)
    return [row[0] for row in await asyncio.to_thread(run_sql, database, look)]


async def test_one_silent_connection_is_a_reason_to_trust_none_of_the_others(database: str) -> None:
    untold: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: untold.append(context))
    async with opened(database) as engine:
        await asyncio.gather(*(engine.read(workers) for _ in range(6)))
        found = await sessions(database)
        assert len(found) >= 6, "more than can be tried one after the other"
        with frozen(found):
            async with asyncio.timeout(PATIENCE_S):
                await engine.read(workers)
    gc.collect()
    assert untold == [], "nobody is left waiting for a silent one"


async def test_a_hint_that_is_told_into_the_void_holds_up_no_lease(database: str) -> None:
    """It goes by the connection of the leases."""

    async def work_came(tx: Transaction) -> None:
        tx.wake("a source")

    async with opened(database) as engine:
        await engine.run(work_came)
        async with asyncio.timeout(5):
            while not (found := await sessions(database, "%pg_notify%")):
                await asyncio.sleep(0.01)
        with frozen(found):
            await engine.run(work_came)
            await asyncio.sleep(0.1)
            async with asyncio.timeout(PATIENCE_S):
                await engine.run(renew, [], worker=engine.worker)


async def test_who_hears_nothing_to_the_end_says_so(
    database: str, link: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.store.postgres.engine.PATIENCE_S", 0.5)
    async with opened(f"postgresql://postgres@{HOST}:{link.port}/{NAME}") as engine:
        await engine.run(beat, engine.worker)
        link.drop(down=True)

        with pytest.raises(Unavailable, match="it does not answer in time"):
            await engine.run(beat, engine.worker)
        link.heal()
