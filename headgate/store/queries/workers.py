"""Who calls sources, and how many batches each holds."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from headgate.core.model import WorkerCard
from headgate.store.engine import Transaction, WorkerId
from headgate.store.queries.neighbours import silent_us
from headgate.store.statements import beside

SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker. Instants are wall time; `silent_us` is how long ago it gave its last sign of life."""

    card: WorkerCard
    started_at: int
    seen_at: int
    silent_us: int
    holds: int


async def workers(tx: Transaction) -> list[WorkerView]:
    """Every worker that has signed in and not signed off, the oldest first."""
    wall = (await tx.reading()).wall_us
    return [
        WorkerView(
            WorkerCard(worker, host, pid, version, tuple(msgspec.json.decode(sources))),
            started_at,
            seen_at,
            silent_us(seen_at, wall),
            holds,
        )
        for worker, host, pid, version, sources, started_at, seen_at, holds in await tx.all(
            SQL.workers
        )
    ]


async def sources_of(tx: Transaction, worker: WorkerId) -> frozenset[str]:
    """The names of what a worker calls; none of one that is not listed."""
    row = await tx.one(SQL.sources_of, worker)
    return frozenset(msgspec.json.decode(row[0])) if row else frozenset()
