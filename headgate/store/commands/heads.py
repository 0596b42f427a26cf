"""What is next in a source's line: the first by (priority, acceptance, number), with the ids of its next call.

Two index lookups: the first begun batch that is ready, and the first ingestion with a batch that may begin. What
waits for an instant is in neither, and is moved when its instant has come.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from headgate.core.ids import Id
from headgate.core.slicing import Todo, batch_positions, chunk_length, next_call
from headgate.store.engine import Transaction
from headgate.store.statements import beside

SQL = beside(__file__)

MOVED_AT_ONCE = 1_000
"""How many batches whose instant has come one claim makes eligible."""


@dataclass(frozen=True, slots=True)
class Head:
    """The batch that is next, under the fence that a claim gives it.

    `begun` False: it has no row yet; the cursor then moves on to `advance_to`, and `last` says that none follows.
    """

    priority: int
    seq: int
    number: int
    attempt: int
    fence: int
    begun: bool
    todo: Todo
    ids: tuple[tuple[int, Id], ...]
    advance_to: int = 0
    last: bool = False


async def move_due(tx: Transaction, source: str, now: int) -> int:
    """Make eligible what waited for an instant that has come; returns how many, at most MOVED_AT_ONCE."""
    due = await tx.all(SQL.due, source, now, MOVED_AT_ONCE)
    if due:
        await tx.many(SQL.make_ready, due)
    return len(due)


async def next_due(tx: Transaction, source: str) -> int | None:
    """When the next batch of a source becomes eligible; None if none waits."""
    row = await tx.one(SQL.next_due, source)
    return None if row is None else row[0]


async def first_eligible(tx: Transaction, source: str, *, most: int) -> Head | None:
    """The batch that is next, with at most so many ids in its call; None if nothing is eligible."""
    begun = await tx.one(SQL.first_begun, source)
    waiting = await tx.one(SQL.first_waiting, source)
    if begun and (waiting is None or begun[:3] < waiting[:3]):
        return await _begun_head(tx, *begun, most=most)
    return await _waiting_head(tx, *waiting, most=most) if waiting else None


async def _begun_head(
    tx: Transaction,
    priority: int,
    seq: int,
    number: int,
    attempt: int,
    fence: int,
    todo_json: str,
    size: int,
    id_count: int,
    *,
    most: int,
) -> Head:
    todo = msgspec.json.decode(todo_json, type=Todo)
    start, ids, _ = await _chunk_of(tx, seq, number, size)
    called = tuple((position, ids[position - start]) for position in next_call(todo, most))
    return Head(priority, seq, number, attempt, fence + 1, True, todo, called)


async def _waiting_head(
    tx: Transaction,
    priority: int,
    seq: int,
    number: int,
    size: int,
    id_count: int,
    batch_count: int,
    *,
    most: int,
) -> Head:
    start, ids, repeats = await _chunk_of(tx, seq, number, size)
    positions = tuple(
        position
        for position in batch_positions(number, size, id_count)
        if position - start not in repeats
    )
    called = tuple((position, ids[position - start]) for position in positions[:most])
    following = await _next_distinct(tx, seq, number, size, (start, ids, repeats))
    return Head(
        priority,
        seq,
        number,
        attempt=1,
        fence=1,
        begun=False,
        todo=(positions,),
        ids=called,
        advance_to=batch_count if following is None else following,
        last=following is None,
    )


_Chunk = tuple[int, list[Id], dict[int, int]]


async def _chunk_of(tx: Transaction, seq: int, number: int, size: int) -> _Chunk:
    length = chunk_length(size)
    start = number * size // length * length
    row = await tx.one(SQL.chunk, seq, start)
    assert row is not None
    return _decoded(start, *row)


def _decoded(start: int, ids: str, repeats: str | None) -> _Chunk:
    decoded = {} if repeats is None else msgspec.json.decode(repeats, type=dict[int, int])
    return start, msgspec.json.decode(ids), decoded


async def _next_distinct(
    tx: Transaction, seq: int, number: int, size: int, chunk: _Chunk
) -> int | None:
    """The next batch that has an id which stands there for the first time; None if none follows.

    Batches of nothing but repeats are stepped over: they never have a row, and end with their first occurrences.
    """
    found = _distinct_in(chunk, (number + 1) * size, size)
    if found is not None:
        return found
    row = await tx.one(SQL.next_distinct, seq, chunk[0] + chunk_length(size))
    if row is None:
        return None
    following = _decoded(*row)
    return _distinct_in(following, following[0], size)


def _distinct_in(chunk: _Chunk, position: int, size: int) -> int | None:
    """The first batch from a position on, within a chunk, that holds more than repeats."""
    start, ids, repeats = chunk
    for offset in range(position - start, len(ids)):
        if offset not in repeats:
            return (start + offset) // size
    return None
