"""Write into the rows what this process's configuration says: every claim of every process obeys the rows."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headgate.core.facts import QuotaChanged
from headgate.core.model import QuotaSpec, SourceSpec
from headgate.core.quota import Pacing, Quota, next_reshaped
from headgate.store.commands.ledger import ledger_now, windows_from, windows_json
from headgate.store.engine import Transaction
from headgate.store.statements import beside

SQL = beside(__file__)


async def configure(
    tx: Transaction, sources: Sequence[SourceSpec], quotas: Sequence[QuotaSpec]
) -> None:
    """Put sources and quotas in force. A quota that changes is a loud fact, and obeyed at the next claim."""
    now, wall = await ledger_now(tx), (await tx.reading()).wall_us
    for quota in (*quotas, *(source.quota for source in sources)):
        await _put_quota(tx, quota, now=now, wall=wall)
    for source in sources:
        await _put_source(tx, source)


async def _put_quota(tx: Transaction, spec: QuotaSpec, *, now: int, wall: int) -> None:
    windows = windows_json(spec.windows)
    row = await tx.one(SQL.quota, spec.name)
    if row is None:
        await tx.do(SQL.insert_quota, spec.name, windows, spec.pacing, now, wall)
        return
    before, pacing, next_at = row
    if (before, pacing) == (windows, spec.pacing):
        return
    reshaped = Quota(spec.name, spec.windows, spec.pacing, next_at)
    await tx.do(
        SQL.update_quota, spec.name, windows, spec.pacing, next_reshaped(reshaped, cost=1, now=now)
    )
    tx.state(QuotaChanged(spec.name, _said(before, pacing), _said(windows, spec.pacing)))


async def _put_source(tx: Transaction, spec: SourceSpec) -> None:
    await tx.do(SQL.upsert_source, spec.name, msgspec.json.encode(spec.rules).decode())
    await tx.do(SQL.forget_shares, spec.name)
    for quota in (spec.quota.name, *spec.shares):
        await tx.do(SQL.insert_share, spec.name, quota)
        await tx.do(SQL.charge_newly_named, spec.name, quota)


def _said(windows: str, pacing: str) -> str:
    limits = ", ".join(f"{w.limit} per {w.span_us / 1e6:g} s" for w in windows_from(windows))
    return f"{limits or 'no window'} ({Pacing(pacing)})"
