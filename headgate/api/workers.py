"""/v1/workers: which processes call sources, and which of them are lost."""

from __future__ import annotations

from fastapi import APIRouter, Request

from headgate.api.backend import backend_of
from headgate.api.docs import LISTED
from headgate.api.schemas import WorkerList, WorkerOut, instant
from headgate.store.queries.workers import WorkerView

router = APIRouter(prefix="/v1/workers", tags=["workers"])


@router.get("", response_model=WorkerList, summary="Every process that calls sources", **LISTED)
async def workers(request: Request) -> WorkerList:
    """Every worker that has started and not stopped in order, the oldest first."""
    found = await backend_of(request).service.workers()
    return WorkerList(workers=[_shown(view, is_there=there) for view, there in found])


def _shown(view: WorkerView, *, is_there: bool) -> WorkerOut:
    card = view.card
    return WorkerOut(
        worker=card.worker,
        state="working" if is_there else "lost",
        host=card.host,
        pid=card.pid,
        version=card.version,
        sources=list(card.sources),
        holds=view.holds,
        started_at=instant(view.started_at),
        seen_at=instant(view.seen_at),
    )
