"""A sign of life of a process that shares a clock which may step: it watches, and newcomers may rely on it."""

from __future__ import annotations

from headgate.store.commands.ledger import touch_clock
from headgate.store.engine import Door, Transaction, through


@through(Door.LEASES)
async def beat(tx: Transaction) -> bool:
    """Look at the clock and touch it; returns whether this process is trusted with the time."""
    return await touch_clock(tx)
