"""The verbs of Headgate: submit, status, batches, records, list, cancel, forecast, sources.

Read this first. Routes call nothing else; each verb is one command or one query of the store.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from headgate.core.clock import Clock
from headgate.core.errors import FieldError, InvalidInput, NotFound, TooLarge, Unavailable
from headgate.core.ids import Id, first_wrong
from headgate.core.model import Ending, Priority, SourceSpec, Status
from headgate.core.slicing import Chunk, batch_count, chunks
from headgate.store.commands.accept import ChunkRow, Submission, accept
from headgate.store.commands.cancel import cancel
from headgate.store.engine import Engine
from headgate.store.queries import begun as begun_query
from headgate.store.queries import forecast as forecast_query
from headgate.store.queries import listing
from headgate.store.queries import records as records_query
from headgate.store.queries import sources as sources_query
from headgate.store.queries import status as status_query
from headgate.store.queries import workers as workers_query
from headgate.store.queries.begun import BegunView
from headgate.store.queries.forecast import Outlook
from headgate.store.queries.records import RecordView
from headgate.store.queries.sources import CallView, SourceView
from headgate.store.queries.status import BatchView, IngestionView
from headgate.store.queries.workers import WorkerView

LARGE = 5_000
"""From so many ids on, a list is prepared on a thread, so that it holds nobody else up."""

DEFAULT_CLIENT = "default"

SILENT = 10
"""A worker that has given no sign of life so many times over is taken to be lost."""

READY_S = 3.0
"""Who asks whether we are ready wants to know it soon: probes wait a few seconds at most."""

UNSERVED = "unserved"
"""What an ingestion waits for whose source this process does not serve."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one submission may be."""

    max_ids: int = 1_000_000


class Service:
    """Everything that can be asked of Headgate, over one store."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock,
        sources: Mapping[str, SourceSpec],
        default_source: str,
        limits: Limits = Limits(),
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._sources = sources
        self._default_source = default_source
        self._limits = limits
        self._entropy = entropy

    async def submit(
        self,
        ids: Sequence[Id],
        *,
        priority: Priority = Priority.MEDIUM,
        source: str | None = None,
        client: str = DEFAULT_CLIENT,
        idempotency_key: str | None = None,
    ) -> str:
        """Accept a list of ids and return the ingestion's id, once it is durable.

        Raises InvalidInput (at most 20 errors), TooLarge, KeyReused, Unavailable; nothing is stored then.
        """
        spec = self._source(source)
        self._check(spec, ids)
        ingestion_id = uuid7(self._clock.read().wall_us, self._entropy(10))
        prepare = partial(_submission, ingestion_id, spec, ids, priority, client, idempotency_key)
        submission = await asyncio.to_thread(prepare) if len(ids) > LARGE else prepare()
        return await self._engine.run(accept, submission)

    async def status(self, ingestion_id: str, *, client: str = DEFAULT_CLIENT) -> IngestionView:
        """One ingestion of a client. Raises NotFound."""
        view = await self._engine.read(status_query.ingestion, ingestion_id, client=client)
        if view is None:
            raise NotFound("there is no ingestion with this id")
        return view

    async def cancel(self, ingestion_id: str, *, client: str = DEFAULT_CLIENT) -> int:
        """Begin nothing more for an ingestion; returns how many of its batches are still in flight.

        Raises NotFound, or Conflict if it has ended.
        """
        return await self._engine.run(cancel, ingestion_id, client=client)

    async def outlook(self, of: IngestionView) -> Outlook | None:
        """When an ingestion will start and be done, and what it waits for; None once it has ended.

        Of a source that this process does not serve, nothing is promised.
        """
        found = await self._engine.read(forecast_query.outlook, of)
        if found is None or of.source in self._sources:
            return found
        return Outlook(found.position, None, None, UNSERVED, None)

    async def ingestions(
        self,
        *,
        client: str = DEFAULT_CLIENT,
        before: int = listing.NEWEST,
        source: str | None = None,
        priority: Priority | None = None,
        status: Status | None = None,
        most: int = 100,
    ) -> list[IngestionView]:
        """A page of a client's ingestions, newest first, accepted before sequence number `before`."""
        return await self._engine.read(
            listing.ingestions,
            client=client,
            before=before,
            source=source,
            priority=priority,
            status=status,
            most=most,
        )

    async def records(
        self,
        of: IngestionView,
        *,
        first: int = 0,
        most: int = 1_000,
        ending: Ending | None = None,
    ) -> list[RecordView]:
        """A page of an ingestion's records in the order of its list, from position `first` on; also while it runs.

        It has at most so many, and fewer where they are large.
        """
        return await self._engine.read(
            records_query.records, of, first=first, most=most, ending=ending
        )

    async def begun(
        self, of: IngestionView, *, first: int = 0, most: int = 1_000
    ) -> dict[int, BegunView]:
        """More about the begun ones of a page of batches, by number."""
        return await self._engine.read(begun_query.begun, of, first=first, most=most)

    async def sources(self) -> list[SourceView]:
        """Every source that was ever configured, live."""
        return await self._engine.read(sources_query.sources)

    async def source(self, name: str) -> SourceView:
        """One source, live. Raises NotFound."""
        view = await self._engine.read(sources_query.source, name)
        if view is None:
            raise NotFound("there is no source with this name")
        return view

    async def calls(
        self, name: str, *, client: str = DEFAULT_CLIENT, most: int = 50
    ) -> list[CallView]:
        """The newest calls of a source, newest first; only the client's own ingestions are named."""
        return await self._engine.read(sources_query.calls, name, client=client, most=most)

    async def workers(self) -> list[tuple[WorkerView, bool]]:
        """Every worker that has signed in, and whether it is still there as far as anybody can tell."""
        return [
            (view, self._is_there(view)) for view in await self._engine.read(workers_query.workers)
        ]

    def _is_there(self, view: WorkerView) -> bool:
        if self._engine.known_dead(view.card.worker):
            return False
        every_us = self._engine.heard_every_us
        return every_us is None or view.silent_us < SILENT * every_us

    async def ready(self) -> None:
        """Return if the store answers within READY_S. Raises Unavailable."""
        try:
            async with asyncio.timeout(READY_S):
                await self._engine.read(status_query.ingestion, "", client="")
        except TimeoutError:
            raise Unavailable(f"the store has not answered for {READY_S:g} s") from None

    async def batches(
        self, of: IngestionView, *, first: int = 0, most: int = 1_000
    ) -> list[BatchView]:
        """A page of an ingestion's batches in order, from number `first` on."""
        return await self._engine.read(status_query.batches, of, first=first, most=most)

    def _source(self, name: str | None) -> SourceSpec:
        spec = self._sources.get(self._default_source if name is None else name)
        if spec is None:
            known = ", ".join(sorted(self._sources))
            asked = ascii((name or "")[:80])
            message = f"there is no source {asked}; known: {known}"
            raise InvalidInput(FieldError(("source",), message))
        return spec

    def _check(self, spec: SourceSpec, ids: Sequence[Id]) -> None:
        if not ids:
            raise InvalidInput(
                FieldError(
                    ("ids",),
                    "List should have at least 1 item after validation, not 0",
                    "too_short",
                )
            )
        if len(ids) > self._limits.max_ids:
            raise TooLarge(
                f"{len(ids)} ids are more than the {self._limits.max_ids} that one ingestion may have:"
                " hand them in as several"
            )
        wrong = first_wrong(spec.ids, ids)
        if wrong:
            raise InvalidInput(
                *(FieldError(("ids", position), message) for position, message in wrong)
            )


def _submission(
    ingestion_id: str,
    spec: SourceSpec,
    ids: Sequence[Id],
    priority: Priority,
    client: str,
    idempotency_key: str | None,
) -> Submission:
    size = spec.rules.batch_size
    cut = list(chunks(ids, size))
    return Submission(
        ingestion_id=ingestion_id,
        client=client,
        source=spec.name,
        priority=priority,
        size=size,
        id_count=len(ids),
        distinct_count=sum(chunk.distinct for chunk in cut),
        batch_count=batch_count(len(ids), size),
        chunks=[_row(chunk) for chunk in cut],
        idempotency_key=idempotency_key,
        fingerprint=None if idempotency_key is None else fingerprint(priority, ids),
    )


def _row(chunk: Chunk) -> ChunkRow:
    repeats = msgspec.json.encode(chunk.repeats) if chunk.repeats else None
    return ChunkRow(chunk.start, chunk.distinct, repeats, msgspec.json.encode(chunk.ids))


def fingerprint(priority: Priority, ids: Sequence[Id]) -> bytes:
    """Tell two submissions to a source under one idempotency key apart: SHA-256 of priority and ids."""
    return hashlib.sha256(msgspec.json.encode([priority, ids])).digest()


def uuid7(wall_us: int, chance: bytes) -> str:
    """A UUID of version 7 (RFC 9562): wall time in milliseconds, then 74 random bits of ten bytes of chance."""
    millis = (wall_us // 1_000).to_bytes(6, "big").hex()
    random = (int.from_bytes(chance, "big") & ~(0xF << 76) | 0x7 << 76) & ~(0x3 << 62) | 0x2 << 62
    tail = f"{random:020x}"
    return f"{millis[:8]}-{millis[8:]}-{tail[:4]}-{tail[4:8]}-{tail[8:]}"
