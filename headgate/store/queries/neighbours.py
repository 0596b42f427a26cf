"""What every worker looks at every second: who else is there, and who holds batches."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.store.engine import Transaction, WorkerId
from headgate.store.queries.now import now_of
from headgate.store.statements import beside

SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class Holder:
    """A worker that holds a batch, and whether one of its leases has run out."""

    worker: WorkerId
    lease_ran_out: bool


@dataclass(frozen=True, slots=True)
class Present:
    """A worker that has signed in: how long ago, and how long ago it gave its last sign of life."""

    worker: WorkerId
    age_us: int
    silent_us: int


@dataclass(frozen=True, slots=True)
class Neighbours:
    """All holders, and all workers that have signed in and not signed off."""

    holders: list[Holder]
    present: list[Present]


async def neighbours(tx: Transaction) -> Neighbours:
    """Who is there, and who holds batches."""
    return Neighbours(await _holders(tx), await _present(tx))


async def _holders(tx: Transaction) -> list[Holder]:
    rows = await tx.all(SQL.holders)
    if not rows:
        return []
    now = await now_of(tx)
    return [Holder(worker, lease_until < now) for worker, lease_until in rows]


async def _present(tx: Transaction) -> list[Present]:
    rows = await tx.all(SQL.present)
    wall = (await tx.reading()).wall_us
    return [
        Present(worker, wall - started_at, silent_us(seen_at, wall))
        for worker, started_at, seen_at in rows
    ]


def silent_us(seen_at: int, wall: int) -> int:
    """How long ago a sign of life was given; one from later than now is of before the clock was set back by as much.

    Whoever lives gives another one; of who died meanwhile it would say for all that time that he lives.
    """
    return abs(wall - seen_at)
