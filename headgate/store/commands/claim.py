"""Take the next batches of a source, each with the grant of one call: the heart of Headgate.

One transaction: lock the quotas, read the time, find the first eligible batch, ask the pure rule, and only if it
says yes spend the grant and take the lease. Nothing that is due is passed over, and no quota is spent on an
empty queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from headgate.core.facts import BatchClaimed
from headgate.core.lifecycle import ASIDE
from headgate.core.model import Claim
from headgate.core.quota import Hold, Usage, Wait, longest, refusals, slot_us
from headgate.store.commands import turns
from headgate.store.commands.entries import (
    Grant,
    charges_asked,
    in_flight_asked,
    prune,
    spend,
    usages_from,
)
from headgate.store.commands.heads import (
    MOVED_AT_ONCE,
    Head,
    Line,
    bring_back,
    move,
    next_due,
)
from headgate.store.commands.ledger import (
    LockedSource,
    lock_source,
    write_quotas,
    write_step,
    write_time,
)
from headgate.store.engine import Door, Transaction, WorkerId, through
from headgate.store.statements import beside

SQL = beside(__file__)

AHEAD_US = 50_000
"""How far ahead of its instant a call is granted, and only where the pace is faster than FAST_SLOT_US."""

FAST_SLOT_US = 10_000
"""A hundred calls a second."""

CLAIM_TRIPS = 6
"""What a claim needs from its look at the clock on, besides one round trip for each grant."""

REPORT_US = 250_000
"""How soon a call that is not answered reports that it was written, where that tells its u."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Batches taken, in order."""

    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is queued."""


@dataclass(frozen=True, slots=True)
class TooFar:
    """A grant would be stale when it came: it would take so long, by what the look at the clock has just taken."""

    takes_us: int


@dataclass(slots=True)
class _Round:
    """One claim under way: the locked source, its line, what its windows are charged with, the instant looked at."""

    locked: LockedSource
    line: Line
    usages: list[list[Usage]]
    busy: int
    worker: WorkerId
    at: int
    claims: list[Claim] = field(default_factory=list)


@through(Door.DISPATCH)
async def claim(
    tx: Transaction, source: str, *, worker: WorkerId, most: int = 1
) -> Claims | Wait | Idle | TooFar:
    """Take up to `most` next batches with their grants, or say how long to wait.

    No grant is spent and no batch begun unless granted; housekeeping may be written. Raises NotFound for a source
    that was never configured.
    """
    locked = await lock_source(tx, source)
    takes_us = locked.trip_us * (CLAIM_TRIPS + 1)
    if takes_us > locked.rules.slack_us:
        return TooFar(takes_us)  # going on would hold the source for what nobody can use
    line = Line(tx, source, most=locked.rules.batch_size)
    due, begun, waiting, in_flight, *charges = await tx.reads(
        *line.asked(locked.now), in_flight_asked(source), *charges_asked(locked)
    )
    if due:
        await move(tx, due)
        if len(due) == MOVED_AT_ONCE:
            return Wait(for_us=0)  # more may be due: nobody is passed over
        begun = await line.begun()
    head = await line.first(begun, waiting)
    busy = int(in_flight[0][0])
    if head is None and _may_probe(locked, busy) and await bring_back(tx, source):
        head = await line.first(await line.begun(), waiting)
    if head is None:
        return await _nothing_eligible(tx, locked)
    usages = usages_from(locked, charges)
    return await _claim(tx, _Round(locked, line, usages, busy, worker, locked.now), head, most)


async def _claim(tx: Transaction, turn: _Round, first: Head, most: int) -> Claims | Wait:
    head: Head | None = first
    while head is not None:
        busy = turn.busy + len(turn.claims)
        refused = refusal(turn.locked, turn.usages, busy=busy, ids=len(head.ids), at=turn.at)
        if refused is None:
            await _take(tx, turn, head)
            head = await turn.line.after(head) if len(turn.claims) < most else None
        elif not _ahead(turn, refused):
            if not turn.claims:
                return await _refused(tx, turn, refused, len(head.ids))
            break
    if len(turn.locked.quotas) > 1:
        await turns.give_back(tx, turn.locked.name)
    await write_quotas(tx, turn.locked)
    await prune(tx, turn.locked, granted=len(turn.claims))
    return Claims(tuple(turn.claims))


def _may_probe(locked: LockedSource, busy: int) -> bool:
    return locked.closed_until is not None and locked.now >= locked.closed_until and not busy


def refusal(
    locked: LockedSource, usages: Sequence[Sequence[Usage]], *, busy: int, ids: int, at: int
) -> Wait | None:
    """Why the next call, for so many ids, may not be granted at an instant, or None. `busy`: calls under way."""
    if locked.closed_until is not None:
        if locked.now < locked.closed_until:
            return Wait(locked.closed_until - locked.now, Hold.CLOSED)
        if busy:
            return Wait(None, Hold.CLOSED)  # one probe at a time
    if busy >= locked.rules.concurrency:
        return Wait(None, Hold.CONCURRENCY)
    return longest(refusals(locked.quotas, usages, cost=locked.rules.cost(ids), now=at))


def _ahead(turn: _Round, refused: Wait) -> bool:
    """Look at a later instant, if the source is fast and the instant near."""
    if refused.for_us is None or refused.why is Hold.CLOSED:
        return False
    at = turn.at + refused.for_us
    slots = [slot_us(quota, cost=1) for quota in turn.locked.quotas]
    if not 0 < max(slots, default=0) < FAST_SLOT_US or at - turn.locked.now > AHEAD_US:
        return False
    turn.at = at
    return True


async def _refused(tx: Transaction, turn: _Round, refused: Wait, ids: int) -> Wait:
    locked = turn.locked
    await write_time(tx, locked)
    if len(locked.quotas) == 1:
        return refused
    cost = locked.rules.cost(ids)
    all_of = refusals(locked.quotas, turn.usages, cost=cost, now=locked.now)
    return await turns.refused(tx, refused, all_of, source=locked.name, cost=cost, now=locked.now)


async def _nothing_eligible(tx: Transaction, locked: LockedSource) -> Wait | Idle:
    if len(locked.quotas) > 1:
        await turns.give_back(tx, locked.name)
    await write_step(tx, locked)
    due = await next_due(tx, locked.name)
    if due is None:
        return Idle()
    if due >= ASIDE and locked.closed_until is not None:
        until_probe = locked.closed_until - locked.now
        return Wait(until_probe if until_probe > 0 else None, Hold.CLOSED)
    return Wait(due - locked.now, Hold.BACKOFF)


# -- taking one ----------------------------------------------------------------------------------------------


async def _take(tx: Transaction, turn: _Round, head: Head) -> None:
    locked, rules = turn.locked, turn.locked.rules
    cost = rules.cost(len(head.ids))
    fence = max(head.fence + 1, locked.now)  # a new one, also where the database forgot some (0022)
    grant = Grant(turn.worker, head.seq, head.number, fence, cost, turn.at)
    await _hold(tx, turn, head, fence)
    entry = await spend(tx, locked, turn.usages, grant)
    tx.state(BatchClaimed(locked.name, head.seq, head.number, head.attempt))
    turn.claims.append(
        Claim(
            seq=head.seq,
            number=head.number,
            fence=fence,
            entry=entry,
            source=locked.name,
            ids=head.ids,
            attempt=head.attempt,
            slack_us=rules.slack_us,
            lease_us=rules.lease_us,
            looked_us=locked.looked_us,
            not_before_us=turn.at - locked.now,
            report_after_us=_report_after_us(locked),
            probe=locked.closed_until is not None,
            failures=locked.failures,
        )
    )


def _report_after_us(locked: LockedSource) -> int | None:
    """When to report that a call was written, if that tells its u before the answer does."""
    spans = [window.span_us for quota in locked.quotas for window in quota.windows]
    if locked.rules.within_us is None or not spans:
        return None
    return min(REPORT_US, min(spans) // 4)


async def _hold(tx: Transaction, turn: _Round, head: Head, fence: int) -> None:
    locked = turn.locked
    lease_until = locked.now + locked.rules.lease_us
    if head.begun:
        await tx.later(
            SQL.take_batch,
            head.seq,
            head.number,
            head.fence,
            fence,
            turn.worker,
            lease_until,
            rows=1,
        )
        return
    left = sum(map(len, head.todo))
    await tx.later(
        SQL.advance, head.seq, head.advance_to, int(not head.last), left, head.number, rows=1
    )
    await tx.later(
        SQL.begin_batch,
        head.seq,
        head.number,
        locked.name,
        head.priority,
        fence,
        turn.worker,
        lease_until,
        msgspec.json.encode(head.todo).decode(),
        left,
        locked.wall,
    )
