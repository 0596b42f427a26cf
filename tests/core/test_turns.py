"""Turns among sources that share a quota: older tickets first, and none for ever."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from headgate.core.turns import Ticket, room_left
from tests.core.steady import steady

NOW = 1_000_000_000
LAPSE_US = 200_000
OLD = Ticket("dear", number=1, cost=5, due_at=NOW)
YOUNG = Ticket("cheap", number=2, cost=1, due_at=NOW)

TICKETS = st.lists(
    st.builds(
        Ticket,
        source=st.sampled_from(["a", "b", "c", "d"]),
        number=st.integers(1, 50),
        cost=st.integers(1, 9),
        due_at=st.sampled_from([NOW, NOW + 7, NOW - LAPSE_US, NOW - LAPSE_US - 1]),
    ),
    max_size=4,
    unique_by=(lambda ticket: ticket.source, lambda ticket: ticket.number),
)


def test_a_source_without_a_ticket_leaves_room_for_everybody_who_waits() -> None:
    assert room_left([OLD, YOUNG], source="new", now=NOW) == 6


def test_the_holder_of_a_ticket_leaves_room_for_older_ones_only() -> None:
    assert room_left([OLD, YOUNG], source="cheap", now=NOW) == 5


def test_nobody_leaves_room_for_himself() -> None:
    assert room_left([OLD], source="dear", now=NOW) == 0


def test_where_nobody_waits_no_room_is_left() -> None:
    assert room_left([], source="new", now=NOW) == 0


def test_a_ticket_that_is_not_asked_for_in_time_lapses() -> None:
    assert room_left([OLD], source="new", now=NOW + LAPSE_US) == 5
    assert room_left([OLD], source="new", now=NOW + LAPSE_US + 1) == 0


def test_a_lapsed_ticket_gives_its_own_source_no_turn() -> None:
    late = Ticket("dear", number=1, cost=5, due_at=NOW - LAPSE_US - 1)

    assert room_left([late, YOUNG], source="dear", now=NOW) == 1


@given(TICKETS)
@steady()
def test_the_oldest_ticket_that_has_not_lapsed_leaves_room_for_nobody(
    tickets: list[Ticket],
) -> None:
    live = [ticket for ticket in tickets if ticket.due_at + LAPSE_US >= NOW]
    for oldest in sorted(live, key=lambda ticket: ticket.number)[:1]:
        assert room_left(tickets, source=oldest.source, now=NOW) == 0


@given(TICKETS)
@steady()
def test_no_two_sources_wait_for_each_other(tickets: list[Ticket]) -> None:
    live = [ticket for ticket in tickets if ticket.due_at + LAPSE_US >= NOW]
    for pair in combinations(live, 2):
        left = [room_left(pair, source=ticket.source, now=NOW) for ticket in pair]
        assert min(left) == 0
