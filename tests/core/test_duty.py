"""Who is on duty for a source: few, always somebody, and evenly spread."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from headgate.core.duty import AT_LEAST, CALLS_EACH, MISSED, SETTLED_US, counts, on_duty, wanted
from tests.fakes import SECOND

workers = st.sets(st.text(alphabet="0123456789abcdef", min_size=1, max_size=6), min_size=1)


def crew(source: str, all_of: set[str], *, concurrency: int = 1) -> set[str]:
    """Who is on duty, as each sees it."""
    return {me for me in all_of if on_duty(source, me, all_of - {me}, concurrency=concurrency)}


@given(st.text(), workers, st.integers(1, 500))
def test_so_many_are_on_duty_as_are_wanted(source: str, all_of: set[str], concurrency: int) -> None:
    asked = crew(source, all_of, concurrency=concurrency)

    assert len(asked) == min(len(all_of), wanted(concurrency))


@given(st.text(), workers, st.data())
def test_whoever_is_lost_is_replaced_and_nobody_else_changes(
    source: str, all_of: set[str], data: st.DataObject
) -> None:
    lost = data.draw(st.sampled_from(sorted(all_of)))
    before, after = crew(source, all_of), crew(source, all_of - {lost})

    assert before - {lost} <= after
    assert len(after - before) <= 1


@given(st.text(), workers, st.data())
def test_whoever_knows_too_few_others_asks_too_often_and_never_too_seldom(
    source: str, all_of: set[str], data: st.DataObject
) -> None:
    """Views differ for a moment; the one who weighs most of those who live never stands by for the living."""
    me = data.draw(st.sampled_from(sorted(all_of)))
    known = data.draw(st.sets(st.sampled_from(sorted(all_of)))) - {me}
    if on_duty(source, me, all_of - {me}, concurrency=1):
        assert on_duty(source, me, known, concurrency=1)


def test_there_is_somebody_on_duty_unless_so_many_are_lost_at_once() -> None:
    """The others still count the dead: one of them has to ask all the same."""
    all_of = {f"w{number}" for number in range(7)}
    for lost in combinations(sorted(all_of), AT_LEAST - 1):
        living = all_of - set(lost)
        assert any(on_duty("s", me, all_of - {me}, concurrency=1) for me in living)


def test_sources_are_spread_over_the_workers() -> None:
    all_of = {f"w{number}" for number in range(50)}
    load = Counter(me for number in range(300) for me in crew(f"source-{number}", all_of))

    assert set(load) == all_of
    assert max(load.values()) < 2 * 300 * AT_LEAST / 50


def test_many_calls_at_once_want_more_workers() -> None:
    assert wanted(1) == wanted(CALLS_EACH) == AT_LEAST
    assert wanted(10 * CALLS_EACH) == 11
    assert wanted(10 * CALLS_EACH + 1) == 12


def test_who_has_just_come_and_who_is_silent_is_not_counted() -> None:
    second, old = SECOND, 10 * SETTLED_US
    assert counts(age_us=old, silent_us=0, heard_every_us=second)
    assert counts(age_us=old, silent_us=MISSED * second - 1, heard_every_us=second)
    assert not counts(age_us=old, silent_us=MISSED * second, heard_every_us=second)
    assert not counts(age_us=SETTLED_US - 1, silent_us=0, heard_every_us=second)
    assert counts(age_us=old, silent_us=old, heard_every_us=None)
