"""A transaction on SQLite: one that never suspends, so that a command's coroutine runs to its end in one step."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar, cast

import apsw

from headgate.core.clock import Clock, HostWatch, Newcomer, Offset, Reading, Unwatched
from headgate.core.errors import StoreMisused
from headgate.core.facts import Fact
from headgate.store.engine import Asked, Failpoint, Row, Value, expect_rows
from headgate.store.latest import Latest, Shown
from headgate.store.statements import Statement

T = TypeVar("T")

WATCH = HostWatch()


class SqliteTransaction:
    """A transaction that never suspends: every method is done when it returns."""

    __slots__ = (
        "_clock",
        "_connection",
        "_cursor",
        "_facts",
        "_failpoint",
        "_latest",
        "_shown",
        "_woken",
    )

    holds_all = True

    def __init__(
        self,
        connection: apsw.Connection,
        clock: Clock,
        failpoint: Failpoint,
        latest: Latest,
        facts: list[Fact],
        woken: list[str],
        shown: list[Shown],
    ) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._clock = clock
        self._failpoint = failpoint
        self._latest = latest
        self._facts = facts
        self._woken = woken
        self._shown = shown

    async def one(self, statement: Statement, *values: Value) -> Row | None:
        rows = self._cursor.execute(statement.sqlite, values).fetchall()
        return rows[0] if rows else None

    async def all(self, statement: Statement, *values: Value) -> list[Row]:
        return self._cursor.execute(statement.sqlite, values).fetchall()

    async def reads(self, *asked: Asked) -> list[list[Row]]:
        return [await self.all(*each) for each in asked]

    async def do(self, statement: Statement, *values: Value) -> int:
        self._cursor.execute(statement.sqlite, values)
        return self._connection.changes()

    async def later(self, statement: Statement, *values: Value, rows: int | None = None) -> None:
        expect_rows(statement, rows, await self.do(statement, *values))

    async def many(self, statement: Statement, rows: Iterable[Sequence[Value]]) -> None:
        self._cursor.executemany(statement.sqlite, rows)

    async def each(self, statement: Statement, rows: Sequence[Sequence[Value]]) -> list[Row]:
        execute = self._cursor.execute
        return [row for values in rows for row in execute(statement.sqlite, values).fetchall()]

    async def lock(self, statement: Statement, *values: Value) -> list[Row]:
        """The whole file is locked already; a statement without text would do nothing but lock."""
        return await self.all(statement, *values) if statement.sqlite else []

    async def reading(self) -> Reading:
        return self._clock.read()

    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched | Newcomer:
        return WATCH.judge(reading, known, touches)

    def believe(self, reading: Reading, offset: Offset) -> None:
        """On one host there is nothing to remember."""

    def margin_us(self, span_us: int) -> int:
        return 0

    def latest(self, quota: str, epoch: str | None) -> int:
        return self._latest.of(quota, epoch)

    def show(self, quota: str, epoch: str, at: int) -> None:
        self._shown.append((quota, epoch, at))

    def state(self, fact: Fact) -> None:
        self._facts.append(fact)

    def wake(self, source: str) -> None:
        self._woken.append(source)

    def failpoint(self, name: str) -> None:
        self._failpoint(name)


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that has nothing to wait for to its end.

    Raises StoreMisused if it waits all the same.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    coroutine.close()
    raise StoreMisused
