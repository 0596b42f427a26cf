"""Commands that meet each other half-way, on PostgreSQL, where two transactions really are under way at once."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import asyncpg
import pytest

from headgate.core.clock import HostWatch, Offset, Reading, Unwatched
from headgate.core.model import Priority, QuotaSpec, SourceSpec, Status
from headgate.core.quota import Wait, Window
from headgate.core.retry import Complete
from headgate.store.commands.accept import ChunkRow, Submission, accept_together
from headgate.store.commands.beat import beat
from headgate.store.commands.cancel import cancel
from headgate.store.commands.claim import Claims, claim
from headgate.store.commands.configure import configure
from headgate.store.commands.ledger import hold_all_sources, hold_source
from headgate.store.commands.renew import renew
from headgate.store.commands.rescue import rescue
from headgate.store.commands.settle import Lost, settle
from headgate.store.engine import HoldAllFirst, Transaction
from headgate.store.postgres.engine import PostgresEngine
from headgate.store.postgres.url import parse_postgres_url
from tests.contract.store.bench import ANSWERED, Bench, fetched, select, source
from tests.contract.store.conftest import FakeTime, OpenEngine
from tests.fakes import SECOND, FakeClock

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DAY = 86_400 * SECOND

T = TypeVar("T")


@pytest.fixture
def new_engine(postgres_database: str, clock: FakeClock) -> OpenEngine:
    """Here it is PostgreSQL and nothing else."""
    url = parse_postgres_url(postgres_database)
    return partial(PostgresEngine, url, clock=clock, time=FakeTime(clock))


class Slow:
    """A transaction that stands still once, before the nth statement of a name, for as long as others need."""

    def __init__(self, tx: Transaction, before: str, seconds: float, nth: int) -> None:
        self._tx, self._before, self._seconds, self._left = tx, before, seconds, nth
        self.stood = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._tx, name)
        if name not in {"one", "all", "do", "many", "each", "lock", "later"}:
            return method

        async def call(statement: Any, *values: Any, **more: Any) -> Any:
            if statement.name == self._before:
                self._left -= 1
                if self._left == 0:
                    self.stood = True
                    await select(self._tx, f"select pg_sleep({self._seconds})")
            return await method(statement, *values, **more)

        return call


def slow(
    command: Callable[..., Any], *, before: str, seconds: float = 0.6, nth: int = 1
) -> Callable[..., Any]:
    @functools.wraps(command)
    async def run(tx: Transaction, *args: Any, **kwargs: Any) -> Any:
        standing = Slow(tx, before, seconds, nth)
        result = await command(standing, *args, **kwargs)
        assert standing.stood, f"nothing came to {before}"
        return result

    return run


async def later(running: Awaitable[T], *, seconds: float = 0.25) -> T:
    """Begin something while another command stands still."""
    await asyncio.sleep(seconds)
    return await running


async def meanwhile(
    bench: Bench, *sources: SourceSpec, quotas: list[QuotaSpec] | None = None
) -> None:
    """Put sources in force while another command stands still."""
    await later(bench.engine.run(configure, sources, quotas or []))


def by_the_day(days: int) -> SourceSpec:
    return source(windows=[Window(5_000 + days, days * DAY)], batch_size=1)


async def counted(bench: Bench) -> int:
    """What the window in force counts."""
    [[cost]] = await bench.rows(
        "select cast(coalesce(sum(cost), 0) as bigint) from quota_bucket where width_us <> 60000000"
    )
    return int(cost)


async def test_processes_that_start_together_count_the_past_once(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(by_the_day(1))
    await bench.submit(*range(10))
    for _ in range(10):
        await bench.call(lasts_us=SECOND)

    for days in range(2, 7):
        await asyncio.gather(
            *(each.engine.run(configure, [by_the_day(days)], []) for each in (bench, other) * 2)
        )
        assert await counted(bench) == 10


async def test_a_call_that_is_settled_beside_a_change_is_counted(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(by_the_day(1))
    await bench.submit(1, 2)
    claimed = await bench.claim()
    await asyncio.gather(
        bench.engine.run(
            slow(settle, before="close_charges"),
            claimed,
            Complete(fetched(claimed)),
            ANSWERED,
            policy=by_the_day(1).retry,
        ),
        meanwhile(other, by_the_day(2)),
    )

    assert await counted(bench) == 1


async def test_a_call_that_is_granted_beside_a_first_window_is_charged_to_it(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source(batch_size=1))
    await bench.submit(1, 2, 3)
    got, _ = await asyncio.gather(
        bench.engine.run(slow(claim, before="begin_batch"), "catalog", worker="worker-1", most=1),
        meanwhile(other, source(windows=[Window(1, 5 * SECOND)], batch_size=1)),
    )

    assert isinstance(got, Claims)
    assert isinstance(await bench.try_claim("catalog"), Wait), "one per 5 s is in force"


async def test_a_lease_that_is_renewed_beside_a_rescue_is_lost_or_kept_and_the_worker_knows_which(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source(batch_size=1))
    await bench.submit(1)
    claimed = await bench.claim()
    bench.clock.advance(16 * SECOND)

    rescued, lost = await asyncio.gather(
        other.engine.run(slow(rescue, before="return_batch"), "worker-1", dead=False),
        later(bench.renew(claimed)),
    )

    assert bool(rescued) == bool(lost)
    assert isinstance(await bench.settle(claimed), Lost) == bool(rescued)


async def test_an_ingestion_that_is_cancelled_beside_a_rename_begins_nothing_more(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source(name="old", batch_size=1))
    ingestion = await bench.submit(1, 2, 3, 4, source="old")
    renamed = replace(source(name="new", batch_size=1), was="old")

    async def rename_and_claim() -> None:
        await asyncio.sleep(0.25)
        await other.configure(renamed)
        await asyncio.sleep(0.6)
        got = await other.try_claim("new", most=2)
        other.held += got.claims if isinstance(got, Claims) else ()

    hesitant = slow(slow(cancel, before="hold"), before="cancel_in_line")
    await asyncio.gather(
        bench.engine.run(hesitant, ingestion, client="default"), rename_and_claim()
    )
    for claimed in list(other.held):
        await other.settle(claimed)

    assert not isinstance(await other.try_claim("new"), Claims)
    view = await bench.status(ingestion)
    assert (view.status, view.counts.ended) == (Status.CANCELLED, 4)


class Stepped(HostWatch):
    """A watch that sees that the ledger's clock was set back by a second."""

    def __init__(self, known: Offset) -> None:
        self._since = replace(known, offset_us=known.offset_us + SECOND)

    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset:
        return self._since


class NobodyWatched(HostWatch):
    """A watch that finds that nobody has watched the time before an epoch begins."""

    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched:
        return known if touches else Unwatched()


def look_through(watch: HostWatch, *benches: Bench) -> None:
    """Have each of them judge the clock by this watch from now on."""
    for each in benches:
        assert isinstance(each.engine, PostgresEngine)
        each.engine._time = time = FakeTime(each.clock)
        time.watch = watch


def noting(command: Callable[..., Any], stopped: list[type[BaseException]]) -> Callable[..., Any]:
    """A command of which is noted what stopped it: a deadlock is run again, and nobody outside would know."""

    @functools.wraps(command)
    async def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return await command(*args, **kwargs)
        except Exception as error:
            stopped.append(type(error))
            raise

    return run


async def test_a_rescue_and_a_claim_that_see_the_same_step_of_the_clock_do_not_wait_for_each_other(
    bench: Bench, other: Bench
) -> None:
    """A deadlock would end by itself, but by a timer that goes by the clock that was set back."""
    await bench.configure(source(batch_size=1))
    await bench.submit(1, 2)
    await bench.claim()
    bench.clock.advance(17 * SECOND)
    [[epoch, offset_us]] = await bench.rows("select epoch, offset_us from clock")
    look_through(Stepped(Offset(epoch, offset_us)), bench, other)
    stopped: list[type[BaseException]] = []

    standing = noting(slow(claim, before="move_clock"), stopped)
    got, back = await asyncio.gather(
        bench.engine.run(standing, "catalog", worker="worker-2", most=1),
        later(other.engine.run(noting(rescue, stopped), "worker-1", dead=False)),
    )

    assert isinstance(got, Claims)
    assert back == 1
    assert stopped == []


async def test_who_finds_first_that_nobody_watched_has_every_source_before_the_clock(
    bench: Bench, other: Bench
) -> None:
    """A sign of life has the clock; a claim has its source, or all of them once it has found the same."""
    await bench.configure(source(batch_size=1), source(name="another"))
    await bench.submit(1, 2)
    await bench.claim()
    look_through(NobodyWatched(), bench, other)
    stopped: list[type[BaseException]] = []

    standing = noting(slow(claim, before="begin_epoch"), stopped)
    got, _ = await asyncio.gather(
        bench.engine.run(standing, "catalog", worker="worker-1", most=1),
        later(other.engine.run(noting(beat, stopped), "worker-2")),
    )

    assert isinstance(got, Claims)
    assert set(stopped) == {HoldAllFirst}


async def test_groups_with_the_same_keys_in_another_order_do_not_wait_for_each_other(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source())
    stopped: list[type[BaseException]] = []

    group = [submission("one-1", "key-1"), submission("one-2", "key-2")]
    the_other_way_round = [submission("other-2", "key-2"), submission("other-1", "key-1")]
    standing = noting(slow(accept_together, before="same_key", nth=2), stopped)
    found, also_found = await asyncio.gather(
        bench.engine.run(standing, group),
        later(other.engine.run(noting(accept_together, stopped), the_other_way_round)),
    )

    assert found == ["one-1", "one-2"]
    assert also_found == ["one-2", "one-1"]
    assert asyncpg.DeadlockDetectedError not in stopped


def submission(ingestion_id: str, key: str) -> Submission:
    chunks = [ChunkRow(0, 1, None, b"[1]")]
    return Submission(
        ingestion_id, "default", "catalog", Priority.LOW, 3, 1, 1, 1, chunks, key, b"body"
    )


async def test_a_renewal_and_a_rescue_of_the_same_batches_do_not_wait_for_each_other(
    bench: Bench, other: Bench
) -> None:
    """The worker was held up for longer than its leases, and knows its batches in the order that it took them."""
    await bench.configure(source(batch_size=1))
    await bench.submit(1, priority=Priority.LOW)
    await bench.submit(2, priority=Priority.HIGH)
    claims = [await bench.claim(), await bench.claim()]
    bench.clock.advance(16 * SECOND)
    stopped: list[type[BaseException]] = []

    back, lost, _ = await asyncio.gather(
        later(other.engine.run(noting(rescue, stopped), "worker-1", dead=False), seconds=0.2),
        later(bench.engine.run(noting(renew, stopped), claims, worker="worker-1"), seconds=0.4),
        bench.engine.run(lock_batch_for_a_while, 1),
    )

    assert claims[0].seq > claims[1].seq
    assert (back, len(lost)) in {(2, 2), (0, 0)}
    assert stopped == []


async def lock_batch_for_a_while(tx: Transaction, seq: int) -> None:
    await select(tx, f"select 1 from batch where seq = {seq} for update")
    await select(tx, "select pg_sleep(0.6)")


async def test_whoever_holds_every_source_holds_also_one_that_was_just_added(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source("old"))
    told: list[str] = []

    async def hold_all_for_a_while(tx: Transaction) -> None:
        await hold_all_sources(tx)
        told.append("all are held")
        await select(tx, "select pg_sleep(0.5)")
        told.append("and let go")

    async def hold_new(tx: Transaction) -> None:
        await hold_source(tx, "new")
        told.append("the new one is held")

    adding = slow(configure, before="upsert_source")
    await asyncio.gather(
        bench.engine.run(adding, [source("new"), source("old")], []),
        later(other.engine.run(hold_all_for_a_while)),
        later(other.engine.run(hold_new), seconds=0.85),
    )

    assert told == ["all are held", "and let go", "the new one is held"]
