"""Calls of one command that arrive together share a transaction: one commit, and a handful of round trips for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

AT_ONCE = 100
"""So many calls are run as one at most."""

RUNNING = 2
"""So many of these run at the same time: while one is committed, the next is on its way."""


class Gathering:
    """Gathers calls while others are under way. It belongs to one event loop."""

    def __init__(self, run: Callable[[Sequence[Any]], Awaitable[Sequence[Any]]]) -> None:
        """`run`: all arguments in, all results out, an exception among them is that caller's."""
        self._run = run
        self._waiting: list[tuple[Any, asyncio.Future[Any]]] = []
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, argument: Any) -> Any:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((argument, future))
        if len(self._running) < RUNNING:
            task = asyncio.create_task(self._work())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await future

    async def _work(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            try:
                results = await self._run([argument for argument, _ in group])
            except Exception as error:
                results = [error] * len(group)
            for (_, future), result in zip(group, results, strict=True):
                _resolve(future, result)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():  # its caller has given up
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
