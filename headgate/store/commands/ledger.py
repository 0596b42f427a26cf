"""The ledger's time and its lock: a source's quotas, locked, as they stand at the ledger's now.

docs/quota.md and core/clock.py have the rule; here it is only read and written.
Lock order: source, quota, clock, ingestion, batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, assert_never

import msgspec

from headgate.core.clock import (
    Newcomer,
    Offset,
    Reading,
    Unwatched,
    believed,
    first_offset,
    ledger_time,
    rejoined,
)
from headgate.core.errors import ClockUnwatched, NotFound
from headgate.core.facts import ClockStepped, LedgerWentBack, TimeUnwatched
from headgate.core.model import CallRules
from headgate.core.quota import Pacing, Quota, Window, forgotten_us, stretched
from headgate.store.commands import buckets
from headgate.store.engine import HoldAllFirst, Row, RunAgain, Transaction
from headgate.store.statements import beside

SQL = beside(__file__)

SHORT_WINDOW_US = 600_000_000
"""For windows up to this long only watched time counts: 10 minutes."""

LAST_WRITTEN_US = 1_000_000
"""How seldom a wait writes down how far ledger time is."""

WALL_STEP_US = 1_000_000
"""By how much the wall clock moves against the ledger's before that is written down at rest."""


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
    epoch: str
    now: int
    wall: int
    looked_us: int
    """This process's boot-time clock before it looked at the ledger's: `now` is not earlier than that."""
    trip_us: int
    """How long that look took: a round trip to the store."""


async def lock_source(tx: Transaction, source: str) -> LockedSource:
    """Lock a source with its quotas and read the clock under the lock. Raises NotFound for one never configured."""
    await hold_source(tx, source)
    rows = await tx.lock(SQL.lock, source)
    if not rows:
        raise NotFound(f"the source {source!r} is not configured")
    reading = await tx.reading()
    clock = rows[0][11:]
    offset = await _offset(tx, reading, clock)  # first: windows are taken longer for this look, too
    if (older := _older(tx, _shown(rows), offset.epoch)) is not None:
        await _hold_every_quota(tx, older, reading, offset)
    if older is not None or offset.epoch != clock[0]:
        rows = await tx.lock(SQL.lock, source)  # every quota was written anew
    for quota, at in _shown(rows):
        tx.show(quota, offset.epoch, at)
    quotas = [_taken_longer(tx, quota_from(*row[:6])) for row in rows]
    return _at(source, rows, quotas, reading, offset)


async def see_source(tx: Transaction, source: str) -> LockedSource | None:
    """The same without a lock, for a look that decides nothing; None where only a claim can tell the ledger's time."""
    rows = await tx.all(SQL.see, source)
    if not rows:
        return None
    clock = rows[0][11:]
    reading, offset = await tx.reading(), Offset(*clock)
    if reading.epoch not in {None, offset.epoch} or _older(tx, _shown(rows), offset.epoch):
        return None
    return _at(source, rows, [quota_from(*row[:6]) for row in rows], reading, offset)


def _shown(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """How far the ledger time of each quota is, of rows as `lock` and `see` have them."""
    return [(row[0], row[6]) for row in rows]


def _at(
    source: str, rows: Sequence[Row], quotas: list[Quota], reading: Reading, offset: Offset
) -> LockedSource:
    rules, failures, closed_until = rows[0][8:11]
    last_at, last_wall = max(row[6:8] for row in rows)
    return LockedSource(
        source,
        rules_from(rules),
        failures,
        closed_until,
        quotas,
        last_at,
        last_wall,
        offset.epoch,
        ledger_time(offset, reading, last_at),
        reading.wall_us,
        reading.asked_us,
        reading.came_us - reading.asked_us,
    )


async def touch_clock(tx: Transaction) -> tuple[bool, Reading]:
    """Let newcomers see that somebody watches the clock; returns whether this process may say so, and its look.

    The clock is locked before the look: of two touches, the second has looked after the first.
    """
    rows = await tx.lock(SQL.clock_alone)
    reading = await tx.reading()
    try:
        await _offset(tx, reading, rows[0] if rows else (None, None, 0))
    except ClockUnwatched:
        return False, reading
    await tx.do(SQL.touch)
    return True, reading


async def hold_source(tx: Transaction, source: str) -> None:
    """Have a source to oneself until the transaction ends: whoever changes its line or its ledger holds it.

    What is read afterwards is as the one before left it.
    """
    await tx.lock(SQL.hold, source)


async def hold_all_sources(tx: Transaction) -> None:
    """Have every source to oneself until the transaction ends: whoever changes quotas, or the ledger's time.

    One after the other: sources are added and renamed under this, and the next one has to see them.
    """
    await tx.lock(SQL.hold_all_turn)
    await tx.lock(SQL.hold_all)


async def ledger_now(tx: Transaction) -> int:
    """The ledger's now, outside any quota: for leases, and for what a configuration changes.

    For a newcomer it is the latest instant that the ledger has shown: rather too early than too late.
    """
    reading = await tx.reading()
    clock = await tx.one(SQL.clock) or (None, None, 0)
    try:
        return ledger_time(await _offset(tx, reading, clock), reading, 0)
    except ClockUnwatched:
        return (await newest_shown(tx) or (0, 0))[0]


async def newest_shown(tx: Transaction) -> tuple[int, int] | None:
    """The latest instant that the ledger has shown, and the wall clock then; None in a new ledger."""
    row = await tx.one(SQL.newest_quota)
    return None if row is None else (row[0], row[1])


async def _offset(tx: Transaction, reading: Reading, clock: Sequence[Any]) -> Offset:
    """What turns this reading into ledger time; a new ledger, a new epoch or a step is written down.

    Raises ClockUnwatched for a newcomer.
    """
    if clock[0] is None:
        offset = first_offset(reading)
        await tx.do(SQL.insert_clock, offset.epoch, offset.offset_us)
    else:
        known = Offset(clock[0], clock[1])
        match tx.judge(reading, known, clock[2]):
            case Offset() as offset:
                if offset != known:
                    await _step(tx, known, offset)
            case Unwatched() if not tx.holds_all:
                raise HoldAllFirst
            case Unwatched():
                offset = await _rejoin(tx, known, reading)
            case Newcomer():
                raise ClockUnwatched
            case _ as never:
                assert_never(never)
    tx.believe(reading, offset)
    return offset


def _older(
    tx: Transaction, shown: Iterable[tuple[str, int]], epoch: str | None
) -> tuple[int, str] | None:
    """By how much the ledger of a quota is older than we know it to have been, and of which; None if none is.

    `shown`: quotas, with the latest instant that each has shown.
    """
    by_us, quota = max(((tx.latest(name, epoch) - at, name) for name, at in shown), default=(0, ""))
    return (by_us, quota) if by_us > 0 else None


async def _hold_every_quota(
    tx: Transaction, older: tuple[int, str], reading: Reading, offset: Offset
) -> None:
    """Which calls a ledger that is older has forgotten, nobody can say, and perhaps nobody else knows that it has.

    Held is every quota, until no call of before now is in its windows.
    """
    if not tx.holds_all:
        raise HoldAllFirst
    longest_us = 0
    for quota, windows, last_at, rules in await tx.all(SQL.every_quota):
        out_us = 0 if rules is None else rules_from(rules).slack_us + rules_from(rules).grace_us
        held_us = forgotten_us(_longer(tx, windows_from(windows)), out_us=out_us)
        now = ledger_time(offset, reading, max(last_at, tx.latest(quota, None)))
        await tx.do(SQL.hold_quota, quota, now + held_us, now, reading.wall_us)
        longest_us = max(longest_us, held_us)
    tx.state(LedgerWentBack(older[1], older[0], longest_us))


async def _step(tx: Transaction, known: Offset, offset: Offset) -> None:
    """The reference has stepped: ledger time does not. Whoever comes second runs again with what the first wrote."""
    if not await tx.do(SQL.move_clock, offset.offset_us, known.epoch, known.offset_us):
        raise RunAgain
    tx.state(ClockStepped(known.offset_us - offset.offset_us))


async def _rejoin(tx: Transaction, before: Offset, reading: Reading) -> Offset:
    """Nobody watched the time until now: believe the wall clock, less its possible error.

    For short windows only watched time counts: what occupied them is carried along.
    """
    older = _older(tx, await tx.all(SQL.every_last), epoch=None)
    last, wall_at_last = await newest_shown(tx) or (reading.wall_us, reading.wall_us)
    believed_us = believed(reading, wall_at_last=wall_at_last)
    since = last - stretched(SHORT_WINDOW_US)
    await tx.do(SQL.carry_entries, believed_us, since)
    await tx.do(SQL.carry_charges, believed_us, since)
    await buckets.carry(tx, believed_us, last=last, short_us=SHORT_WINDOW_US)
    after = rejoined(reading, before=before.epoch, last=last, believed_us=believed_us)
    if not await tx.do(SQL.begin_epoch, after.epoch, after.offset_us, before.epoch):
        raise RunAgain
    await tx.do(SQL.rejoin_quotas, last + believed_us, reading.wall_us)
    tx.state(TimeUnwatched(believed_us))
    if older is not None:
        await _hold_every_quota(tx, older, reading, after)
    return after


def _taken_longer(tx: Transaction, quota: Quota) -> Quota:
    windows = _longer(tx, quota.windows)
    return quota if windows == quota.windows else replace(quota, windows=windows)


def _longer(tx: Transaction, windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """Where looking at the clock takes time, a step may have gone unseen for as long: windows are taken longer."""
    return tuple(
        replace(window, margin_us=margin_us)
        if (margin_us := tx.margin_us(window.span_us))
        else window
        for window in windows
    )


async def write_quotas(tx: Transaction, locked: LockedSource) -> None:
    """Write down where the paces stand and how far ledger time is."""
    for quota in locked.quotas:
        await tx.later(SQL.update_quota, quota.name, quota.next_at, locked.now, locked.wall)
        tx.show(quota.name, locked.epoch, locked.now)


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
