"""A transaction on PostgreSQL: READ COMMITTED, with every value read after the lock that guards it."""

from __future__ import annotations

import re
import types
from collections.abc import AsyncIterator, Coroutine, Generator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import asyncpg

from headgate.core.clock import Newcomer, Offset, Reading, Unwatched, Watch
from headgate.core.errors import StoreMisused
from headgate.core.facts import Fact
from headgate.store.engine import Failpoint, Row, Value
from headgate.store.postgres.texts import plain
from headgate.store.statements import Statement

T = TypeVar("T")

COPIED = 50
"""From so many rows on, COPY is faster than one statement for each."""

_PLAIN_INSERT = re.compile(r"insert into (\w+) \(([\w, ]+)\) values \(([$\d, ]+)\)")


class Timekeeper(Protocol):
    """Reads the clock that the ledger goes by, and watches it."""

    @property
    def watch(self) -> Watch: ...

    async def read(self, connection: asyncpg.Connection) -> Reading:
        """Look at the clock."""


class PostgresTransaction:
    """What a command does goes to the server at once; whether it waits for anything else can be told."""

    __slots__ = ("_connection", "_failpoint", "_time", "believed", "busy", "facts", "woken")

    def __init__(
        self, connection: asyncpg.Connection, time: Timekeeper, failpoint: Failpoint
    ) -> None:
        self._connection = connection
        self._time = time
        self._failpoint = failpoint
        self.busy = False
        self.facts: list[Fact] = []
        self.woken: list[str] = []
        self.believed: list[tuple[Reading, Offset]] = []

    async def one(self, statement: Statement, *values: Value) -> Row | None:
        async with self._waiting():
            row = await self._connection.fetchrow(statement.postgres, *map(plain, values))
        return None if row is None else tuple(row)

    async def all(self, statement: Statement, *values: Value) -> list[Row]:
        async with self._waiting():
            rows = await self._connection.fetch(statement.postgres, *map(plain, values))
        return [tuple(row) for row in rows]

    async def do(self, statement: Statement, *values: Value) -> int:
        async with self._waiting():
            status = await self._connection.execute(statement.postgres, *map(plain, values))
        return int(status.rpartition(" ")[2])

    async def many(self, statement: Statement, rows: Iterable[Sequence[Value]]) -> None:
        values = [tuple(map(plain, row)) for row in rows]
        if not values:
            return
        into = _copied_into(statement.postgres) if len(values) >= COPIED else None
        async with self._waiting():
            if into is None:
                await self._connection.executemany(statement.postgres, values)
            else:
                table, columns = into
                await self._connection.copy_records_to_table(table, records=values, columns=columns)

    async def each(self, statement: Statement, rows: Sequence[Sequence[Value]]) -> list[Row]:
        values = [tuple(map(plain, row)) for row in rows]
        async with self._waiting():
            got = await self._connection.fetchmany(statement.postgres, values)
        return [tuple(row) for row in got]

    async def lock(self, statement: Statement, *values: Value) -> list[Row]:
        return await self.all(statement, *values)

    async def reading(self) -> Reading:
        async with self._waiting():
            return await self._time.read(self._connection)

    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched | Newcomer:
        return self._time.watch.judge(reading, known, touches)

    def believe(self, reading: Reading, offset: Offset) -> None:
        self.believed.append((reading, offset))

    def margin_us(self, span_us: int) -> int:
        return self._time.watch.margin_us(span_us)

    def state(self, fact: Fact) -> None:
        self.facts.append(fact)

    def wake(self, source: str) -> None:
        self.woken.append(source)

    def failpoint(self, name: str) -> None:
        self._failpoint(name)

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


@lru_cache(maxsize=256)
def _copied_into(sql: str) -> tuple[str, list[str]] | None:
    """Table and columns of a plain insert of $1 ... $n in their order; None for any other statement."""
    match = _PLAIN_INSERT.fullmatch(sql)
    if match is None:
        return None
    columns = [column.strip() for column in match[2].split(",")]
    in_order = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
    return (match[1], columns) if match[3] == in_order else None
