"""Which batch a claim takes, and that it takes no other."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from headgate.core.errors import NotFound
from headgate.core.facts import BatchClaimed
from headgate.core.model import Counts, Priority
from headgate.core.outcome import Failed, Rejected
from headgate.core.quota import Hold, Wait, Window
from headgate.store.commands.claim import Idle, TooFar, claim
from headgate.store.commands.heads import MOVED_AT_ONCE
from headgate.store.commands.settle import Lost
from headgate.store.engine import Transaction
from tests.contract.store.bench import (
    MS,
    UNKNOWN,
    Bench,
    fetched,
    ids_of,
    policy,
    source,
    statement,
)
from tests.fakes import SECOND

pytestmark = pytest.mark.anyio

PATIENT = policy(base_us=4 * SECOND, max_us=4 * SECOND)
"""A failed batch waits 2 s: half of it, as the bench's jitter says."""


async def drain(bench: Bench, name: str | None = None) -> list[list[object]]:
    """Claim and fetch until nothing is queued; returns the ids of each call."""
    calls: list[list[object]] = []
    while not isinstance(got := await bench.try_claim(name), Idle):
        assert not isinstance(got, Wait), got
        for claimed in got.claims:
            calls.append(list(ids_of(claimed)))
            await bench.settle(claimed)
    return calls


# -- order ---------------------------------------------------------------------------------------------------


async def test_the_higher_priority_goes_first(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 2, priority=Priority.LOW)
    await bench.submit(5, 6, priority=Priority.MEDIUM)
    await bench.submit(3, 4, priority=Priority.HIGH)

    assert await drain(bench) == [[3, 4], [5, 6], [1, 2]]


async def test_the_older_goes_first_within_a_priority(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 2)
    await bench.submit(3, 4)

    assert ids_of(await bench.claim()) == [1, 2]


async def test_batches_of_one_ingestion_go_in_the_order_of_its_list(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(5, 4, 3, 2, 1)

    assert [ids_of(await bench.claim()) for _ in range(2)] == [[5, 4, 3], [2, 1]]


async def test_the_worked_example_goes_as_written(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 2, 3, 4, 5, priority=Priority.MEDIUM)
    first = await bench.claimed_ids()
    await bench.submit(6, 7, 8, 9, priority=Priority.HIGH)

    assert [first, *await drain(bench)] == [[1, 2, 3], [6, 7, 8], [9], [4, 5]]


async def test_an_urgent_ingestion_goes_between_two_batches_of_another(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(*range(9))
    await bench.call()
    await bench.submit(100, priority=Priority.HIGH)

    assert await drain(bench) == [[100], [3, 4, 5], [6, 7, 8]]


async def test_an_ingestion_is_finished_before_a_younger_one_begins(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(*range(7))
    await bench.submit(*range(100, 104))

    assert await drain(bench) == [[0, 1, 2], [3, 4, 5], [6], [100, 101, 102], [103]]


async def test_a_retry_keeps_its_place(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 2)
    await bench.submit(3, 4)
    first = await bench.claim()
    await bench.settle(first, Failed("broken"))
    bench.clock.advance(1_000_000)

    assert ids_of(await bench.claim()) == [1, 2]


async def test_a_retry_goes_before_what_has_yet_to_start_of_its_own_list(bench: Bench) -> None:
    await bench.configure(source(retry=PATIENT))
    await bench.submit(*range(9))
    await bench.call(Failed("broken"))
    await bench.call()
    bench.clock.advance(2 * SECOND)

    assert await drain(bench) == [[0, 1, 2], [6, 7, 8]]


async def test_what_has_yet_to_start_goes_before_a_younger_retry(bench: Bench) -> None:
    await bench.configure(source(retry=PATIENT))
    older = await bench.submit(*range(6), priority=Priority.HIGH)
    await bench.submit(100, 101)
    first = await bench.claim()
    await bench.claim()
    younger = await bench.claim()
    await bench.settle(younger, Failed("broken"))
    bench.clock.advance(2 * SECOND)
    await bench.submit(200, priority=Priority.HIGH)
    await bench.settle(first, Failed("broken"))

    assert ids_of(younger) == [100, 101]
    assert await bench.claimed_ids() == [200]
    assert await bench.claimed_ids() == [100, 101]
    assert (await bench.status(older)).counts == Counts(distinct=6, begun=6)


async def test_a_retry_of_higher_priority_goes_before_an_older_waiting_one(bench: Bench) -> None:
    await bench.configure(source(retry=PATIENT))
    await bench.submit(1, 2, priority=Priority.LOW)
    await bench.submit(3, 4, priority=Priority.HIGH)
    await bench.call(Failed("broken"))
    bench.clock.advance(2 * SECOND)

    assert await drain(bench) == [[3, 4], [1, 2]]


async def test_a_retry_that_is_not_due_lets_others_by(bench: Bench) -> None:
    await bench.configure(source(retry=PATIENT))
    await bench.submit(1, 2)
    await bench.submit(3, 4, priority=Priority.LOW)
    await bench.call(Failed("broken"))

    assert await drain_until_wait(bench) == [[3, 4]]


async def drain_until_wait(bench: Bench) -> list[list[object]]:
    calls: list[list[object]] = []
    while not isinstance(got := await bench.try_claim(), Wait):
        assert not isinstance(got, Idle)
        calls.append(list(ids_of(got.claims[0])))
        await bench.settle(got.claims[0])
    return calls


async def test_a_retry_is_due_at_its_instant_and_not_before(bench: Bench) -> None:
    await bench.configure(source(retry=PATIENT))
    await bench.submit(1, 2)
    await bench.call(Failed("broken"))

    assert await bench.refused() == Wait(2 * SECOND, Hold.BACKOFF)
    await bench.assert_granted_exactly_after(2 * SECOND)


async def test_the_wait_is_for_the_first_of_several_retries(bench: Bench) -> None:
    await bench.configure(source(retry=PATIENT))
    await bench.submit(*range(6))
    first, second = await bench.claims(most=2)
    await bench.settle(first, Failed("broken"), jitter=0.75)
    await bench.settle(second, Failed("broken"), jitter=0.25)

    assert ids_of(await bench.assert_granted_exactly_after(1 * SECOND)) == [3, 4, 5]
    assert ids_of(await bench.assert_granted_exactly_after(2 * SECOND)) == [0, 1, 2]


async def test_nothing_due_is_passed_over_however_much_is_due(bench: Bench) -> None:
    """A mover that stops at a thousand must not hand out LOW while a HIGH is among those not yet moved."""
    await bench.configure(source(batch_size=1))
    await bench.submit(*range(MOVED_AT_ONCE), priority=Priority.LOW)
    await bench.submit(-1, priority=Priority.HIGH)
    await bench.engine.run(begin_all_to_retry)

    assert await bench.try_claim() == Wait(for_us=0)
    assert await bench.claimed_ids() == [-1]
    assert await bench.claimed_ids() == [0]


async def test_a_claim_that_only_moves_what_is_due_spends_nothing(bench: Bench) -> None:
    await bench.configure(source(batch_size=1, retry=PATIENT))
    await bench.submit(*range(MOVED_AT_ONCE))
    await bench.engine.run(begin_all_to_retry)

    assert await bench.try_claim() == Wait(for_us=0)
    assert await bench.rows("select count(*) from ledger") == [(0,)]
    assert await bench.claimed_ids() == [0]


async def begin_all_to_retry(tx: Transaction) -> None:
    """Every batch of every ingestion, of one id each, has begun and is due: the older before the younger."""
    await tx.do(
        statement(
            "insert into batch (seq, number, source, priority, status, ready, not_before, attempt, fence, todo,"
            " left_count, triggered_at)"
            " select i.seq, c.start + j.key, source, priority, 'triggered', 0, i.seq * 100000 + j.key, 2, 1,"
            " '[[' || (c.start + j.key) || ']]', 1, 0"
            " from ingestion i join id_chunk c on c.seq = i.seq, json_each(c.ids) j",
            "insert into batch (seq, number, source, priority, status, ready, not_before, attempt, fence, todo,"
            " left_count, triggered_at)"
            " select i.seq, c.start + j - 1, source, priority, 'triggered', 0, i.seq * 100000 + j - 1, 2, 1,"
            " '[[' || (c.start + j - 1) || ']]', 1, 0"
            " from ingestion i join id_chunk c on c.seq = i.seq,"
            " generate_series(1, json_array_length(cast(c.ids as json))) j",
        )
    )
    await tx.do(
        statement("update ingestion set waiting = 0, next_batch = batch_count, begun = id_count")
    )


async def test_one_accepted_after_the_answer_to_another_goes_after_it(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source())
    for n in range(10):
        await (bench, other)[n % 2].submit(n)

    assert await drain(bench) == [[n] for n in range(10)]


# -- the cursor, repeats and chunks --------------------------------------------------------------------------


async def test_a_claim_moves_the_cursor_and_begins_one_batch(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(*range(7))

    await bench.claim()

    seen = await bench.status(ingestion)
    assert (seen.next_batch, seen.counts) == (1, Counts(distinct=7, begun=3))
    assert await bench.batch_statuses(ingestion) == ["triggered", "yet_to_start", "yet_to_start"]
    assert await bench.rows("select number from batch") == [(0,)]


async def test_a_repeat_is_not_fetched_again(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 1, 2, 2, 3, 1)

    assert await drain(bench) == [[1, 2], [3]]


async def test_a_claim_names_each_id_by_its_first_position(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(7, 7, 8, 8, 9, 7)

    assert (await bench.claim()).ids == ((0, 7), (2, 8))
    assert (await bench.claim()).ids == ((4, 9),)


async def test_a_batch_of_nothing_but_repeats_is_stepped_over_without_a_grant(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 1, 2, 3, 4)

    assert await drain(bench) == [[1, 2, 3], [4]]
    assert await bench.rows("select count(*) from ledger") == [(2,)]
    assert await bench.batch_statuses(ingestion) == ["completed"] * 3


async def test_repeats_at_the_end_leave_nothing_to_claim(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, *[1, 2, 3] * 5)

    await bench.call()

    assert isinstance(await bench.try_claim(), Idle)
    assert (await bench.status(ingestion)).counts == Counts(distinct=3, begun=3, fetched=3)
    assert await bench.batch_statuses(ingestion) == ["completed"] * 6


@pytest.mark.parametrize("size", [1, 3, 7, 100, 299, 300, 301])
@pytest.mark.parametrize("repeats", [298, 299, 300, 301, 302, 599, 600, 601, 1_000])
async def test_any_run_of_repeats_is_stepped_over(bench: Bench, size: int, repeats: int) -> None:
    """Whatever of batches and whole chunks the repeats fill, in the middle and at the end."""
    await bench.configure(source(batch_size=size, concurrency=10_000))
    await bench.submit(1, 2, *[1, 2] * (repeats // 2), 3, *[2] * repeats)

    called = [value for call in await drain(bench) for value in call]

    assert called == [1, 2, 3]


async def test_batches_of_repeats_stand_as_their_first_ones_do(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 4, 5, 6, 1, 4, 4)
    seen = [await bench.batch_statuses(ingestion)]
    first = await bench.claim()
    seen.append(await bench.batch_statuses(ingestion))
    second = await bench.claim()
    seen.append(await bench.batch_statuses(ingestion))
    await bench.settle(first)
    await bench.settle(second, Rejected("bad"))
    seen.append(await bench.batch_statuses(ingestion))

    assert [statuses[2] for statuses in seen] == [
        "yet_to_start",
        "yet_to_start",
        "triggered",
        "triggered",
    ]


async def test_a_batch_of_repeats_fails_with_its_first_ones(bench: Bench) -> None:
    await bench.configure(source(batch_size=1))
    ingestion = await bench.submit(1, 2, 1, 2)
    await bench.call(Rejected("bad"))
    await bench.call()

    assert await bench.batch_statuses(ingestion) == ["failed", "completed", "failed", "completed"]


@pytest.mark.parametrize("size", [1, 3, 7, 50, 299, 300, 301, 1_000])
@pytest.mark.parametrize("length", [299, 300, 301, 601])
async def test_a_drain_fetches_every_id_once_in_order(bench: Bench, size: int, length: int) -> None:
    await bench.configure(source(batch_size=size, concurrency=10_000))
    ingestion = await bench.submit(*range(length))
    claims = await bench.claims(most=10_000)

    assert [value for each in claims for value in ids_of(each)] == list(range(length))
    assert {len(each.ids) for each in claims[:-1]} <= {size}
    assert (await bench.status(ingestion)).counts == Counts(distinct=length, begun=length)


# -- what one call takes -------------------------------------------------------------------------------------


async def test_a_smaller_limit_of_the_source_caps_what_one_call_takes(bench: Bench) -> None:
    await bench.configure(source(batch_size=5))
    ingestion = await bench.submit(*range(10))
    await bench.configure(source(batch_size=2))

    assert await drain(bench) == [[0, 1], [2, 3], [4], [5, 6], [7, 8], [9]]
    assert await bench.batch_statuses(ingestion) == ["completed", "completed"]


async def test_a_batch_stays_triggered_while_a_smaller_limit_works_through_it(bench: Bench) -> None:
    await bench.configure(source(batch_size=3))
    ingestion = await bench.submit(1, 2, 3)
    await bench.configure(source(batch_size=1))
    await bench.call()

    assert await bench.batch_statuses(ingestion) == ["triggered"]
    assert (await bench.status(ingestion)).counts == Counts(distinct=3, begun=3, fetched=1)


async def test_a_larger_limit_of_the_source_leaves_batches_as_they_were_accepted(
    bench: Bench,
) -> None:
    await bench.configure(source(batch_size=2))
    await bench.submit(1, 2, 3)
    await bench.configure(source(batch_size=50))

    assert await drain(bench) == [[1, 2], [3]]


async def test_a_limit_of_one_works_through_a_batch_with_repeats(bench: Bench) -> None:
    await bench.configure(source(batch_size=5))
    await bench.submit(1, 1, 2, 1, 3, 2, 4)
    await bench.configure(source(batch_size=1))

    assert await drain(bench) == [[1], [2], [3], [4]]


# -- several at once -----------------------------------------------------------------------------------------


async def test_several_are_taken_in_order_by_one_claim(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(*range(7))
    await bench.submit(10, priority=Priority.HIGH)

    claims = await bench.claims(most=3)

    assert [ids_of(each) for each in claims] == [[10], [0, 1, 2], [3, 4, 5]]
    assert len({each.entry for each in claims}) == 3


async def test_a_claim_of_several_takes_what_there_is(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(*range(4))

    assert len(await bench.claims(most=64)) == 2
    assert isinstance(await bench.try_claim(most=64), Idle)


async def test_a_claim_of_several_steps_over_repeats_between_them(bench: Bench) -> None:
    await bench.configure(source(batch_size=2))
    await bench.submit(1, 2, 1, 2, 3, 1, 3, 3, 4)

    assert [ids_of(each) for each in await bench.claims(most=9)] == [[1, 2], [3], [4]]


async def test_claims_at_once_share_the_queue_and_take_nothing_twice(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source())
    await bench.submit(*range(60))

    got = await asyncio.gather(*((bench, other)[n % 2].claim() for n in range(20)))

    assert sorted(value for each in got for value in ids_of(each)) == list(range(60))


async def test_a_claimed_batch_is_not_claimed_again(bench: Bench, other: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await bench.claim()

    assert isinstance(await other.try_claim(), Idle)


async def test_who_is_too_far_to_use_a_grant_spends_none(bench: Bench) -> None:
    """Seven round trips from the look at the clock on are more than the slack."""
    await bench.configure(source(windows=[Window(1, 60 * SECOND)], slack_us=700 * MS))
    await bench.submit(1)

    bench.clock.look_us = 100 * MS + 1
    asked = await bench.engine.run(claim, "catalog", worker=bench.worker)
    assert asked == TooFar(7 * (100 * MS + 1))

    bench.clock.look_us = 100 * MS
    assert (await bench.claim()).attempt == 1


# -- what a claim says ---------------------------------------------------------------------------------------


async def test_a_claim_says_how_long_it_is_good_for(bench: Bench) -> None:
    await bench.configure(source(slack_us=700 * MS, lease_us=9 * SECOND))
    await bench.submit(1)

    claimed = await bench.claim()

    assert (claimed.slack_us, claimed.lease_us) == (700 * MS, 9 * SECOND)
    assert (claimed.attempt, claimed.source, claimed.not_before_us) == (1, "catalog", 0)


async def test_each_claim_is_told_to_observers(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 2, 3, 4)
    await bench.claims(most=2)

    assert bench.stated(BatchClaimed) == [
        BatchClaimed("catalog", 1, 0, 1),
        BatchClaimed("catalog", 1, 1, 1),
    ]


async def test_the_same_batch_has_another_fence_at_each_claim(bench: Bench) -> None:
    await bench.configure(source(retry=policy()))
    await bench.submit(1)
    fences = [(await bench.call(Failed("broken"))).fence for _ in range(3)]

    assert sorted(set(fences)) == fences


async def test_a_claim_under_another_fence_can_settle_nothing(bench: Bench) -> None:
    await bench.configure(source(retry=policy()))
    ingestion = await bench.submit(1, 2)
    stale = await bench.call(Failed("broken"))
    held = await bench.claim()
    before = await bench.rows("select * from batch")

    assert await bench.settle(stale, fetched(stale)) == Lost()
    assert await bench.settle(replace(held, fence=held.fence + 1), report=UNKNOWN) == Lost()
    assert await bench.rows("select * from batch") == before
    assert await bench.endings(ingestion) == {}


# -- nothing to do, and lanes --------------------------------------------------------------------------------


async def test_an_empty_queue_is_idle_and_spends_nothing(bench: Bench) -> None:
    await bench.configure(source())

    assert isinstance(await bench.try_claim(), Idle)
    assert await bench.rows("select count(*) from ledger") == [(0,)]


async def test_a_drained_queue_is_idle(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 2, 3, 4)
    await drain(bench)

    assert isinstance(await bench.try_claim(), Idle)


async def test_a_source_that_was_never_configured_is_not_found(bench: Bench) -> None:
    await bench.configure(source())

    with pytest.raises(NotFound):
        await bench.try_claim("nowhere")


async def test_each_source_has_a_lane_of_its_own(bench: Bench) -> None:
    await bench.configure(source("a"), source("b"))
    await bench.submit(1, source="a")
    await bench.submit(2, source="b", priority=Priority.LOW)

    assert await bench.claimed_ids("b") == [2]
    assert await bench.claimed_ids("a") == [1]


async def test_a_source_that_waits_holds_no_other_one_up(bench: Bench) -> None:
    await bench.configure(source("a", concurrency=1), source("b"))
    await bench.submit(1, 2, 3, 4, source="a", priority=Priority.HIGH)
    await bench.submit(5, source="b", priority=Priority.LOW)
    await bench.claim("a")

    assert (await bench.refused("a")).why is Hold.CONCURRENCY
    assert await bench.claimed_ids("b") == [5]


async def test_a_retry_of_one_source_is_not_moved_by_another(bench: Bench) -> None:
    await bench.configure(source("a", retry=PATIENT), source("b"))
    await bench.submit(1, source="a")
    await bench.call(Failed("broken"), "a")
    bench.clock.advance(5 * SECOND)

    assert isinstance(await bench.try_claim("b"), Idle)
    assert await bench.claimed_ids("a") == [1]
