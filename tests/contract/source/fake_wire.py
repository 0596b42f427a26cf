"""The other side of a source's contract: a wire that gives one grant and remembers what was said to it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from headgate.sources.base import Call, NoGrant, TooLate


def boottime_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000


class FakeCall:
    """Remembers (word, instant) for everything that is said to it. `late`: its grant has gone stale."""

    def __init__(self, *, late: bool, on_check: Callable[[], None] | None) -> None:
        self.said: list[tuple[str, int]] = []
        self._late = late
        self._on_check = on_check

    def check(self) -> None:
        self._say("check")
        if self._on_check is not None:
            self._on_check()
        if self._late:
            raise TooLate

    def written(self) -> None:
        self._say("written")

    def answered(self) -> None:
        self._say("answered")

    def _say(self, word: str) -> None:
        self.said.append((word, boottime_us()))


class FakeWire:
    """One grant: the second call raises NoGrant."""

    def __init__(self, *, late: bool = False, on_check: Callable[[], None] | None = None) -> None:
        self.calls = 0
        self.ended = 0
        self._call = FakeCall(late=late, on_check=on_check)

    @asynccontextmanager
    async def call(self) -> AsyncIterator[Call]:
        if self.calls:
            raise NoGrant
        self.calls += 1
        try:
            yield self._call
        finally:
            self.ended += 1

    @property
    def words(self) -> list[str]:
        return [word for word, _ in self._call.said]

    def instant(self, word: str) -> int:
        return dict(self._call.said)[word]
