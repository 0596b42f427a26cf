"""PostgreSQL: one transaction for each command, READ COMMITTED, with the source's row as the lock.

Every command is safe to run again from its start, and is, when the server says so (deadlock, serialization) or is
lost in the middle, even in the commit: docs/decisions/0017-commands-run-again.md says for each why.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar, cast

import asyncpg

from headgate.core.clock import Clock
from headgate.core.errors import StoreMisused, Unavailable
from headgate.core.facts import Fact, LoopFailed, StoreBack, StoreLost
from headgate.store.commands.beat import beat
from headgate.store.commands.ledger import hold_all_sources
from headgate.store.engine import (
    Command,
    Door,
    Failpoint,
    HoldAllFirst,
    Together,
    WorkerId,
    door_of,
    together_of,
)
from headgate.store.latest import Latest
from headgate.store.postgres.errors import AGAIN, GONE, for_caller, may_go_by_itself
from headgate.store.postgres.gathering import Gathering
from headgate.store.postgres.hints import Hints
from headgate.store.postgres.pools import FIRST_WORD_S, Pools
from headgate.store.postgres.schema import check, migrate
from headgate.store.postgres.time import DatabaseTime
from headgate.store.postgres.transaction import (
    PostgresTransaction,
    Timekeeper,
    only_waiting_for,
)
from headgate.store.postgres.url import PostgresUrl
from headgate.store.wakes import LocalWakes

P = ParamSpec("P")
T = TypeVar("T")

BEGIN = (
    "begin isolation level read committed;"
    " set local statement_timeout = '10s'; set local lock_timeout = '5s';"
    " set local idle_in_transaction_session_timeout = '1s'"
)
"""Limits as part of each transaction, so that no session carries any state. A process that was stopped in the middle
of one does not keep its locks."""

SNAPSHOT = (
    "begin isolation level repeatable read read only; set local statement_timeout = '10s';"
    " set local idle_in_transaction_session_timeout = '10s'"
)
"""It holds no lock, but a snapshot: a process that was stopped in the middle must not keep that for ever, either."""

BEAT_S = 1.0
NEWCOMER_BEAT_S = 0.25
"""How often a process touches the clock, and how often it looks before it is trusted."""

TRIES = 20
"""So often a command runs again because others were faster."""

PATIENCE_S = 8.0
"""So long it runs again because the database is lost; then it is refused as unavailable."""


class PostgresEngine:
    """The engine on a PostgreSQL database."""

    def __init__(
        self,
        url: PostgresUrl,
        *,
        clock: Clock,
        observe: Callable[[Fact], None] = lambda _: None,
        failpoint: Failpoint = lambda _: None,
        time: Timekeeper | None = None,
    ) -> None:
        """Nothing is opened before it is used. `time`: the clock of the ledger, by default the database's own."""
        self.wakes = LocalWakes()
        self.worker: WorkerId = uuid.uuid4().hex
        self._observe = observe
        self._failpoint = failpoint
        self._time = time or DatabaseTime(clock)
        self._latest = Latest()
        self._pools = Pools(url.dsn, prepared_statements=url.prepared_statements)
        self._pooler = url.pooler
        self._hints = (
            Hints(self._pools, sender=self.worker, heard=self.wakes.wake) if url.notify else None
        )
        self._gatherings: dict[Together, Gathering] = {}
        self._migrated = False
        self._running: set[asyncio.Future[Any]] = set()
        self._closed = False

    # -- what the contract promises ------------------------------------------------------------------------

    @property
    def trip_us(self) -> int:
        return self._time.trip_us

    async def open(self) -> None:
        await self._pools.open()
        await self._migrate()

    async def run(self, command: Command[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        several = together_of(command)
        if several is not None and self._pools.at_home and not several.unless(args[0]):
            return cast("T", await self._gathering(several)(args[0]))
        return await self._run_alone(command, *args, **kwargs)

    async def _run_alone(self, command: Command[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def begin(tx: PostgresTransaction) -> Coroutine[Any, Any, T]:
            return cast("Coroutine[Any, Any, T]", command(tx, *args, **kwargs))

        if self._closed:
            raise Unavailable("the store is closed")
        running = asyncio.ensure_future(self._run(command.__name__, door_of(command), begin))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await asyncio.shield(running)  # whoever gives up waiting does not cut it off

    async def read(self, query: Command[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def begin(tx: PostgresTransaction) -> Coroutine[Any, Any, T]:
            return cast("Coroutine[Any, Any, T]", query(tx, *args, **kwargs))

        if self._closed:
            raise Unavailable("the store is closed")
        if not self._migrated:
            await self._migrate()

        async def once() -> T:
            async with self._transaction(door_of(query), SNAPSHOT) as connection:
                tx = PostgresTransaction(connection, self._time, self._latest, self._failpoint)
                try:
                    return await only_waiting_for(tx, begin(tx))
                except asyncpg.ReadOnlySQLTransactionError as error:
                    raise StoreMisused("a query wrote") from error

        return await _until_done(once)

    @property
    def heard_every_us(self) -> int | None:
        return int(BEAT_S * 1_000_000)

    def known_dead(self, worker: WorkerId) -> bool:
        """Never: on another machine nobody can tell a dead process from a slow one. Its leases run out."""
        return False

    async def attend(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch_clock())
            if self._hints is not None:
                tasks.create_task(self._hints.listen())

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        here = asyncio.get_running_loop()
        if running := [each for each in self._running if each.get_loop() is here]:
            await asyncio.wait(running)
        if self._hints is not None and self._pools.at_home:
            await self._hints.finish()
        await self._pools.close()

    async def _watch_clock(self) -> None:
        """Touch the clock once a second, and more often until this process is trusted with it.

        It is also who notices that the database is lost, and back: with nobody asking, nobody else would tell.
        """
        lost = False
        while True:
            trusted = False
            try:
                trusted = await self.run(beat, self.worker)
                if lost:
                    self._observe(StoreBack())
                lost = False
            except Unavailable as error:
                if not lost:
                    self._observe(StoreLost(error.message))
                lost = True
            except Exception as error:
                self._observe(LoopFailed("watch over the clock", error))
            await asyncio.sleep(BEAT_S if trusted else NEWCOMER_BEAT_S)

    def _gathering(self, several: Together) -> Gathering:
        """Where calls of a command are gathered."""
        if several not in self._gatherings:
            self._gatherings[several] = Gathering(
                lambda arguments: self._run_alone(several.command, arguments)
            )
        return self._gatherings[several]

    # -- one command ---------------------------------------------------------------------------------------

    async def _run(
        self, name: str, door: Door, begin: Callable[[PostgresTransaction], Coroutine[Any, Any, T]]
    ) -> T:
        if not self._migrated:
            await self._migrate()

        hold_all = False

        async def once() -> tuple[PostgresTransaction, T]:
            nonlocal hold_all
            async with self._transaction(door, BEGIN) as connection:
                tx = PostgresTransaction(connection, self._time, self._latest, self._failpoint)
                if hold_all:
                    await hold_all_sources(tx)
                    tx.holds_all = True
                try:
                    result = await only_waiting_for(tx, begin(tx))
                except HoldAllFirst:
                    hold_all = True
                    raise
                await tx.flush()
                self._failpoint(f"before_commit.{name}")
                await connection.execute("commit")
                self._failpoint(f"after_commit.{name}")
            return tx, result

        tx, result = await _until_done(once)
        self._tell(tx)  # outside: an observer's error is no reason to run again what is committed
        await self._hint(set(tx.woken))
        return result

    @asynccontextmanager
    async def _transaction(self, door: Door, begin: str) -> AsyncIterator[asyncpg.Connection]:
        async with self._pools.connection(door) as connection:
            try:
                await connection.execute(begin, timeout=FIRST_WORD_S)
                yield connection
            except TimeoutError:
                raise  # it would be silent to a rollback, too
            except asyncpg.ReadOnlySQLTransactionError:
                connection.terminate()  # a new one learns where the primary is, and what the default is by then
                raise
            except BaseException:
                await _roll_back(connection)
                raise
            await _roll_back(connection)

    def _tell(self, tx: PostgresTransaction) -> None:
        """After the commit: what was believed of the clock, how far it is, hints, facts."""
        self._latest.keep(tx.shown)
        for reading, offset in tx.believed:
            self._time.watch.believe(reading, offset)
        for source in set(tx.woken):
            self.wakes.wake(source)
        for fact in tx.facts:
            self._observe(fact)

    async def _hint(self, sources: set[str]) -> None:
        """To other processes: gathered for a moment, or at once in a loop that may end in a moment."""
        if self._hints is None or not sources:
            return
        if self._pools.at_home:
            self._hints.tell(sources)
        else:
            await self._hints.tell_now(sources)

    async def _migrate(self) -> None:
        """Once, before the first command: also where nobody has opened the engine."""

        async def once() -> None:
            async with self._pools.connection(Door.API) as connection:
                await check(connection, pooler=self._pooler)
                await migrate(connection, self._failpoint)

        await _until_done(once)
        self._migrated = True


async def _until_done(once: Callable[[], Awaitable[T]]) -> T:
    """Try until it succeeds: again at once after a conflict, after a pause where the database is lost.

    Raises what another try cannot mend, in words.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE_S
    for nth in itertools.count(1):
        try:
            return await once()
        except Exception as error:
            last = nth == TRIES or loop.time() > until
            pause_s = None if last else _pause_s(error)
            if pause_s is None:
                told = for_caller(error)
                if told is error:
                    raise
                raise told from error
        await asyncio.sleep(pause_s * min(nth, 5) * random.uniform(0.5, 1.5))
    raise AssertionError("the last try returns or raises")


def _pause_s(error: Exception) -> float | None:
    """How long to wait before another try; None if that is of no use."""
    if isinstance(error, AGAIN):
        return 0.002
    return 0.1 if may_go_by_itself(error) else None


async def _roll_back(connection: asyncpg.Connection) -> None:
    """End what is open. A connection that cannot even do that is thrown away."""
    try:
        if connection.is_in_transaction():
            await connection.execute("rollback", timeout=FIRST_WORD_S)
    except (*GONE, asyncpg.PostgresError):
        with contextlib.suppress(Exception):
            connection.terminate()
