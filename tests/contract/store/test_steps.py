"""How much work a claim is does not depend on how much is queued: counted in steps of SQLite's machine, not in time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from headgate.core.model import Priority
from headgate.core.quota import Pacing, Window
from headgate.store.commands.claim import Claims
from headgate.store.engine import Transaction
from headgate.store.sqlite.engine import SqliteEngine
from tests.contract.store.bench import Bench, source, statement
from tests.fakes import SECOND, FakeClock

pytestmark = pytest.mark.anyio

FEW, MANY = 100, 20_000
FAR = 2**61
"""An instant that does not come."""

_NUMBERS = "with recursive n(n) as (select 1 union all select n + 1 from n where n < ?1)"


async def queue(tx: Transaction, count: int, priority: int) -> None:
    """So many ingestions of three batches of three ids each, written as accepting would."""
    await tx.do(
        statement(
            f"{_NUMBERS} insert into ingestion (ingestion_id, client, source, priority, size, id_count,"
            " distinct_count, batch_count, accepted_at)"
            " select printf('%d-%d', ?2, n), 'default', 'catalog', ?2, 3, 9, 9, 3, 0 from n"
        ),
        count,
        priority,
    )
    await tx.do(
        statement(
            "insert or ignore into id_chunk (seq, start, distinct_count, ids)"
            " select seq, 0, 9, '[1,2,3,4,5,6,7,8,9]' from ingestion"
        )
    )


async def back_off(tx: Transaction, count: int) -> None:
    """So many begun batches that wait for a retry, of ingestions of which nothing else is to begin."""
    await queue(tx, count, Priority.MEDIUM)
    await tx.do(
        statement(
            "insert into batch (seq, number, source, priority, status, ready, not_before, attempt, fence, todo,"
            " left_count, triggered_at)"
            " select seq, 0, source, priority, 'triggered', 0, ?1 - seq, 2, 1, '[[0,1,2]]', 3, 0"
            " from ingestion where priority = 20"
        ),
        FAR,
    )
    await tx.do(
        statement("update ingestion set waiting = 0, next_batch = 3, begun = 9 where priority = 20")
    )


@pytest.fixture
async def stores(
    folder: Path, clock: FakeClock
) -> AsyncIterator[Callable[[int], Awaitable[Bench]]]:
    """Stores with so much queued: opened here, since rows by the ten thousand need not be counted anew."""
    opened: list[SqliteEngine] = []

    async def open_one(queued: int) -> Bench:
        engine = SqliteEngine(folder / f"{queued}.db", clock=clock)
        opened.append(engine)
        bench = Bench(engine, clock, [])
        await bench.configure(source(windows=[Window(50, SECOND)], pacing=Pacing.BURST))
        await engine.run(queue, queued, Priority.LOW)
        await engine.run(back_off, queued)
        return bench

    yield open_one
    for engine in opened:
        await engine.close()


async def steps_of(bench: Bench, action: Callable[[], Awaitable[object]]) -> int:
    assert isinstance(bench.engine, SqliteEngine)
    steps = 0

    def step() -> bool:
        nonlocal steps
        steps += 1
        return False

    bench.engine._writer.set_progress_handler(step, 1)
    await action()
    bench.engine._writer.set_progress_handler(None)
    return steps


async def a_few_claims(bench: Bench) -> list[int]:
    """The steps of claims of several kinds: the first of an ingestion, the next, its last, a retry, an urgent one."""
    found = []
    for _ in range(4):
        found.append(await steps_of(bench, bench.call))
    await bench.engine.run(make_one_ready)
    found.append(await steps_of(bench, bench.claim))
    await bench.submit(1, 2, priority=Priority.HIGH)
    found.append(await steps_of(bench, bench.claim))
    found.append(await steps_of(bench, lambda: bench.claims(most=5)))
    return found


async def make_one_ready(tx: Transaction) -> None:
    await tx.do(
        statement(
            "update batch set ready = 1, not_before = null where seq = (select max(seq) from batch where not_before"
            " is not null)"
        )
    )


@pytest.mark.slow
async def test_a_claim_takes_as_many_steps_at_a_hundred_queued_as_at_twenty_thousand(
    stores: Callable[[int], Awaitable[Bench]],
) -> None:
    few, many = await stores(FEW), await stores(MANY)

    steps = await a_few_claims(few)

    assert steps == await a_few_claims(many)
    assert max(steps) < 3_000


@pytest.mark.slow
async def test_a_refused_claim_takes_as_many_steps_at_a_hundred_queued_as_at_twenty_thousand(
    stores: Callable[[int], Awaitable[Bench]],
) -> None:
    found = []
    for queued in (FEW, MANY):
        bench = await stores(queued)
        while isinstance(await bench.try_claim(most=50), Claims):
            pass
        found.append(await steps_of(bench, bench.refused))

    assert found[0] == found[1]


@pytest.mark.slow
async def test_a_cancellation_takes_as_many_steps_at_a_hundred_queued_as_at_twenty_thousand(
    stores: Callable[[int], Awaitable[Bench]],
) -> None:
    found = []
    for queued in (FEW, MANY):
        bench = await stores(queued)
        ingestion = await bench.submit(*range(30))
        found.append(await steps_of(bench, lambda b=bench, i=ingestion: b.cancel(i)))  # type: ignore[misc]

    assert found[0] == found[1]


@pytest.mark.slow
async def test_looking_for_who_holds_batches_reads_only_those(
    stores: Callable[[int], Awaitable[Bench]],
) -> None:
    found = []
    for queued in (FEW, MANY):
        bench = await stores(queued)
        await bench.claims(most=10)
        found.append(await steps_of(bench, lambda b=bench: b.rescue("worker-9")))  # type: ignore[misc]

    assert found[0] == found[1]
