"""Connections: three small pools for each event loop, so that a rush on one door does not close the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from headgate.store.engine import Door

CONNECTIONS = {Door.API: 8, Door.DISPATCH: 8, Door.LEASES: 1}
"""How many connections a process opens at most, by what they are for."""

ACQUIRE_S = 5.0
"""How long a command waits for a connection before it is refused as unavailable."""

CONNECT_S = 5.0
ANSWER_S = 15.0
"""Longer than any statement may take by the server's own clock: a connection that is silent for so long is dead."""

Prepare = Callable[[asyncpg.Connection], Awaitable[None]]


class Pools:
    """Connections of one process. Each event loop has its own: asyncpg binds a connection to its loop."""

    def __init__(self, url: str, *, prepared_statements: bool, prepare: Prepare) -> None:
        """`prepare` is run once in each loop, on its first connection, before anything else."""
        self._url = url
        self._more: dict[str, Any] = {} if prepared_statements else {"statement_cache_size": 0}
        self._prepare = prepare
        self._by_loop: dict[asyncio.AbstractEventLoop, dict[Door, asyncpg.Pool]] = {}
        self._prepared: dict[asyncio.AbstractEventLoop, asyncio.Lock | None] = {}

    @asynccontextmanager
    async def connection(self, door: Door) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection. Raises TimeoutError if none becomes free, OSError or PostgresError if none can be made."""
        pool = await self._pool(door)
        async with pool.acquire(timeout=ACQUIRE_S) as connection:
            await self._prepare_once(connection)
            yield connection

    async def connect(self) -> asyncpg.Connection:
        """A connection of its own, outside the pools."""
        return await asyncpg.connect(
            self._url, timeout=CONNECT_S, command_timeout=ANSWER_S, **self._more
        )

    async def close(self) -> None:
        """Close what belongs to this loop; the connections of other loops are cut."""
        here = asyncio.get_running_loop()
        for loop, pools in self._by_loop.items():
            for pool in pools.values():
                if loop is here:
                    await pool.close()
                elif not loop.is_closed():
                    pool.terminate()
        self._by_loop.clear()

    async def _pool(self, door: Door) -> asyncpg.Pool:
        loop = asyncio.get_running_loop()
        pools = self._by_loop.get(loop)
        if pools is None:
            self._forget_closed_loops()
            pools = self._by_loop[loop] = {}
        if door not in pools:
            pools[door] = asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=CONNECTIONS[door],
                max_inactive_connection_lifetime=60.0,
                reset=_leave_as_it_is,
                timeout=CONNECT_S,
                command_timeout=ANSWER_S,
                **self._more,
            )
        pool = pools[door]
        await pool  # opens it the first time
        return pool

    async def _prepare_once(self, connection: asyncpg.Connection) -> None:
        loop = asyncio.get_running_loop()
        lock = self._prepared.setdefault(loop, asyncio.Lock())
        if lock is None:
            return
        async with lock:
            if self._prepared[loop] is not None:
                await self._prepare(connection)
                self._prepared[loop] = None

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in self._by_loop if loop.is_closed()]:
            del self._by_loop[loop]
            self._prepared.pop(loop, None)


async def _leave_as_it_is(_: asyncpg.Connection) -> None:
    """Nothing of a session is ever set, so nothing is to be reset: one round trip less."""
