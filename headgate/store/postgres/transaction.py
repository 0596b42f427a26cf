"""A transaction on PostgreSQL: READ COMMITTED, with every value read after the lock that guards it."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Coroutine, Generator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain
from typing import Any, Protocol, TypeVar

import asyncpg

from headgate.core.clock import Newcomer, Offset, Reading, Unwatched, Watch
from headgate.core.errors import StoreMisused
from headgate.core.facts import Fact
from headgate.store.engine import Asked, Failpoint, Row, Value, expect_rows
from headgate.store.latest import Latest, Shown
from headgate.store.postgres.composing import (
    adding_rows,
    adds,
    changed_table,
    independent,
    one_change,
    one_look,
)
from headgate.store.postgres.texts import plain
from headgate.store.statements import Statement

T = TypeVar("T")

ALONG = 10
"""Up to so many rows go along with what comes next."""

COPIED = 50
"""From so many rows on, COPY is faster than one statement for each."""


class Timekeeper(Protocol):
    """Reads the clock that the ledger goes by, and watches it."""

    @property
    def watch(self) -> Watch: ...

    @property
    def trip_us(self) -> int:
        """How long a round trip takes at present."""

    async def read(self, connection: asyncpg.Connection) -> Reading:
        """Look at the clock."""


class PostgresTransaction:
    """What a command asks goes to the server at once, what it leaves for later with that; whether it waits for
    anything else can be told.
    """

    __slots__ = (
        "_connection",
        "_failpoint",
        "_later",
        "_latest",
        "_time",
        "believed",
        "busy",
        "facts",
        "holds_all",
        "shown",
        "woken",
    )

    def __init__(
        self,
        connection: asyncpg.Connection,
        time: Timekeeper,
        latest: Latest,
        failpoint: Failpoint,
    ) -> None:
        self._connection = connection
        self._time = time
        self._latest = latest
        self._failpoint = failpoint
        self._later: list[tuple[Statement, tuple[Value, ...], int | None]] = []
        self.holds_all = False
        self.busy = False
        self.facts: list[Fact] = []
        self.woken: list[str] = []
        self.believed: list[tuple[Reading, Offset]] = []
        self.shown: list[Shown] = []

    async def one(self, statement: Statement, *values: Value) -> Row | None:
        if self._later:
            rows = await self.all(statement, *values)
            return rows[0] if rows else None
        async with self._waiting():
            row = await self._connection.fetchrow(statement.postgres, *map(plain, values))
        return None if row is None else tuple(row)

    async def all(self, statement: Statement, *values: Value) -> list[Row]:
        if self._goes_along(statement):
            return await self._send(statement, values)
        await self.flush()
        async with self._waiting():
            rows = await self._connection.fetch(statement.postgres, *map(plain, values))
        return [tuple(row) for row in rows]

    async def reads(self, *asked: Asked) -> list[list[Row]]:
        await self.flush()
        parts = tuple((statement.postgres, len(values)) for statement, *values in asked)
        values = [plain(value) for _, *values in asked for value in values]
        async with self._waiting():
            row = await self._connection.fetchrow(one_look(parts), *values)
        return [list(map(tuple, rows)) for rows in row]

    async def do(self, statement: Statement, *values: Value) -> int:
        if self._goes_along(statement):
            return len(await self._send(statement, values))
        await self.flush()
        async with self._waiting():
            status = await self._connection.execute(statement.postgres, *map(plain, values))
        return int(status.rpartition(" ")[2])

    async def later(self, statement: Statement, *values: Value, rows: int | None = None) -> None:
        if not self._goes_along(statement):
            await self.flush()
        self._later.append((statement, values, rows))

    async def flush(self) -> None:
        """Send what was left for later."""
        if self._later:
            statement, values, rows = self._later.pop()
            expect_rows(statement, rows, await self.do(statement, *values))

    async def many(self, statement: Statement, rows: Iterable[Sequence[Value]]) -> None:
        values = [tuple(map(plain, row)) for row in rows]
        into = adds(statement.postgres)
        if into and 0 < len(values) <= ALONG:
            adding = replace(statement, postgres=adding_rows(*into, len(values)))
            await self.later(adding, *chain.from_iterable(values), rows=len(values))
        elif values:
            await self.flush()
            await self._send_many(statement.postgres, into, values)

    async def each(self, statement: Statement, rows: Sequence[Sequence[Value]]) -> list[Row]:
        values = [tuple(map(plain, row)) for row in rows]
        await self.flush()
        async with self._waiting():
            got = await self._connection.fetchmany(statement.postgres, values)
        return [tuple(row) for row in got]

    async def lock(self, statement: Statement, *values: Value) -> list[Row]:
        return await self.all(statement, *values)

    async def reading(self) -> Reading:
        await self.flush()
        async with self._waiting():
            return await self._time.read(self._connection)

    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched | Newcomer:
        return self._time.watch.judge(reading, known, touches)

    def believe(self, reading: Reading, offset: Offset) -> None:
        self.believed.append((reading, offset))

    def margin_us(self, span_us: int) -> int:
        return self._time.watch.margin_us(span_us)

    def latest(self, quota: str, epoch: str | None) -> int:
        return self._latest.of(quota, epoch)

    def show(self, quota: str, epoch: str, at: int) -> None:
        self.shown.append((quota, epoch, at))

    def state(self, fact: Fact) -> None:
        self.facts.append(fact)

    def wake(self, source: str) -> None:
        self.woken.append(source)

    def failpoint(self, name: str) -> None:
        self._failpoint(name)

    def _goes_along(self, statement: Statement) -> bool:
        """Whether a change may be one with those left for later."""
        sql = statement.postgres
        return (
            bool(self._later)
            and changed_table(sql) is not None
            and all(independent(sql, each.postgres) for each, _, _ in self._later)
        )

    async def _send(self, statement: Statement, values: Sequence[Value]) -> list[Row]:
        """A change and what was left for later as one; what the former returned, or so many rows as it changed."""
        kept, self._later = [*self._later, (statement, values, None)], []
        parts = tuple((each.postgres, len(its)) for each, its, _ in kept)
        all_values = [plain(value) for _, its, _ in kept for value in its]
        async with self._waiting():
            row = await self._connection.fetchrow(one_change(parts), *all_values)
        for (each, _, rows), returned in zip(kept, row, strict=True):
            expect_rows(each, rows, len(returned))
        return list(map(tuple, row[-1]))

    async def _send_many(
        self, sql: str, into: tuple[str, tuple[str, ...]] | None, values: list[tuple[Value, ...]]
    ) -> None:
        async with self._waiting():
            if into is None or len(values) < COPIED:
                await self._connection.executemany(sql, values)
            else:
                table, columns = into
                await self._connection.copy_records_to_table(table, records=values, columns=columns)

    @asynccontextmanager
    async def _waiting(self) -> AsyncIterator[None]:
        self.busy = True
        try:
            yield
        finally:
            self.busy = False


@types.coroutine
def only_waiting_for(
    tx: PostgresTransaction, coroutine: Coroutine[Any, Any, T]
) -> Generator[Any, Any, T]:
    """Run a command. Raises StoreMisused as soon as it waits for anything but its transaction."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            waits_for = coroutine.throw(error) if error else coroutine.send(answer)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if not tx.busy:
            coroutine.close()
            raise StoreMisused
        answer, error = None, None
        try:
            answer = yield waits_for
        except BaseException as raised:  # it belongs to whoever waits inside
            error = raised
