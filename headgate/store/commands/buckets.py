"""Windows of many calls count in buckets of a thousandth of their span, so that usage stays a thousand rows.

A call is in the bucket of its u and occupies the window until the end of that bucket: rather too long than too
short. Totals of the minutes are kept for every quota, for 32 days, so that a window which is new in the
configuration knows its past.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

from headgate.core.clock import FOREVER
from headgate.core.quota import Quota, Window, stretched
from headgate.store.engine import Asked, Transaction
from headgate.store.statements import beside

SQL = beside(__file__)

MINUTE_US = 60_000_000
TOTALS_KEPT_US = 32 * 86_400_000_000


@dataclass(frozen=True, slots=True)
class Past:
    """What is known when windows change: calls one by one if their u is after `known_from`, and none after `latest`."""

    now: int
    known_from: int
    latest: int
    since: int = 0
    """What was before is counted already."""


def widths(quota: Quota) -> set[int]:
    """The widths in which a quota counts: a minute, and one for each window of many calls."""
    return {MINUTE_US} | {window.bucket_us for window in quota.windows if window.bucket_us}


async def count(
    tx: Transaction, quota: Quota, *, until: int, before: int | None, cost: int
) -> None:
    """Count a call whose u became known, or was lowered from `before`."""
    for width in widths(quota):
        end, end_before = _end(until, width), None if before is None else _end(before, width)
        if end == end_before:
            continue
        if end_before is not None:
            await tx.later(SQL.add, quota.name, width, end_before, -cost)
        await tx.later(SQL.add, quota.name, width, end, cost)


def usage_asked(quota: Quota, window: Window, *, now: int) -> Asked:
    """What a window of many calls is charged with: rows of (u, cost)."""
    return (SQL.held, quota.name, window.bucket_us, now - window.held_us)


async def prune(tx: Transaction, quota: Quota, *, now: int, most: int) -> None:
    """Drop a few buckets that have left their window."""
    held: dict[int, int] = {}
    for window in quota.windows:  # spans that differ by less than a thousandth share a width
        held[window.bucket_us] = max(window.held_us, held.get(window.bucket_us, 0))
    for width, held_us in held.items():
        if width:
            await tx.later(SQL.prune, quota.name, width, now - held_us, most)


async def prune_totals(tx: Transaction, quota: str, *, now: int) -> None:
    """Drop totals that no window can ask for any more."""
    await tx.do(SQL.prune, quota, MINUTE_US, now - TOTALS_KEPT_US, 2 * TOTALS_KEPT_US // MINUTE_US)


async def reshape(tx: Transaction, quota: Quota, past: Past) -> None:
    """A quota's windows have changed: new ones count what is known of the past, old ones are forgotten."""
    before = {width for (width,) in await tx.all(SQL.widths, quota.name)}
    for width in before - widths(quota):
        await tx.do(SQL.forget_width, quota.name, width)
    for window in quota.windows:
        if window.bucket_us and window.bucket_us not in before:
            await _seed_width(
                tx, quota, window.bucket_us, quota.name, window.held_us, FOREVER, past
            )
    await _seed_charges(tx, quota, quota.name, past)


async def learn(tx: Transaction, quota: Quota, source: str, past: Past) -> None:
    """A source newly names a quota that it shares: where calls are no longer known, its own totals tell."""
    for window in quota.windows:
        if window.bucket_us:
            await _seed_width(
                tx, quota, window.bucket_us, source, window.held_us, past.known_from, past
            )
    await _seed_width(tx, quota, MINUTE_US, source, TOTALS_KEPT_US, past.known_from, past)
    await _seed_charges(tx, quota, source, past)


async def _seed_width(
    tx: Transaction, quota: Quota, width: int, of: str, held_us: int, before: int, past: Past
) -> None:
    """Count the minutes of a quota that began before an instant, as far back as the window looks."""
    since = max(past.now - held_us, past.since)
    await tx.do(SQL.seed_width, quota.name, width, of, since, past.latest, before)


async def _seed_charges(tx: Transaction, quota: Quota, of: str, past: Past) -> None:
    longest = max((w.held_us for w in quota.windows if not w.bucket_us), default=0)
    since = max(past.now - longest, past.since)
    if longest and since < past.known_from:
        await tx.do(
            SQL.seed_charges, quota.name, of, since, past.known_from, past.latest, _mark(of)
        )


async def carry(tx: Transaction, by_us: int, *, last: int, short_us: int) -> None:
    """Nobody watched the time: short windows do not see it pass."""
    await tx.do(SQL.carry_short, by_us, short_us // 1_000, last - stretched(short_us))
    await tx.do(SQL.carry_short_back)


def _mark(name: str) -> int:
    """What tells the minutes of one source from those of another, where a charge has no entry of its own."""
    return crc32(name.encode()) % MINUTE_US


def _end(instant: int, width: int) -> int:
    return -(-instant // width) * width
