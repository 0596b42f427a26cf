"""The quota rule against a reading of it by brute force, and what it promises besides."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.quota import (
    MAX_SPAN_US,
    Granted,
    Hold,
    Pacing,
    Quota,
    Usage,
    Wait,
    Window,
    decide,
    free_from,
    longest,
    next_after,
    next_reshaped,
    occupied_until,
    refusals,
    shortened,
    slot_us,
    stretched,
    unknown_fate_until,
)
from tests.core.histories import BEGINNING, Call, Fate, Life, Plan, plans, quotas, waits
from tests.core.oracle import RHO, Charged, Gate, charged, first_allowed
from tests.core.steady import steady

SECOND = 1_000_000
RATES = st.sampled_from([1 / (1 + RHO), Fraction(1), 1 + RHO])
"""How fast another clock runs that agrees to rho: the worst in both directions, and none."""

SPANS = st.one_of(st.integers(0, 5_000), st.integers(0, 40 * 86_400 * SECOND))


def quota(*windows: Window, pacing: Pacing = Pacing.BURST, **more: int) -> Quota:
    return Quota("catalog", windows, pacing, **more)


def ask(asked: Quota, *usages: Usage, cost: int = 1, now: int = 0) -> Granted | Wait:
    return decide([asked], [usages], cost=cost, now=now)


# -- the promise: never over quota ---------------------------------------------------------------------------


@pytest.mark.slow
@given(plans())
@steady(250)
def test_no_interval_of_any_window_holds_more_than_its_limit_at_the_source(plan: Plan) -> None:
    assert Life(plan).live().over() == []


@pytest.mark.slow
@given(plans(unit=1_000), RATES)
@steady(150)
def test_no_window_is_over_by_the_clock_of_a_source_that_agrees_to_rho(
    plan: Plan, rate: Fraction
) -> None:
    assert Life(plan).live().over(rate=rate) == []


@pytest.mark.slow
@given(plans(), st.integers(1, 20))
@steady(100)
def test_counting_in_buckets_never_grants_earlier_and_less_than_a_bucket_later(
    plan: Plan, width: int
) -> None:
    life = Life(plan).live()
    exact = life.occupied(0)
    rounded = [(-(-until // width) * width, cost) for until, cost in exact]

    for window in plan.quotas[0].windows:
        one_by_one = free_from(window, Usage(0, exact), cost=1, now=life.now)
        in_buckets = free_from(window, Usage(0, rounded), cost=1, now=life.now)
        assert one_by_one is not None
        assert in_buckets is not None
        assert one_by_one <= in_buckets < one_by_one + width


# -- the rule, word for word ---------------------------------------------------------------------------------

NOW = 200
INSTANTS = st.integers(NOW - 130, NOW + 40)
ENTRIES = st.lists(
    st.builds(Charged, until=st.one_of(INSTANTS, INSTANTS, st.none()), cost=st.integers(1, 3)),
    max_size=6,
)


@pytest.mark.slow
@given(quotas(), ENTRIES, st.integers(1, 6), st.data())
@steady(250)
def test_the_answer_is_the_first_instant_at_which_the_rule_as_written_allows_it(
    shape: tuple[Quota, ...], entries: list[Charged], cost: int, data: st.DataObject
) -> None:
    held = [
        replace(each, next_at=data.draw(INSTANTS), blocked_until=data.draw(INSTANTS))
        for each in shape
    ]
    gates = [
        Gate(
            tuple((window.limit, window.span_us) for window in each.windows),
            each.next_at,
            each.blocked_until,
        )
        for each in held
    ]

    answer = decide(
        held, [[usage_of(entries)] * len(each.windows) for each in held], cost=cost, now=NOW
    )

    match first_allowed(gates, entries, cost=cost, now=NOW):
        case None:
            assert isinstance(answer, Wait)
            assert answer.for_us is None
        case instant if instant == NOW:
            assert answer == Granted()
        case instant:
            assert isinstance(answer, Wait)
            assert answer.for_us == instant - NOW


@given(st.integers(1, 60), ENTRIES)
@steady()
def test_what_is_used_of_a_window_is_what_the_rule_charges_it_with(
    span: int, entries: list[Charged]
) -> None:
    used = usage_of(entries).used(Window(5, span), now=NOW)

    assert used == charged(span, entries, now=NOW)


def test_an_entry_is_used_until_the_instant_at_which_it_leaves_and_no_longer() -> None:
    usage = Usage(0, [(0, 1)])

    assert usage.used(Window(1, 5 * SECOND), now=5_005_000 - 1) == 1
    assert usage.used(Window(1, 5 * SECOND), now=5_005_000) == 0


def usage_of(entries: list[Charged]) -> Usage:
    """The same entries as the store hands them to the rule."""
    return Usage(
        sum(entry.cost for entry in entries if entry.until is None),
        [(entry.until, entry.cost) for entry in entries if entry.until is not None],
    )


# -- waiting -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(plans())
@steady(100)
def test_waiting_as_told_is_enough(plan: Plan) -> None:
    for asked, for_us in waits(Life(plan).live()):
        assert asked.again(asked.now + for_us) == Granted()


@pytest.mark.slow
@given(plans())
@steady(100)
def test_waiting_a_microsecond_less_than_told_is_not_enough(plan: Plan) -> None:
    for asked, for_us in waits(Life(plan).live()):
        assert for_us > 0
        assert asked.again(asked.now + for_us - 1) != Granted()


@pytest.mark.slow
@given(plans())
@steady(100)
def test_work_is_never_refused_for_ever(plan: Plan) -> None:
    life = Life(plan).live()

    assert life.wait_for_grant(Call()) <= 2


@pytest.mark.slow
@given(plans())
@steady(100)
def test_it_waits_for_an_answer_only_while_one_is_out(plan: Plan) -> None:
    for asked in Life(plan).live().asked:
        if isinstance(asked.answer, Wait) and asked.answer.for_us is None:
            assert any(usage.out for usages in asked.usages for usage in usages)


def test_calls_up_to_the_limit_are_granted_at_once() -> None:
    held = [(0, 1)] * 9

    assert ask(quota(Window(10, SECOND)), Usage(0, held)) == Granted()


def test_one_call_over_the_limit_waits_until_the_first_has_left_the_window() -> None:
    asked = quota(Window(3, SECOND))
    held = Usage(0, [(400, 1), (100, 1), (700, 1)])

    assert ask(asked, held, now=1_000) == Wait(1_001_000 + 100 - 1_000, Hold.WINDOW, "catalog")


def test_a_call_that_is_out_occupies_the_window_until_it_is_answered() -> None:
    asked = quota(Window(1, SECOND))

    assert ask(asked, Usage(out=1), now=90 * SECOND) == Wait(None, Hold.ANSWER, "catalog")


def test_what_is_out_leaves_the_rest_of_the_window_free() -> None:
    assert ask(quota(Window(3, SECOND)), Usage(out=2)) == Granted()


def test_entries_leave_beside_one_that_stays_out() -> None:
    asked = quota(Window(2, SECOND))

    assert ask(asked, Usage(1, [(0, 1)]), now=10) == Wait(1_001_000 - 10, Hold.WINDOW, "catalog")


def test_a_call_dearer_than_a_window_is_not_granted() -> None:
    assert ask(quota(Window(2, SECOND)), Usage(), cost=3) != Granted()


def test_a_dear_call_waits_for_room_for_its_whole_cost() -> None:
    asked = quota(Window(5, SECOND))
    held = Usage(0, [(100, 1), (200, 1), (300, 1)])

    assert ask(asked, held, cost=4, now=500) == Wait(1_001_200 - 500, Hold.WINDOW, "catalog")


def test_a_cheap_call_goes_where_a_dear_one_has_to_wait() -> None:
    held = Usage(0, [(100, 1), (200, 1), (300, 1)])

    assert ask(quota(Window(5, SECOND)), held, cost=2, now=500) == Granted()


def test_a_dear_entry_occupies_as_much_as_it_cost() -> None:
    asked = quota(Window(5, SECOND))

    assert ask(asked, Usage(0, [(100, 5)]), now=500) == Wait(
        1_001_100 - 500, Hold.WINDOW, "catalog"
    )


def test_a_window_is_held_for_its_span_and_rho() -> None:
    asked = quota(Window(1, 5 * SECOND))
    held = Usage(0, [(0, 1)])

    assert ask(asked, held, now=5_005_000 - 1) == Wait(1, Hold.WINDOW, "catalog")
    assert ask(asked, held, now=5_005_000) == Granted()


def test_every_window_must_have_room() -> None:
    asked = quota(Window(10, SECOND), Window(1, 60 * SECOND))
    held = Usage(0, [(0, 1)])

    assert ask(asked, held, held, now=2 * SECOND) == Wait(
        60_060_000 - 2 * SECOND, Hold.WINDOW, "catalog"
    )


def test_every_quota_must_grant() -> None:
    own, shared = quota(Window(10, SECOND)), Quota("account", (Window(1, SECOND),), Pacing.BURST)
    usages = [[Usage(0, [(0, 1)])], [Usage(0, [(0, 1)])]]

    assert decide([own, shared], usages, cost=1, now=0) == Wait(1_001_000, Hold.WINDOW, "account")


def test_a_source_without_a_window_is_granted_at_once() -> None:
    assert decide([quota()], [[]], cost=1, now=0) == Granted()


def test_a_paused_quota_grants_nothing_until_the_pause_ends() -> None:
    asked = quota(blocked_until=700)

    assert ask(asked, now=699) == Wait(1, Hold.PAUSED, "catalog")
    assert ask(asked, now=700) == Granted()


def test_a_paced_quota_grants_nothing_before_its_slot() -> None:
    asked = quota(next_at=700)

    assert ask(asked, now=699) == Wait(1, Hold.PACE, "catalog")
    assert ask(asked, now=700) == Granted()


@pytest.mark.parametrize(
    ("paused", "paced", "held", "expected"),
    [
        (9_000_000, 50, 100, Wait(9_000_000, Hold.PAUSED, "catalog")),
        (50, 9_000_000, 100, Wait(9_000_000, Hold.PACE, "catalog")),
        (50, 60, 100, Wait(1_001_100, Hold.WINDOW, "catalog")),
    ],
)
def test_of_several_waits_the_longest_is_told_with_its_reason(
    paused: int, paced: int, held: int, expected: Wait
) -> None:
    asked = quota(Window(1, SECOND), blocked_until=paused, next_at=paced)

    assert ask(asked, Usage(0, [(held, 1)])) == expected


def test_an_answer_that_must_come_first_is_told_before_any_time() -> None:
    asked = quota(Window(1, SECOND), blocked_until=90 * SECOND)

    assert ask(asked, Usage(out=1)) == Wait(None, Hold.ANSWER, "catalog")


def test_everything_that_refuses_a_call_is_told_in_the_order_of_the_quotas() -> None:
    own = quota(Window(1, SECOND), blocked_until=50)
    shared = Quota("account", (Window(3, SECOND), Window(1, SECOND)), next_at=70)
    usages = [[Usage(out=1)], [Usage(), Usage(0, [(0, 1)])]]

    assert refusals([own, shared], usages, cost=1, now=0) == [
        Wait(50, Hold.PAUSED, "catalog"),
        Wait(None, Hold.ANSWER, "catalog"),
        Wait(70, Hold.PACE, "account"),
        Wait(1_001_000, Hold.WINDOW, "account"),
    ]


def test_where_nothing_refuses_there_is_no_longest_wait() -> None:
    assert longest([]) is None


# -- until when a call occupies its windows ------------------------------------------------------------------


def test_an_answered_call_is_occupied_until_its_answer_was_seen() -> None:
    assert occupied_until(answered_at=700, written_at=100, within_us=None) == 700


def test_nothing_is_assumed_of_the_network_where_the_source_does_not_say_when_it_counts() -> None:
    assert occupied_until(answered_at=None, written_at=100, within_us=None) is None


def test_a_source_known_to_count_early_is_occupied_until_then() -> None:
    assert occupied_until(answered_at=700, written_at=100, within_us=50) == 150


def test_an_answer_proves_that_the_call_was_counted_even_if_it_comes_earlier() -> None:
    assert occupied_until(answered_at=120, written_at=100, within_us=50) == 120


def test_a_write_tells_when_a_call_that_was_never_answered_was_counted() -> None:
    assert occupied_until(answered_at=None, written_at=100, within_us=0) == 100


def test_the_fate_of_a_call_that_was_neither_written_nor_answered_is_unknown() -> None:
    assert occupied_until(answered_at=None, written_at=None, within_us=50) is None


def test_a_call_of_unknown_fate_is_occupied_for_slack_and_grace_and_rho() -> None:
    until = unknown_fate_until(
        granted_at=1_000, slack_us=SECOND, grace_us=5 * SECOND, given_up_at=2_000
    )

    assert until == 1_000 + 6_006_000


def test_a_call_of_unknown_fate_is_occupied_until_it_was_given_up_if_that_is_later() -> None:
    until = unknown_fate_until(granted_at=1_000, slack_us=10, grace_us=10, given_up_at=SECOND)

    assert until == SECOND


@given(st.integers(0, 60 * SECOND), st.integers(0, 60 * SECOND), RATES, RATES)
@steady(100)
def test_a_call_of_unknown_fate_has_arrived_by_then_whichever_clocks_measured_slack_and_grace(
    slack: int, grace: int, ours: Fraction, the_networks: Fraction
) -> None:
    until = unknown_fate_until(granted_at=0, slack_us=slack, grace_us=grace, given_up_at=0)

    assert until >= slack / ours + grace / the_networks


# -- clocks that disagree ------------------------------------------------------------------------------------


@given(SPANS, RATES)
@steady(300)
def test_no_clock_that_agrees_to_rho_measures_a_stretched_span_shorter_than_it_was(
    span: int, rate: Fraction
) -> None:
    assert stretched(span) * rate >= span


@given(st.integers(1, 40 * 86_400 * SECOND))
@steady(300)
def test_a_span_is_stretched_no_further_than_the_slowest_clock_needs(span: int) -> None:
    assert (stretched(span) - 1) / (1 + RHO) < span


@given(SPANS, RATES)
@steady(300)
def test_by_every_clock_that_agrees_to_rho_an_age_is_at_least_what_it_was_shortened_to(
    age: int, rate: Fraction
) -> None:
    assert shortened(age) <= age * rate


@given(SPANS)
@steady(300)
def test_an_age_is_shortened_by_rho_and_less_than_a_microsecond_more(age: int) -> None:
    assert age * (1 - RHO) - 1 < shortened(age) <= age * (1 - RHO)


def test_no_age_is_below_nothing() -> None:
    assert [shortened(age) for age in (0, 1, 2)] == [0, 0, 1]


# -- the pace ------------------------------------------------------------------------------------------------

TEN_A_SECOND = quota(Window(10, SECOND), pacing=Pacing.EVEN)
SLOT = 100_000
QUARTER = SLOT // 4


def test_even_pacing_spreads_calls_over_the_shortest_window() -> None:
    asked = quota(Window(1_000, 60 * SECOND), Window(10, SECOND), pacing=Pacing.EVEN)

    assert slot_us(asked, cost=1) == SLOT


def test_a_slot_is_rounded_up() -> None:
    assert slot_us(quota(Window(3, 10), pacing=Pacing.EVEN), cost=1) == 4


def test_a_dear_call_takes_as_many_slots_as_it_costs() -> None:
    asked = replace(TEN_A_SECOND, next_at=SECOND)

    assert next_after(asked, cost=3, now=SECOND) == SECOND + 3 * SLOT


def test_a_slowdown_stretches_the_slot() -> None:
    assert slot_us(replace(TEN_A_SECOND, slowdown=4), cost=1) == 4 * SLOT


def test_a_burst_has_no_pace() -> None:
    asked = quota(Window(10, SECOND), next_at=7)

    assert next_after(asked, cost=1, now=SECOND) == 7


def test_a_quota_without_a_window_has_no_pace() -> None:
    assert next_after(quota(pacing=Pacing.EVEN, next_at=7), cost=1, now=SECOND) == 7


@pytest.mark.parametrize("late", [0, 1, QUARTER])
def test_lateness_of_up_to_a_quarter_of_a_slot_is_caught_up(late: int) -> None:
    asked = replace(TEN_A_SECOND, next_at=SECOND)

    assert next_after(asked, cost=1, now=SECOND + late) == SECOND + SLOT


@pytest.mark.parametrize("late", [QUARTER + 1, SLOT, 90 * SECOND])
def test_lateness_beyond_a_quarter_of_a_slot_is_lost(late: int) -> None:
    asked = replace(TEN_A_SECOND, next_at=SECOND)

    assert next_after(asked, cost=1, now=SECOND + late) == SECOND + late - QUARTER + SLOT


def test_a_dear_call_catches_up_no_more_than_a_cheap_one() -> None:
    asked = replace(TEN_A_SECOND, next_at=SECOND)

    assert next_after(asked, cost=3, now=90 * SECOND) == 90 * SECOND - QUARTER + 3 * SLOT


@pytest.mark.slow
@given(
    st.integers(1, 6),
    st.integers(4, 500),
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 400)), min_size=2, max_size=10),
)
@steady(200)
def test_however_late_they_were_calls_are_a_slot_apart_less_a_quarter(
    limit: int, span: int, calls: list[tuple[int, int]]
) -> None:
    paced = quota(Window(limit, span), pacing=Pacing.EVEN, next_at=BEGINNING)
    granted: list[tuple[int, int]] = []
    for cost, late in calls:
        now = paced.next_at + late
        paced = replace(paced, next_at=next_after(paced, cost=cost, now=now))
        granted.append((now, cost))

    slot = Fraction(span, limit)
    for first in range(len(granted)):
        spent = 0
        for (_, cost), (instant, _) in pairwise(granted[first:]):
            spent += cost
            # a slot that is not a whole number of microseconds is rounded up
            assert instant - granted[first][0] >= spent * slot - (slot / 4 + 1)


def test_a_punctual_caller_gets_every_slot() -> None:
    calls = tuple(Call(fate=Fate.ANSWERED) for _ in range(25))
    life = Life(Plan((TEN_A_SECOND,), calls)).live()

    granted = [entry.granted_at - BEGINNING for entry in life.entries]
    assert granted[:10] == [number * SLOT for number in range(10)]
    assert granted[10:20] == [1_001_000 + number * SLOT for number in range(10)]


def test_a_burst_gets_all_calls_of_a_window_at_once() -> None:
    calls = tuple(Call(fate=Fate.ANSWERED) for _ in range(6))
    life = Life(Plan((quota(Window(3, SECOND)),), calls)).live()

    assert [entry.granted_at - BEGINNING for entry in life.entries] == [0] * 3 + [1_001_000] * 3


def test_a_quota_that_got_faster_is_paced_by_its_new_slot_at_once() -> None:
    asked = replace(TEN_A_SECOND, next_at=3_600 * SECOND)

    assert next_reshaped(asked, cost=1, now=SECOND) == SECOND + SLOT


def test_a_quota_that_got_slower_keeps_the_slot_that_was_due_sooner() -> None:
    asked = quota(Window(1, 60 * SECOND), pacing=Pacing.EVEN, next_at=2 * SECOND)

    assert next_reshaped(asked, cost=1, now=SECOND) == 2 * SECOND


def test_a_quota_that_lost_its_pace_waits_for_no_slot() -> None:
    assert next_reshaped(quota(next_at=3_600 * SECOND), cost=1, now=SECOND) == SECOND


# -- how a window counts -------------------------------------------------------------------------------------


def test_a_window_may_be_as_long_as_a_month() -> None:
    assert MAX_SPAN_US == 31 * 24 * 60 * 60 * SECOND


def test_a_window_is_charged_with_nothing_at_first() -> None:
    assert Usage().used(Window(1, SECOND), now=0) == 0


@pytest.mark.parametrize("limit", [1, 10, 1_000])
def test_a_window_of_up_to_a_thousand_calls_counts_them_one_by_one(limit: int) -> None:
    assert Window(limit, 60 * SECOND).bucket_us == 0


@given(st.integers(1_001, 10**9), st.integers(1, 31 * 86_400 * SECOND))
@steady(100)
def test_a_larger_window_counts_in_buckets_of_a_thousandth_of_its_span(
    limit: int, span: int
) -> None:
    width = Window(limit, span).bucket_us

    assert width >= 1
    assert width <= max(1, span / 1_000) < width + 1
