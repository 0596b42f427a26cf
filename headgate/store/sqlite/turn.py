"""Who uses the writing connection: commands wait in line, and one group of them at a time has the turn.

The line may be joined from several event loops and threads; everybody is answered in the loop they came from.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from headgate.core.facts import Fact
from headgate.store.latest import Shown
from headgate.store.sqlite.transaction import SqliteTransaction


@dataclass(slots=True)
class Job:
    """One command on its way: how to begin it, who waits for it, what it came to."""

    name: str
    begin: Callable[[SqliteTransaction], Coroutine[Any, Any, Any]]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    facts: list[Fact] = field(default_factory=list)
    woken: list[str] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    result: Any = None
    error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """Nothing of this command is stored: nothing that it said is told, or remembered."""
        self.error = error
        self.facts.clear()
        self.woken.clear()
        self.shown.clear()


@dataclass(slots=True)
class Turn:
    """The right to use the writing connection: one group at a time has it, from BEGIN to after COMMIT."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    taken: bool = False
    waiting: deque[Job] = field(default_factory=deque)

    def join(self, job: Job) -> bool:
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

    def dismiss(self) -> list[Job]:
        """Take everybody who waits out of the line."""
        with self.lock:
            dismissed, self.waiting = list(self.waiting), deque()
            return dismissed


def go_on(loop: asyncio.AbstractEventLoop, step: Callable[[], None]) -> None:
    """Take a step in a loop, or here if that loop has stopped meanwhile."""
    if not loop.is_running():
        step()
        return
    try:
        loop.call_soon_threadsafe(step)
    except RuntimeError:  # closed just now
        step()


def answer(group: list[Job]) -> None:
    """Give everybody their result, with one call into each loop that is not this one."""
    here = _running_loop()
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in group:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        if loop is here:
            _resolve(jobs)
        else:
            with suppress(RuntimeError):  # a loop that was closed has nobody who waits
                loop.call_soon_threadsafe(_resolve, jobs)


def _resolve(jobs: list[Job]) -> None:
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
