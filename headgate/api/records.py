"""/v1/ingestions/{id}/records: pages of JSON, or all of them streamed as NDJSON. A record is the source's own bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from headgate.api.backend import backend_of
from headgate.api.docs import RECORDS
from headgate.api.ingestions import Limit, Page
from headgate.api.pages import position_of, token
from headgate.api.schemas import RecordPage, instant
from headgate.core.model import Ending
from headgate.service import Service
from headgate.store.queries.records import RecordView, is_full
from headgate.store.queries.status import IngestionView

router = APIRouter(prefix="/v1/ingestions", tags=["ingestions"])

STREAMED = 500
"""Records read at once while streaming: no snapshot outlives such a page."""

NDJSON = "application/x-ndjson"

_encode = msgspec.json.Encoder().encode
_NULL = msgspec.Raw(b"null")


@router.get(
    "/{ingestion_id}/records",
    response_model=RecordPage,
    summary="What came of the ids so far, as JSON or NDJSON",
    **RECORDS,
)
async def records(
    request: Request,
    ingestion_id: str,
    limit: Limit = 100,
    page: Page = None,
    ending: Annotated[
        Literal[Ending.FETCHED, Ending.MISSING, Ending.FAILED] | None,
        Query(description="Only those that ended so; what was cancelled has no record."),
    ] = None,
    format: Annotated[  # noqa: A002 - the name is the query's
        Literal["json", "ndjson"] | None,
        Query(
            description="`ndjson` streams every record from the page on; so does Accept: application/x-ndjson."
        ),
    ] = None,
) -> Response:
    """What came of the ids so far, in the order of the list: also while the ingestion runs."""
    service = backend_of(request).service
    of = await service.status(ingestion_id)
    first = position_of(page, 0)
    if format == "ndjson" or (format is None and NDJSON in request.headers.get("accept", "")):
        return StreamingResponse(_lines(service, of, first, ending), media_type=NDJSON)
    found = await service.records(of, first=first, most=limit, ending=ending)
    body = {
        "records": [_shown(record) for record in found],
        "next_page": token(found[-1].position + 1) if is_full(found, limit) else None,
    }
    return Response(_encode(body), media_type="application/json")


async def _lines(
    service: Service, of: IngestionView, first: int, ending: Ending | None
) -> AsyncIterator[bytes]:
    while found := await service.records(of, first=first, most=STREAMED, ending=ending):
        yield b"".join(_on_one_line(_encode(_shown(record))) + b"\n" for record in found)
        first = found[-1].position + 1


def _on_one_line(json: bytes) -> bytes:
    """A source may have sent its record on several lines: outside of texts, a line's end is as good as a blank."""
    return json.replace(b"\r", b" ").replace(b"\n", b" ")


def _shown(record: RecordView) -> dict[str, object]:
    return {
        "id": record.id,
        "position": record.position,
        "ending": record.ending,
        "record": _NULL if record.body is None else msgspec.Raw(record.body),
        "reason": record.reason,
        "ended_at": instant(record.ended_at),
    }
