"""SQLite: one file, one writing connection in each process, group commit; readers on connections of their own.

Statements run on the event loop's thread, where they cost microseconds; only what can wait for the disk or for
another process (COMMIT, and BEGIN while somebody else writes) is left to the committing thread. Commands that
arrive during a commit share the next transaction, each in a savepoint of its own, and one flush: nothing is
answered, told or hinted before that flush. docs/decisions/0002-statements-on-the-loop.md has the figures.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import apsw

from headgate.core.clock import Clock, Reading
from headgate.core.errors import StoreMisused, Unavailable
from headgate.core.facts import Fact
from headgate.store.engine import Command, Failpoint, Row, Value, WorkerId
from headgate.store.presence import Presence
from headgate.store.sqlite_file import connect, migrate
from headgate.store.statements import Statement
from headgate.store.wakes import LocalWakes

P = ParamSpec("P")
T = TypeVar("T")

GROUP_US = 5_000
"""A group takes no further command after this long, so that the loop is never held for longer."""

BUSY_S = 8.0
"""How long a group waits for another process to finish writing before its commands are refused as unavailable."""


@dataclass(slots=True)
class _Job:
    """One command on its way: how to begin it, who waits for it, what it came to."""

    name: str
    begin: Callable[[SqliteTransaction], Coroutine[Any, Any, Any]]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    facts: list[Fact] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    result: Any = None
    error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """Nothing of this command is stored: nothing that it said is told."""
        self.error = error
        self.facts.clear()
        self.woken.clear()


class SqliteTransaction:
    """A transaction that never suspends: every method is done when it returns."""

    __slots__ = ("_clock", "_connection", "_cursor", "_facts", "_failpoint", "_woken")

    def __init__(
        self,
        connection: apsw.Connection,
        clock: Clock,
        failpoint: Failpoint,
        facts: list[Fact],
        woken: list[str],
    ) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._clock = clock
        self._failpoint = failpoint
        self._facts = facts
        self._woken = woken

    async def one(self, statement: Statement, *values: Value) -> Row | None:
        rows = self._cursor.execute(statement.sqlite, values).fetchall()
        return rows[0] if rows else None

    async def all(self, statement: Statement, *values: Value) -> list[Row]:
        return self._cursor.execute(statement.sqlite, values).fetchall()

    async def do(self, statement: Statement, *values: Value) -> int:
        self._cursor.execute(statement.sqlite, values)
        return self._connection.changes()

    async def many(self, statement: Statement, rows: Iterable[Sequence[Value]]) -> None:
        self._cursor.executemany(statement.sqlite, rows)

    async def lock(self, statement: Statement, *values: Value) -> list[Row]:
        return await self.all(statement, *values)  # the whole file is locked already

    async def reading(self) -> Reading:
        return self._clock.read()

    def state(self, fact: Fact) -> None:
        self._facts.append(fact)

    def wake(self, source: str) -> None:
        self._woken.append(source)

    def failpoint(self, name: str) -> None:
        self._failpoint(name)


@dataclass(slots=True)
class _Turn:
    """The right to use the writing connection: one group at a time has it, from BEGIN to after COMMIT."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    taken: bool = False
    waiting: deque[_Job] = field(default_factory=deque)

    def join(self, job: _Job) -> bool:
        """Wait in line; True if the caller has to see to it that a group begins."""
        with self.lock:
            self.waiting.append(job)
            first, self.taken = not self.taken, True
            return first

    def next_home(self) -> asyncio.AbstractEventLoop | None:
        """The loop of the first who waits; None ends the turn."""
        with self.lock:
            if self.waiting:
                return self.waiting[0].loop
            self.taken = False
            return None

    def dismiss(self) -> list[_Job]:
        """Take everybody who waits out of the line."""
        with self.lock:
            dismissed, self.waiting = list(self.waiting), deque()
            return dismissed


class SqliteEngine:
    """The engine on one file. Any number of processes may open it; each sees the others' commits."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        observe: Callable[[Fact], None] = lambda _: None,
        failpoint: Failpoint = lambda _: None,
    ) -> None:
        """Open the file, making it if there is none, and bring its tables up to date.

        Raises SourceMisconfigured if the file cannot be used.
        """
        self.wakes = LocalWakes()
        self._path = path
        self._clock = clock
        self._observe = observe
        self._failpoint = failpoint
        self._readers: list[apsw.Connection] = []
        self._patient = (
            True  # nothing else runs yet: wait for a process that makes or migrates the file
        )
        self._writer = connect(path, self._wait_for_writer)
        migrate(self._writer, failpoint)
        self._patient = False
        self.presence = Presence(path)
        self._turn = _Turn()
        self._to_thread: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="headgate-commit", daemon=True)
        self._thread.start()
        self._closed = False

    # -- what the contract promises ------------------------------------------------------------------------

    async def run(self, command: Command[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._closed:
            raise Unavailable("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = _Job(
            command.__name__,
            lambda tx: cast("Coroutine[Any, Any, T]", command(tx, *args, **kwargs)),
            loop,
            future,
        )
        if self._turn.join(job):
            loop.call_soon(self._begin_group)
        return await future

    async def read(self, query: Command[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def begin(tx: SqliteTransaction) -> Coroutine[Any, Any, T]:
            return cast("Coroutine[Any, Any, T]", query(tx, *args, **kwargs))

        if getattr(query, "at_length", False):
            return await asyncio.to_thread(self._read, begin)
        return self._read(begin)

    def _read(self, begin: Callable[[SqliteTransaction], Coroutine[Any, Any, T]]) -> T:
        if self._closed:
            raise Unavailable("the store is closed")
        with self._reader() as connection:
            try:
                connection.execute("begin")
                tx = SqliteTransaction(connection, self._clock, self._failpoint, [], [])
                return _finished(begin(tx))
            except apsw.Error as error:
                raise _unavailable(error) from error
            finally:
                if connection.in_transaction:
                    connection.execute("rollback")

    def known_dead(self, worker: WorkerId) -> bool:
        return self.presence.known_dead(worker)

    def data_version(self) -> int:
        """A number that changes when somebody commits."""
        with self._reader() as connection:
            return cast("int", connection.pragma("data_version"))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        while self._turn.taken:  # noqa: ASYNC110 - the turn may end on another loop or thread
            await asyncio.sleep(0.001)
        self._to_thread.put(None)
        await asyncio.to_thread(self._thread.join)
        for connection in (*self._readers, self._writer):
            connection.close()
        self.presence.leave()

    # -- a group: begin, execute, commit, land -------------------------------------------------------------

    def _begin_group(self) -> None:
        """On the loop: begin at once, or leave the waiting for another process to the thread."""
        try:
            self._writer.execute("begin immediate")
        except apsw.BusyError:
            self._to_thread.put(self._begin_patiently)
        except apsw.Error as error:
            self._land(self._turn.dismiss(), error)
        else:
            self._execute_group()

    def _begin_patiently(self) -> None:
        """On the thread: wait for whoever writes, then go on in the loop of the first who waits."""
        self._patient = True
        try:
            self._writer.execute("begin immediate")
        except apsw.Error as error:
            refused, failed = self._turn.dismiss(), error
            _go_on(refused[0].loop, lambda: self._land(refused, failed))
        else:
            _go_on(self._turn.waiting[0].loop, self._execute_group)
        finally:
            self._patient = False

    def _execute_group(self) -> None:
        group: list[_Job] = []
        until = time.perf_counter_ns() + GROUP_US * 1_000
        try:
            while self._turn.waiting and (not group or time.perf_counter_ns() < until):
                group.append(self._turn.waiting.popleft())
                self._execute(group[-1])
        except apsw.Error as error:  # the whole transaction is gone: disk full, an I/O error
            self._land(group, error)
        else:
            self._to_thread.put(lambda: self._commit(group))

    def _execute(self, job: _Job) -> None:
        """Run one command in its savepoint. Raises apsw.Error only if the transaction itself was lost."""
        self._writer.execute("savepoint command")
        tx = SqliteTransaction(self._writer, self._clock, self._failpoint, job.facts, job.woken)
        try:
            job.result = _finished(job.begin(tx))
        except BaseException as error:  # whatever it is, it is that caller's, and the store goes on
            if not self._writer.in_transaction:
                raise
            job.fail(_unavailable(error) if isinstance(error, apsw.Error) else error)
            self._writer.execute("rollback to command")
        self._writer.execute("release command")

    def _commit(self, group: list[_Job]) -> None:
        """On the thread: one flush for the whole group."""
        lost: apsw.Error | None = None
        try:
            for job in group:
                self._failpoint(f"before_commit.{job.name}")
            self._writer.execute("commit")
            for job in group:
                self._failpoint(f"after_commit.{job.name}")
        except apsw.Error as error:
            lost = error
        _go_on(group[0].loop, lambda: self._land(group, lost))

    def _land(self, group: list[_Job], lost: apsw.Error | None) -> None:
        """Release answers, facts and hints of a group; then see to it that the next one begins."""
        if self._writer.in_transaction:
            self._writer.execute("rollback")
        if lost is not None:
            for job in group:
                job.fail(_unavailable(lost))
        _answer(group)
        try:
            self._tell(group)
        finally:  # an observer that raises stops nobody
            if home := self._turn.next_home():
                _go_on(home, self._begin_group)

    def _tell(self, group: list[_Job]) -> None:
        for job in group:
            for source in job.woken:
                self.wakes.wake(source)
        for job in group:
            for fact in job.facts:
                self._observe(fact)

    # -- threads and connections ---------------------------------------------------------------------------

    def _work(self) -> None:
        while (step := self._to_thread.get()) is not None:
            step()

    def _wait_for_writer(self, tries: int) -> bool:
        """SQLite's busy handler: never wait on the loop; on the thread, look again every millisecond."""
        if not self._patient or tries > BUSY_S * 1_000:
            return False
        time.sleep(0.001)
        return True

    @contextmanager
    def _reader(self) -> Iterator[apsw.Connection]:
        """Lend a reading connection, from any thread."""
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = connect(self._path, _wait_briefly)
            connection.pragma("query_only", True)
        try:
            yield connection
        finally:
            self._readers.append(connection)


def _wait_briefly(tries: int) -> bool:
    """A reader's busy handler: only recovery and the last checkpoint ever lock readers out, and briefly."""
    time.sleep(0.001)
    return tries < 100


def _go_on(loop: asyncio.AbstractEventLoop, step: Callable[[], None]) -> None:
    """Take a step in a loop, or here if that loop has stopped meanwhile."""
    if not loop.is_running():
        step()
        return
    try:
        loop.call_soon_threadsafe(step)
    except RuntimeError:  # closed just now
        step()


def _finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that has nothing to wait for to its end.

    Raises StoreMisused if it waits all the same.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    coroutine.close()
    raise StoreMisused


def _answer(group: list[_Job]) -> None:
    """Give everybody their result, with one call into each loop that is not this one."""
    here = _running_loop()
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in group:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        if loop is here:
            _resolve(jobs)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, jobs)


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _unavailable(error: apsw.Error) -> Unavailable:
    """What an error of the file means to the caller."""
    if isinstance(error, apsw.FullError):
        return Unavailable("the disk is full: nothing was stored; free some space", retry_after_s=5)
    if isinstance(error, apsw.BusyError):
        return Unavailable("another process holds the database: nothing was stored; try again")
    return Unavailable(f"the database cannot be used now ({error}): nothing was stored")
