"""The two public endpoints, exactly as their users know them: POST /ingest and GET /status/{ingestion_id}."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from headgate.api.backend import backend_of
from headgate.api.body import checked_key, parse_ingest, priority_of, read_body
from headgate.service import Service
from headgate.store.queries.status import BatchView, IngestionView

PAGE = 1_000
"""Batches in one answer; a longer status is streamed in pages of so many."""

_encode = msgspec.json.Encoder().encode


async def ingest(request: Request) -> Response:
    """Accept a list of ids; the answer comes once it is durable."""
    backend = backend_of(request)
    key = checked_key(request.headers.get("idempotency-key"))
    submitted = parse_ingest(await read_body(request, most=backend.access.max_body_bytes))
    ingestion_id = await backend.service.submit(
        submitted.ids, priority=priority_of(submitted), idempotency_key=key
    )
    return Response(b'{"ingestion_id":"%s"}' % ingestion_id.encode(), media_type="application/json")


async def status(request: Request) -> Response:
    """Where an ingestion and each of its batches stands."""
    service = backend_of(request).service
    view = await service.status(request.path_params["ingestion_id"])
    if view.batch_count <= PAGE:
        return Response(_whole(view, await service.batches(view)), media_type="application/json")
    return StreamingResponse(_pages(service, view), media_type="application/json")


def _whole(view: IngestionView, batches: list[BatchView]) -> bytes:
    return _encode({"ingestion_id": view.ingestion_id, "status": view.status, "batches": batches})


async def _pages(service: Service, view: IngestionView) -> AsyncIterator[bytes]:
    """The same JSON in pieces: each page is a snapshot of its own, and none is held while the client reads."""
    yield _whole(view, [])[:-2]
    for first in range(0, view.batch_count, PAGE):
        # neither a file nor a client that reads fast makes us wait: others have their turn
        await asyncio.sleep(0)
        page = _encode(await service.batches(view, first=first, most=PAGE))[1:-1]
        yield b"," + page if first else page
    yield b"]}"


ROUTES = [
    Route("/ingest", ingest, methods=["POST"]),
    Route("/status/{ingestion_id}", status, methods=["GET"]),
]
