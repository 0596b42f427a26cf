"""A sign of life of a process that shares a clock which may step: it watches, and newcomers may rely on it."""

from __future__ import annotations

from headgate.store.commands.ledger import touch_clock
from headgate.store.commands.workers import seen
from headgate.store.engine import Door, Transaction, WorkerId, through


@through(Door.LEASES)
async def beat(tx: Transaction, worker: WorkerId) -> bool:
    """Look at the clock, touch it and say that one is there; returns whether this process is trusted with the time."""
    trusted, reading = await touch_clock(tx)
    await seen(tx, worker, reading.wall_us)
    return trusted
