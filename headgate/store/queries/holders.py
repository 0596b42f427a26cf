"""Who holds batches: for whoever rescues."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.store.engine import Transaction, WorkerId
from headgate.store.queries.now import now_of
from headgate.store.statements import beside

SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class Holder:
    worker: WorkerId
    lease_ran_out: bool


async def holders(tx: Transaction) -> list[Holder]:
    """Everybody who holds a batch, each with whether one of their leases has run out."""
    rows = await tx.all(SQL.holders)
    if not rows:
        return []
    now = await now_of(tx)
    return [Holder(worker, lease_until < now) for worker, lease_until in rows]
