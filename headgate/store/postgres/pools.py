"""Connections: three small pools, so that a rush on one door does not close the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from headgate.store.engine import Door

CONNECTIONS = {Door.API: 8, Door.DISPATCH: 8, Door.LEASES: 1}
"""How many connections a process opens at most, by what they are for."""

ACQUIRE_S = 5.0
"""How long a command waits for a connection before it is refused as unavailable."""

FIRST_WORD_S = 3.0
"""How soon a connection answers the first word of whoever was lent it, or is taken for dead: nothing much is asked of
the server by then, and all who wait behind it wait as long."""

CONNECT_S = 5.0
ANSWER_S = 15.0
"""Longer than any statement may take by the server's own clock: a connection that is silent for so long is dead."""

IDLE_S = 60.0
"""A connection that nobody has used for so long is closed."""


class _Session(asyncpg.Connection):  # type: ignore[misc]  # the driver has no types
    """A connection that knows since when it stands, by its event loop."""

    __slots__ = ("since",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.since = asyncio.get_running_loop().time()


class Pools:
    """Connections of one process. asyncpg binds a connection to its event loop: the pools belong to one of them."""

    def __init__(self, url: str, *, prepared_statements: bool) -> None:
        self._url = url
        self._more: dict[str, Any] = {"timeout": CONNECT_S, "command_timeout": ANSWER_S}
        if not prepared_statements:
            self._more["statement_cache_size"] = 0
        self._home: asyncio.AbstractEventLoop | None = None
        self._pools: dict[Door, asyncpg.Pool] = {}
        self._trusted_since = 0.0

    async def open(self) -> None:
        """Keep connections for the loop that runs now."""
        self._home = asyncio.get_running_loop()
        for door, most in CONNECTIONS.items():
            self._pools[door] = await asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=most,
                max_inactive_connection_lifetime=IDLE_S,
                reset=_leave_as_it_is,
                connection_class=_Session,
                **self._more,
            )

    @property
    def at_home(self) -> bool:
        """Whether the loop that runs now is the one that the pools belong to."""
        return asyncio.get_running_loop() is self._home

    @asynccontextmanager
    async def connection(self, door: Door) -> AsyncIterator[asyncpg.Connection]:
        """Lend a connection; in any other loop than the pools' own, one that is made for it.

        Who is not answered in time lets TimeoutError through: the connection is cut then, and others are not lent
        again that stood beside it. Raises TimeoutError also if none becomes free, OSError or PostgresError if none
        can be made.
        """
        async with self._lent(door) if self.at_home else self._made() as connection:
            since = connection.since  # what has been cut meanwhile does not tell
            try:
                yield connection
            except TimeoutError:
                connection.terminate()
                if since >= self._trusted_since:  # what became of it became of the others
                    self._trusted_since = asyncio.get_running_loop().time()
                raise

    @asynccontextmanager
    async def _lent(self, door: Door) -> AsyncIterator[asyncpg.Connection]:
        while True:
            async with self._pools[door].acquire(timeout=ACQUIRE_S) as connection:
                if connection.since >= self._trusted_since:
                    yield connection
                    return
                connection.terminate()

    @asynccontextmanager
    async def _made(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await self.connect()
        try:
            yield connection
        finally:
            await connection.close()

    async def connect(self) -> asyncpg.Connection:
        """A connection of its own, outside the pools."""
        return await asyncpg.connect(self._url, connection_class=_Session, **self._more)

    async def close(self) -> None:
        """Give the pools' connections back; what another loop uses is cut."""
        for pool in self._pools.values():
            if self.at_home:
                await pool.close()
            elif self._home is not None and not self._home.is_closed():
                self._home.call_soon_threadsafe(pool.terminate)
        self._pools, self._home = {}, None


async def _leave_as_it_is(_: asyncpg.Connection) -> None:
    """Nothing of a session is ever set, so nothing is to be reset: one round trip less."""
