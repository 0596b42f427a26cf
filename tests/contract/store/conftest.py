"""One suite for every engine: a test asks for `bench`, and runs on each of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import asyncpg
import pytest

from headgate.core.clock import HostWatch, Reading
from headgate.core.facts import Fact
from headgate.store.engine import Engine
from headgate.store.postgres.engine import PostgresEngine
from headgate.store.postgres.schema import migrate
from headgate.store.postgres.url import parse_postgres_url
from headgate.store.sqlite.engine import SqliteEngine
from tests.contract.store.agree import assert_rows_agree
from tests.contract.store.bench import Bench
from tests.fakes import FakeClock
from tests.pgbouncer import PgBouncer, pgbouncer
from tests.postgres import create_database, postgres_server, run_sql

__all__ = ["pgbouncer", "postgres_server"]

OpenEngine = Callable[..., Engine]

_IN_MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the database lies: in memory where the host can, since nothing here tests the disk and a flush is slow."""
    if not _IN_MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="headgate-", dir=_IN_MEMORY) as made:
        yield Path(made)


@pytest.fixture(params=["sqlite", "postgres", pytest.param("pooled", marks=pytest.mark.long)])
def new_engine(request: pytest.FixtureRequest, clock: FakeClock) -> OpenEngine:
    """Open an engine of this kind on the test's own database.

    `pooled`: PostgreSQL through a real PgBouncer in transaction mode; skipped where none is installed.
    """
    if request.param != "sqlite":
        database: str = request.getfixturevalue("postgres_database")
        if request.param == "pooled":
            pooler: PgBouncer = request.getfixturevalue("pgbouncer")
            database = pooler.url_of(database)
        url = parse_postgres_url(database)
        return partial(PostgresEngine, url, clock=clock, time=FakeTime(clock))
    folder: Path = request.getfixturevalue("folder")
    return partial(SqliteEngine, folder / "headgate.db", clock=clock)


@pytest.fixture(scope="session")
def _database(postgres_server: str) -> str:
    return create_database(postgres_server, f"contract_{os.getpid()}")


@pytest.fixture
async def postgres_database(_database: str) -> str:
    """A database that is as good as new."""
    await as_good_as_new(_database)
    return _database


async def as_good_as_new(url: str) -> None:
    """Bring the tables up to date, and empty them."""
    connection = await asyncpg.connect(url)
    try:
        await migrate(connection, lambda _: None)
        tables = await connection.fetch(
            "select tablename from pg_tables where schemaname = 'public' and tablename <> 'schema_version'"
        )
        names = ", ".join(row["tablename"] for row in tables)
        await connection.execute(f"truncate {names} restart identity")
    finally:
        await connection.close()


class FakeTime:
    """The clock of the ledger, where the test moves it."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.watch = HostWatch()
        self.trip_us = 0

    async def read(self, _: object) -> Reading:
        return self._clock.read()


@pytest.fixture
async def open_engine(
    request: pytest.FixtureRequest, new_engine: OpenEngine
) -> AsyncIterator[OpenEngine]:
    """
    Open an engine on the test's own database, as a process does; once more for another process.

    At the end of every test, counts equal rows.
    """
    opened: list[Engine] = []

    def open_one(**more: Any) -> Engine:
        opened.append(new_engine(**more))
        return opened[-1]

    yield open_one
    for engine in opened:
        await engine.close()
    if request.node.get_closest_marker("xfail"):
        return  # a known fault may leave rows that do not agree
    last = open_one()
    try:
        await assert_rows_agree(last)
    finally:
        await last.close()


@pytest.fixture
def outside(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Callable[..., list[Any]]]:
    """Run a statement at once, on a connection that has nothing to do with the engine."""
    if isinstance(engine, PostgresEngine):
        url: str = request.getfixturevalue("postgres_database")
        thread = ThreadPoolExecutor(1)
        yield lambda sql: [tuple(row) for row in thread.submit(run_sql, url, sql).result()]
        thread.shutdown()
        return
    file: Path = request.getfixturevalue("folder") / "headgate.db"

    def run(sql: str) -> list[Any]:
        connection = apsw.Connection(str(file))
        rows: list[Any] = connection.execute(sql).fetchall()
        connection.close()
        return rows

    yield run


@pytest.fixture
async def engine(open_engine: OpenEngine, facts: list[Fact]) -> Engine:
    engine = open_engine(observe=facts.append)
    await engine.open()
    return engine


@pytest.fixture
def facts() -> list[Fact]:
    return []


@pytest.fixture
async def bench(engine: Engine, clock: FakeClock, facts: list[Fact]) -> Bench:
    return Bench(engine, clock, facts)


@pytest.fixture
async def other(bench: Bench, open_engine: OpenEngine) -> Bench:
    """Another process on the same store, configured alike, with a worker of its own."""
    facts: list[Fact] = []
    engine = open_engine(observe=facts.append)
    await engine.open()
    return Bench(engine, bench.clock, facts, bench.sources, worker="worker-2")
