"""
When a call is granted, to the microsecond: never over a window, and never later than the rule says.

Windows are held a thousandth longer than they are (two clocks may differ by so much), from the instant u on that
the source cannot have counted after. Instants here are worked out by hand; the product's rule is not asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from headgate.core.facts import QuotaChanged, SourcePaused, TimeUnwatched
from headgate.core.model import CallReport, Priority
from headgate.core.outcome import Failed, Fetched, Rejected, Throttled
from headgate.core.quota import Hold, Pacing, Wait, Window
from headgate.store.commands.claim import Claims, Idle
from tests.contract.store.bench import (
    ANSWERED,
    DAY,
    HELD_5S,
    HOUR,
    MINUTE,
    MS,
    ONE_PER_5S,
    UNKNOWN,
    UNSENT,
    Bench,
    fetched,
    ids_of,
    policy,
    shared,
    source,
)
from tests.fakes import SECOND

pytestmark = pytest.mark.anyio


UNKNOWN_FATE_US = 6_006_000
"""(slack 1 s + grace 5 s) and a thousandth."""


async def queue(bench: Bench, *, batches: int = 20, name: str | None = None) -> None:
    """So many batches of one id each, whatever the size of a batch."""
    for n in range(batches):
        await bench.submit(n, source=name)


# -- one window ----------------------------------------------------------------------------------------------


async def test_the_first_call_is_granted_at_once(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S], pacing=Pacing.EVEN))
    await queue(bench)

    assert isinstance(await bench.try_claim(), Claims)


async def test_a_window_is_held_from_the_answer_for_its_span_and_a_thousandth(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    await bench.call(lasts_us=150 * MS)

    await bench.assert_granted_exactly_after(HELD_5S)


@pytest.mark.parametrize("pacing", Pacing)
@pytest.mark.parametrize("span_us", [20 * MS, 333_333, SECOND, 1_234_567, DAY, 31 * DAY])
async def test_every_span_is_kept_to_the_microsecond(
    bench: Bench, span_us: int, pacing: Pacing
) -> None:
    await bench.configure(source(windows=[Window(1, span_us)], pacing=pacing))
    await queue(bench)
    await bench.call()
    thousandth = (span_us + 999) // 1_000

    await bench.assert_granted_exactly_after(span_us + thousandth)


async def test_a_call_without_an_answer_yet_occupies_its_place_for_as_long_as_it_takes(
    bench: Bench,
) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    await bench.claim()
    bench.clock.advance(DAY)

    assert await bench.refused() == Wait(None, Hold.ANSWER, "catalog")


async def test_a_window_of_several_is_full_at_its_limit(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(3, SECOND)]))
    await queue(bench)

    assert len(await bench.claims(most=10)) == 3
    assert (await bench.refused()).for_us is None


async def test_places_of_a_window_come_free_one_by_one(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(3, SECOND)]))
    await queue(bench)
    for _ in range(3):
        await bench.call()
        bench.clock.advance(100 * MS)

    await bench.assert_granted_exactly_after(1_001 * MS - 300 * MS)
    await bench.settle_all()
    await bench.assert_granted_exactly_after(100 * MS)


async def test_while_one_answer_is_out_the_wait_is_for_the_place_of_another(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(2, SECOND)]))
    await queue(bench)
    await bench.call()
    bench.clock.advance(10 * MS)
    await bench.claim()

    await bench.assert_granted_exactly_after(1_001 * MS - 10 * MS)


async def test_an_empty_queue_spends_no_quota(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    for _ in range(3):
        assert isinstance(await bench.try_claim(), Idle)
    await queue(bench)

    assert isinstance(await bench.try_claim(), Claims)


async def test_a_refused_claim_spends_nothing_and_begins_nothing(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    await bench.call()
    before = [await bench.rows(f"select * from {t}") for t in ("ledger", "batch", "ingestion")]
    bench.clock.advance(SECOND // 2)
    await bench.refused()

    after = [await bench.rows(f"select * from {t}") for t in ("ledger", "batch", "ingestion")]
    assert after == before


async def test_work_that_waits_for_quota_keeps_its_order(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await bench.submit(1, 2, 3, 4, 5)
    await bench.call()
    await bench.submit(6, 7, 8, 9, priority=Priority.HIGH)
    called = []
    for _ in range(3):
        bench.clock.advance(HELD_5S)
        called.append(ids_of(await bench.call()))

    assert called == [[6, 7, 8], [9], [4, 5]]


async def test_a_fuller_quota_never_refuses_for_ever(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(2, SECOND), Window(3, 10 * SECOND)]))
    await queue(bench, batches=12)
    for _ in range(12):
        if isinstance(got := await bench.try_claim(), Wait):
            assert got.for_us
            bench.clock.advance(got.for_us)
            got = await bench.try_claim()
        assert isinstance(got, Claims)
        await bench.settle(got.claims[0])

    assert isinstance(await bench.try_claim(), Idle)


# -- u: what the worker saw ----------------------------------------------------------------------------------


async def u_of_a_call(bench: Bench, report: CallReport, *, lasts_us: int, **rules: int) -> int:
    """How long after its grant a call occupies its window of 5 s, seen from outside: by the wait it causes."""
    await bench.configure(source(windows=[ONE_PER_5S], **rules))  # type: ignore[arg-type]
    await queue(bench)
    claimed = await bench.claim()
    bench.clock.advance(lasts_us)
    await bench.settle(claimed, report=report)
    waited = (await bench.refused()).for_us
    assert waited is not None
    await bench.assert_granted_exactly_after(waited)
    return lasts_us + waited - HELD_5S


async def test_u_is_the_instant_at_which_the_answer_was_seen(bench: Bench) -> None:
    report = CallReport(sent=True, written_ago_us=900 * MS, answered_ago_us=0)

    assert await u_of_a_call(bench, report, lasts_us=SECOND) == SECOND


async def test_an_age_is_shortened_by_a_thousandth_so_that_u_is_never_too_early(
    bench: Bench,
) -> None:
    report = CallReport(sent=True, written_ago_us=900 * MS, answered_ago_us=300 * MS)

    assert await u_of_a_call(bench, report, lasts_us=SECOND) == SECOND - 299_700


async def test_an_age_rounds_to_a_later_u(bench: Bench) -> None:
    report = CallReport(sent=True, written_ago_us=5_000, answered_ago_us=1)

    assert await u_of_a_call(bench, report, lasts_us=SECOND) == SECOND


async def test_where_the_source_counts_at_once_u_is_the_write(bench: Bench) -> None:
    report = CallReport(sent=True, written_ago_us=900 * MS, answered_ago_us=0)

    assert await u_of_a_call(bench, report, lasts_us=SECOND, within_us=0) == SECOND - 899_100


async def test_where_the_source_counts_within_a_while_u_is_the_write_and_that(bench: Bench) -> None:
    report = CallReport(sent=True, written_ago_us=900 * MS, answered_ago_us=0)
    u = await u_of_a_call(bench, report, lasts_us=SECOND, within_us=100 * MS)

    assert u == SECOND - 899_100 + 100 * MS


async def test_an_answer_that_comes_sooner_than_the_source_must_count_is_u(bench: Bench) -> None:
    report = CallReport(sent=True, written_ago_us=900 * MS, answered_ago_us=0)

    assert await u_of_a_call(bench, report, lasts_us=SECOND, within_us=10 * SECOND) == SECOND


async def test_a_written_call_without_an_answer_counts_as_the_source_promises(bench: Bench) -> None:
    report = CallReport(sent=True, written_ago_us=2 * SECOND)
    u = await u_of_a_call(bench, report, lasts_us=3 * SECOND, within_us=0)

    assert u == 3 * SECOND - 1_998 * MS


@pytest.mark.parametrize("within_us", [None, 0])
async def test_a_call_that_nobody_saw_leave_is_of_unknown_fate(
    bench: Bench, within_us: int | None
) -> None:
    more = {} if within_us is None else {"within_us": within_us}

    assert await u_of_a_call(bench, UNKNOWN, lasts_us=SECOND, **more) == UNKNOWN_FATE_US


async def test_a_written_call_without_an_answer_is_of_unknown_fate_where_nothing_is_promised(
    bench: Bench,
) -> None:
    report = CallReport(sent=True, written_ago_us=500 * MS)

    assert await u_of_a_call(bench, report, lasts_us=SECOND) == UNKNOWN_FATE_US


async def test_slack_and_grace_of_the_source_make_the_unknown_fate(bench: Bench) -> None:
    u = await u_of_a_call(bench, UNKNOWN, lasts_us=0, slack_us=200 * MS, grace_us=1 * SECOND)

    assert u == 1_201_200


async def test_a_call_given_up_later_than_its_fate_could_last_counts_until_then(
    bench: Bench,
) -> None:
    assert await u_of_a_call(bench, UNKNOWN, lasts_us=30 * SECOND) == 30 * SECOND


async def test_a_call_given_up_unsent_counts_until_then(bench: Bench) -> None:
    assert await u_of_a_call(bench, UNSENT, lasts_us=700 * MS) == 700 * MS


async def test_a_grant_that_was_not_used_is_spent_all_the_same(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(2, SECOND)]))
    await queue(bench)
    for _ in range(2):
        await bench.settle(await bench.claim(), report=UNSENT)

    await bench.assert_granted_exactly_after(1_001 * MS)


async def test_the_answer_of_a_call_that_failed_counts_as_any_other(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S], retry=policy()))
    await queue(bench)
    await bench.call(Failed("500"), lasts_us=150 * MS)

    await bench.assert_granted_exactly_after(HELD_5S)


# -- a call that reports that it was written -----------------------------------------------------------------


async def test_a_call_that_was_written_frees_its_place_before_its_answer(bench: Bench) -> None:
    """Where the source is known to count at once, a slow answer costs no quota."""
    await bench.configure(source(windows=[ONE_PER_5S], within_us=0))
    await queue(bench)
    claimed = await bench.claim()
    bench.clock.advance(SECOND)
    await bench.report(claimed, written_ago_us=900 * MS)

    await bench.assert_granted_exactly_after(HELD_5S - 899_100)


async def test_a_call_that_was_written_is_still_in_flight(bench: Bench) -> None:
    await bench.configure(source(within_us=0, concurrency=1))
    await queue(bench)
    claimed = await bench.claim()
    await bench.report(claimed, written_ago_us=0)
    assert await bench.refused() == Wait(None, Hold.CONCURRENCY)
    await bench.settle(claimed)

    assert isinstance(await bench.try_claim(), Claims)


async def test_u_is_set_once_and_then_only_lowered(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S], within_us=2 * SECOND))
    await queue(bench)
    claimed = await bench.claim()
    bench.clock.advance(SECOND)
    await bench.report(claimed, written_ago_us=0)
    assert (await bench.refused()).for_us == HELD_5S + 2 * SECOND
    await bench.settle(claimed, report=CallReport(True, written_ago_us=0, answered_ago_us=0))
    assert (await bench.refused()).for_us == HELD_5S
    bench.clock.advance(SECOND)

    assert (await bench.refused()).for_us == HELD_5S - SECOND


async def test_a_written_call_that_is_cut_off_counts_from_its_write(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S], within_us=0))
    await queue(bench)
    claimed = await bench.claim()
    await bench.report(claimed, written_ago_us=0)
    bench.clock.advance(3 * SECOND)
    await bench.settle(claimed, Failed("timed out"), report=UNKNOWN)

    assert (await bench.refused()).for_us == HELD_5S - 3 * SECOND


async def test_a_written_call_of_a_dead_worker_counts_from_its_write(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S], within_us=0))
    await queue(bench)
    claimed = await bench.claim()
    await bench.report(claimed, written_ago_us=0)
    await bench.rescue()

    assert (await bench.refused()).for_us == HELD_5S


async def test_a_report_under_a_stale_fence_changes_nothing(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S], within_us=0))
    await queue(bench)
    claimed = await bench.claim()
    bench.clock.advance(SECOND)
    await bench.rescue()
    before = await bench.dump()
    await bench.report(claimed, written_ago_us=SECOND)

    assert await bench.dump() == before


async def test_a_report_tells_nothing_where_nothing_is_promised_of_the_source(
    bench: Bench,
) -> None:
    """The promise may be taken back while a call is under way: its answer alone tells then."""
    await bench.configure(source(windows=[ONE_PER_5S], within_us=0))
    await queue(bench)
    claimed = await bench.claim()
    await bench.configure(source(windows=[ONE_PER_5S]))
    await bench.report(claimed, written_ago_us=0)
    bench.clock.advance(60 * SECOND)
    await bench.settle(claimed, report=CallReport(True, 60 * SECOND, 0))

    await bench.assert_granted_exactly_after(HELD_5S)


async def test_a_claim_says_when_to_report_only_where_that_tells_something(bench: Bench) -> None:
    found = {}
    for name, windows, within_us in (
        ("a", [Window(1, 400 * MS), Window(9, SECOND)], 0),
        ("b", [Window(1, HOUR)], 100 * MS),
        ("c", [Window(1, HOUR)], None),
        ("d", [], 0),
    ):
        await bench.configure(source(name, windows, within_us=within_us))
        await queue(bench, name=name, batches=1)
        found[name] = (await bench.claim(name)).report_after_us

    assert found == {"a": 100 * MS, "b": 250 * MS, "c": None, "d": None}


# -- windows of many calls, and sources faster than a hundred a second ---------------------------------------


MANY = Window(2_000, SECOND)


@pytest.mark.slow
async def test_a_window_of_many_calls_is_never_over(bench: Bench) -> None:
    """It counts in buckets of a thousandth of its span: rather too long than too short."""
    await bench.configure(source(windows=[MANY], concurrency=5_000, batch_size=1, call_cost=50))
    await bench.submit(*range(400))
    grants: list[int] = []
    while not isinstance(got := await bench.try_claim(most=64), Idle):
        if isinstance(got, Wait):
            assert got.for_us
            bench.clock.advance(min(got.for_us, 7_001))
            continue
        for claimed in got.claims:
            grants.append(bench.clock.reference_us)
            await bench.settle(claimed)

    assert all(later - early > SECOND for early, later in zip(grants, grants[40:], strict=False))
    assert grants[-1] - grants[0] <= 9 * 1_003 * MS


async def test_a_window_of_many_calls_waits_for_a_bucket_and_no_longer(bench: Bench) -> None:
    await bench.configure(source(windows=[MANY], call_cost=2_000))
    await queue(bench)
    await bench.call()
    waited = (await bench.refused()).for_us

    assert waited is not None
    assert 1_001 * MS <= waited <= 1_002 * MS
    await bench.assert_granted_exactly_after(waited)


async def test_a_window_of_many_calls_counts_what_is_in_flight(bench: Bench) -> None:
    await bench.configure(source(windows=[MANY], call_cost=1_000))
    await queue(bench)

    assert len(await bench.claims(most=10)) == 2
    assert await bench.refused() == Wait(None, Hold.ANSWER, "catalog")


async def test_a_source_that_swaps_a_shared_quota_during_a_call_still_counts_for_the_one_it_left(
    bench: Bench,
) -> None:
    quotas = [shared("account", Window(1_001, HOUR)), shared("proxy")]
    own = [Window(10_000, SECOND)]
    await bench.configure(
        source("a", own, shares=["account"], call_cost=1_001),
        source("b", shares=["account"]),
        quotas=quotas,
    )
    await queue(bench, name="a")
    await queue(bench, name="b")
    claimed = await bench.claim("a")
    await bench.configure(source("a", own, shares=["proxy"], call_cost=1_001), quotas=quotas)
    await bench.settle(claimed)

    assert (await bench.refused("b")).why is Hold.WINDOW


FAST = Window(200, SECOND)
"""A slot of 5 ms: faster than a hundred calls a second."""


async def test_a_fast_source_is_granted_calls_ahead_of_their_instants(bench: Bench) -> None:
    await bench.configure(source(windows=[FAST], pacing=Pacing.EVEN))
    await queue(bench, batches=30)
    claims = await bench.claims(most=64)
    instants = [claimed.not_before_us for claimed in claims]

    assert instants[:4] == [0, 3_750, 8_750, 13_750]
    assert 10 <= len(claims) <= 12
    assert max(instants) <= 50 * MS


async def test_a_source_that_is_not_fast_is_granted_nothing_ahead(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(100, SECOND)], pacing=Pacing.EVEN))
    await queue(bench)

    assert [claimed.not_before_us for claimed in await bench.claims(most=64)] == [0]


async def test_calls_granted_ahead_and_not_sent_count_from_their_instant(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(5, 20 * MS)], pacing=Pacing.EVEN))
    await queue(bench)
    claims = await bench.claims(most=5)
    for claimed in claims:
        await bench.settle(claimed, report=UNSENT)
    (following,) = await bench.claims(most=1)

    assert [each.not_before_us for each in claims] == [0, 3_000, 7_000, 11_000, 15_000]
    assert following.not_before_us == 20_020


async def test_what_was_granted_ahead_is_never_over_a_window(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, 50 * MS)], pacing=Pacing.EVEN, within_us=0))
    await queue(bench, batches=60)
    sent: list[int] = []
    while not isinstance(got := await bench.try_claim(most=64), Idle):
        if isinstance(got, Wait):
            assert got.for_us
            bench.clock.advance(got.for_us)
            continue
        instants = [bench.clock.reference_us + each.not_before_us for each in got.claims]
        bench.clock.advance(instants[-1] - bench.clock.reference_us)
        for claimed, instant in zip(got.claims, instants, strict=True):
            ago = bench.clock.reference_us - instant
            await bench.settle(claimed, report=CallReport(True, ago, ago))
        sent += instants

    assert len(sent) == 60
    assert all(later - early > 50 * MS for early, later in zip(sent, sent[10:], strict=False))


# -- a source that throttles although it is within quota -----------------------------------------------------


async def test_a_source_that_throttles_within_quota_is_called_half_as_often(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)], pacing=Pacing.EVEN))
    await queue(bench, batches=40)
    slots = [(await granted_at(bench, 3))[-1] - 75 * MS]
    for _ in range(2):
        bench.clock.advance(SECOND)
        await bench.call(Throttled(0))
        bench.clock.advance(2 * SECOND)
        found = await granted_at(bench, 3)
        slots.append(found[2] - found[1])

    assert slots == [100 * MS, 200 * MS, 400 * MS]


async def test_the_pace_climbs_back_while_nothing_is_throttled(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)], pacing=Pacing.EVEN))
    await queue(bench, batches=60)
    for _ in range(2):
        await bench.call(Throttled(0))
        bench.clock.advance(SECOND)
    slots = []
    for _ in range(4):
        found = await granted_at(bench, 3)
        slots.append(found[2] - found[1])
        bench.clock.advance(11 * SECOND)

    assert slots == [400 * MS, 200 * MS, 100 * MS, 100 * MS]


async def test_a_source_that_says_that_nothing_is_left_is_left_alone_until_then(
    bench: Bench,
) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)]))
    await queue(bench)
    claimed = await bench.claim()
    await bench.settle(claimed, replace(fetched(claimed), nothing_left_us=30 * SECOND))

    assert await bench.refused() == Wait(30 * SECOND, Hold.PAUSED, "catalog")


# -- several windows, and cost -------------------------------------------------------------------------------


async def test_all_windows_must_hold(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(2, SECOND), Window(3, 10 * SECOND)]))
    await queue(bench)
    await bench.call()
    await bench.call()
    await bench.settle(await bench.assert_granted_exactly_after(1_001 * MS))

    await bench.assert_granted_exactly_after(10_010 * MS - 1_001 * MS)


async def test_the_wait_names_the_window_that_binds_longest(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(1, 10 * SECOND), Window(1, SECOND)]))
    await queue(bench)
    await bench.call()

    assert await bench.refused() == Wait(10_010 * MS, Hold.WINDOW, "catalog")


async def test_a_call_may_cost_more_than_one(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)], call_cost=4))
    await queue(bench)

    assert len(await bench.claims(most=10)) == 2


async def test_a_call_costs_by_its_ids(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)], call_cost=1, id_cost=2))
    await bench.submit(1, 2, 3)
    await bench.submit(4)
    await bench.submit(5)

    assert [len(each.ids) for each in await bench.claims(most=10)] == [3, 1]
    assert await bench.rows("select cost from ledger") == [(7,), (3,)]


async def test_a_dear_call_waits_until_enough_has_come_free(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(4, SECOND)], call_cost=0, id_cost=1))
    for n in range(4):
        await bench.submit(n)
        await bench.call()
        bench.clock.advance(10 * MS)
    await bench.submit(1, 2, 3)

    await bench.assert_granted_exactly_after(1_001 * MS - 20 * MS)


async def test_a_cheap_call_does_not_overtake_a_dear_one_that_waits(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(4, SECOND)], call_cost=0, id_cost=1))
    await bench.submit(1, 2)
    await bench.call()
    await bench.submit(3, 4, 5)
    await bench.submit(6)

    assert ids_of(await bench.assert_granted_exactly_after(1_001 * MS)) == [3, 4, 5]


async def test_a_call_that_costs_more_than_its_window_says_that_it_waits_for_ever(
    bench: Bench,
) -> None:
    await bench.configure(source(windows=[Window(2, SECOND)], call_cost=0, id_cost=1))
    await bench.submit(1, 2, 3)

    assert await bench.refused() == Wait(None, Hold.COST, "catalog")


async def test_repeats_cost_nothing(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(4, SECOND)], call_cost=0, id_cost=1))
    await bench.submit(1, 1, 1)
    await bench.claim()

    assert await bench.rows("select cost from ledger") == [(1,)]


# -- pace ----------------------------------------------------------------------------------------------------


async def granted_at(bench: Bench, calls: int, *, late_us: int = 0) -> list[int]:
    """The instants of grants, counted from the first, with a worker that is so late each time; calls take no time."""
    began = bench.clock.reference_us
    found: list[int] = []
    while len(found) < calls:
        if isinstance(got := await bench.try_claim(), Wait):
            assert got.for_us
            bench.clock.advance(got.for_us + late_us)
            continue
        assert isinstance(got, Claims)
        found.append(bench.clock.reference_us - began)
        await bench.settle(got.claims[0])
    return found


async def test_a_burst_takes_the_whole_window_at_once(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(5, SECOND)], pacing=Pacing.BURST))
    await queue(bench)

    assert await granted_at(bench, 10) == [0] * 5 + [1_001 * MS] * 5


async def test_an_even_pace_spreads_the_window(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(5, SECOND)], pacing=Pacing.EVEN))
    await queue(bench)
    slots = await granted_at(bench, 5)

    assert slots == [0, 150 * MS, 350 * MS, 550 * MS, 750 * MS]


async def test_the_pace_is_of_the_shortest_window(bench: Bench) -> None:
    windows = [Window(1_000, DAY), Window(2, SECOND), Window(60, MINUTE)]
    await bench.configure(source(windows=windows, pacing=Pacing.EVEN))
    await queue(bench)
    await bench.call()

    assert await bench.refused() == Wait(375 * MS, Hold.PACE, "catalog")


async def test_lateness_of_up_to_a_quarter_of_a_slot_is_caught_up(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)], pacing=Pacing.EVEN))
    await queue(bench)
    slots = await granted_at(bench, 5, late_us=25 * MS)

    assert slots == [0, 100 * MS, 200 * MS, 300 * MS, 400 * MS]


async def test_lateness_beyond_a_quarter_of_a_slot_is_lost(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)], pacing=Pacing.EVEN))
    await queue(bench)
    slots = await granted_at(bench, 4, late_us=40 * MS)

    assert slots == [0, 115 * MS, 230 * MS, 345 * MS]


async def test_a_queue_that_was_empty_for_long_begins_with_no_burst(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)], pacing=Pacing.EVEN))
    await queue(bench)
    await granted_at(bench, 3)
    bench.clock.advance(HOUR)

    assert await granted_at(bench, 3) == [0, 75 * MS, 175 * MS]


async def test_the_pace_of_a_dear_call_is_longer(bench: Bench) -> None:
    await bench.configure(
        source(windows=[Window(10, SECOND)], pacing=Pacing.EVEN, call_cost=0, id_cost=1)
    )
    await bench.submit(1, 2, 3)
    await bench.submit(4)
    await bench.call()

    await bench.assert_granted_exactly_after(300 * MS - 25 * MS)


async def test_a_slot_that_is_no_whole_microsecond_rounds_up(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(3, SECOND)], pacing=Pacing.EVEN))
    await queue(bench)
    await bench.call()
    await bench.assert_granted_exactly_after(333_334 - 83_333)
    await bench.settle_all()

    await bench.assert_granted_exactly_after(333_334)


async def test_one_claim_takes_no_more_than_the_pace_allows(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)], pacing=Pacing.EVEN))
    await queue(bench)

    assert len(await bench.claims(most=10)) == 1


# -- concurrency and pauses ----------------------------------------------------------------------------------


async def test_no_more_calls_than_allowed_are_in_flight(bench: Bench, other: Bench) -> None:
    await bench.configure(source(concurrency=3))
    await queue(bench)
    claims = [*await bench.claims(most=2), *await other.claims(most=5)]

    assert len(claims) == 3
    assert await bench.refused() == Wait(None, Hold.CONCURRENCY)
    await bench.settle(claims[2])
    assert isinstance(await bench.try_claim(), Claims)


@pytest.mark.parametrize("report", [ANSWERED, UNKNOWN, UNSENT])
async def test_a_call_is_no_longer_in_flight_however_it_ended(
    bench: Bench, report: CallReport
) -> None:
    await bench.configure(source(concurrency=1))
    await queue(bench)
    await bench.settle(await bench.claim(), report=report)

    assert isinstance(await bench.try_claim(), Claims)


async def test_a_throttled_source_is_left_alone_until_it_said(bench: Bench) -> None:
    await bench.configure(source())
    await queue(bench)
    await bench.call(Throttled(30 * SECOND))

    assert await bench.refused() == Wait(30 * SECOND, Hold.PAUSED, "catalog")
    assert bench.stated(SourcePaused) == [SourcePaused("catalog", 30 * SECOND, "throttled")]
    await bench.assert_granted_exactly_after(30 * SECOND)


async def test_a_later_word_of_the_source_only_ever_lengthens_its_pause(bench: Bench) -> None:
    await bench.configure(source())
    await queue(bench)
    first, second, third = await bench.claims(most=3)
    await bench.settle(first, Throttled(30 * SECOND))
    await bench.settle(second, Throttled(10 * SECOND))
    assert (await bench.refused()).for_us == 30 * SECOND
    await bench.settle(third, Throttled(40 * SECOND))

    assert (await bench.refused()).for_us == 40 * SECOND


async def test_a_source_that_does_not_say_for_how_long_is_left_alone_with_jitter(
    bench: Bench,
) -> None:
    await bench.configure(source(retry=policy(base_us=8 * SECOND)))
    await queue(bench)
    await bench.settle(await bench.claim(), Throttled(), jitter=0.25)

    await bench.assert_granted_exactly_after(2 * SECOND)


async def test_a_pause_longer_than_a_day_is_a_day(bench: Bench) -> None:
    await bench.configure(source())
    await queue(bench)
    await bench.call(Throttled(400 * DAY))

    assert (await bench.refused()).for_us == DAY


async def test_a_pause_and_a_window_both_hold(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    await bench.call(Throttled(2 * SECOND))

    await bench.assert_granted_exactly_after(HELD_5S)


async def test_a_throttled_source_holds_no_other_one_up(bench: Bench) -> None:
    await bench.configure(source("a"), source("b"))
    await queue(bench, name="a")
    await queue(bench, name="b")
    await bench.call(Throttled(HOUR), "a")

    assert isinstance(await bench.try_claim("b"), Claims)


async def test_the_longest_of_several_waits_is_told(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(1, SECOND)], pacing=Pacing.EVEN))
    await queue(bench)
    await bench.call(Throttled(3 * SECOND))

    assert (await bench.refused()).why is Hold.PAUSED


# -- a change of configuration -------------------------------------------------------------------------------


async def test_a_smaller_quota_binds_queued_work_at_once(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)]))
    await queue(bench)
    for _ in range(2):
        await bench.call()
    await bench.configure(source(windows=[Window(2, 10 * SECOND)]))

    await bench.assert_granted_exactly_after(10_010 * MS)


async def test_a_larger_quota_frees_queued_work_at_once(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(1, HOUR)], pacing=Pacing.EVEN))
    await queue(bench)
    await bench.call()
    await bench.configure(source(windows=[Window(10, SECOND)], pacing=Pacing.EVEN))

    await bench.assert_granted_exactly_after(100 * MS)


async def test_a_smaller_quota_waits_for_one_new_slot_at_most(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)], pacing=Pacing.EVEN))
    await queue(bench)
    await bench.call()
    await bench.configure(source(windows=[Window(10, MINUTE)], pacing=Pacing.EVEN))

    await bench.assert_granted_exactly_after(75 * MS)


async def test_another_pacing_is_obeyed_at_once(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(3, HOUR)], pacing=Pacing.EVEN))
    await queue(bench)
    await bench.call()
    await bench.configure(source(windows=[Window(3, HOUR)], pacing=Pacing.BURST))

    assert len(await bench.claims(most=10)) == 2


async def test_a_change_by_one_process_is_obeyed_by_the_other(bench: Bench, other: Bench) -> None:
    await bench.configure(source(windows=[Window(100, SECOND)], concurrency=64))
    await queue(bench)
    await other.configure(source(windows=[Window(2, SECOND)], concurrency=1))

    assert len(await bench.claims(most=10)) == 1
    assert (await bench.refused()).why is Hold.CONCURRENCY


async def test_a_changed_quota_is_a_loud_fact(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await bench.configure(source(windows=[Window(2, SECOND)], pacing=Pacing.EVEN))

    assert bench.stated(QuotaChanged) == [
        QuotaChanged("catalog", "1 per 5 s (burst)", "2 per 1 s (even)")
    ]


async def test_the_same_quota_again_is_no_change_and_moves_nothing(bench: Bench) -> None:
    spec = source(windows=[Window(1, SECOND)], pacing=Pacing.EVEN)
    await bench.configure(spec)
    await queue(bench)
    await bench.call()
    before = await bench.rows("select * from quota")
    await bench.configure(spec)

    assert await bench.rows("select * from quota") == before
    assert bench.stated(QuotaChanged) == []


async def test_a_pause_outlives_a_change_of_the_quota(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    await bench.call(Throttled(HOUR))
    await bench.configure(source(windows=[Window(100, SECOND)]))

    assert (await bench.refused()).for_us == HOUR


async def assert_waits_for_the_past(bench: Bench, us: int, name: str | None = None) -> None:
    """A window that is new waits at least as long as it must, and for no more than one whole window of 5 s."""
    waited = (await bench.refused(name)).for_us
    assert waited is not None
    assert us <= waited <= HELD_5S
    await bench.assert_granted_exactly_after(waited, name)


async def test_a_window_that_is_new_counts_the_calls_before_it(bench: Bench) -> None:
    await bench.configure(source())
    await queue(bench)
    await bench.call()
    bench.clock.advance(SECOND)
    await bench.configure(source(windows=[ONE_PER_5S]))

    await assert_waits_for_the_past(bench, HELD_5S - SECOND)


async def test_a_window_that_is_new_counts_a_call_that_is_in_flight(bench: Bench) -> None:
    await bench.configure(source())
    await queue(bench)
    claimed = await bench.claim()
    await bench.configure(source(windows=[ONE_PER_5S]))

    assert (await bench.refused()).for_us is None
    await bench.settle(claimed)
    await bench.assert_granted_exactly_after(HELD_5S)


async def test_a_quota_that_was_lifted_and_put_back_counts_a_call_of_meanwhile(
    bench: Bench,
) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    claimed = await bench.claim()
    await bench.configure(source())
    await bench.settle(claimed)
    bench.clock.advance(SECOND)
    await bench.configure(source(windows=[ONE_PER_5S]))

    await assert_waits_for_the_past(bench, HELD_5S - SECOND)


async def test_a_process_that_starts_during_a_call_without_quota_charges_it_for_no_longer(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source())
    await queue(bench)
    claimed = await bench.claim()
    await other.configure(source())
    await bench.settle(claimed)
    await bench.configure(source(windows=[ONE_PER_5S]))

    await bench.assert_granted_exactly_after(HELD_5S)


@pytest.mark.slow
async def test_a_window_that_is_lengthened_knows_its_past(bench: Bench) -> None:
    """Totals are kept for 32 days, so that nobody gets a new day's quota by writing it into a file."""
    await bench.configure(source(windows=[Window(10, SECOND)]))
    await queue(bench, batches=250)
    for _ in range(220):
        await bench.call()
        bench.clock.advance(10 * SECOND)
    await bench.configure(source(windows=[Window(200, DAY)]))

    assert (await bench.refused()).why is Hold.WINDOW


async def test_a_window_that_is_lengthened_twice_counts_its_past_once(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)]))
    await queue(bench, batches=250)
    for _ in range(220):
        await bench.call()
        bench.clock.advance(10 * SECOND)
    for limit in (300, 301, 302, 300):
        await bench.configure(source(windows=[Window(limit, DAY)]))

    assert isinstance(await bench.try_claim(), Claims)


# -- shared quotas -------------------------------------------------------------------------------------------


async def share(bench: Bench, *windows: Window, pacing: Pacing = Pacing.BURST) -> None:
    """Two sources without a limit of their own, that share one."""
    account = shared("account", *windows, pacing=pacing)
    await bench.configure(
        source("a", shares=["account"]), source("b", shares=["account"]), quotas=[account]
    )
    await queue(bench, name="a")
    await queue(bench, name="b")


async def test_two_sources_share_one_quota(bench: Bench) -> None:
    await share(bench, ONE_PER_5S)
    await bench.call(name="a")

    assert await bench.refused("b") == Wait(HELD_5S, Hold.WINDOW, "account")
    await bench.assert_granted_exactly_after(HELD_5S, "b")


async def test_a_call_in_flight_of_one_source_counts_for_the_other(bench: Bench) -> None:
    await share(bench, ONE_PER_5S)
    claimed = await bench.claim("a")

    assert await bench.refused("b") == Wait(None, Hold.ANSWER, "account")
    await bench.settle(claimed)
    await bench.assert_granted_exactly_after(HELD_5S, "b")


async def test_sources_that_share_a_quota_share_its_pace(bench: Bench) -> None:
    await share(bench, Window(10, SECOND), pacing=Pacing.EVEN)
    await bench.call(name="a")

    await bench.assert_granted_exactly_after(75 * MS, "b")


async def test_a_source_obeys_its_own_quota_and_the_shared_one(bench: Bench) -> None:
    account = shared("account", Window(3, 10 * SECOND))
    await bench.configure(
        source("a", [Window(1, SECOND)], shares=["account"]),
        source("b", shares=["account"]),
        quotas=[account],
    )
    await queue(bench, name="a")
    await queue(bench, name="b")
    await bench.call(name="a")
    assert (await bench.refused("a")).quota == "a"
    await bench.call(name="b")
    await bench.call(name="b")

    assert await bench.refused("a") == Wait(10_010 * MS, Hold.WINDOW, "account")


async def test_a_source_may_share_several_quotas(bench: Bench) -> None:
    quotas = [shared("account", Window(5, SECOND)), shared("proxy", Window(2, SECOND))]
    await bench.configure(
        source("a", shares=["account", "proxy"]), source("b", shares=["proxy"]), quotas=quotas
    )
    await queue(bench, name="a")
    await queue(bench, name="b")
    await bench.call(name="a")
    await bench.call(name="b")

    assert await bench.refused("a") == Wait(1_001 * MS, Hold.WINDOW, "proxy")


async def test_a_pause_of_one_source_leaves_the_other_of_a_shared_quota_alone(bench: Bench) -> None:
    await share(bench, Window(10, SECOND))
    await bench.call(Throttled(HOUR), "a")

    assert isinstance(await bench.try_claim("b"), Claims)


async def test_a_quota_that_is_newly_named_counts_the_past_of_a_source(bench: Bench) -> None:
    await bench.configure(source("a"), source("b"))
    await queue(bench, name="a")
    await queue(bench, name="b")
    await bench.call(name="a")
    bench.clock.advance(SECOND)
    await share(bench, ONE_PER_5S)

    await assert_waits_for_the_past(bench, HELD_5S - SECOND, "b")


async def test_a_quota_that_is_newly_named_counts_what_is_in_flight(bench: Bench) -> None:
    await bench.configure(source("a"), source("b"))
    await queue(bench, name="a")
    claimed = await bench.claim("a")
    await share(bench, ONE_PER_5S)

    assert (await bench.refused("b")).for_us is None
    await bench.settle(claimed)
    await bench.assert_granted_exactly_after(HELD_5S, "b")


async def test_a_quota_counts_what_was_charged_to_it_by_a_source_that_left_it(bench: Bench) -> None:
    await share(bench, ONE_PER_5S)
    await bench.call(name="a")
    await bench.configure(source("a"))

    assert (await bench.refused("b")).for_us == HELD_5S
    assert isinstance(await bench.try_claim("a"), Claims)


async def test_a_source_that_leaves_a_quota_with_a_call_in_flight_gives_its_place_back(
    bench: Bench,
) -> None:
    await share(bench, ONE_PER_5S)
    claimed = await bench.claim("a")
    await bench.configure(source("a"))
    await bench.settle(claimed)

    await bench.assert_granted_exactly_after(HELD_5S, "b")


async def test_a_source_that_leaves_a_quota_with_a_call_of_a_lost_worker_gives_its_place_back(
    bench: Bench,
) -> None:
    await share(bench, ONE_PER_5S)
    await bench.claim("a")
    await bench.configure(source("a"))
    await bench.rescue()

    await bench.assert_granted_exactly_after(UNKNOWN_FATE_US + HELD_5S, "b")


@pytest.mark.parametrize("limit", [50, 2_000])
async def test_a_source_that_leaves_a_quota_and_names_it_again_counts_its_past_once(
    bench: Bench, limit: int
) -> None:
    account = shared("account", Window(limit, DAY))
    inside = source("a", shares=["account"], call_cost=limit * 3 // 10)
    await bench.configure(inside, quotas=[account])
    await queue(bench, name="a")
    await bench.call(name="a")
    for _ in range(3):
        await bench.configure(source("a"), quotas=[account])
        await bench.configure(inside, quotas=[account])

    assert len(await bench.claims("a", most=9)) == 2


async def test_a_window_that_is_new_on_a_quota_that_was_left_and_named_again_counts_its_past_once(
    bench: Bench,
) -> None:
    account = shared("account", Window(50, SECOND))
    inside = source("a", shares=["account"], call_cost=10)
    await bench.configure(inside, quotas=[account])
    await queue(bench, name="a")
    await bench.call(name="a")
    for _ in range(3):
        await bench.configure(source("a"), quotas=[account])
        await bench.configure(inside, quotas=[account])
    await bench.configure(inside, quotas=[shared("account", Window(5_000, DAY))])

    ((cost,),) = await bench.rows(
        "select sum(cost) from quota_bucket where quota = 'account' and width_us = 86400000"
    )
    assert cost == 10


async def test_a_source_that_gave_up_its_turn_holds_the_others_up_for_no_longer_than_told(
    bench: Bench,
) -> None:
    """A dear call leaves room for itself while it waits; when its work is gone, its ticket lapses."""
    account = shared("account", Window(10, SECOND))
    await bench.configure(
        source("cheap", shares=["account"]),
        source("dear", shares=["account"], call_cost=10),
        quotas=[account],
    )
    await queue(bench, name="cheap")
    dear = await bench.submit(1, source="dear")
    await bench.call(name="cheap")
    assert (await bench.refused("dear")).for_us == 1_001 * MS
    await bench.cancel(dear)
    waited = (await bench.refused("cheap")).for_us

    assert waited is not None
    assert waited <= 1_001 * MS + 200 * MS + 1
    bench.clock.advance(waited)
    assert isinstance(await bench.try_claim("cheap"), Claims)


async def test_sources_that_share_two_quotas_crosswise_all_get_through(bench: Bench) -> None:
    quotas = [shared("x", Window(4, SECOND)), shared("y", Window(4, SECOND))]
    names = ("a", "b", "c", "d")
    await bench.configure(
        source("a", shares=["x", "y"], call_cost=4),
        source("b", shares=["y", "x"], call_cost=4),
        source("c", shares=["x"], call_cost=2),
        source("d", shares=["y"], call_cost=2),
        quotas=quotas,
    )
    for name in names:
        await queue(bench, name=name, batches=60)
    calls = dict.fromkeys(names, 0)
    due = dict.fromkeys(names, bench.clock.reference_us)
    for _ in range(200):
        name = min(due, key=lambda each: due[each])
        bench.clock.advance(max(0, due[name] - bench.clock.reference_us))
        got = await bench.try_claim(name)
        if isinstance(got, Claims):
            calls[name] += 1
            await bench.settle(got.claims[0])
            due[name] = bench.clock.reference_us
        else:
            assert isinstance(got, Wait)
            assert got.for_us
            due[name] = bench.clock.reference_us + got.for_us

    assert min(calls.values()) >= 5, calls


async def test_the_answer_to_one_source_is_a_hint_to_those_that_share_its_quota(
    bench: Bench,
) -> None:
    """A lane that was told to wait for an answer must hear of it, whichever source it came from."""
    await share(bench, ONE_PER_5S)
    claimed = await bench.claim("a")
    await bench.engine.wakes.next("b", timeout_us=0)
    await bench.settle(claimed)

    await asyncio.wait_for(bench.engine.wakes.next("b", timeout_us=HOUR), timeout=5)


@pytest.mark.slow
async def test_a_dear_source_is_not_starved_by_a_cheap_one_that_shares_its_quota(
    bench: Bench,
) -> None:
    account = shared("account", Window(10, SECOND))
    await bench.configure(
        source("cheap", shares=["account"]),
        source("dear", shares=["account"], call_cost=10),
        quotas=[account],
    )
    await bench.submit(*range(600), source="cheap")
    await bench.submit(*range(30), source="dear")
    calls = {"cheap": 0, "dear": 0}
    for _ in range(600):
        for name in ("cheap", "dear"):
            if isinstance(got := await bench.try_claim(name), Claims):
                calls[name] += 1
                await bench.settle(got.claims[0])
        bench.clock.advance(20 * MS)

    assert calls["dear"] >= 3


async def test_a_renamed_source_brings_its_queue_and_its_ledger_along(bench: Bench) -> None:
    await bench.configure(source("old", [ONE_PER_5S]))
    await queue(bench, name="old")
    await bench.call(name="old")
    bench.sources.clear()
    await bench.configure(replace(source("new", [ONE_PER_5S]), was="old"))

    await bench.assert_granted_exactly_after(HELD_5S, "new")


async def rename(bench: Bench) -> None:
    """The source `old` is called `new` in the file of a process that starts."""
    spec = bench.sources.pop("old")
    await bench.configure(
        replace(spec, name="new", quota=replace(spec.quota, name="new"), was="old")
    )


async def test_a_renamed_source_goes_on_with_its_queue_in_its_order(bench: Bench) -> None:
    await bench.configure(source("old", retry=policy(base_us=4 * SECOND)))
    await bench.submit(1, 2, 3, 4, 5)
    await bench.submit(6, priority=Priority.HIGH)
    await bench.call()
    await bench.call(Failed("broken"))
    await rename(bench)
    bench.clock.advance(2 * SECOND)

    assert [await bench.claimed_ids("new") for _ in range(2)] == [[1, 2, 3], [4, 5]]


async def test_a_renamed_source_stays_paused(bench: Bench) -> None:
    await bench.configure(source("old"))
    await queue(bench)
    await bench.call(Throttled(HOUR))
    await rename(bench)

    assert await bench.refused("new") == Wait(HOUR, Hold.PAUSED, "new")


@pytest.mark.slow
async def test_a_renamed_source_knows_its_past_under_a_window_that_is_new(bench: Bench) -> None:
    await bench.configure(source("old", [Window(10, SECOND)]))
    await queue(bench, batches=250)
    for _ in range(220):
        await bench.call()
        bench.clock.advance(10 * SECOND)
    await rename(bench)
    await bench.configure(source("new", [Window(200, DAY)]))

    assert (await bench.refused("new")).why is Hold.WINDOW


async def test_what_was_accepted_under_the_former_name_comes_along_at_the_next_start(
    bench: Bench,
) -> None:
    """A process with the old file goes on accepting for a while."""
    old = source("old")
    await bench.configure(old)
    await rename(bench)
    bench.sources["old"] = old
    ingestion = await bench.submit(1, 2, 3, source="old")
    del bench.sources["old"]
    await bench.configure(replace(bench.sources["new"], was="old"))

    assert await bench.claimed_ids("new") == [1, 2, 3]
    assert (await bench.status(ingestion)).source == "new"


async def test_a_rename_that_stays_in_the_file_is_done_once(bench: Bench) -> None:
    await bench.configure(source("old", [ONE_PER_5S]))
    await queue(bench)
    await bench.call()
    await rename(bench)
    before = await bench.dump()
    await bench.configure(replace(bench.sources["new"], was="old"))

    assert await bench.dump() == before


async def test_a_key_is_known_after_its_source_was_renamed(bench: Bench) -> None:
    await bench.configure(source("old"))
    ingestion = await bench.submit(1, key="k")
    await rename(bench)

    assert await bench.submit(1, key="k") == ingestion


# -- two processes, one quota --------------------------------------------------------------------------------


async def test_two_processes_on_one_store_share_one_quota(bench: Bench, other: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    claimed = await bench.claim()

    assert (await other.refused()).for_us is None
    await bench.settle(claimed)
    await other.assert_granted_exactly_after(HELD_5S)


async def test_two_processes_that_ask_at_once_get_no_more_than_the_quota(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source(windows=[Window(7, SECOND)]))
    await queue(bench)

    got = await asyncio.gather(*((bench, other)[n % 2].try_claim() for n in range(40)))

    assert sum(isinstance(each, Claims) for each in got) == 7


async def test_what_a_process_knew_of_the_quota_is_nothing_that_can_be_lost(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    await bench.call()
    await bench.engine.close()

    await other.assert_granted_exactly_after(HELD_5S)


# -- the ledger's clock --------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_us", [-DAY, -1, HOUR, 400 * DAY])
async def test_a_step_of_the_wall_clock_is_nothing_to_the_quota(bench: Bench, step_us: int) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    await bench.call()
    bench.clock.wall_us += step_us

    await bench.assert_granted_exactly_after(HELD_5S)


@pytest.mark.parametrize("away_us", [-DAY, 0, 3 * SECOND, 5 * MINUTE, HOUR, DAY])
async def test_after_a_reboot_only_watched_time_counts_for_a_short_window(
    bench: Bench, away_us: int
) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    await bench.call()
    bench.clock.reboot(away_us=away_us)

    await bench.assert_granted_exactly_after(HELD_5S)


async def test_time_that_was_watched_before_a_reboot_counts(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(1, 10 * SECOND)]))
    await queue(bench)
    await bench.call()
    bench.clock.advance(4 * SECOND)
    await bench.refused()
    bench.clock.reboot(away_us=MINUTE)

    await bench.assert_granted_exactly_after(10_010 * MS - 4 * SECOND)


async def test_after_a_reboot_a_long_window_believes_the_wall_clock_less_five_minutes(
    bench: Bench,
) -> None:
    await bench.configure(source(windows=[Window(1, 4 * HOUR)]))
    await queue(bench)
    await bench.call()
    bench.clock.reboot(away_us=HOUR)

    thousandth = 4 * HOUR // 1_000
    await bench.assert_granted_exactly_after(4 * HOUR + thousandth - (HOUR - 5 * MINUTE))


async def test_after_a_reboot_a_call_of_long_ago_occupies_a_long_window_no_longer(
    bench: Bench,
) -> None:
    await bench.configure(source(windows=[Window(1, HOUR)]))
    await queue(bench)
    await bench.call()
    bench.clock.advance(30 * MINUTE)
    await bench.refused()
    bench.clock.reboot(away_us=2 * HOUR)

    assert isinstance(await bench.try_claim(), Claims)


async def test_a_reboot_is_told_with_what_is_believed(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    await bench.call()
    bench.clock.reboot(away_us=HOUR)
    await bench.refused()
    await bench.refused()

    assert bench.stated(TimeUnwatched) == [TimeUnwatched(55 * MINUTE)]


async def test_several_reboots_in_a_row_free_no_short_window(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    await bench.call()
    for _ in range(5):
        bench.clock.reboot(away_us=HOUR)
        assert (await bench.refused()).for_us == HELD_5S


async def test_a_wall_clock_that_was_put_right_at_rest_frees_no_window_after_a_reboot(
    bench: Bench,
) -> None:
    """A host without a clock of its own starts with a wrong time, and the network sets it right soon after."""
    await bench.configure(source(windows=[Window(1, DAY)]))
    await bench.submit(1)
    await bench.call()
    bench.clock.wall_us += 20 * HOUR
    for _ in range(10):
        bench.clock.advance(MINUTE)
        assert isinstance(await bench.try_claim(), Idle)
    bench.clock.reboot(away_us=MINUTE)
    await bench.submit(2)

    waited = (await bench.refused()).for_us
    assert waited is not None
    assert waited >= DAY - 11 * MINUTE


@pytest.mark.parametrize("looks", [True, False])
async def test_several_reboots_at_rest_hold_a_short_window_no_longer_than_one(
    bench: Bench, *, looks: bool
) -> None:
    """A process that starts, and goes down again with its host before it had anything to do, must not cost hours."""
    spec = source(windows=[ONE_PER_5S])
    await bench.configure(spec)
    await queue(bench, batches=1)
    await bench.call()
    for _ in range(3):
        bench.clock.reboot(away_us=8 * HOUR)
        await bench.configure(spec)
        if looks:
            assert isinstance(await bench.try_claim(), Idle)
    await queue(bench, batches=1)

    await bench.assert_granted_exactly_after(HELD_5S)


async def test_a_call_that_a_reboot_cut_off_is_of_unknown_fate(bench: Bench) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await queue(bench)
    await bench.claim()
    bench.clock.reboot(away_us=MINUTE)
    assert (await bench.refused()).for_us is None
    await bench.rescue()

    await bench.assert_granted_exactly_after(UNKNOWN_FATE_US + HELD_5S)


async def test_a_quota_that_is_newly_named_after_a_reboot_counts_watched_time_only(
    bench: Bench,
) -> None:
    await bench.configure(source("a"), source("b"))
    await queue(bench, name="a")
    await queue(bench, name="b")
    await bench.call(name="a")
    bench.clock.reboot(away_us=HOUR)
    await share(bench, ONE_PER_5S)

    await bench.assert_granted_exactly_after(HELD_5S, "b")


async def test_a_retry_is_due_after_a_reboot(bench: Bench) -> None:
    await bench.configure(source(retry=policy(base_us=4 * SECOND)))
    await bench.submit(1)
    await bench.call(Failed("broken"))
    bench.clock.reboot(away_us=HOUR)

    assert await bench.claimed_ids() == [1]


async def test_ledger_time_never_goes_back(bench: Bench) -> None:
    await bench.configure(source())
    await queue(bench)
    for away_us in (0, -HOUR, 0, HOUR, 0):
        await bench.call()
        bench.clock.reboot(away_us=away_us)
    await bench.call()

    rows = await bench.rows("select granted_at from ledger order by entry")
    assert rows == sorted(rows)


# -- prune ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_pruning_never_drops_what_a_window_needs(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(50, SECOND), Window(150, 1_000 * SECOND)]))
    await bench.submit(*range(2_000))
    began = bench.clock.reference_us
    grants: list[int] = []
    while len(grants) < 460:
        if isinstance(got := await bench.try_claim(most=50), Wait):
            assert got.for_us
            bench.clock.advance(got.for_us)
            continue
        assert isinstance(got, Claims)
        for claimed in got.claims:
            grants.append(bench.clock.reference_us - began)
            await bench.settle(claimed, Fetched())

    assert all(b - a > 1_000 * SECOND for a, b in zip(grants, grants[150:], strict=False))
    assert max(grants) < 4 * 1_002 * SECOND


@pytest.mark.slow
async def test_the_ledger_is_bounded_by_what_its_windows_need(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, SECOND)]))
    await bench.submit(*range(1_800))
    for _ in range(60):
        for claimed in await bench.claims(most=10):
            await bench.settle(claimed, Rejected("bad", missing=True))
        bench.clock.advance(1_100 * MS)

    (entries,) = (await bench.rows("select count(*) from ledger"))[0]
    (charges,) = (await bench.rows("select count(*) from ledger_charge"))[0]
    assert 100 <= entries <= 120
    assert charges <= 120


@pytest.mark.slow
async def test_sources_that_take_turns_are_all_pruned(bench: Bench) -> None:
    await bench.configure(source("a", [Window(10, SECOND)]), source("b", [Window(10, SECOND)]))
    await bench.submit(*range(1_200), source="a")
    await bench.submit(*range(1_200), source="b")
    for _ in range(400):
        await bench.call(name="a")
        await bench.call(name="b")
        bench.clock.advance(SECOND)

    rows = await bench.rows("select source, count(*) from ledger group by source")
    assert all(count <= 250 for _, count in rows), rows


async def test_the_newest_calls_of_a_source_are_kept_for_readers(bench: Bench) -> None:
    await bench.configure(source("slow"), source("busy"))
    await queue(bench, name="slow")
    await bench.submit(*range(400), source="busy")
    for _ in range(10):
        await bench.call(name="slow")
    for claimed in await bench.claims("busy", most=64):
        await bench.settle(claimed)
    for claimed in await bench.claims("busy", most=64):
        await bench.settle(claimed)
    await bench.call(name="slow")

    assert await bench.rows("select count(*) from ledger where source = 'slow'") == [(11,)]
