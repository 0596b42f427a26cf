"""/v1/sources: each source live, with what its quota lets through, its line, and its newest calls."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request

from headgate.api.backend import Backend, backend_of
from headgate.api.docs import FINDABLE, LISTED
from headgate.api.schemas import (
    CallOut,
    QueueOut,
    QuotaOut,
    SourceDetail,
    SourceList,
    SourceOut,
    WindowOut,
    instant,
    instant_or_none,
)
from headgate.core.plan import usable_share
from headgate.core.quota import Quota, Usage
from headgate.core.units import spoken, spoken_window
from headgate.store.queries.sources import CallView, SourceView

router = APIRouter(prefix="/v1/sources", tags=["sources"])


@router.get("", response_model=SourceList, summary="Every source, live", **LISTED)
async def sources(request: Request) -> SourceList:
    """Every source, live."""
    backend = backend_of(request)
    views = await backend.service.sources()
    return SourceList(sources=[SourceOut(**_shown(backend, view)) for view in views])


@router.get(
    "/{name}",
    response_model=SourceDetail,
    summary="One source, live, with its last 50 calls",
    **FINDABLE,
)
async def source(request: Request, name: str) -> SourceDetail:
    """One source with its last 50 calls, newest first."""
    backend = backend_of(request)
    view = await backend.service.source(name)
    calls = await backend.service.calls(name)
    return SourceDetail(**_shown(backend, view), calls=[_call(view, call) for call in calls])


def _shown(backend: Backend, view: SourceView) -> dict[str, object]:
    card = backend.cards.get(view.name)
    next_slot_at = view.next_slot_at
    share = None if view.measured_us is None else usable_share(view.line(ids=view.rules.batch_size))
    own = next((quota.windows for quota in view.quotas if quota.name == view.name), ())
    return {
        "name": view.name,
        "type": card.type if card else None,
        "default": bool(card and card.default),
        "state": _state(view),
        "reason": view.closed_reason,
        "quota": [spoken_window(window) for window in own],
        "quotas": [
            _quota(view, quota, usages)
            for quota, usages in zip(view.quotas, view.usages, strict=True)
        ],
        "batch_size": view.rules.batch_size,
        "concurrency": view.rules.concurrency,
        "in_flight": view.in_flight,
        "queue": QueueOut(
            ingestions=view.queue.ingestions,
            waiting=view.queue.waiting,
            ready=view.queue.ready,
            backing_off=view.queue.backing_off,
        ),
        "latency": None if view.measured_us is None else _rounded(view.measured_us),
        "next_slot_in_us": None if next_slot_at is None else max(0, next_slot_at - view.now),
        "next_slot_at": _shown_instant(view, next_slot_at),
        "usable_share": None if share is None else round(share, 3),
        "hint": _hint(view, share),
        "now": instant(view.now + view.wall_ahead_us),
    }


def _state(view: SourceView) -> Literal["open", "paused", "closed"]:
    if view.closed_until is not None:
        return "closed"
    if any(quota.blocked_until > view.now for quota in view.quotas):
        return "paused"
    return "open"


def _hint(view: SourceView, share: float | None) -> str | None:
    """The setting that would win back what the rule costs, where that was measured and is worth a word."""
    if share is None or share >= 0.95 or view.rules.within_us is not None:
        return None
    return (
        f"at a latency of {_rounded(view.latency_us)} the rule lets {share:.0%} of the quota through, since a call"
        " counts until it is answered; if the source counts early for sure, say so:"
        ' counted_within = "100ms"'
    )


def _shown_instant(view: SourceView, at: int | None) -> str | None:
    """An instant of the ledger as people see it."""
    return instant_or_none(None if at is None else at + view.wall_ahead_us)


def _rounded(us: int) -> str:
    """A measured span in whole milliseconds: more digits would only seem to say something."""
    return spoken(round(us, -3) or us)


def _quota(view: SourceView, quota: Quota, usages: tuple[Usage, ...]) -> QuotaOut:
    blocked = quota.blocked_until if quota.blocked_until > view.now else None
    return QuotaOut(
        name=quota.name,
        pacing=quota.pacing,
        windows=[
            WindowOut(
                limit=window.limit,
                span=spoken(window.span_us),
                used=usage.used(window, now=view.now),
            )
            for window, usage in zip(quota.windows, usages, strict=True)
        ],
        blocked_until=_shown_instant(view, blocked),
    )


def _call(view: SourceView, call: CallView) -> CallOut:
    return CallOut(
        granted_at=instant(call.granted_at + view.wall_ahead_us),
        written_at=_shown_instant(view, call.written_at),
        in_flight=call.in_flight,
        ingestion_id=call.ingestion_id,
        batch_id=call.batch_id,
    )
