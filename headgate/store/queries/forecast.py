"""When an ingestion will start and be done, and why it waits: by the rules that the dispatcher obeys."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.core.lifecycle import ASIDE
from headgate.core.plan import forecast
from headgate.core.quota import Hold, Wait, decide
from headgate.store.engine import Transaction, at_length
from headgate.store.queries.sources import SourceView, source
from headgate.store.queries.status import IngestionView
from headgate.store.statements import beside

SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class Outlook:
    """A forecast in wall time, and what the next call waits for: `ahead` others, or a hold of its source."""

    position: int
    starts_at: int | None
    finishes_at: int | None
    waits_for: str | None
    quota: str | None


@at_length
async def outlook(tx: Transaction, of: IngestionView) -> Outlook | None:
    """The forecast of an ingestion; None once it has ended, or if its source is not configured."""
    if not of.counts.left:
        return None
    view = await source(tx, of.source)
    if view is None:
        return None
    own_begun, own_ready, not_before = await _row(tx, of)
    waiting = 0 if of.cancelled_at else of.batch_count - of.next_batch
    ahead = await _ahead(tx, of)
    shift = view.wall_ahead_us
    if not waiting + own_begun:
        return Outlook(0, None, view.now + view.latency_us + shift, Hold.ANSWER, None)
    planned = forecast(
        view.line(ids=min(of.size, view.rules.batch_size)),
        ahead=ahead,
        left=waiting + own_begun,
        now=view.now,
    )
    backs_off = not waiting and not own_ready
    if planned.starts_at is None or planned.finishes_at is None:
        return Outlook(ahead, None, None, *_why(view, of, ahead, backs_off=False))
    starts_at = max(planned.starts_at, not_before or 0) if backs_off else planned.starts_at
    why, quota = _why(view, of, ahead, backs_off=backs_off and starts_at > view.now)
    finishes_at = max(planned.finishes_at, starts_at + view.latency_us)
    return Outlook(ahead, starts_at + shift, finishes_at + shift, why, quota)


async def _row(tx: Transaction, of: IngestionView) -> tuple[int, int, int | None]:
    row = await tx.one(SQL.own_line, of.seq)
    assert row is not None
    aside = row[2] is not None and row[2] >= ASIDE
    return row[0], row[1], None if aside else row[2]


async def _ahead(tx: Transaction, of: IngestionView) -> int:
    waiting = await tx.one(SQL.waiting_before, of.source, of.priority, of.seq)
    begun = await tx.one(SQL.begun_before, of.source, of.priority, of.seq)
    assert waiting is not None
    assert begun is not None
    return int(waiting[0] + begun[0])


def _why(
    view: SourceView, of: IngestionView, ahead: int, *, backs_off: bool
) -> tuple[str | None, str | None]:
    if view.closed_until is not None:
        return Hold.CLOSED, None
    if ahead:
        return "ahead", None
    if backs_off:
        return Hold.BACKOFF, None
    if view.in_flight >= view.rules.concurrency:
        return Hold.CONCURRENCY, None
    decision = decide(
        view.quotas,
        view.usages,
        cost=view.rules.cost(min(of.size, view.rules.batch_size)),
        now=view.now,
    )
    if isinstance(decision, Wait):
        return decision.why, decision.quota
    return None, None
