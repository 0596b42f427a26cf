"""An ingestion as its client sees it, and its batches in order, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from headgate.core.ids import Id
from headgate.core.lifecycle import ended_as, status_of
from headgate.core.model import Counts, Ending, Priority, Status
from headgate.core.slicing import batch_ids, chunk_length
from headgate.store.engine import Row, Transaction
from headgate.store.statements import beside

SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class IngestionView:
    """One ingestion. Instants are wall time in microseconds."""

    seq: int
    ingestion_id: str
    source: str
    priority: Priority
    size: int
    id_count: int
    batch_count: int
    next_batch: int
    counts: Counts
    accepted_at: int
    ended_at: int | None
    cancelled_at: int | None

    @property
    def status(self) -> Status:
        return status_of(self.counts, cancel_asked=self.cancelled_at is not None)


@dataclass(frozen=True, slots=True)
class BatchView:
    batch_id: str
    ids: list[Id]
    status: Status


@dataclass(frozen=True, slots=True)
class _Chunk:
    start: int
    ids: list[Id]
    repeats: Mapping[int, int]


async def ingestion(tx: Transaction, ingestion_id: str, *, client: str) -> IngestionView | None:
    """One ingestion of a client, or None: unknown, malformed, or somebody else's."""
    row = await tx.one(SQL.ingestion, ingestion_id, client)
    return None if row is None else view_of(row)


def view_of(row: Row) -> IngestionView:
    """An ingestion from its row."""
    seq, found_id, source, priority, size, id_count, batch_count, next_batch = row[:8]
    return IngestionView(
        seq,
        found_id,
        source,
        Priority(priority),
        size,
        id_count,
        batch_count,
        next_batch,
        Counts(*row[8:14]),
        *row[14:],
    )


async def batches(
    tx: Transaction, of: IngestionView, *, first: int = 0, most: int = 1_000
) -> list[BatchView]:
    """A page of an ingestion's batches, from number `first` on.

    A batch of nothing but repeats has no row of its own: it stands as its ids do where they first stood.
    """
    last = min(first + most, of.batch_count)
    if first >= last:
        return []
    rows: dict[int, str] = dict(await tx.all(SQL.begun_batches, of.seq, first, last))
    id_of = batch_ids(of.ingestion_id)
    views = []
    for chunk in await _chunks(tx, of, first, last):
        for offset in range(0, len(chunk.ids), of.size):
            number = (chunk.start + offset) // of.size
            if first <= number < last:
                begun = rows.get(number)
                status = Status(begun) if begun else await _unbegun(tx, of, number, chunk, offset)
                ids = chunk.ids[offset : offset + of.size]
                views.append(BatchView(id_of(number), ids, status))
    return views


async def _chunks(tx: Transaction, of: IngestionView, first: int, last: int) -> list[_Chunk]:
    length = chunk_length(of.size)
    start = first * of.size // length * length
    return [
        _Chunk(
            start,
            msgspec.json.decode(ids),
            msgspec.json.decode(repeats or "{}", type=dict[int, int]),
        )
        for start, ids, repeats in await tx.all(SQL.chunks, of.seq, start, last * of.size)
    ]


async def _unbegun(
    tx: Transaction, of: IngestionView, number: int, chunk: _Chunk, offset: int
) -> Status:
    """The status of a batch without a row: not begun, cancelled before it began, or nothing but repeats."""
    positions = range(offset, min(offset + of.size, len(chunk.ids)))
    if chunk.repeats and all(position in chunk.repeats for position in positions):
        return await _as_first_ones(tx, of, number, {chunk.repeats[p] for p in positions})
    return Status.YET_TO_START if of.cancelled_at is None else Status.CANCELLED


async def _as_first_ones(
    tx: Transaction, of: IngestionView, number: int, first: set[int]
) -> Status:
    ended: dict[int, str] = dict(await tx.all(SQL.endings, of.seq, _json(first)))
    left = first - ended.keys()
    if not left:
        failed = sum(ending == Ending.FAILED for ending in ended.values())
        return ended_as(cancelled=0, failed=failed)
    if of.cancelled_at is not None and not await _any_in_flight(tx, of, left):
        return Status.CANCELLED  # what has no record of a call, and none under way, was cancelled
    return Status.TRIGGERED if number < of.next_batch else Status.YET_TO_START


async def _any_in_flight(tx: Transaction, of: IngestionView, positions: set[int]) -> bool:
    numbers = {position // of.size for position in positions}
    return bool(await tx.all(SQL.in_flight, of.seq, _json(numbers)))


def _json(numbers: set[int]) -> str:
    return msgspec.json.encode(sorted(numbers)).decode()
