"""Tickets in the store: read what room to leave, take one, give it back. core/turns.py has the rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from headgate.core.quota import Hold, Quota, Wait
from headgate.core.turns import LAPSE_US, Ticket, room_left
from headgate.store.engine import Asked, Row, Transaction
from headgate.store.statements import beside

SQL = beside(__file__)

BY_SHARED = frozenset({Hold.WINDOW, Hold.ANSWER, Hold.PACE})
"""What counts as being refused by a shared quota: its windows, and its pace, which would else pass a dear call over."""

UNKNOWN_DUE_US = 15_000_000
"""A ticket that waits for an answer has no instant: it lapses after a lease, unless it asks again before."""


def tickets_asked(quota: Quota) -> Asked:
    """Who waits for room in a shared quota: `room_to_leave` reads the answer."""
    return (SQL.tickets, quota.name)


def room_to_leave(tickets: Iterable[Row], *, source: str, now: int) -> int:
    """How much room a source has to leave in a shared quota for older tickets."""
    return room_left([Ticket(*row) for row in tickets], source=source, now=now)


async def refused(
    tx: Transaction, wait: Wait, all_of: Sequence[Wait], *, source: str, cost: int, now: int
) -> Wait:
    """Take a ticket, or keep it, if nothing but shared quotas refuses; give it back if anything else does.

    Returns how long to wait: where only an answer or an older ticket can change it, no longer than the older
    tickets live.
    """
    if not all(_by_shared(each, source) for each in (wait, *all_of)):
        await tx.later(SQL.give_back, source)
        return wait
    if wait.for_us is None:
        wait = replace(wait, for_us=await _until_older_lapse(tx, source, now))
    due_at = now + (UNKNOWN_DUE_US if wait.for_us is None else wait.for_us)
    due_at += tx.margin_us(0)  # who is far from the store asks again as much later
    await tx.later(SQL.take, source, cost, due_at, LAPSE_US, now)
    return wait


def _by_shared(wait: Wait, source: str) -> bool:
    return wait.why in BY_SHARED and wait.quota not in ("", source)


async def _until_older_lapse(tx: Transaction, source: str, now: int) -> int | None:
    row = await tx.one(SQL.first_lapse, source)
    if row is None or row[0] is None:
        return None
    return max(0, int(row[0]) - now) + LAPSE_US + 1


async def give_back(tx: Transaction, source: str) -> None:
    """The source was granted, or has nothing to do."""
    await tx.later(SQL.give_back, source)


async def wake_sharers(tx: Transaction, source: str) -> None:
    """An answer may make room for every source that shares a quota with this one."""
    for (name,) in await tx.all(SQL.sharers, source):
        tx.wake(name)
