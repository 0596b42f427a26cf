"""One suite for every engine: a test asks for `bench`, and runs on each of them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headgate.core.facts import Fact
from headgate.store.engine import Engine
from headgate.store.sqlite.engine import SqliteEngine
from tests.contract.store.agree import assert_rows_agree
from tests.contract.store.bench import Bench
from tests.fakes import FakeClock

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


@pytest.fixture(params=["sqlite"])
async def open_engine(
    request: pytest.FixtureRequest, folder: Path, clock: FakeClock
) -> AsyncIterator[OpenEngine]:
    """
    Open an engine on the test's own database, as a process does; once more for another process.

    PostgreSQL will be another parameter here and nowhere else. At the end of every test, counts equal rows.
    """
    assert request.param == "sqlite"
    opened: list[Engine] = []

    def open_one(**more: Any) -> Engine:
        opened.append(SqliteEngine(folder / "headgate.db", clock=clock, **more))
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
async def engine(open_engine: OpenEngine, facts: list[Fact]) -> Engine:
    return open_engine(observe=facts.append)


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
    return Bench(
        open_engine(observe=facts.append), bench.clock, facts, bench.sources, worker="worker-2"
    )
