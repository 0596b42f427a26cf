"""Leases: a lost worker's batches come back, and a live worker keeps what it renews."""

from __future__ import annotations

import asyncio

import pytest

from headgate.core.facts import BatchRescued
from headgate.core.model import Counts, Status
from headgate.core.outcome import Failed, Rejected
from headgate.core.quota import Hold, Wait
from headgate.store.commands.claim import Claims, Idle
from headgate.store.commands.rescue import RESCUES
from headgate.store.commands.settle import Lost
from headgate.store.queries.neighbours import Holder, neighbours
from tests.contract.store.bench import (
    HELD_5S,
    HOUR,
    ONE_PER_5S,
    Bench,
    fetched_only,
    ids_of,
    policy,
    source,
)
from tests.fakes import SECOND

pytestmark = pytest.mark.anyio

LEASE_US = 15 * SECOND
AT_ONCE = 100


async def held_by(bench: Bench) -> list[Holder]:
    return sorted((await bench.engine.read(neighbours)).holders, key=lambda holder: holder.worker)


# -- a dead worker -------------------------------------------------------------------------------------------


async def test_the_batch_of_a_dead_worker_is_eligible_at_once(bench: Bench, other: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 2)
    await bench.claim()

    assert await other.rescue("worker-1", dead=True) == 1
    assert await other.claimed_ids() == [1, 2]


async def test_a_rescued_batch_keeps_its_place(bench: Bench, other: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await bench.submit(2)
    await bench.claim()
    await other.rescue()

    assert await other.claimed_ids() == [1]


async def test_only_the_batches_of_the_dead_worker_come_back(bench: Bench, other: Bench) -> None:
    await bench.configure(source())
    await bench.submit(*range(6))
    await bench.claim()
    theirs = await other.claim()

    assert await other.rescue("worker-1") == 1
    assert await other.settle(theirs) != Lost()


async def test_batches_of_every_source_come_back_one_source_at_once(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source("a"), source("b"))
    await bench.submit(1, source="a")
    await bench.submit(2, source="b")
    await bench.claim("a")
    await bench.claim("b")

    assert [await other.rescue() for _ in range(3)] == [1, 1, 0]
    assert await other.claimed_ids("a") == [1]
    assert await other.claimed_ids("b") == [2]


async def test_a_rescue_of_somebody_who_holds_nothing_changes_nothing(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await bench.claim()
    before = await bench.dump()

    assert await bench.rescue("worker-9") == 0
    assert await bench.dump() == before


async def test_a_rescue_that_is_repeated_changes_nothing(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await bench.claim()
    await bench.rescue()
    before = await bench.dump()

    assert await bench.rescue() == 0
    assert await bench.dump() == before


async def test_of_two_that_rescue_at_once_one_does(bench: Bench, other: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await bench.claim()

    assert sorted(await asyncio.gather(bench.rescue(), other.rescue())) == [0, 1]


async def test_what_had_ended_is_not_taken_back(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1)
    await bench.call()

    assert await bench.rescue() == 0
    assert (await bench.status(ingestion)).status is Status.COMPLETED


async def test_what_waits_for_a_retry_is_not_taken_back(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await bench.call(Failed("broken"))

    assert await bench.rescue() == 0
    assert await bench.refused() == Wait(SECOND // 2, Hold.BACKOFF)


@pytest.mark.parametrize("held", [99, 100, 101, 250])
async def test_any_number_of_batches_comes_back_a_hundred_at_once(bench: Bench, held: int) -> None:
    await bench.configure(source(batch_size=1, concurrency=1_000))
    await bench.submit(*range(held))
    await bench.claims(most=held)
    rounds: list[int] = []
    while not rounds or rounds[-1]:
        rounds.append(await bench.rescue())

    assert sum(rounds) == held
    assert max(rounds) <= AT_ONCE
    claims = await bench.claims(most=1_000)
    assert [value for each in claims for value in ids_of(each)] == list(range(held))


async def test_a_rescue_is_told_to_observers(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1)
    await bench.claim()
    await bench.rescue()

    assert bench.stated(BatchRescued) == [BatchRescued("catalog", ingestion, 0, "worker-1")]


async def test_a_rescue_is_a_hint_to_the_lane(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await bench.claim()
    await bench.engine.wakes.next("catalog", timeout_us=0)
    await bench.rescue()

    await asyncio.wait_for(bench.engine.wakes.next("catalog", timeout_us=HOUR), timeout=5)


# -- what a rescue means for the batch -----------------------------------------------------------------------


async def test_a_rescue_burns_no_attempt(bench: Bench) -> None:
    await bench.configure(source(retry=policy()))
    await bench.submit(1)
    await bench.call(Failed("broken"))
    await bench.claim()
    await bench.rescue()

    assert (await bench.claim()).attempt == 2


async def test_a_rescued_batch_stays_triggered(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)
    await bench.claim()
    await bench.rescue()

    assert await bench.batch_statuses(ingestion) == ["triggered"]
    assert (await bench.status(ingestion)).counts == Counts(distinct=3, begun=3)


async def test_a_rescued_batch_goes_on_where_it_was(bench: Bench) -> None:
    await bench.configure(source(batch_size=4, retry=policy(absent=True)))
    ingestion = await bench.submit(1, 2, 3, 4)
    await bench.call(Rejected("400"))
    half = await bench.claim()
    await bench.settle(half, fetched_only(half, 2))
    rest = await bench.claim()
    await bench.rescue()

    assert (ids_of(half), ids_of(rest)) == ([1, 2], [1])
    assert await bench.claimed_ids() == [1]
    await bench.settle_all()
    assert await bench.claimed_ids() == [3, 4]
    assert await bench.endings(ingestion) == {0: "fetched", 1: "fetched"}


async def rescue_times(bench: Bench, times: int) -> None:
    for _ in range(times):
        await bench.claim()
        await bench.rescue()


async def test_a_batch_that_was_rescued_nineteen_times_is_tried_again(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await rescue_times(bench, RESCUES - 1)

    assert isinstance(await bench.try_claim(), Claims)


async def test_a_batch_that_takes_twenty_workers_down_ends_as_failed(bench: Bench) -> None:
    await bench.configure(source(batch_size=2))
    ingestion = await bench.submit(1, 2, 3)
    await rescue_times(bench, RESCUES)

    assert await bench.claimed_ids() == [3]
    assert await bench.batch_statuses(ingestion) == ["failed", "triggered"]
    assert await bench.records(ingestion) == dict.fromkeys(
        (0, 1), ("failed", None, "lost with its worker 20 times")
    )


async def test_rescues_are_counted_over_retries(bench: Bench) -> None:
    await bench.configure(source(retry=policy(max_attempts=99)))
    ingestion = await bench.submit(1)
    for _ in range(RESCUES):
        await bench.call(Failed("broken"))
        await rescue_times(bench, 1)

    assert await bench.batch_statuses(ingestion) == ["failed"]


async def test_what_was_fetched_before_stays_fetched_when_the_rest_ends_as_failed(
    bench: Bench,
) -> None:
    await bench.configure(source(retry=policy(absent=True)))
    ingestion = await bench.submit(1, 2, 3)
    claimed = await bench.claim()
    await bench.settle(claimed, fetched_only(claimed, 2))
    await rescue_times(bench, RESCUES)

    assert await bench.endings(ingestion) == {0: "failed", 1: "fetched", 2: "failed"}


async def test_a_cancelled_batch_of_a_dead_worker_ends_cancelled(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)
    await bench.claim()
    await bench.cancel(ingestion)
    await bench.rescue()

    seen = await bench.status(ingestion)
    assert (seen.status, seen.counts) == (
        Status.CANCELLED,
        Counts(distinct=3, begun=3, cancelled=3),
    )
    assert await bench.batch_statuses(ingestion) == ["cancelled"]
    assert isinstance(await bench.try_claim(), Idle)


# -- what a rescue means for the quota -----------------------------------------------------------------------


async def test_the_place_in_flight_of_a_dead_worker_is_free_again(bench: Bench) -> None:
    await bench.configure(source(concurrency=1))
    await bench.submit(1)
    await bench.submit(2)
    await bench.claim()
    await bench.rescue()

    assert isinstance(await bench.try_claim(), Claims)


async def test_the_call_of_a_dead_worker_may_still_be_counted_until_its_slack_and_grace_are_over(
    bench: Bench,
) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await bench.submit(1)
    await bench.claim()
    bench.clock.advance(2 * SECOND)
    await bench.rescue()

    await bench.assert_granted_exactly_after(6_006_000 - 2 * SECOND + HELD_5S)


async def test_the_call_of_a_worker_that_was_lost_late_counts_until_the_rescue(
    bench: Bench,
) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await bench.submit(1)
    await bench.claim()
    bench.clock.advance(16 * SECOND)
    await bench.rescue(dead=False)

    await bench.assert_granted_exactly_after(HELD_5S)


# -- leases --------------------------------------------------------------------------------------------------


async def test_a_lease_runs_out_at_its_end_and_not_before(bench: Bench, other: Bench) -> None:
    await bench.configure(source(lease_us=LEASE_US))
    await bench.submit(1)
    await bench.claim()
    bench.clock.advance(LEASE_US)
    assert await other.rescue("worker-1", dead=False) == 0
    bench.clock.advance(1)

    assert await other.rescue("worker-1", dead=False) == 1


async def test_whoever_rescues_is_told_who_holds_and_whose_lease_ran_out(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source(lease_us=LEASE_US))
    await bench.submit(*range(9))
    assert await held_by(bench) == []
    await bench.claim()
    bench.clock.advance(LEASE_US)
    await other.claims(most=2)
    assert await held_by(bench) == [Holder("worker-1", False), Holder("worker-2", False)]
    bench.clock.advance(1)

    assert await held_by(bench) == [Holder("worker-1", True), Holder("worker-2", False)]


async def test_a_renewed_lease_lasts_from_its_renewal(bench: Bench, other: Bench) -> None:
    await bench.configure(source(lease_us=LEASE_US))
    await bench.submit(1)
    claimed = await bench.claim()
    bench.clock.advance(LEASE_US - 1)
    assert await bench.renew(claimed) == []
    bench.clock.advance(LEASE_US)
    assert await other.rescue("worker-1", dead=False) == 0
    bench.clock.advance(1)

    assert await other.rescue("worker-1", dead=False) == 1


async def test_a_live_worker_never_loses_a_lease_that_it_renews(bench: Bench, other: Bench) -> None:
    await bench.configure(source(lease_us=LEASE_US))
    ingestion = await bench.submit(*range(300))
    claims = await bench.claims(most=64)
    for _ in range(200):
        bench.clock.advance(3 * SECOND)
        assert await bench.renew(*claims) == []
        assert not any(holder.lease_ran_out for holder in await held_by(other))
        assert await other.rescue("worker-1", dead=False) == 0
    for claimed in claims:
        await bench.settle(claimed)

    assert (await bench.status(ingestion)).counts.fetched == 3 * len(claims)


async def test_a_lease_that_ran_out_and_was_renewed_before_a_rescue_is_kept(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source(lease_us=LEASE_US))
    await bench.submit(1)
    claimed = await bench.claim()
    bench.clock.advance(LEASE_US + SECOND)
    assert (await held_by(other))[0].lease_ran_out
    await bench.renew(claimed)

    assert await other.rescue("worker-1", dead=False) == 0
    assert await bench.settle(claimed) != Lost()


async def test_a_lease_that_is_not_named_runs_out(bench: Bench, other: Bench) -> None:
    """An answer that was lost on the way must not hold a slot for ever."""
    await bench.configure(source(lease_us=LEASE_US))
    await bench.submit(*range(6))
    known, _ = await bench.claims(most=2)
    bench.clock.advance(LEASE_US - 1)
    await bench.renew(known)
    bench.clock.advance(2)

    assert await other.rescue("worker-1", dead=False) == 1
    assert await other.claimed_ids() == [3, 4, 5]


async def test_lost_leases_are_reported_and_the_others_renewed(bench: Bench, other: Bench) -> None:
    await bench.configure(source(lease_us=LEASE_US))
    await bench.submit(*range(12))
    first, second, third = await bench.claims(most=3)
    bench.clock.advance(LEASE_US - 1)
    await bench.renew(first, third)
    bench.clock.advance(2)
    await other.rescue("worker-1", dead=False)

    assert await bench.renew(first, second, third) == [second]
    assert await bench.settle(second) == Lost()
    assert await bench.settle(third) != Lost()


async def test_a_lease_that_somebody_else_took_over_is_not_renewed(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source(lease_us=LEASE_US))
    await bench.submit(1)
    claimed = await bench.claim()
    await other.rescue()
    await other.claim()
    before = await bench.dump()
    bench.clock.advance(SECOND)

    assert await bench.renew(claimed) == [claimed]
    assert await bench.dump() == before


async def test_a_lease_of_an_earlier_fence_is_not_renewed_by_the_same_worker(bench: Bench) -> None:
    await bench.configure(source(retry=policy()))
    await bench.submit(1)
    earlier = await bench.call(Failed("broken"))
    now = await bench.claim()

    assert await bench.renew(earlier, now) == [earlier]


async def test_a_settled_batch_has_no_lease_to_renew(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    claimed = await bench.call()

    assert await bench.renew(claimed) == [claimed]


async def test_a_renewal_of_nothing_changes_nothing(bench: Bench) -> None:
    await bench.configure(source())
    before = await bench.dump()

    assert await bench.renew() == []
    assert await bench.dump() == before


async def test_a_cancelled_batch_in_flight_keeps_its_lease(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1)
    claimed = await bench.claim()
    await bench.cancel(ingestion)

    assert await bench.renew(claimed) == []
    assert await bench.settle(claimed) != Lost()


async def test_a_lease_is_of_the_time_that_the_source_was_configured_with_at_the_claim(
    bench: Bench,
) -> None:
    await bench.configure(source(lease_us=LEASE_US))
    await bench.submit(1)
    await bench.claim()
    await bench.configure(source(lease_us=HOUR))
    bench.clock.advance(LEASE_US + 1)

    assert await bench.rescue(dead=False) == 1


async def test_a_step_of_the_wall_clock_ends_no_lease(bench: Bench, other: Bench) -> None:
    await bench.configure(source(lease_us=LEASE_US))
    await bench.submit(1)
    await bench.claim()
    bench.clock.wall_us += 400 * 24 * HOUR

    assert not any(holder.lease_ran_out for holder in await held_by(other))
    assert await other.rescue("worker-1", dead=False) == 0


async def test_after_a_reboot_the_batches_of_the_boot_before_come_back(bench: Bench) -> None:
    await bench.configure(source(lease_us=LEASE_US))
    await bench.submit(1, 2)
    await bench.claim()
    bench.clock.reboot(away_us=10 * SECOND)

    assert [holder.worker for holder in await held_by(bench)] == ["worker-1"]
    assert await bench.rescue("worker-1", dead=True) == 1
    assert await bench.claimed_ids() == [1, 2]
