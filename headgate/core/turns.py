"""Turns: the right of the next grant among sources that share a quota.

A source that only shared quotas refuse, by a window, their pace or an older ticket, takes a numbered ticket. Others
leave room for older tickets only: the holder's cost is added to what is out. A ticket lapses when it is granted, when
its source is idle or refused by anything else, or when it is not asked for within LAPSE_US of its instant. Without
turns a dear source starves beside a cheap one; with one turn per quota, two sources that hold one each wait for ever;
numbers are the same everywhere, so the oldest always gets through.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LAPSE_US = 200_000


@dataclass(frozen=True, slots=True)
class Ticket:
    """A source that waits for room for `cost`; it will ask again at `due_at`."""

    source: str
    number: int
    cost: int
    due_at: int

    def lapsed(self, now: int) -> bool:
        return now > self.due_at + LAPSE_US


def room_left(tickets: Iterable[Ticket], *, source: str, now: int) -> int:
    """How much room a source has to leave for older tickets than its own."""
    live = [ticket for ticket in tickets if not ticket.lapsed(now)]
    own = min((ticket.number for ticket in live if ticket.source == source), default=None)
    return sum(
        ticket.cost
        for ticket in live
        if ticket.source != source and (own is None or ticket.number < own)
    )
