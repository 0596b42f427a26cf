"""The ledger, as the commands share it: lock a source's quotas, read what they are charged with, spend and close.

DESIGN §5 and core/quota.py have the rule; here it is only read and written. Lock order: quota, ingestion, batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import msgspec

from headgate.core.clock import Offset, Reading, believed, first_offset, ledger_time, rejoined
from headgate.core.errors import NotFound
from headgate.core.facts import TimeUnwatched
from headgate.core.model import CallReport, CallRules
from headgate.core.quota import (
    Pacing,
    Quota,
    Usage,
    Window,
    next_after,
    occupied_until,
    shortened,
    stretched,
    unknown_fate_until,
)
from headgate.store.commands import buckets, turns
from headgate.store.engine import Row, Transaction
from headgate.store.statements import Statement, beside

SQL = beside(__file__)

SHORT_WINDOW_US = 600_000_000
"""For windows up to this long only watched time counts: 10 minutes."""

LAST_WRITTEN_US = 1_000_000
"""How seldom a wait writes down how far ledger time is."""

WALL_STEP_US = 1_000_000
"""By how much the wall clock moves against the ledger's before that is written down at rest."""

KEPT_CALLS = 100
"""So many of a source's newest calls are kept for readers, whatever the windows need."""


@dataclass(slots=True)
class LockedSource:
    """A source with its quotas locked, as it stands at the ledger's `now`."""

    name: str
    rules: CallRules
    failures: int
    closed_until: int | None
    quotas: list[Quota]
    last_at: int
    last_wall: int
    now: int
    wall: int


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant to be written down: for which batch under which fence, by whom, at what cost, for what instant."""

    worker: str
    seq: int
    number: int
    fence: int
    cost: int
    at: int


async def lock_source(tx: Transaction, source: str) -> LockedSource:
    """Lock a source's quotas and read the clock under the lock. Raises NotFound for one never configured."""
    rows = await tx.lock(SQL.lock, source)
    if not rows:
        raise NotFound(f"the source {source!r} is not configured")
    rules, failures, closed_until, *clock = rows[0][8:]
    reading = await tx.reading()
    last_at, last_wall = max(row[6:8] for row in rows)
    return LockedSource(
        source,
        rules_from(rules),
        failures,
        closed_until,
        [quota_from(*row[:6]) for row in rows],
        last_at,
        last_wall,
        ledger_time(await _offset(tx, reading, clock), reading, last_at),
        reading.wall_us,
    )


async def ledger_now(tx: Transaction) -> int:
    """The ledger's now, outside any quota: for leases."""
    reading = await tx.reading()
    clock = await tx.one(SQL.clock) or (None, None)
    return ledger_time(await _offset(tx, reading, clock), reading, 0)


async def _offset(tx: Transaction, reading: Reading, clock: Sequence[Any]) -> Offset:
    """What turns this reading into ledger time; a new ledger or a new epoch is written down."""
    epoch, offset_us = clock
    if epoch == reading.epoch:
        return Offset(epoch, offset_us)
    if epoch is not None:
        return await _rejoin(tx, reading)
    first = first_offset(reading)
    await tx.do(SQL.insert_clock, first.epoch, first.offset_us)
    return first


async def _rejoin(tx: Transaction, reading: Reading) -> Offset:
    """Nobody watched the time until now: believe the wall clock, less its possible error.

    For short windows only watched time counts: what occupied them is carried along.
    """
    newest = await tx.one(SQL.newest_quota)
    last, wall_at_last = newest or (reading.wall_us, reading.wall_us)
    believed_us = believed(reading, wall_at_last=wall_at_last)
    since = last - stretched(SHORT_WINDOW_US)
    await tx.do(SQL.carry_entries, believed_us, since)
    await tx.do(SQL.carry_charges, believed_us, since)
    await buckets.carry(tx, believed_us, last=last, short_us=SHORT_WINDOW_US)
    after = rejoined(reading, last=last, believed_us=believed_us)
    await tx.do(SQL.update_clock, after.epoch, after.offset_us)
    await tx.do(SQL.rejoin_quotas, last + believed_us, reading.wall_us)
    tx.state(TimeUnwatched(believed_us))
    return after


async def read_usages(tx: Transaction, locked: LockedSource) -> list[list[Usage]]:
    """What each window of each quota is charged with, and what room it leaves for older tickets."""
    return [
        await usages_of(tx, quota, locked.now, leave=await _leave_room(tx, locked, quota))
        for quota in locked.quotas
    ]


async def _leave_room(tx: Transaction, locked: LockedSource, quota: Quota) -> int:
    return await turns.leave_room(tx, quota, source=locked.name, now=locked.now)


async def usages_of(tx: Transaction, quota: Quota, now: int, *, leave: int = 0) -> list[Usage]:
    """What each window of a quota is charged with; `leave`: room to be left on top."""
    if not quota.windows:
        return []
    row = await tx.one(SQL.out, quota.name)
    assert row is not None
    out, longest = row[0] + leave, longest_exact_us(quota)
    held = await tx.all(SQL.held, quota.name, now - longest) if longest else []
    return [
        await buckets.usage(tx, quota, window, out=out, now=now)
        if window.bucket_us
        else Usage(out, _occupying(window, held))
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


async def in_flight(tx: Transaction, source: str) -> int:
    row = await tx.one(SQL.in_flight, source)
    assert row is not None
    return int(row[0])


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
            await tx.do(SQL.insert_charge, quota.name, entry, grant.cost)
        usages[place] = [replace(usage, out=usage.out + grant.cost) for usage in usages[place]]
        next_at = next_after(quota, cost=grant.cost, now=grant.at)
        if next_at != quota.next_at:
            locked.quotas[place] = replace(quota, next_at=next_at)
    return entry


async def write_quotas(tx: Transaction, locked: LockedSource) -> None:
    """Write down where the paces stand and how far ledger time is."""
    for quota in locked.quotas:
        await tx.do(SQL.update_quota, quota.name, quota.next_at, locked.now, locked.wall)


async def write_time(tx: Transaction, locked: LockedSource) -> None:
    """The same after a wait, but seldom: a ledger that is watched costs one small write a second."""
    if locked.now - locked.last_at > LAST_WRITTEN_US:
        await write_quotas(tx, locked)


async def write_step(tx: Transaction, locked: LockedSource) -> None:
    """The same at rest, where nothing is written but that the wall clock was put right meanwhile.

    After a reboot, only what the wall clock did since then is in doubt.
    """
    passed_us, by_wall_us = locked.now - locked.last_at, locked.wall - locked.last_wall
    if abs(by_wall_us - passed_us) > WALL_STEP_US:
        await write_quotas(tx, locked)


async def close_entry(
    tx: Transaction, locked: LockedSource, entry: int, report: CallReport | None
) -> None:
    """The call of an entry is over: set its u from what the worker saw; None: nobody knows its fate."""
    await _set_until(tx, locked, entry, report, SQL.close_entry)


async def report_written(
    tx: Transaction, locked: LockedSource, entry: int, report: CallReport
) -> None:
    """The call was written and is not answered yet: where the source counts early for sure, u is known."""
    if locked.rules.within_us is None:
        return
    await _set_until(tx, locked, entry, report, SQL.write_entry)


async def _set_until(
    tx: Transaction,
    locked: LockedSource,
    entry: int,
    report: CallReport | None,
    statement: Statement,
) -> None:
    """U is set once, then only lowered; every quota that the call was charged to counts it."""
    row = await tx.one(SQL.entry, entry)
    if row is None:
        return
    granted_at, before, cost = row
    written_at, answered_at, until = _fate(locked, granted_at, report)
    until = until if before is None else min(before, until)
    await tx.do(statement, entry, written_at, until, answered_at)
    charged = await tx.do(SQL.close_charges, entry, until)
    for quota in await _counting(tx, locked, entry, charged):
        await buckets.count(tx, quota, until=until, before=before, cost=cost)


async def _counting(tx: Transaction, locked: LockedSource, entry: int, charged: int) -> list[Quota]:
    """The quotas that count an entry: those charged, whoever names them now, and its own ones without a window."""
    if charged == 1 and len(locked.quotas) == 1 and locked.quotas[0].windows:
        return locked.quotas  # the usual case, without asking
    rows = await tx.all(SQL.charged, entry) if charged else []
    named = [quota_from(*row) for row in rows]
    known = {quota.name for quota in named}
    return named + [q for q in locked.quotas if not q.windows and q.name not in known]


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
        await tx.do(SQL.pruned, locked.name, max(until for (until,) in pruned))
    for quota in locked.quotas:
        if quota.windows:
            await tx.do(SQL.prune_charges, quota.name, locked.now - longest_exact_us(quota), most)
            await buckets.prune(tx, quota, now=locked.now, most=most)


def quota_from(
    name: str, windows: str, pacing: str, next_at: int, blocked_until: int, slowdown: int
) -> Quota:
    return Quota(name, windows_from(windows), Pacing(pacing), next_at, blocked_until, slowdown)


@lru_cache(maxsize=256)
def windows_from(json: str) -> tuple[Window, ...]:
    """Windows as the quota's row has them."""
    return tuple(Window(limit, span) for limit, span in msgspec.json.decode(json))


@lru_cache(maxsize=256)
def rules_from(json: str) -> CallRules:
    """A source's rules as its row has them."""
    return msgspec.json.decode(json, type=CallRules)


def windows_json(windows: Sequence[Window]) -> str:
    return msgspec.json.encode([(window.limit, window.span_us) for window in windows]).decode()
