"""The database's clock, read under the lock, and this process's watch over it."""

from __future__ import annotations

from collections import deque

import asyncpg

from headgate.core.clock import Clock, Reading
from headgate.core.watch import DatabaseWatch

_NOW = "select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)"

SLOW_US = 20_000
"""A round trip that took longer says little, unless it takes so long here: the clock is asked again."""

TRIES = 3


class DatabaseTime:
    """The clock that the ledger goes by where several machines share it: the database's own."""

    def __init__(self, clock: Clock) -> None:
        """`clock`: this host's, to say when a question was asked and its answer came."""
        self._clock = clock
        self.watch = DatabaseWatch()
        self._trips: deque[int] = deque([0], maxlen=3)

    @property
    def trip_us(self) -> int:
        return min(self._trips)

    async def read(self, connection: asyncpg.Connection) -> Reading:
        """Look at the clock: the last look, or the first one that did not take long, or not much longer than usual.

        It is looked at under locks: far away from the database, every try would hold up all others. What is usual is
        what was so before: when this process stands still, many looks are slow at once.
        """
        usual_us = self.trip_us
        for _ in range(TRIES):
            asked_us = self._clock.boot_us()
            now_us = await connection.fetchval(_NOW)
            came_us = self._clock.boot_us()
            took_us = came_us - asked_us
            self._trips.append(took_us)
            if took_us <= max(SLOW_US, 2 * usual_us):
                break
        return Reading(now_us, None, now_us, asked_us, came_us)
