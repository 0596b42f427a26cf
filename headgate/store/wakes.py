"""Hints inside one process: a dispatcher sleeps on its source's name and is woken from any thread."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Sleeper:
    loop: asyncio.AbstractEventLoop
    event: asyncio.Event = field(default_factory=asyncio.Event)


class LocalWakes:
    """One sleeper a source; a hint given while nobody sleeps is kept for the next sleep."""

    def __init__(self) -> None:
        self._sleepers: dict[str, _Sleeper] = {}
        self._early: set[str] = set()

    async def next(self, source: str, *, timeout_us: int) -> None:
        sleeper = self._sleeper(source)
        if source in self._early:  # it came before anybody had slept on it
            self._early.discard(source)
            return
        try:
            async with asyncio.timeout(timeout_us / 1_000_000):
                await sleeper.event.wait()
        except TimeoutError:
            return
        finally:
            sleeper.event.clear()

    def wake(self, source: str) -> None:
        sleeper = self._sleepers.get(source)
        if sleeper is None or sleeper.loop.is_closed():
            self._early.add(source)
            return
        sleeper.loop.call_soon_threadsafe(sleeper.event.set)

    def wake_all(self) -> None:
        """Hint to everybody who sleeps or has slept."""
        for source in tuple(self._sleepers):
            self.wake(source)

    def _sleeper(self, source: str) -> _Sleeper:
        loop = asyncio.get_running_loop()
        sleeper = self._sleepers.get(source)
        if sleeper is None or sleeper.loop is not loop:
            sleeper = self._sleepers[source] = _Sleeper(loop)
        return sleeper
