"""Take an ingestion in: one row and its ids in chunks. Batches that have not begun have no row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headgate.core.errors import KeyReused
from headgate.core.facts import IngestionAccepted
from headgate.core.model import Priority
from headgate.store.engine import Transaction
from headgate.store.statements import beside

SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """A chunk as it is stored: `ids` and `repeats` are JSON."""

    start: int
    distinct: int
    repeats: bytes | None
    ids: bytes


@dataclass(frozen=True, slots=True)
class Submission:
    """An ingestion ready to be stored. `fingerprint` tells bodies under one idempotency key apart."""

    ingestion_id: str
    client: str
    source: str
    priority: Priority
    size: int
    id_count: int
    distinct_count: int
    batch_count: int
    chunks: Sequence[ChunkRow]
    idempotency_key: str | None = None
    fingerprint: bytes | None = None


async def accept(tx: Transaction, submission: Submission) -> str:
    """Store an ingestion and return its id, or the id that the same key and body were given before.

    The same submission again (a commit whose answer was lost) is there already, and nothing is stored.
    Raises KeyReused for a known key with another body.
    """
    if submission.idempotency_key is not None:
        before = await tx.one(SQL.same_key, submission.client, submission.idempotency_key)
        if before is not None:
            ingestion_id, source, fingerprint = before
            return _same(ingestion_id, source, fingerprint, submission)
    seq = await _insert(tx, submission)
    if seq is None:
        return submission.ingestion_id
    await tx.many(
        SQL.insert_chunk,
        ((seq, c.start, c.distinct, _text(c.repeats), _text(c.ids)) for c in submission.chunks),
    )
    tx.state(IngestionAccepted(submission.ingestion_id, submission.source, submission.id_count))
    tx.wake(submission.source)
    return submission.ingestion_id


async def _insert(tx: Transaction, submission: Submission) -> int | None:
    row = await tx.one(
        SQL.insert_ingestion,
        submission.ingestion_id,
        submission.client,
        submission.source,
        submission.priority,
        submission.size,
        submission.id_count,
        submission.distinct_count,
        submission.batch_count,
        (await tx.reading()).wall_us,
        submission.idempotency_key,
        submission.fingerprint,
    )
    return None if row is None else int(row[0])


def _same(ingestion_id: str, source: str, fingerprint: bytes, submission: Submission) -> str:
    if (source, fingerprint) != (submission.source, submission.fingerprint):
        raise KeyReused
    return ingestion_id


def _text(json: bytes | None) -> str | None:
    return None if json is None else json.decode()
