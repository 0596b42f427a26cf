"""The forecast against the dispatcher's own rule, asked call by call."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core import plan
from headgate.core.plan import Forecast, Line, forecast, median, usable_share, when
from headgate.core.quota import Granted, Pacing, Quota, Usage, Wait, Window, decide, next_after
from tests.core.histories import quotas
from tests.core.steady import steady

SECOND = 1_000_000
NOW = 1_000


def dispatched(line: Line, calls: int) -> list[int]:
    """When each of so many calls is granted to a dispatcher that asks and waits as it is told."""
    now = NOW
    granted: list[int] = []
    paces = list(line.quotas)
    answers = [now + line.latency_us] * line.in_flight
    known = [
        [[*usage.occupied, (now + line.occupies_us, usage.out)] for usage in usages]
        for usages in line.usages
    ]
    while len(granted) < calls:
        answers = [answer for answer in answers if answer > now]
        if now < line.not_before:
            now = line.not_before
        elif len(answers) >= line.concurrency:
            now = min(answers)
        else:
            usages = [[Usage(0, occupied) for occupied in windows] for windows in known]
            match decide(paces, usages, cost=line.cost, now=now):
                case Wait(int(for_us)):
                    now += for_us
                case Granted():
                    granted.append(now)
                    answers.append(now + line.latency_us)
                    for windows in known:
                        for occupied in windows:
                            occupied.append((now + line.occupies_us, line.cost))
                    paces = [
                        replace(q, next_at=next_after(q, cost=line.cost, now=now)) for q in paces
                    ]
    return granted


@st.composite
def lines(draw: st.DrawFn) -> Line:
    """A source in any state: calls held, out and in flight; paused, paced or closed."""
    soon = st.integers(NOW - 40, NOW + 40)
    shape = [
        replace(quota, next_at=draw(soon), blocked_until=draw(soon)) for quota in draw(quotas())
    ]
    usages = []
    for quota in shape:
        tightest = min(window.limit for window in quota.windows)
        out = draw(st.integers(0, tightest))
        held = draw(st.lists(st.integers(NOW - 60, NOW), max_size=tightest - out))
        usages.append([Usage(out, [(until, 1) for until in held])] * len(quota.windows))
    return Line(
        shape,
        usages,
        concurrency=draw(st.integers(1, 4)),
        in_flight=draw(st.integers(0, 4)),
        latency_us=draw(st.integers(0, 50)),
        within_us=draw(st.none() | st.integers(0, 60)),
        cost=draw(st.integers(1, min(w.limit for quota in shape for w in quota.windows))),
        not_before=draw(soon),
    )


@pytest.mark.slow
@given(lines())
@steady(200)
def test_the_forecast_is_what_the_dispatcher_will_do(line: Line) -> None:
    assert [when(line, n, now=NOW) for n in range(1, 13)] == dispatched(line, 12)


def test_dear_calls_that_a_window_held_back_catch_up_as_the_dispatcher_lets_them() -> None:
    even = Quota("catalog", (Window(10, 1_000), Window(4, 3_000)), Pacing.EVEN)
    held = [(NOW - 2_000, 2), (NOW - 2_000, 2)]
    line = Line([even], [[Usage(), Usage(0, held)]], 4, 0, latency_us=10, cost=2)

    # both places come free at once; the pace is late by more than a quarter of a slot of one call, 25
    first, second = (when(line, n, now=NOW) for n in (1, 2))
    assert first is not None
    assert second is not None
    assert second - first == 200 - 25
    assert [first, second] == dispatched(line, 2)


@pytest.mark.slow
@given(lines(), st.integers(41, 150))
@steady(60)
def test_far_ahead_the_forecast_is_off_by_one_slot_at_most(line: Line, n: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "EXACT", 40)
        planned = when(line, n, now=NOW)

    granted = dispatched(line, n)
    slot = max(after - before for before, after in pairwise(granted[20:]))
    assert planned is not None
    assert abs(planned - granted[-1]) <= max(slot, 1)


def test_a_million_calls_ahead_are_planned_at_once() -> None:
    ten_a_second = Quota("catalog", (Window(10, SECOND),), Pacing.BURST)
    line = Line([ten_a_second], [[Usage()]], concurrency=64, in_flight=0, latency_us=0)

    # ten in each 1.001 s: the window's span and rho
    assert when(line, 1_000_000, now=0) == pytest.approx(99_999 * 1_001_000, abs=1_001_000)


def test_a_million_calls_ahead_a_slow_source_is_planned_by_its_answers() -> None:
    slow = Line([Quota("catalog")], [[]], concurrency=2, in_flight=0, latency_us=100)

    assert when(slow, 1_000_000, now=0) == 499_999 * 100


def test_a_source_without_a_limit_is_called_as_fast_as_it_answers() -> None:
    free = Line([Quota("catalog")], [[]], concurrency=2, in_flight=1, latency_us=100)

    assert [when(free, n, now=NOW) for n in range(1, 5)] == [NOW, NOW + 100, NOW + 100, NOW + 200]


def test_an_ingestion_starts_with_its_first_call_and_is_done_with_the_answer_to_its_last() -> None:
    line = Line([Quota("catalog")], [[]], concurrency=1, in_flight=0, latency_us=100)

    assert forecast(line, ahead=3, left=2, now=0) == Forecast(3, starts_at=300, finishes_at=500)


def test_a_call_occupies_until_its_answer_or_until_the_source_must_have_counted_it() -> None:
    line = Line([], [], concurrency=1, in_flight=0, latency_us=100)

    assert line.occupies_us == 100
    assert replace(line, within_us=30).occupies_us == 30
    assert replace(line, within_us=300).occupies_us == 100


def test_of_a_window_latency_and_rho_cost_their_share() -> None:
    slow = Quota("slow", (Window(1, 5 * SECOND), Window(10**6, 3_600 * SECOND)))
    line = Line([slow], [[Usage(), Usage()]], concurrency=1, in_flight=0, latency_us=150_000)

    assert usable_share(line) == pytest.approx(0.97, abs=0.001)


def test_a_source_without_a_window_loses_nothing_to_the_rule() -> None:
    assert usable_share(Line([], [], concurrency=1, in_flight=0, latency_us=SECOND)) == 1.0


@pytest.mark.parametrize(
    ("values", "middle"), [([], None), ([5], 5), ([9, 1, 5], 5), ([4, 3, 2, 1], 3)]
)
def test_the_median_is_the_middle_and_of_nothing_there_is_none(
    values: list[int], middle: int | None
) -> None:
    assert median(values) == middle
