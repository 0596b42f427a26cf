"""Write into the rows what this process's configuration says: every claim of every process obeys the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from headgate.core.facts import QuotaChanged, RulesChanged
from headgate.core.model import QuotaSpec, SourceSpec
from headgate.core.quota import Pacing, Quota, next_reshaped
from headgate.store.commands import buckets
from headgate.store.commands.buckets import Past
from headgate.store.commands.ledger import (
    hold_all_sources,
    ledger_now,
    newest_shown,
    windows_from,
    windows_json,
)
from headgate.store.commands.rename import rename
from headgate.store.engine import Transaction
from headgate.store.statements import beside

SQL = beside(__file__)


async def configure(
    tx: Transaction, sources: Sequence[SourceSpec], quotas: Sequence[QuotaSpec]
) -> None:
    """Put sources and quotas in force. A quota that changes is a loud fact, and obeyed at the next claim."""
    # so that no call is counted in a shape that goes, and nobody else reshapes beside us
    await hold_all_sources(tx)
    now = await ledger_now(tx)
    shown = await newest_shown(tx) or (now, (await tx.reading()).wall_us)
    for source in sources:
        await _rename(tx, source)
    for quota in (*quotas, *(source.quota for source in sources)):
        await _put_quota(tx, quota, now=now, shown=shown)
        await buckets.prune_totals(tx, quota.name, now=now)
    shared = {quota.name: quota for quota in quotas}
    for source in sources:
        await _put_source(tx, source, shared, now=now)


async def _rename(tx: Transaction, spec: SourceSpec) -> None:
    """Once: afterwards there is no source of the old name. What somebody accepts under it later is brought along."""
    if spec.was is None:
        return
    old, new = await tx.one(SQL.known_source, spec.was), await tx.one(SQL.known_source, spec.name)
    if old and not new:
        await rename(tx, spec.was, spec.name)
    elif new and not old:
        await tx.do(SQL.bring_along, spec.was, spec.name)


async def _put_quota(tx: Transaction, spec: QuotaSpec, *, now: int, shown: tuple[int, int]) -> None:
    """`shown`: what a new quota begins with; a time of its own would be believed later."""
    windows = windows_json(spec.windows)
    row = await tx.one(SQL.quota, spec.name)
    if row is None:
        await tx.do(SQL.insert_quota, spec.name, windows, spec.pacing, *shown)
        return
    before, pacing, next_at = row
    if (before, pacing) == (windows, spec.pacing):
        return
    quota = Quota(spec.name, spec.windows, spec.pacing, next_at)
    if before != windows:
        await _reshape(tx, quota, now)
    await tx.do(
        SQL.update_quota, spec.name, windows, spec.pacing, next_reshaped(quota, cost=1, now=now)
    )
    tx.state(QuotaChanged(spec.name, _said(before, pacing), _said(windows, spec.pacing)))


async def _reshape(tx: Transaction, quota: Quota, now: int) -> None:
    """The windows in force count the past: call by call where that is known, else by the totals of the minutes."""
    known_from, latest = 0, now
    for (source,) in await tx.all(SQL.charged_to, quota.name):
        past = await _past(tx, source, now)
        known_from, latest = max(known_from, past.known_from), max(latest, past.latest)
        if quota.windows:
            await tx.all(SQL.charge_known, source, quota.name)
    await buckets.reshape(tx, quota, Past(now, known_from, latest))


async def _put_source(
    tx: Transaction, spec: SourceSpec, shared: Mapping[str, QuotaSpec], *, now: int
) -> None:
    known = await tx.one(SQL.known_source, spec.name)
    rules = msgspec.json.encode(spec.rules).decode()
    await tx.do(SQL.upsert_source, spec.name, rules)
    if known and known[0] != rules:
        tx.state(RulesChanged(spec.name, known[0], rules))
    before: dict[str, int | None] = dict(await tx.all(SQL.shares, spec.name))
    names = {spec.name, *spec.shares}
    for name, left_at in before.items():
        if name not in names and left_at is None:
            await tx.do(SQL.leave, spec.name, name, now)
    for name in sorted(names):
        await tx.do(SQL.name, spec.name, name)
        newly = name != spec.name and (name not in before or before[name] is not None)
        if known and newly:
            quota = Quota(name, shared[name].windows, shared[name].pacing)
            await _learn(tx, quota, spec.name, now=now, left_at=before.get(name) or 0)


async def _learn(tx: Transaction, quota: Quota, source: str, *, now: int, left_at: int) -> None:
    """A quota counts what a source that names it from now on was granted since it last named it."""
    past = await _past(tx, source, now)
    for cost, until in await tx.all(SQL.charge_known, source, quota.name):
        if until is not None:
            await buckets.count(tx, quota, until=until, before=None, cost=cost)
    await buckets.learn(tx, quota, source, replace(past, since=left_at))


async def _past(tx: Transaction, source: str, now: int) -> Past:
    row = await tx.one(SQL.known_from, source)
    assert row is not None
    return Past(now, row[0], max(now, row[1] or 0))


def _said(windows: str, pacing: str) -> str:
    limits = ", ".join(f"{w.limit} per {w.span_us / 1e6:g} s" for w in windows_from(windows))
    return f"{limits or 'no window'} ({Pacing(pacing)})"
