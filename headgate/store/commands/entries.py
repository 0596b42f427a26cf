"""The ledger's entries: what the quotas of a locked source are charged with, a grant spent, a call closed.

docs/quota.md and core/quota.py have the rule; here it is only read and written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from headgate.core.model import CallReport
from headgate.core.quota import (
    Quota,
    Usage,
    Window,
    next_after,
    occupied_until,
    shortened,
    unknown_fate_until,
)
from headgate.store.commands import buckets, turns
from headgate.store.commands.ledger import SHORT_WINDOW_US, LockedSource, quota_from
from headgate.store.engine import Asked, Row, Transaction
from headgate.store.statements import Statement, beside

SQL = beside(__file__)

KEPT_CALLS = 100
"""So many of a source's newest calls are kept for readers, whatever the windows need."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant to be written down: for which batch under which fence, by whom, at what cost, for what instant."""

    worker: str
    seq: int
    number: int
    fence: int
    cost: int
    at: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a call: when it was granted, its u if that is known, its cost, and to how many quotas."""

    entry: int
    granted_at: int
    until: int | None
    cost: int
    charged: int


def charges_asked(locked: LockedSource) -> list[Asked]:
    """What tells the usages of a locked source: `usages_from` reads the answers."""
    asked: list[Asked] = []
    for quota in locked.quotas:
        asked += _asked(quota, locked.now)
        if _has_tickets(locked, quota):
            asked.append(turns.tickets_asked(quota))
    return asked


def usages_from(locked: LockedSource, answers: Iterable[list[Row]]) -> list[list[Usage]]:
    """What each window of each quota is charged with, and what room it leaves for older tickets."""
    told = iter(answers)
    return [_leaving_room(locked, quota, told) for quota in locked.quotas]


async def usages_of(tx: Transaction, quota: Quota, now: int) -> list[Usage]:
    """What each window of a quota is charged with."""
    return _told(quota, iter(await tx.reads(*_asked(quota, now))))


def _leaving_room(locked: LockedSource, quota: Quota, answers: Iterator[list[Row]]) -> list[Usage]:
    usages = _told(quota, answers)
    if not _has_tickets(locked, quota):
        return usages
    room = turns.room_to_leave(next(answers), source=locked.name, now=locked.now)
    return [replace(usage, out=usage.out + room) for usage in usages]


def _has_tickets(locked: LockedSource, quota: Quota) -> bool:
    """Room is left in quotas that others name, too; there is none to leave in one's own."""
    return bool(quota.windows) and quota.name != locked.name


def _asked(quota: Quota, now: int) -> list[Asked]:
    """The calls whose u is unknown, those known one by one, and the buckets of each window of many calls."""
    if not quota.windows:
        return []
    counted = [window for window in quota.windows if window.bucket_us]
    return [
        (SQL.out, quota.name),
        (SQL.held, quota.name, now - longest_exact_us(quota)),
        *(buckets.usage_asked(quota, window, now=now) for window in counted),
    ]


def _told(quota: Quota, answers: Iterator[list[Row]]) -> list[Usage]:
    if not quota.windows:
        return []
    out, held = int(next(answers)[0][0]), next(answers)
    return [
        Usage(out, next(answers)) if window.bucket_us else Usage(out, _occupying(window, held))
        for window in quota.windows
    ]


def _occupying(window: Window, held: Sequence[Row]) -> list[tuple[int, int]]:
    """(u, cost) of charges: for a short window as carried over time that nobody watched, for a long one as it was."""
    if window.span_us <= SHORT_WINDOW_US:
        return [(until, cost) for until, cost, _ in held]
    return [(until - carried_us, cost) for until, cost, carried_us in held]


def longest_exact_us(quota: Quota) -> int:
    """For how long entries have to be known one by one."""
    return max((window.held_us for window in quota.windows if not window.bucket_us), default=0)


def in_flight_asked(source: str) -> Asked:
    """How many calls of a source were not answered, given up or rescued: one row of one number."""
    return (SQL.in_flight, source)


async def spend(
    tx: Transaction,
    locked: LockedSource,
    usages: list[list[Usage]],
    grant: Grant,
) -> int:
    """Write a grant down, charge every quota with it, and move the paces on; returns the entry."""
    row = await tx.one(
        SQL.insert_entry,
        locked.name,
        grant.worker,
        grant.seq,
        grant.number,
        grant.fence,
        grant.cost,
        grant.at,
    )
    assert row is not None
    entry = int(row[0])
    for place, quota in enumerate(locked.quotas):
        if quota.windows:
            await tx.later(SQL.insert_charge, quota.name, entry, grant.cost)
        usages[place] = [replace(usage, out=usage.out + grant.cost) for usage in usages[place]]
        next_at = next_after(quota, cost=grant.cost, now=grant.at)
        if next_at != quota.next_at:
            locked.quotas[place] = replace(quota, next_at=next_at)
    return entry


def entry_asked(entry: int) -> Asked:
    """What is known of a call: `entry_from` reads the answer."""
    return (SQL.entry, entry)


def entry_from(rows: Sequence[Row]) -> Entry | None:
    """None for an entry that is no longer needed and was dropped."""
    return Entry(*rows[0]) if rows else None


async def close_entry(
    tx: Transaction, locked: LockedSource, entry: Entry | None, report: CallReport | None
) -> None:
    """The call of an entry is over: set its u from what the worker saw; None: nobody knows its fate."""
    await _set_until(tx, locked, entry, report, SQL.close_entry)


async def report_written(
    tx: Transaction, locked: LockedSource, entry: Entry | None, report: CallReport
) -> None:
    """The call was written and is not answered yet: where the source counts early for sure, u is known."""
    if locked.rules.within_us is None:
        return
    await _set_until(tx, locked, entry, report, SQL.write_entry)


async def _set_until(
    tx: Transaction,
    locked: LockedSource,
    known: Entry | None,
    report: CallReport | None,
    statement: Statement,
) -> None:
    """U is set once, then only lowered; every quota that the call was charged to counts it."""
    if known is None:
        return
    written_at, answered_at, until = _fate(locked, known.granted_at, report)
    until += tx.margin_us(0)
    until = until if known.until is None else min(known.until, until)
    counting = await _counting(tx, locked, known)
    await tx.later(statement, known.entry, written_at, until, answered_at, rows=1)
    await tx.later(SQL.close_charges, known.entry, until)
    for quota in counting:
        await buckets.count(tx, quota, until=until, before=known.until, cost=known.cost)


async def _counting(tx: Transaction, locked: LockedSource, known: Entry) -> list[Quota]:
    """The quotas that count an entry: those charged, whoever names them now, and its own ones without a window."""
    if known.charged == 1 and len(locked.quotas) == 1 and locked.quotas[0].windows:
        return locked.quotas  # the usual case, without asking
    rows = await tx.all(SQL.charged, known.entry) if known.charged else []
    named = [quota_from(*row) for row in rows]
    names = {quota.name for quota in named}
    return named + [q for q in locked.quotas if not q.windows and q.name not in names]


def _fate(
    locked: LockedSource, granted_at: int, report: CallReport | None
) -> tuple[int | None, int | None, int]:
    """(w, when it was answered, u) of a call; ages are shortened by rho: rather too late than too early."""
    if report is None:
        return None, None, _unknown(locked, granted_at)
    if not report.sent:
        return None, None, max(granted_at, locked.now)
    written_at = _instant(locked.now, report.written_ago_us)
    answered_at = _instant(locked.now, report.answered_ago_us)
    until = occupied_until(
        answered_at=answered_at, written_at=written_at, within_us=locked.rules.within_us
    )
    return written_at, answered_at, _unknown(locked, granted_at) if until is None else until


def _unknown(locked: LockedSource, granted_at: int) -> int:
    rules = locked.rules
    return unknown_fate_until(
        granted_at=granted_at,
        slack_us=rules.slack_us,
        grace_us=rules.grace_us,
        given_up_at=locked.now,
    )


def _instant(now: int, ago_us: int | None) -> int | None:
    return None if ago_us is None else now - shortened(ago_us)


async def prune(tx: Transaction, locked: LockedSource, *, granted: int) -> None:
    """Drop a few entries that no window and no reader needs: more than have just come in."""
    most = 2 * granted + 2
    kept_us = max(map(longest_exact_us, locked.quotas), default=0)
    pruned = await tx.all(SQL.prune_entries, locked.name, locked.now - kept_us, KEPT_CALLS, most)
    if pruned:
        await tx.later(SQL.pruned, locked.name, max(until for (until,) in pruned))
    for quota in locked.quotas:
        if quota.windows:
            await tx.later(
                SQL.prune_charges, quota.name, locked.now - longest_exact_us(quota), most
            )
            await buckets.prune(tx, quota, now=locked.now, most=most)
