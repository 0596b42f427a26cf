"""A cancellation is final: nothing more is begun, and what was paid for is kept."""

from __future__ import annotations

import asyncio

import pytest

from headgate.core.errors import Conflict, NotFound
from headgate.core.facts import IngestionCancelled
from headgate.core.model import Counts, Priority, Status
from headgate.core.outcome import Failed, Rejected
from headgate.store.commands.claim import Claims, Idle
from tests.contract.store.bench import HOUR, Bench, fetched_only, policy, source
from tests.fakes import SECOND

pytestmark = pytest.mark.anyio


async def test_what_has_yet_to_start_is_cancelled_at_once(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 4)
    bench.clock.advance(SECOND)

    assert await bench.cancel(ingestion) == 0
    seen = await bench.status(ingestion)
    assert (seen.status, seen.counts) == (
        Status.CANCELLED,
        Counts(distinct=4, begun=4, cancelled=4),
    )
    assert seen.cancelled_at == seen.ended_at == bench.clock.wall_us
    assert await bench.batch_statuses(ingestion) == ["cancelled", "cancelled"]


async def test_nothing_is_begun_after_a_cancellation(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(*range(9), priority=Priority.HIGH)
    await bench.submit(100)
    await bench.call()
    await bench.cancel(ingestion)

    assert await bench.claimed_ids() == [100]
    assert isinstance(await bench.try_claim(), Idle)


async def test_a_batch_in_line_ends_cancelled(bench: Bench) -> None:
    await bench.configure(source(retry=policy()))
    ingestion = await bench.submit(1, 2, 3, 4)
    await bench.call(Failed("broken"))

    assert await bench.cancel(ingestion) == 0
    assert isinstance(await bench.try_claim(), Idle)
    assert await bench.batch_statuses(ingestion) == ["cancelled", "cancelled"]
    assert (await bench.status(ingestion)).counts.cancelled == 4


async def test_a_batch_that_waits_for_a_retry_ends_cancelled(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)
    await bench.call(Failed("broken"))

    assert await bench.cancel(ingestion) == 0
    bench.clock.advance(HOUR)
    assert isinstance(await bench.try_claim(), Idle)
    assert (await bench.status(ingestion)).status is Status.CANCELLED


async def test_a_batch_of_which_a_part_was_fetched_keeps_that_part(bench: Bench) -> None:
    await bench.configure(source(retry=policy(absent=True)))
    ingestion = await bench.submit(1, 2, 3)
    claimed = await bench.claim()
    await bench.settle(claimed, fetched_only(claimed, 2))
    await bench.cancel(ingestion)

    assert await bench.endings(ingestion) == {1: "fetched"}
    assert (await bench.status(ingestion)).counts == Counts(
        distinct=3, begun=3, fetched=1, cancelled=2
    )


async def test_the_answer_says_how_many_batches_are_in_flight(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(*range(12))
    await bench.claims(most=3)
    await bench.settle(bench.held[0])

    assert await bench.cancel(ingestion) == 2
    assert bench.stated(IngestionCancelled) == [IngestionCancelled(ingestion, 2)]


async def test_an_ingestion_is_triggered_until_nothing_is_in_flight(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(*range(9))
    first, second = await bench.claims(most=2)
    await bench.cancel(ingestion)
    seen = [(await bench.status(ingestion)).status]
    for claimed in (second, first):
        await bench.settle(claimed, Failed("broken"))
        seen.append((await bench.status(ingestion)).status)

    assert seen == [Status.TRIGGERED, Status.TRIGGERED, Status.CANCELLED]


async def test_batches_show_each_how_they_ended(bench: Bench) -> None:
    await bench.configure(source(batch_size=1, retry=policy()))
    ingestion = await bench.submit(*range(6))
    await bench.call()
    await bench.call(Rejected("422"))
    waiting, flying, bringing = await bench.claims(most=3)
    await bench.settle(waiting, Failed("broken"))
    await bench.cancel(ingestion)
    await bench.settle(bringing)

    assert await bench.batch_statuses(ingestion) == [
        "completed",
        "failed",
        "cancelled",
        "triggered",
        "completed",
        "cancelled",
    ]
    await bench.settle(flying)
    assert (await bench.batch_statuses(ingestion))[3] == "completed"


async def test_the_ingestion_ends_with_its_last_call_in_flight(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 4)
    claimed = await bench.claim()
    await bench.cancel(ingestion)
    assert (await bench.status(ingestion)).ended_at is None
    bench.clock.advance(SECOND)
    await bench.settle(claimed)

    assert (await bench.status(ingestion)).ended_at == bench.clock.wall_us


async def test_cancelled_goes_before_failed_and_completed(bench: Bench) -> None:
    await bench.configure(source(batch_size=1))
    ingestion = await bench.submit(1, 2, 3)
    await bench.call()
    await bench.call(Rejected("422"))
    await bench.cancel(ingestion)

    seen = await bench.status(ingestion)
    assert (seen.status, seen.counts) == (
        Status.CANCELLED,
        Counts(distinct=3, begun=3, fetched=1, failed=1, cancelled=1),
    )


async def test_an_ingestion_that_was_cancelled_in_flight_and_brought_everything_is_cancelled(
    bench: Bench,
) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1)
    claimed = await bench.claim()
    await bench.cancel(ingestion)
    await bench.settle(claimed)

    seen = await bench.status(ingestion)
    assert (seen.status, seen.counts) == (Status.CANCELLED, Counts(distinct=1, begun=1, fetched=1))
    assert await bench.batch_statuses(ingestion) == ["completed"]


async def test_batches_of_repeats_are_cancelled_with_their_first_ones(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 1, 2, 3, 4, 4, 4)
    await bench.call()
    await bench.cancel(ingestion)

    assert await bench.batch_statuses(ingestion) == ["completed", "completed", "cancelled"]


async def test_batches_of_repeats_are_cancelled_with_their_first_ones_while_others_are_in_flight(
    bench: Bench,
) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 4, 5, 6, 4, 5, 6)
    await bench.claim()
    await bench.cancel(ingestion)

    assert await bench.batch_statuses(ingestion) == ["triggered", "cancelled", "cancelled"]


# -- again, too late, not yours ------------------------------------------------------------------------------


@pytest.mark.parametrize("claims", [0, 2])
async def test_a_cancellation_that_is_repeated_changes_nothing(bench: Bench, claims: int) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(*range(9))
    for _ in range(claims):
        await bench.claim()
    await bench.cancel(ingestion)
    before = await bench.dump()
    bench.clock.advance(SECOND)

    assert await bench.cancel(ingestion) == claims
    assert await bench.dump() == before
    assert len(bench.stated(IngestionCancelled)) == 1


async def test_a_cancellation_that_is_repeated_after_the_end_says_that_nothing_is_in_flight(
    bench: Bench,
) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1)
    claimed = await bench.claim()
    assert await bench.cancel(ingestion) == 1
    await bench.settle(claimed)

    assert await bench.cancel(ingestion) == 0


async def test_copies_of_a_cancellation_at_once_cancel_once(bench: Bench, other: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2)

    await asyncio.gather(*((bench, other)[n % 2].cancel(ingestion) for n in range(20)))

    assert (await bench.status(ingestion)).counts == Counts(distinct=2, begun=2, cancelled=2)
    told = bench.stated(IngestionCancelled) + other.stated(IngestionCancelled)
    assert told == [IngestionCancelled(ingestion, 0)]


@pytest.mark.parametrize("end", [None, Rejected("422"), Rejected("404", missing=True)])
async def test_what_has_ended_cannot_be_cancelled(bench: Bench, end: Rejected | None) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1)
    await bench.call(end)
    before = await bench.dump()

    with pytest.raises(Conflict):
        await bench.cancel(ingestion)
    assert await bench.dump() == before


async def test_somebody_elses_ingestion_is_not_found(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, client="somebody")
    before = await bench.dump()

    with pytest.raises(NotFound):
        await bench.cancel(ingestion)
    assert await bench.dump() == before


@pytest.mark.parametrize("unknown", ["", "x", "00000000-0000-0000-0000-000000000000"])
async def test_an_unknown_ingestion_is_not_found(bench: Bench, unknown: str) -> None:
    await bench.configure(source())

    with pytest.raises(NotFound):
        await bench.cancel(unknown)


async def test_a_cancellation_leaves_every_other_ingestion_alone(bench: Bench) -> None:
    await bench.configure(source())
    before, between, after = [await bench.submit(n, n + 1, n + 2, n + 3) for n in (10, 20, 30)]
    await bench.call()
    await bench.cancel(between)

    assert (await bench.status(before)).counts == Counts(distinct=4, begun=3, fetched=3)
    assert (await bench.status(after)).counts == Counts(distinct=4)
    assert [await bench.claimed_ids() for _ in range(3)] == [[13], [30, 31, 32], [33]]


async def test_a_cancellation_gives_the_place_of_a_call_in_flight_to_nobody(bench: Bench) -> None:
    """Its call may still go out: until it is settled it is in flight."""
    await bench.configure(source(concurrency=1))
    ingestion = await bench.submit(1)
    await bench.submit(2)
    claimed = await bench.claim()
    await bench.cancel(ingestion)
    assert (await bench.refused()).for_us is None
    await bench.settle(claimed)

    assert isinstance(await bench.try_claim(), Claims)


async def test_a_cancellation_and_claims_at_once_agree(bench: Bench, other: Bench) -> None:
    await bench.configure(source(batch_size=1))
    ingestion = await bench.submit(*range(40))
    claims = [other.try_claim() for _ in range(20)]
    got = await asyncio.gather(*claims[:10], bench.cancel(ingestion), *claims[10:])

    begun = sum(isinstance(each, Claims) for each in got)
    assert await bench.cancel(ingestion) == begun
    assert (await bench.status(ingestion)).counts.cancelled == 40 - begun
