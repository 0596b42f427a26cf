"""More about batches that have begun: attempt, when they are tried again, what went wrong last."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.core.lifecycle import ASIDE
from headgate.store.engine import Transaction
from headgate.store.queries.now import now_of
from headgate.store.queries.status import IngestionView
from headgate.store.statements import beside

SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class BegunView:
    """Instants are wall time."""

    number: int
    attempt: int
    not_before: int | None
    in_flight: bool
    reason: str | None
    triggered_at: int
    ended_at: int | None


async def begun(
    tx: Transaction, of: IngestionView, *, first: int, most: int
) -> dict[int, BegunView]:
    """The begun batches among those from number `first` on, by number."""
    last = min(first + most, of.batch_count)
    rows = await tx.all(SQL.begun, of.seq, min(first, last), last)
    ahead = (await tx.reading()).wall_us - await now_of(tx)
    return {
        number: BegunView(
            number,
            attempt,
            None if not_before is None or not_before >= ASIDE else not_before + ahead,
            bool(held),
            reason,
            triggered_at,
            ended_at,
        )
        for number, attempt, not_before, held, reason, triggered_at, ended_at in rows
    }
