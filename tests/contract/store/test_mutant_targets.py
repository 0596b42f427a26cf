"""What `tests/mutants/` breaks and no other theme holds: conditions of statements, and turns.

Under one writer the statements never see another state than the one just read; an engine with several writers
will, and each must then change nothing.
"""

from __future__ import annotations

import pytest

from headgate.core.model import Claim, Counts, Status
from headgate.core.outcome import Refused
from headgate.core.quota import Hold, Pacing, Window
from headgate.store.commands.batches import SQL as BATCHES
from headgate.store.commands.claim import SQL as CLAIM
from headgate.store.commands.settle import Settled
from headgate.store.engine import Transaction, Value
from headgate.store.statements import Statement
from tests.contract.store.bench import Bench, shared, source
from tests.fakes import SECOND

pytestmark = pytest.mark.anyio

LONG_AWAY = 10**15
"""An instant beyond every other one of these tests."""


async def changed(tx: Transaction, statement: Statement, *values: Value) -> int:
    """A command of one statement: how many rows it changed."""
    return await tx.do(statement, *values)


async def take(bench: Bench, batch: Claim, *, read: int) -> int:
    """Take the batch of a claim, as one who has read its fence so; how many batches were taken."""
    return await bench.engine.run(
        changed,
        CLAIM.take_batch,
        batch.seq,
        batch.number,
        read,
        read + 1,
        "worker-2",
        LONG_AWAY,
    )


async def test_a_batch_is_taken_only_under_the_fence_that_was_read(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 2, 3)
    before = await bench.claim()
    await bench.rescue()
    after = await bench.claim()
    await bench.rescue()

    assert after.fence > before.fence
    assert await take(bench, after, read=before.fence) == 0
    assert await bench.claimed_ids() == [1, 2, 3]


async def test_a_batch_that_is_held_is_not_taken(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 2, 3)
    held = await bench.claim()

    assert await take(bench, held, read=held.fence) == 0
    assert await bench.renew(held) == []


async def test_a_batch_ends_only_under_its_fence(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 2, 3)
    lost = await bench.claim()
    await bench.rescue()
    held = await bench.claim()

    ended = await bench.engine.run(
        changed,
        BATCHES.end_batch,
        lost.seq,
        lost.number,
        lost.fence,
        Status.COMPLETED,
        0,
        None,
        0,
    )
    assert ended == 0
    assert await bench.settle(held) == Settled(Status.COMPLETED)


async def test_a_lease_is_renewed_only_under_its_fence(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 2, 3)
    lost = await bench.claim()
    await bench.rescue()
    held = await bench.claim()

    assert await bench.renew(lost, held) == [lost]


async def test_a_cancellation_counts_what_never_began(bench: Bench) -> None:
    await bench.configure(source(batch_size=2))
    ingestion = await bench.submit(1, 2, 3, 4, 5)
    await bench.call()
    bench.clock.advance(SECOND)
    await bench.cancel(ingestion)

    view = await bench.status(ingestion)
    assert view.counts == Counts(5, begun=5, fetched=2, cancelled=3)


# -- instants in the ledger ----------------------------------------------------------------------------------


async def test_a_grant_ahead_is_written_down_for_its_instant(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(5, 20_000)], pacing=Pacing.EVEN))
    await bench.submit(*range(15))
    claims = await bench.claims(most=5)

    granted = [at for (at,) in await bench.rows("select granted_at from ledger order by entry")]
    assert [at - granted[0] for at in granted] == [each.not_before_us for each in claims]
    assert claims[-1].not_before_us > 0


async def test_counted_in_a_bucket_a_call_occupies_its_window_rather_too_long(
    bench: Bench,
) -> None:
    await bench.configure(source(windows=[Window(2_000, SECOND)], call_cost=2_000))
    await bench.submit(*range(6))
    bench.clock.advance(300)  # past the beginning of a bucket of 1 ms
    await bench.call()

    assert (await bench.refused()).for_us == 1_001_000 + 700


# -- turns: sources that share a quota -----------------------------------------------------------------------

TEN_A_SECOND = Window(10, SECOND)


async def test_a_dear_source_gets_its_turn_beside_a_cheap_one(bench: Bench) -> None:
    await bench.configure(
        source("dear", shares=["account"], call_cost=10),
        source("cheap", shares=["account"]),
        quotas=[shared("account", TEN_A_SECOND)],
    )
    await bench.submit(1, source="dear")
    await bench.submit(2, 3, 4, 5, source="cheap")
    await bench.call(name="cheap")

    wait = await bench.refused("dear")
    assert wait.for_us == 1_001_000
    for _ in range(10):
        assert (await bench.refused("cheap")).why is Hold.ANSWER
        bench.clock.advance(100_000)
    bench.clock.advance(1_000)
    await bench.call(name="dear")


async def test_a_source_that_waits_for_its_own_answer_holds_no_sharer_up(bench: Bench) -> None:
    await bench.configure(
        source("slow", shares=["account"], concurrency=1, batch_size=1),
        source("quick", shares=["account"]),
        quotas=[shared("account", Window(2, SECOND))],
    )
    await bench.submit(1, 2, source="slow")
    await bench.submit(3, source="quick")
    await bench.claim("slow")

    assert (await bench.refused("slow")).why is Hold.CONCURRENCY
    assert await bench.claimed_ids("quick") == [3]


async def test_a_closed_source_holds_no_sharer_up(bench: Bench) -> None:
    await bench.configure(
        source("closed", shares=["account"]),
        source("open", shares=["account"]),
        quotas=[shared("account", Window(1, SECOND))],
    )
    await bench.submit(1, source="closed")
    await bench.submit(2, source="open")
    await bench.call(Refused("401"), "closed")
    bench.clock.advance(2 * SECOND)

    assert (await bench.refused("closed")).why is Hold.CLOSED
    assert await bench.claimed_ids("open") == [2]
