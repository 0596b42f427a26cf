"""What becomes of a batch, as the commands share it: count endings, end it, or give it back to the line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from headgate.core.facts import BatchEnded, BatchReturned
from headgate.core.lifecycle import ended_as, moved
from headgate.core.model import Ending, RecordDraft, Status
from headgate.core.slicing import Todo, left_to_do
from headgate.store.engine import Transaction
from headgate.store.statements import beside

SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class Held:
    """A batch under one fence, as a command found it."""

    source: str
    ingestion_id: str
    seq: int
    number: int
    fence: int
    todo: Todo
    attempt: int
    failed: int
    cancel_asked: bool


def held_from(source: str, seq: int, number: int, fence: int, row: Sequence[Any]) -> Held:
    """`row`: what is to do as JSON, attempt, failed, whether it was cancelled, the ingestion's id."""
    todo, attempt, failed, cancel_asked, ingestion_id = row
    return Held(
        source=source,
        ingestion_id=ingestion_id,
        seq=seq,
        number=number,
        fence=fence,
        todo=msgspec.json.decode(todo, type=Todo),
        attempt=attempt,
        failed=failed,
        cancel_asked=bool(cancel_asked),
    )


@dataclass(frozen=True, slots=True)
class After:
    """What is to become of a batch: records to store, what is left to do, and when it may be tried again."""

    drafts: Sequence[RecordDraft] = ()
    todo: Todo = ()
    attempt: int = 1
    not_before: int | None = None
    after_us: int = 0
    reason: str | None = None
    rescued: bool = False


async def apply(tx: Transaction, held: Held, after: After, *, wall: int) -> Status:
    """Store what came, count it, and end the batch or give it back; returns its status.

    Everything is conditional on the fence: under another one nothing is changed, and that is a bug of ours, since
    the caller has just read the batch under the same transaction: the command fails.
    """
    await tx.many(
        SQL.insert_record,
        [(held.seq, d.position, d.ending, d.body, d.reason, wall) for d in after.drafts],
    )
    tx.failpoint("settle.half")
    counts = _counts(after.drafts)
    left = sum(map(len, after.todo))
    if left and not held.cancel_asked:
        await _count(tx, held, counts, wall)
        return await _give_back(tx, held, after, left, counts[Ending.FAILED])
    counts[Ending.CANCELLED] = left
    await _count(tx, held, counts, wall)
    return await _end(tx, held, after, counts, wall)


def without(todo: Todo, drafts: Sequence[RecordDraft]) -> Todo:
    """What is left to do once these records are stored."""
    return left_to_do(todo, frozenset(draft.position for draft in drafts))


def _counts(drafts: Sequence[RecordDraft]) -> dict[Ending, int]:
    counts = dict.fromkeys(Ending, 0)
    for draft in drafts:
        counts[draft.ending] += 1
    return counts


async def _count(tx: Transaction, held: Held, counts: dict[Ending, int], wall: int) -> None:
    ended = (
        counts[Ending.FETCHED],
        counts[Ending.MISSING],
        counts[Ending.FAILED],
        counts[Ending.CANCELLED],
    )
    if any(ended):
        await tx.later(SQL.count, held.seq, *ended, wall)


async def _end(
    tx: Transaction,
    held: Held,
    after: After,
    counts: dict[Ending, int],
    wall: int,
) -> Status:
    failed = counts[Ending.FAILED]
    status = moved(
        Status.TRIGGERED, ended_as(cancelled=counts[Ending.CANCELLED], failed=held.failed + failed)
    )
    await tx.later(
        SQL.end_batch,
        held.seq,
        held.number,
        held.fence,
        status,
        failed,
        after.reason,
        wall,
        rows=1,
    )
    tx.state(BatchEnded(held.source, held.ingestion_id, held.number, status, after.reason or ""))
    return status


async def _give_back(tx: Transaction, held: Held, after: After, left: int, failed: int) -> Status:
    await tx.later(
        SQL.return_batch,
        held.seq,
        held.number,
        held.fence,
        int(after.not_before is None),
        after.not_before,
        msgspec.json.encode(after.todo).decode(),
        left,
        after.attempt,
        failed,
        after.reason,
        int(after.rescued),
        rows=1,
    )
    reason = after.reason or ""
    tx.state(BatchReturned(held.source, held.ingestion_id, held.number, reason, after.after_us))
    return Status.TRIGGERED
