"""Who calls sources: a worker signs in when it starts and signs off when it stops; what is left is of lost ones."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headgate.core.model import WorkerCard
from headgate.store.engine import Door, Transaction, WorkerId, through
from headgate.store.statements import beside

SQL = beside(__file__)

FORGOTTEN_US = 3_600_000_000
"""So long after its last sign of life a worker is no longer listed, where signs of life are given."""


@through(Door.LEASES)
async def sign_in(tx: Transaction, card: WorkerCard, *, dead: Sequence[WorkerId]) -> None:
    """List a worker; those known to be `dead` are no longer."""
    wall = (await tx.reading()).wall_us
    await tx.many(SQL.delete, [(worker,) for worker in dead])
    sources = msgspec.json.encode(card.sources).decode()
    await tx.do(SQL.insert, card.worker, card.host, card.pid, card.version, sources, wall)


@through(Door.LEASES)
async def sign_off(tx: Transaction, worker: WorkerId) -> None:
    """The worker has stopped in order."""
    await tx.do(SQL.delete, worker)


async def seen(tx: Transaction, worker: WorkerId, wall: int) -> None:
    """A sign of life; whoever has given none for long is forgotten."""
    await tx.do(SQL.seen, worker, wall)
    await tx.do(SQL.forget, wall - FORGOTTEN_US)
