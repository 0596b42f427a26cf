"""Ledger time for readers: they look at it, and never write a new epoch down."""

from __future__ import annotations

from headgate.core.clock import Offset, ledger_time
from headgate.store.engine import Transaction
from headgate.store.statements import beside

SQL = beside(__file__)


async def now_of(tx: Transaction) -> int:
    """The ledger's now; before anybody has claimed in this epoch, the latest instant that it has shown."""
    reading = await tx.reading()
    clock = await tx.one(SQL.clock)
    newest = await tx.one(SQL.newest_quota)
    assert newest is not None
    if clock is None or reading.epoch not in {None, clock[0]}:
        return int(newest[0])
    return ledger_time(Offset(*clock), reading, newest[0])
