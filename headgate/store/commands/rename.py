"""A source takes another name: `was = "old"` brings its queue and its ledger along."""

from __future__ import annotations

from headgate.store.engine import Transaction
from headgate.store.statements import beside

SQL = beside(__file__)

EVERYWHERE = (
    SQL.source,
    SQL.quota,
    SQL.shares,
    SQL.own_share,
    SQL.entries,
    SQL.charges,
    SQL.buckets,
    SQL.ingestions,
    SQL.batches,
    SQL.ticket,
)


async def rename(tx: Transaction, old: str, new: str) -> None:
    """Give everything of a source its new name."""
    for statement in EVERYWHERE:
        await tx.do(statement, old, new)
