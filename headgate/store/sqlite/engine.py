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
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import apsw

from headgate.core.clock import Clock
from headgate.core.errors import SourceMisconfigured, StoreMisused, Unavailable
from headgate.core.facts import Fact, StoreBack, StoreLost
from headgate.store.engine import Command, Failpoint, WorkerId
from headgate.store.latest import Latest
from headgate.store.sqlite.file import connect, identity, migrate
from headgate.store.sqlite.presence import Presence
from headgate.store.sqlite.transaction import SqliteTransaction, finished
from headgate.store.sqlite.turn import Job, Turn, answer, go_on
from headgate.store.wakes import LocalWakes

P = ParamSpec("P")
T = TypeVar("T")

GROUP_US = 5_000
"""A group takes no further command after this long, so that the loop is never held for longer."""

NOTICE_S = 0.05
ALONE_S = 1.0

BUSY_S = 8.0
"""How long a group waits for another process to finish writing before its commands are refused as unavailable."""


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
        path = path.resolve()  # SQLite's log lies beside the file itself, and so does who is alive
        self.wakes = LocalWakes()
        self._latest = Latest()
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
        self._file = identity(path)
        self._patient = False
        self._watcher = self._connect_reader()
        self.presence = Presence(path)
        self._turn = Turn()
        self._to_thread: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="headgate-commit", daemon=True)
        self._thread.start()
        self._closed = False

    # -- what the contract promises ------------------------------------------------------------------------

    @property
    def trip_us(self) -> int:
        return 0

    async def open(self) -> None:
        """The file was opened when the engine was made."""

    async def run(self, command: Command[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._closed:
            raise Unavailable("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        job = Job(
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
        if (gone := self._gone()) is not None:
            raise gone
        with self._reader() as connection:
            try:
                connection.execute("begin")
                tx = SqliteTransaction(
                    connection, self._clock, self._failpoint, self._latest, [], [], []
                )
                return finished(begin(tx))
            except apsw.Error as error:
                raise _unavailable(error) from error
            finally:
                if connection.in_transaction:
                    connection.execute("rollback")

    @property
    def heard_every_us(self) -> int | None:
        return None

    def known_dead(self, worker: WorkerId) -> bool:
        return self.presence.known_dead(worker)

    @property
    def worker(self) -> WorkerId:
        return self.presence.worker

    async def attend(self) -> None:
        """Notice the commits of other processes; alone on the file, look only once a second whether one came."""
        seen = self.data_version()
        lost = False
        while True:
            lost = self._tell_if_lost(lost)
            self.presence.stay()
            if not self.presence.others():
                await asyncio.sleep(ALONE_S)
                continue
            for _ in range(int(ALONE_S / NOTICE_S)):
                await asyncio.sleep(NOTICE_S)
                version = self.data_version()
                if version != seen:
                    seen = version
                    self.wakes.wake_all()

    def _tell_if_lost(self, before: bool) -> bool:
        """Say once that the file is gone, and once that it is back: with nobody asking, nobody else would."""
        gone = self._gone()
        if gone is not None and not before:
            self._observe(StoreLost(gone.message))
        elif gone is None and before:
            self._observe(StoreBack())
        return gone is not None

    def _gone(self) -> Unavailable | None:
        """What we have open is not what others find there any more: whatever is written to it would be lost."""
        if identity(self._path) == self._file:
            return None
        return Unavailable(
            f"the database file {self._path} was removed or replaced: put it back, or start Headgate again"
        )

    def data_version(self) -> int:
        """A number that changes when somebody commits; it compares within one connection only, so it has its own."""
        return cast("int", self._watcher.pragma("data_version"))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        while self._turn.taken:  # noqa: ASYNC110 - the turn may end on another loop or thread
            await asyncio.sleep(0.001)
        self._to_thread.put(None)
        await asyncio.to_thread(self._thread.join)
        for connection in (*self._readers, self._watcher, self._writer):
            connection.close()
        self.presence.leave()

    # -- a group: begin, execute, commit, land -------------------------------------------------------------

    def _begin_group(self) -> None:
        """On the loop: begin at once, or leave the waiting for another process to the thread."""
        try:
            if (gone := self._gone()) is not None:
                raise gone
            self._writer.execute("begin immediate")
        except apsw.BusyError:
            self._to_thread.put(self._begin_patiently)
        except (apsw.Error, Unavailable) as error:
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
            go_on(refused[0].loop, lambda: self._land(refused, failed))
        else:
            go_on(self._turn.waiting[0].loop, self._execute_group)
        finally:
            self._patient = False

    def _execute_group(self) -> None:
        group: list[Job] = []
        until = time.perf_counter_ns() + GROUP_US * 1_000
        try:
            while self._turn.waiting and (not group or time.perf_counter_ns() < until):
                group.append(self._turn.waiting.popleft())
                self._execute(group[-1])
        except BaseException as error:  # the whole transaction is gone: disk full, an I/O error
            self._land(group, error)
        else:
            self._to_thread.put(lambda: self._commit(group))

    def _execute(self, job: Job) -> None:
        """Run one command in its savepoint. Raises only if the transaction itself was lost."""
        self._writer.execute("savepoint command")
        tx = SqliteTransaction(
            self._writer,
            self._clock,
            self._failpoint,
            self._latest,
            job.facts,
            job.woken,
            job.shown,
        )
        try:
            job.result = finished(job.begin(tx))
        except BaseException as error:  # whatever it is, it is that caller's, and the store goes on
            if not self._writer.in_transaction:
                raise
            job.fail(_for_caller(error))
            self._writer.execute("rollback to command")
        self._writer.execute("release command")

    def _commit(self, group: list[Job]) -> None:
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
        go_on(group[0].loop, lambda: self._land(group, lost))

    def _land(self, group: list[Job], lost: BaseException | None) -> None:
        """Release answers, facts and hints of a group; then see to it that the next one begins."""
        if self._writer.in_transaction:
            self._writer.execute("rollback")
        if lost is not None:
            for job in group:
                job.fail(_unavailable(lost))
        answer(group)
        try:
            self._tell(group)
        finally:  # an observer that raises stops nobody
            home = self._turn.next_home()
            if home is not None and home is group[0].loop and home.is_running():
                self._begin_group()  # we are in it: the next group begins without a round through its loop
            elif home is not None:
                go_on(home, self._begin_group)

    def _tell(self, group: list[Job]) -> None:
        for job in group:
            self._latest.keep(job.shown)
        for source in {source for job in group for source in job.woken}:
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

    def _connect_reader(self) -> apsw.Connection:
        try:
            connection = connect(self._path, _wait_briefly)
        except (
            SourceMisconfigured
        ) as error:  # it could be opened before: this is no fault of the configuration
            raise Unavailable("the database cannot be read now; try again") from error
        connection.pragma("query_only", True)
        return connection

    @contextmanager
    def _reader(self) -> Iterator[apsw.Connection]:
        """Lend a reading connection, from any thread."""
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = self._connect_reader()
        try:
            yield connection
        finally:
            self._readers.append(connection)


def _wait_briefly(tries: int) -> bool:
    """A reader's busy handler: only recovery and the last checkpoint ever lock readers out, and briefly."""
    time.sleep(0.001)
    return tries < 100


def _for_caller(error: BaseException) -> BaseException:
    """What failed one command: the file, for now, or a mistake of ours, which trying again does not mend."""
    if isinstance(error, apsw.ConstraintError | apsw.SQLError):
        return StoreMisused(str(error))
    return _unavailable(error) if isinstance(error, apsw.Error) else error


def _unavailable(error: BaseException) -> Unavailable:
    """What an error of the file means to the caller."""
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, apsw.FullError):
        return Unavailable("the disk is full: nothing was stored; free some space", retry_after_s=5)
    if isinstance(error, apsw.BusyError):
        return Unavailable("another process holds the database: nothing was stored; try again")
    return Unavailable(f"the database cannot be used now ({error}): nothing was stored")
