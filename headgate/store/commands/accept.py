"""Take an ingestion in: one row and its ids in chunks. Batches that have not begun have no row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headgate.core.errors import HeadgateError, KeyReused
from headgate.core.facts import IngestionAccepted
from headgate.core.model import Priority
from headgate.store.engine import Transaction, Value, together
from headgate.store.statements import beside

SQL = beside(__file__)

SMALL_CHUNKS = 20
"""A longer list is accepted by itself, so that those that arrived with it need not wait for it."""


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


async def accept_together(
    tx: Transaction, submissions: Sequence[Submission]
) -> list[str | HeadgateError]:
    """Store several ingestions that arrived together; of each its id, or the error that is its caller's.

    Keys are taken in their order: two groups with the same ones would wait for each other.
    """
    await _store(tx, [each for each in submissions if each.idempotency_key is None])
    found: list[str | HeadgateError] = [each.ingestion_id for each in submissions]
    with_key = [place for place, each in enumerate(submissions) if each.idempotency_key is not None]
    for place in sorted(with_key, key=lambda place: _key(submissions[place])):
        found[place] = await _one_with_key(tx, submissions[place])
    return found


def _key(submission: Submission) -> tuple[str, str]:
    return submission.client, submission.idempotency_key or ""


def _is_large(submission: Submission) -> bool:
    return len(submission.chunks) > SMALL_CHUNKS


@together(accept_together, unless=_is_large)
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
    await _store(tx, [submission])
    return submission.ingestion_id


async def _one_with_key(tx: Transaction, submission: Submission) -> str | HeadgateError:
    try:
        return await accept(tx, submission)
    except KeyReused as error:
        return error


async def _store(tx: Transaction, submissions: Sequence[Submission]) -> None:
    if not submissions:
        return
    wall = (await tx.reading()).wall_us
    stored = await tx.each(SQL.insert_ingestion, [_row(each, wall) for each in submissions])
    seqs: dict[str, int] = {ingestion_id: seq for seq, ingestion_id in stored}
    new = [each for each in submissions if each.ingestion_id in seqs]
    await tx.many(
        SQL.insert_chunk,
        (
            (seqs[each.ingestion_id], c.start, c.distinct, _text(c.repeats), _text(c.ids))
            for each in new
            for c in each.chunks
        ),
    )
    for each in new:
        tx.state(IngestionAccepted(each.ingestion_id, each.source, each.id_count))
        tx.wake(each.source)


def _row(submission: Submission, wall: int) -> Sequence[Value]:
    return (
        submission.ingestion_id,
        submission.client,
        submission.source,
        submission.priority,
        submission.size,
        submission.id_count,
        submission.distinct_count,
        submission.batch_count,
        wall,
        submission.idempotency_key,
        submission.fingerprint,
    )


def _same(ingestion_id: str, source: str, fingerprint: bytes, submission: Submission) -> str:
    if (source, fingerprint) != (submission.source, submission.fingerprint):
        raise KeyReused
    return ingestion_id


def _text(json: bytes | None) -> str | None:
    return None if json is None else json.decode()
