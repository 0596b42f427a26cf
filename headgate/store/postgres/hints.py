"""Hints between processes: LISTEN and NOTIFY. Every one of them may be lost; that costs delay and nothing else.

NOTIFY takes a lock that serialises commits, so it is never part of a command's transaction: what a process has to
tell is gathered for a moment and told on a connection of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import asyncpg

from headgate.store.engine import Door
from headgate.store.postgres.errors import GONE
from headgate.store.postgres.pools import FIRST_WORD_S, Pools

CHANNEL = "headgate"

GATHER_S = 0.005
"""How long hints are gathered."""

AGAIN_S = 1.0
"""How soon a lost listener is set up again."""

QUIET_S = 15.0
ANSWERS_S = 5.0
"""After so long without a word a listener asks whether anybody is there: a line that was cut may not say so."""

AT_ONCE = 50
"""So many names fit into one notification of 8,000 bytes, whatever they are."""


class Hints:
    """Tells other processes which sources have something to do, and hears it from them."""

    def __init__(self, pools: Pools, *, sender: str, heard: Callable[[str], None]) -> None:
        self._pools = pools
        self._sender = sender
        self._heard = heard
        self._untold: set[str] = set()
        self._telling: asyncio.Task[None] | None = None

    def tell(self, sources: set[str]) -> None:
        """Tell the other processes soon."""
        self._untold |= sources
        if self._untold and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(self._tell_soon())

    async def tell_now(self, sources: set[str]) -> None:
        """Tell the other processes before this returns; what cannot be told is lost."""
        names = sorted(sources)
        for start in range(0, len(names), AT_ONCE):
            await self._tell(names[start : start + AT_ONCE])

    async def listen(self) -> None:
        """Hear from other processes, for ever; a lost connection is made again."""
        while True:
            with contextlib.suppress(*GONE, asyncpg.PostgresError):
                await self._listen_until_lost()
            await asyncio.sleep(AGAIN_S)

    async def finish(self) -> None:
        """Tell what is still untold."""
        if self._telling is not None:
            await asyncio.wait([self._telling])

    async def _tell_soon(self) -> None:
        await asyncio.sleep(GATHER_S)
        while self._untold:
            names = sorted(self._untold)[:AT_ONCE]
            self._untold -= set(names)
            await self._tell(names)

    async def _tell(self, names: list[str]) -> None:
        payload = "\n".join([self._sender, *names])
        with contextlib.suppress(*GONE, asyncpg.PostgresError):
            async with self._pools.connection(Door.LEASES) as connection:
                notify = "select pg_notify($1, $2)"
                await connection.execute(notify, CHANNEL, payload, timeout=FIRST_WORD_S)

    async def _listen_until_lost(self) -> None:
        lost = asyncio.Event()
        connection = await self._pools.connect()
        try:
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(CHANNEL, self._on_notification)
            while True:
                try:
                    await asyncio.wait_for(lost.wait(), QUIET_S)
                except TimeoutError:
                    await connection.execute("select 1", timeout=ANSWERS_S)
                else:
                    return
        finally:
            connection.terminate()

    def _on_notification(
        self, _connection: object, _pid: int, _channel: str, payload: object
    ) -> None:
        sender, *names = str(payload).split("\n")
        if sender != self._sender:
            for name in names:
                self._heard(name)
