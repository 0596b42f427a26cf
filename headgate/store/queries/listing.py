"""A client's ingestions, newest first, a page at a time."""

from __future__ import annotations

from headgate.core.model import Priority, Status
from headgate.store.engine import Transaction, at_length
from headgate.store.queries.status import IngestionView, view_of
from headgate.store.statements import beside

SQL = beside(__file__)

NEWEST = 2**62


@at_length
async def ingestions(
    tx: Transaction,
    *,
    client: str,
    before: int = NEWEST,
    source: str | None = None,
    priority: Priority | None = None,
    status: Status | None = None,
    most: int = 100,
) -> list[IngestionView]:
    """A page of ingestions accepted before the one with sequence number `before`."""
    rows = await tx.all(SQL.ingestions, client, before, source, priority, status, most)
    return [view_of(row) for row in rows]
