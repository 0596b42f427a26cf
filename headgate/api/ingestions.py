"""/v1/ingestions: submit, list, look, batches, cancel."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response, status

from headgate.api.backend import backend_of
from headgate.api.body import KEY, checked_key, parse_submission, priority_of, read_body, source_of
from headgate.api.docs import CANCELLABLE, FINDABLE, LISTED, TAKES
from headgate.api.pages import MOST, position_of, token
from headgate.api.schemas import (
    BatchOut,
    BatchPage,
    CancelOut,
    CountsOut,
    ForecastOut,
    IngestionOut,
    IngestionPage,
    PriorityName,
    instant,
    instant_or_none,
)
from headgate.core.errors import Unavailable
from headgate.core.model import Priority, Status
from headgate.store.queries.begun import BegunView
from headgate.store.queries.forecast import Outlook
from headgate.store.queries.listing import NEWEST
from headgate.store.queries.status import BatchView, IngestionView

router = APIRouter(prefix="/v1/ingestions", tags=["ingestions"])

Limit = Annotated[int, Query(ge=1, le=MOST, description="How many at most.")]
Page = Annotated[str | None, Query(max_length=64, description="`next_page` of the page before.")]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same key and body give the same ingestion; a known key with another body is refused.",
        json_schema_extra={"pattern": KEY},
    ),
]


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    response_model=IngestionOut,
    summary="Hand in a list of ids, with a source and an idempotency key",
    **TAKES,
)
async def submit(
    request: Request, response: Response, idempotency_key: IdempotencyKey = None
) -> IngestionOut:
    """Accept a list of ids. The answer comes once it is durable; the work is done in the background."""
    backend = backend_of(request)
    key = checked_key(idempotency_key)
    body = await read_body(request, most=backend.access.max_body_bytes)
    submitted = parse_submission(body)
    ingestion_id = await backend.service.submit(
        submitted.ids,
        priority=priority_of(submitted),
        source=source_of(submitted),
        idempotency_key=key,
    )
    response.headers["Location"] = f"/v1/ingestions/{ingestion_id}"
    return await _accepted(request, ingestion_id)


@router.get("", response_model=IngestionPage, summary="List ingestions, newest first", **LISTED)
async def list_ingestions(
    request: Request,
    source: Annotated[str | None, Query(max_length=256)] = None,
    priority: PriorityName | None = None,
    status: Status | None = None,
    limit: Limit = 100,
    page: Page = None,
) -> IngestionPage:
    """The caller's ingestions, newest first."""
    views = await backend_of(request).service.ingestions(
        before=position_of(page, NEWEST),
        source=source,
        priority=None if priority is None else Priority[priority],
        status=status,
        most=limit,
    )
    return IngestionPage(
        ingestions=[_ingestion(view, None) for view in views],
        next_page=token(views[-1].seq) if len(views) == limit else None,
    )


@router.get(
    "/{ingestion_id}",
    response_model=IngestionOut,
    summary="Status, counts and forecast of an ingestion",
    **FINDABLE,
)
async def look(request: Request, ingestion_id: str) -> IngestionOut:
    """Status, counts and forecast of one ingestion."""
    return await _shown(request, await backend_of(request).service.status(ingestion_id))


@router.get(
    "/{ingestion_id}/batches",
    response_model=BatchPage,
    summary="The batches of an ingestion, with attempts and reasons",
    **FINDABLE,
)
async def batches(
    request: Request, ingestion_id: str, limit: Limit = 100, page: Page = None
) -> BatchPage:
    """The batches of an ingestion in order."""
    service = backend_of(request).service
    of = await service.status(ingestion_id)
    first = position_of(page, 0)
    views = await service.batches(of, first=first, most=limit)
    begun = await service.begun(of, first=first, most=limit)
    more = first + limit < of.batch_count
    return BatchPage(
        batches=[
            _batch(number, view, begun.get(number)) for number, view in enumerate(views, first)
        ],
        next_page=token(first + limit) if more else None,
    )


@router.post(
    "/{ingestion_id}:cancel",
    response_model=CancelOut,
    summary="Begin nothing more for an ingestion",
    **CANCELLABLE,
)
async def cancel(request: Request, ingestion_id: str) -> CancelOut:
    """Begin nothing more for an ingestion. What is in flight may still come in, and is kept."""
    service = backend_of(request).service
    in_flight = await service.cancel(ingestion_id)
    return CancelOut(
        in_flight=in_flight, ingestion=await _shown(request, await service.status(ingestion_id))
    )


async def _accepted(request: Request, ingestion_id: str) -> IngestionOut:
    """What was just stored: it is never answered with an error because a forecast cannot be had."""
    view = await backend_of(request).service.status(ingestion_id)
    try:
        return await _shown(request, view)
    except Unavailable:
        return _ingestion(view, None)


async def _shown(request: Request, view: IngestionView) -> IngestionOut:
    return _ingestion(view, await backend_of(request).service.outlook(view))


def _ingestion(view: IngestionView, outlook: Outlook | None) -> IngestionOut:
    counts = view.counts
    return IngestionOut(
        ingestion_id=view.ingestion_id,
        source=view.source,
        priority=PriorityName[view.priority.name],
        status=view.status,
        counts=CountsOut(
            ids=view.id_count,
            distinct=counts.distinct,
            begun=counts.begun,
            fetched=counts.fetched,
            missing=counts.missing,
            failed=counts.failed,
            cancelled=counts.cancelled,
            left=counts.left,
        ),
        batch_count=view.batch_count,
        batch_size=view.size,
        accepted_at=instant(view.accepted_at),
        ended_at=instant_or_none(view.ended_at),
        cancelled_at=instant_or_none(view.cancelled_at),
        forecast=None if outlook is None else _forecast(outlook),
    )


def _forecast(outlook: Outlook) -> ForecastOut:
    waits_for: Any = outlook.waits_for
    return ForecastOut(
        position=outlook.position,
        starts_at=instant_or_none(outlook.starts_at),
        finishes_at=instant_or_none(outlook.finishes_at),
        waits_for=waits_for,
        quota=outlook.quota or None,
    )


def _batch(number: int, view: BatchView, begun: BegunView | None) -> BatchOut:
    out = BatchOut(batch_id=view.batch_id, number=number, ids=view.ids, status=view.status)
    if begun is None:
        return out
    return out.model_copy(
        update={
            "attempt": begun.attempt,
            "in_flight": begun.in_flight,
            "not_before": instant_or_none(begun.not_before),
            "reason": begun.reason,
            "triggered_at": instant(begun.triggered_at),
            "ended_at": instant_or_none(begun.ended_at),
        }
    )
