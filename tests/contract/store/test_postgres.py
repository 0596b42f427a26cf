"""What the PostgreSQL engine promises beyond the contract: lost connections, several that start at once, hints."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Iterable
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import chain

import asyncpg
import pytest

from headgate.core.clock import HostWatch, Newcomer, Offset, Reading, Unwatched
from headgate.core.errors import SourceMisconfigured, Unavailable
from headgate.core.facts import Fact
from headgate.core.quota import Window
from headgate.service import Service
from headgate.store.commands.claim import claim
from headgate.store.engine import Door, Transaction
from headgate.store.migrations import numbered
from headgate.store.postgres import hints
from headgate.store.postgres.engine import PostgresEngine
from headgate.store.postgres.pools import CONNECTIONS
from headgate.store.postgres.schema import MIGRATIONS
from headgate.store.postgres.time import DatabaseTime
from headgate.store.postgres.transaction import PostgresTransaction
from headgate.store.postgres.url import parse_postgres_url
from headgate.store.queries.left import left
from tests.contract.store.bench import Bench, change, select, source
from tests.contract.store.conftest import FakeTime, OpenEngine
from tests.contract.store.test_engine import Outside, write, written
from tests.fakes import FakeClock
from tests.postgres import ELSEWHERE, create_database, run_sql

pytestmark = pytest.mark.anyio


@pytest.fixture
def new_engine(postgres_database: str, clock: FakeClock) -> OpenEngine:
    """Here it is PostgreSQL and nothing else."""
    url = parse_postgres_url(postgres_database)
    return partial(PostgresEngine, url, clock=clock, time=FakeTime(clock))


async def cut(tx: Transaction) -> None:
    """As if the connection had been lost just now."""
    await select(tx, "select pg_terminate_backend(pg_backend_pid())")


async def test_a_command_whose_connection_is_lost_runs_again(bench: Bench) -> None:
    tries = []

    async def loses_it_once(tx: Transaction) -> str:
        tries.append(1)
        await write(tx, "a")
        if len(tries) == 1:
            await cut(tx)
        return "done"

    assert await bench.engine.run(loses_it_once) == "done"
    assert await written(bench) == ["a"]
    assert len(tries) == 2
    assert len(bench.facts) == 1


async def test_a_query_whose_connection_is_lost_runs_again(bench: Bench) -> None:
    tries = []

    async def loses_it_once(tx: Transaction) -> int:
        tries.append(1)
        if len(tries) == 1:
            await cut(tx)
        return len(await select(tx, "select 1"))

    assert await bench.engine.read(loses_it_once) == 1


async def test_a_submission_whose_commit_was_not_heard_of_is_stored_once(
    open_engine: OpenEngine, clock: FakeClock
) -> None:
    lost: list[str] = []

    def lose_the_answer(name: str) -> None:
        if name.startswith("after_commit.accept") and not lost:
            lost.append(name)
            raise ConnectionResetError

    engine = open_engine(failpoint=lose_the_answer)
    await engine.open()
    bench = Bench(engine, clock, [])
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)

    assert lost
    assert await bench.rows("select ingestion_id from ingestion") == [(ingestion,)]
    assert await bench.claimed_ids() == [1, 2, 3]


async def test_a_claim_whose_commit_was_not_heard_of_does_not_hold_its_slot_for_ever(
    open_engine: OpenEngine, clock: FakeClock
) -> None:
    lost: list[str] = []

    def lose_the_answer(name: str) -> None:
        if name == "after_commit.claim" and not lost:
            lost.append(name)
            raise ConnectionResetError

    engine = open_engine(failpoint=lose_the_answer)
    await engine.open()
    bench = Bench(engine, clock, [])
    await bench.configure(source(batch_size=1, concurrency=2))
    await bench.submit(1, 2)
    second = await bench.claim()
    clock.advance(20_000_000)
    await bench.rescue(dead=False)
    clock.advance(10_000_000)

    assert [value for _, value in second.ids] == [2], "the first is out, and nobody knows of it"
    assert await bench.claimed_ids() == [1]


async def test_whoever_stands_still_in_a_transaction_keeps_no_lock(
    bench: Bench, other: Bench
) -> None:
    """As a process that is stopped: after a second the server ends its session."""
    tries = []

    async def stands_still_once(tx: Transaction) -> None:
        tries.append(1)
        await write(tx, "a")
        if len(tries) == 1:
            time.sleep(1.5)
        await change(tx, "update ticket set cost = 2")

    await bench.engine.run(stands_still_once)

    assert len(tries) == 2
    assert await written(other) == ["a"]


async def test_conflicts_are_settled_by_running_again(bench: Bench, other: Bench) -> None:
    """Two that lock two rows in two orders: one of them is the victim, and runs again."""
    for name in ("a", "b"):
        await bench.engine.run(write, name)

    async def lock_both(tx: Transaction, first: str, second: str) -> None:
        for name in (first, second):
            await change(tx, "update ticket set cost = cost + 1 where source = ?1", name)
            await select(tx, "select pg_sleep(0.2)")

    await asyncio.gather(
        bench.engine.run(lock_both, "a", "b"), other.engine.run(lock_both, "b", "a")
    )

    assert await bench.rows("select cost from ticket") == [(3,), (3,)]


async def test_a_commit_of_another_process_is_a_hint(bench: Bench, other: Bench) -> None:
    await bench.configure(source())
    await other.configure(source())
    assert isinstance(bench.engine, PostgresEngine)
    attending = asyncio.create_task(bench.engine.attend())
    await asyncio.sleep(0.5)
    await bench.engine.wakes.next("catalog", timeout_us=1_000)
    began = time.monotonic()
    waiting = asyncio.create_task(bench.engine.wakes.next("catalog", timeout_us=10_000_000))
    await other.submit(1)
    await waiting
    attending.cancel()

    assert time.monotonic() - began < 5


async def test_an_observer_that_raises_does_not_run_again_what_is_committed(
    open_engine: OpenEngine, clock: FakeClock
) -> None:
    """As a log whose disk is full: an OSError, which inside of a command would mean a lost connection."""

    def disk_is_full(_: Fact) -> None:
        raise OSError(28, "No space left on device")

    engine = open_engine(observe=disk_is_full)
    await engine.open()
    bench = Bench(engine, clock, [])
    await bench.configure(source(batch_size=1, concurrency=9))
    with pytest.raises(OSError, match="No space"):
        await bench.submit(1)

    assert await bench.rows("select count(*) from ingestion") == [(1,)]
    with pytest.raises(OSError, match="No space"):
        await bench.try_claim()
    assert await bench.rows("select count(*) from ledger") == [(1,)]


async def test_a_database_that_takes_no_writes_is_used_again_once_it_does(
    postgres_server: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those do that are looked after, when their disk is full. Sessions keep what was so when they began."""
    monkeypatch.setattr("headgate.store.postgres.engine.PATIENCE_S", 0.3)
    database = await asyncio.to_thread(create_database, postgres_server, "read_only")
    url = parse_postgres_url(database)
    engine = PostgresEngine(url, clock=clock, time=FakeTime(clock))
    await engine.open()
    setting = "alter database read_only set default_transaction_read_only to"
    await asyncio.to_thread(run_sql, postgres_server, f"{setting} on")
    with pytest.raises(Unavailable):
        await asyncio.gather(*(engine.run(cut) for _ in range(4)))
    with pytest.raises(Unavailable, match="takes no writes"):
        await asyncio.gather(*(engine.run(write, "a") for _ in range(4)))

    await asyncio.to_thread(run_sql, postgres_server, f"{setting} off")
    await asyncio.gather(*(engine.run(write, str(number)) for number in range(4)))
    await engine.close()


@pytest.fixture
def unreachable(clock: FakeClock) -> PostgresEngine:
    """An engine of a database at whose address nobody answers."""
    url = parse_postgres_url("postgresql://nobody@127.0.0.1:1/nothing")
    return PostgresEngine(url, clock=clock)


async def test_a_database_that_cannot_be_reached_makes_commands_unavailable(
    unreachable: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.store.postgres.engine.PATIENCE_S", 0.2)
    with pytest.raises(Unavailable):
        await unreachable.run(write, "a")
    with pytest.raises(Unavailable):
        await unreachable.open()


class Noting(HostWatch):
    """Notes in which order it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched | Newcomer:
        self.asked.append("judge")
        return super().judge(reading, known, touches)

    def margin_us(self, span_us: int) -> int:
        self.asked.append("margin")
        return super().margin_us(span_us)


async def test_windows_are_taken_longer_for_the_look_that_a_claim_decides_by(
    postgres_database: str, clock: FakeClock
) -> None:
    """A look that took long may have missed a step: what it is worth is known once it has been judged."""
    looking = FakeTime(clock)
    watch = looking.watch = Noting()
    engine = PostgresEngine(parse_postgres_url(postgres_database), clock=clock, time=looking)
    bench = Bench(engine, clock, [])
    await engine.open()
    await bench.configure(source(windows=[Window(5, 1_000_000)]))
    await bench.submit(1)
    watch.asked.clear()
    await bench.claim()
    await engine.close()

    assert watch.asked.index("judge") < watch.asked.index("margin")


async def test_a_listener_whose_line_is_dead_without_a_word_is_made_again(
    postgres_database: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.environ.get(ELSEWHERE):
        pytest.skip("a server elsewhere has no process that could be stopped here")
    monkeypatch.setattr(hints, "QUIET_S", 0.1)
    monkeypatch.setattr(hints, "ANSWERS_S", 0.3)
    monkeypatch.setattr(hints, "AGAIN_S", 0.1)
    url = parse_postgres_url(postgres_database)
    engine = PostgresEngine(url, clock=clock, time=FakeTime(clock))
    await engine.open()
    attending = asyncio.create_task(engine.attend())
    try:
        first = await listeners(postgres_database, without=set())
        for pid in first:
            os.kill(pid, signal.SIGSTOP)
        assert await listeners(postgres_database, without=first)
    finally:
        for pid in first:
            os.kill(pid, signal.SIGCONT)
        attending.cancel()
        await asyncio.gather(attending, return_exceptions=True)
        await engine.close()


async def listeners(url: str, *, without: set[int]) -> set[int]:
    """The sessions that listen, or ask whether anybody is there; waits until there is another one."""
    asked = (
        "select pid from pg_stat_activity where datname = current_database()"
        " and (query ilike 'listen %' or query = 'select 1') and pid <> pg_backend_pid()"
    )
    async with asyncio.timeout(10):
        while True:
            rows = await asyncio.to_thread(run_sql, url, asked)
            if found := {row["pid"] for row in rows} - without:
                return found
            await asyncio.sleep(0.05)


async def test_who_asks_whether_it_is_ready_is_answered_soon(
    unreachable: PostgresEngine, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.service.READY_S", 0.2)
    service = Service(unreachable, clock=clock, sources={}, default_source="none")

    with pytest.raises(Unavailable, match=r"has not answered for 0\.2 s"):
        await asyncio.wait_for(service.ready(), 3)


@pytest.fixture
async def empty(postgres_server: str) -> str:
    return await asyncio.to_thread(create_database, postgres_server, "started_at_once")


async def test_processes_that_start_at_once_on_an_empty_database_make_its_tables_once(
    empty: str, clock: FakeClock
) -> None:
    url = parse_postgres_url(empty)
    engines = [PostgresEngine(url, clock=clock, time=FakeTime(clock)) for _ in range(6)]
    await asyncio.gather(*(engine.open() for engine in engines))
    await asyncio.gather(*(engine.run(write, str(n)) for n, engine in enumerate(engines)))
    versions = await engines[0].read(select, "select number from schema_version")
    for engine in engines:
        await engine.close()

    assert versions == [(number,) for number, _ in numbered(MIGRATIONS)]


async def test_a_database_of_a_newer_headgate_is_refused(
    bench: Bench, open_engine: OpenEngine, outside: Outside
) -> None:
    outside("insert into schema_version values (9999, 0)")
    try:
        with pytest.raises(SourceMisconfigured, match="newer Headgate"):
            await open_engine().open()
    finally:
        outside("delete from schema_version where number = 9999")


# -- far away -------------------------------------------------------------------------------------------------


async def test_a_source_is_held_for_few_round_trips(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever else wants it waits for so long: from the lock until the commit is heard by the server."""
    trips: list[int] = []
    waiting = PostgresTransaction._waiting

    def counted(self: PostgresTransaction) -> AbstractAsyncContextManager[None]:
        trips.append(1)
        return waiting(self)

    async def trips_of(done: Awaitable[object]) -> int:
        trips.clear()
        await done
        return len(trips)  # the lock is one, and the commit is not among them

    monkeypatch.setattr(PostgresTransaction, "_waiting", counted)
    await bench.configure(source(windows=[Window(5, 1_000_000)]))
    await bench.submit(*range(30))

    claimed = await bench.claim()
    assert await trips_of(bench.engine.run(claim, "catalog", worker="w")) <= 8
    assert await trips_of(bench.settle(claimed)) <= 5
    held = await bench.claims(most=4)
    assert await trips_of(bench.renew(*held)) <= 3


async def test_a_look_from_afar_does_not_wait_behind_the_api(
    new_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CONNECTIONS, Door.API, 1)
    engine = new_engine()
    await engine.open()
    slow = asyncio.create_task(engine.read(select, "select cast(pg_sleep(3) as text)"))
    await asyncio.sleep(0.2)
    await asyncio.wait_for(engine.read(left, "catalog", for_us=0), 2)
    assert not slow.done()
    await slow
    await engine.close()


class Slow(FakeClock):
    """Between every second look at it and the one before, so many milliseconds go by."""

    def __init__(self, trips_ms: Iterable[int]) -> None:
        super().__init__()
        self.asked = 0
        self._takes_ms = chain.from_iterable((0, ms) for ms in trips_ms)

    def boot_us(self) -> int:
        self.asked += 1
        self.advance(next(self._takes_ms) * 1_000)
        return self.reference_us


@pytest.mark.parametrize(
    ("trips_ms", "asked", "trip_ms"),
    [
        ([1], [1], 0),
        ([30, 1], [2], 0),
        ([30, 40, 50], [3], 30),
        ([80, 80, 80, 85, 70, 80], [3, 1, 1, 1], 70),
        ([80, 80, 80, 200, 80], [3, 2], 80),
    ],
    ids=["near", "held up once", "held up and up", "far", "far and held up"],
)
async def test_the_clock_is_asked_again_where_a_round_trip_took_longer_than_usual(
    postgres_database: str, trips_ms: list[int], asked: list[int], trip_ms: int
) -> None:
    clock = Slow(trips_ms)
    looking = DatabaseTime(clock)
    connection = await asyncpg.connect(postgres_database)
    counted = []
    for _ in asked:
        before = clock.asked
        await looking.read(connection)
        counted.append((clock.asked - before) // 2)
    await connection.close()

    assert counted == asked
    assert looking.trip_us == trip_ms * 1_000


class Answering:
    """A connection that answers when others have had their turn."""

    async def fetchval(self, _: str) -> int:
        await asyncio.sleep(0)
        return 0


async def test_looks_that_were_slow_together_are_all_repeated() -> None:
    """The process stood still: none of them says how far away the database is."""
    clock = FakeClock()
    looking = DatabaseTime(clock)
    looks = [asyncio.create_task(looking.read(Answering())) for _ in range(4)]
    await asyncio.sleep(0)
    clock.advance(200_000)

    assert [each.came_us - each.asked_us for each in await asyncio.gather(*looks)] == [0] * 4
    assert looking.trip_us == 0
