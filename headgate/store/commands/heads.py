"""What is next in a source's line: the first by (priority, acceptance, number), with the ids of its next call.

Two index lookups: the first begun batch that is ready, and the first ingestion with a batch that may begin. What
waits for an instant is in neither, and is moved when its instant has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from headgate.core.clock import FOREVER
from headgate.core.ids import Id
from headgate.core.slicing import Todo, batch_positions, chunk_length, next_call
from headgate.store.engine import Asked, Row, Transaction
from headgate.store.statements import beside

SQL = beside(__file__)

MOVED_AT_ONCE = 1_000
"""How many batches whose instant has come one claim makes eligible."""


@dataclass(frozen=True, slots=True)
class Head:
    """The batch that is next, with the fence that it was read with.

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


async def move(tx: Transaction, due: Sequence[Row]) -> None:
    """Make eligible what waited for an instant that has come: rows of (seq, number)."""
    await tx.many(SQL.make_ready, due)


async def bring_back(tx: Transaction, source: str) -> bool:
    """Make eligible what would be so next, though its instant has not come: for the probe of a closed source.

    Of what was set aside that is the batch whose call failed the longest ago, so that all have their turn.
    """
    first = await tx.all(SQL.due, source, FOREVER, 1)
    await move(tx, first)
    return bool(first)


async def next_due(tx: Transaction, source: str) -> int | None:
    """When the next batch of a source becomes eligible; None if none waits."""
    row = await tx.one(SQL.next_due, source)
    return None if row is None else row[0]


_Chunk = tuple[int, list[Id], dict[int, int]]


class Line:
    """A source's line during one claim: what was read once is not read again while heads are taken from it."""

    def __init__(self, tx: Transaction, source: str, *, most: int) -> None:
        """`most`: how many ids one call may be for."""
        self._tx = tx
        self._source = source
        self._most = most
        self._begun: Row | None = None
        self._waiting: Row | None = None
        self._chunk: tuple[int, _Chunk] | None = None

    def asked(self, now: int) -> tuple[Asked, Asked, Asked]:
        """What tells the first of the line: what is due by now, at most MOVED_AT_ONCE, and what `first` takes."""
        return (
            (SQL.due, self._source, now, MOVED_AT_ONCE),
            (SQL.first_begun, self._source),
            (SQL.first_waiting, self._source),
        )

    async def first(self, begun: Sequence[Row], waiting: Sequence[Row]) -> Head | None:
        """The batch that is next; None if nothing is eligible."""
        self._begun = begun[0] if begun else None
        self._waiting = waiting[0] if waiting else None
        return await self._head()

    async def begun(self) -> list[Row]:
        """What `first` takes, read anew: begun batches have become eligible."""
        return await self._tx.all(SQL.first_begun, self._source)

    async def after(self, taken: Head) -> Head | None:
        """The batch that is next once its first was taken."""
        if taken.begun:
            self._begun = await self._tx.one(SQL.first_begun, self._source)
        elif taken.last:
            self._waiting = await self._tx.one(SQL.first_waiting, self._source)
        elif self._waiting:  # it was first, and its ingestion goes on
            self._waiting = (*self._waiting[:2], taken.advance_to, *self._waiting[3:])
        return await self._head()

    async def _head(self) -> Head | None:
        begun, waiting = self._begun, self._waiting
        if begun and (waiting is None or begun[:3] < waiting[:3]):
            return await self._begun_head(*begun)
        return await self._waiting_head(*waiting) if waiting else None

    async def _begun_head(
        self,
        priority: int,
        seq: int,
        number: int,
        attempt: int,
        fence: int,
        todo_json: str,
        size: int,
    ) -> Head:
        todo = msgspec.json.decode(todo_json, type=Todo)
        start, ids, _ = await self._chunk_of(seq, number, size)
        called = tuple((p, ids[p - start]) for p in next_call(todo, self._most))
        return Head(priority, seq, number, attempt, fence, True, todo, called)

    async def _waiting_head(
        self, priority: int, seq: int, number: int, size: int, id_count: int, batch_count: int
    ) -> Head:
        chunk = await self._chunk_of(seq, number, size)
        start, ids, repeats = chunk
        batch = batch_positions(number, size, id_count)
        positions = tuple(p for p in batch if p - start not in repeats)
        following = await self._next_distinct(seq, number, size, batch_count, chunk)
        return Head(
            priority,
            seq,
            number,
            attempt=1,
            fence=0,
            begun=False,
            todo=(positions,),
            ids=tuple((p, ids[p - start]) for p in positions[: self._most]),
            advance_to=batch_count if following is None else following,
            last=following is None,
        )

    async def _chunk_of(self, seq: int, number: int, size: int) -> _Chunk:
        length = chunk_length(size)
        start = number * size // length * length
        if self._chunk and self._chunk[0] == seq and self._chunk[1][0] == start:
            return self._chunk[1]
        row = await self._tx.one(SQL.chunk, seq, start)
        assert row is not None
        self._chunk = (seq, _decoded(start, *row))
        return self._chunk[1]

    async def _next_distinct(
        self, seq: int, number: int, size: int, batch_count: int, chunk: _Chunk
    ) -> int | None:
        """The next batch that has an id which stands there for the first time; None if none follows.

        Batches of nothing but repeats are stepped over: they have no row, and end with their first occurrences.
        """
        if number + 1 >= batch_count:
            return None
        found = _distinct_in(chunk, (number + 1) * size, size)
        if found is not None:
            return found
        row = await self._tx.one(SQL.next_distinct, seq, chunk[0] + chunk_length(size))
        if row is None:
            return None
        following = _decoded(*row)
        return _distinct_in(following, following[0], size)


def _decoded(start: int, ids: str, repeats: str | None) -> _Chunk:
    decoded = {} if repeats is None else msgspec.json.decode(repeats, type=dict[int, int])
    return start, msgspec.json.decode(ids), decoded


def _distinct_in(chunk: _Chunk, position: int, size: int) -> int | None:
    """The first batch from a position on, within a chunk, that holds more than repeats."""
    start, ids, repeats = chunk
    for offset in range(position - start, len(ids)):
        if offset not in repeats:
            return (start + offset) // size
    return None
