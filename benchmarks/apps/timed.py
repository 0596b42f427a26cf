"""How long a peer takes to claim one job, and to claim and finish it, at several lengths of its queue in turns."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol


class Queue(Protocol):
    """A peer's queue, by the peer's own functions."""

    async def claim(self) -> object: ...

    async def finish(self, claimed: object) -> None: ...

    async def replace(self) -> None:
        """Put a job in the place of the one that has ended, so that the queue stays as long as it is."""

    async def close(self) -> None: ...


def main(opened: Callable[[str], Awaitable[Queue]]) -> None:
    """`ROUNDS URL ...`: prints `[[claim_ms, ...], [claim_and_finish_ms, ...]]` for each URL, as JSON."""
    rounds, *urls = sys.argv[1:]
    print(json.dumps(asyncio.run(_measured(opened, urls, int(rounds)))))


async def _measured(
    opened: Callable[[str], Awaitable[Queue]], urls: Sequence[str], rounds: int
) -> list[tuple[list[float], list[float]]]:
    queues = [await opened(url) for url in urls]
    found: list[tuple[list[float], list[float]]] = [([], []) for _ in queues]
    for nth in range(rounds):
        for queue, (claims, both) in zip(queues, found, strict=True):
            began = time.perf_counter()
            claimed = await queue.claim()
            got = time.perf_counter()
            await queue.finish(claimed)
            ended = time.perf_counter()
            await queue.replace()
            if nth >= rounds // 10:  # the first ones warm up
                claims.append(1_000 * (got - began))
                both.append(1_000 * (ended - began))
    for queue in queues:
        await queue.close()
    return found
