"""A connection that has gone silent, as when something between forgot it: who uses it next is not held up for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from headgate.clock import HostClock
from headgate.store.commands.beat import beat
from headgate.store.postgres.engine import PATIENCE_S, PostgresEngine
from headgate.store.postgres.url import parse_postgres_url
from tests.machines.links import Handle, Proxy
from tests.process.conftest import NewDatabase
from tests.processes import HOST

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def database(new_database: NewDatabase) -> str:
    return new_database()


@pytest.fixture
def link(database: str) -> Iterator[Handle]:
    """The way to the database."""
    port = int(database.rpartition(":")[2].partition("/")[0])
    with Proxy() as proxy:
        yield proxy.link("database", listen=HOST, target=(HOST, port))


@pytest.fixture
async def engine(database: str, link: Handle) -> AsyncIterator[PostgresEngine]:
    name = database.rpartition("/")[2]
    url = parse_postgres_url(f"postgresql://postgres@{HOST}:{link.port}/{name}")
    engine = PostgresEngine(url, clock=HostClock())
    await engine.open()
    yield engine
    await engine.close()


@pytest.mark.parametrize("way", ["up", "down"])
async def test_what_was_sent_into_a_hole_is_no_error_and_is_run_again(
    way: str, engine: PostgresEngine, link: Handle
) -> None:
    await engine.run(beat, engine.worker)  # its connection is kept

    link.drop(**{way: True})
    running = asyncio.ensure_future(engine.run(beat, engine.worker))
    await asyncio.sleep(0.3)
    link.heal()

    async with asyncio.timeout(PATIENCE_S):
        await running
    assert link.swallowed
