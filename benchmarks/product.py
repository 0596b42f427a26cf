"""A queue on PostgreSQL as a thing to be measured, and Headgate as one; benchmarks/peer.py has the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import asyncpg

from benchmarks import rig
from benchmarks.postgres_claims import TRUSTED_S, claim_and_settle, opened, queued, spec
from tests.postgres import run_sql

SOURCE = "simulated"

Timed = tuple[list[float], list[float]]
"""How long claims took, and how long claiming and finishing took, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a worker is told: so many jobs at once, each of them so long, and noted in a file where one is named."""

    at_once: int
    job_ms: int = 0
    journal: Path | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A way to submit ids: its path, and how many rows of the queue one request makes."""

    what: str
    path: str
    rows: int


class Product(Protocol):
    """A queue on PostgreSQL."""

    @property
    def name(self) -> str: ...

    @property
    def routes(self) -> Sequence[Route]: ...

    @property
    def at_once(self) -> int:
        """How many jobs at once drain its queue best."""

    def prepare(self, url: str) -> None:
        """Make its tables in an empty database."""

    def fill(self, url: str, count: int) -> None:
        """Queue so many jobs of three ids, of low priority."""

    def stored(self, url: str) -> int:
        """How many rows its queue has, in whatever state."""

    def left(self, url: str) -> tuple[float, int]:
        """An instant in seconds, and how many jobs had not been finished then."""

    def accepting(self, url: str) -> AbstractContextManager[rig.Server]:
        """An API process, for as long as the block."""

    def running(self, url: str, work: Work | None) -> AbstractContextManager[rig.Server]:
        """An API and a worker, for as long as the block; without work to do, as they are by themselves."""

    def timed(self, urls: Sequence[str], rounds: int) -> list[Timed]:
        """Claims one by one, without a worker, in these databases in turns; the queues stay as long as they are."""


class Headgate:
    """One process that accepts and works."""

    name = "Headgate"
    routes = (Route("an ingestion a request", "/ingest", 1),)
    at_once = 64

    def prepare(self, url: str) -> None:
        async def run() -> None:
            async with opened(url, spec(SOURCE)):
                pass

        asyncio.run(run())

    def fill(self, url: str, count: int) -> None:
        run_sql(url, queued(SOURCE, count), "vacuum analyze")

    def stored(self, url: str) -> int:
        return int(run_sql(url, "select count(*) from ingestion")[0][0])

    def left(self, url: str) -> tuple[float, int]:
        return left_by(url, "ingestion where ended_at is null")

    def accepting(self, url: str) -> AbstractContextManager[rig.Server]:
        return self.running(url, None)

    @contextmanager
    def running(self, url: str, work: Work | None) -> Iterator[rig.Server]:
        configuration = "" if work is None else _configuration(work)
        with rig.folder() as place, rig.headgate(place, configuration, url=url) as server:
            yield server

    def timed(self, urls: Sequence[str], rounds: int) -> list[Timed]:
        return asyncio.run(_timed(urls, rounds))


def left_by(url: str, unfinished: str) -> tuple[float, int]:
    """Counted by the server, with the instant of its own clock."""
    instant = "extract(epoch from statement_timestamp())::float8"
    ((at, count),) = run_sql(url, f"select {instant}, count(*) from {unfinished}")
    return float(at), int(count)


def _configuration(work: Work) -> str:
    journal = "" if work.journal is None else f'journal = "{work.journal}"'
    return f"""
[sources.{SOURCE}]
quota = []
concurrency = {work.at_once}
latency = "{work.job_ms}ms"
{journal}
"""


async def _timed(urls: Sequence[str], rounds: int) -> list[Timed]:
    found: list[Timed] = [([], []) for _ in urls]
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(opened(url, spec(SOURCE))) for url in urls]
        others = [await asyncpg.connect(url) for url in urls]
        await asyncio.sleep(TRUSTED_S)
        for nth in range(rounds):
            for engine, other, (claims, both) in zip(engines, others, found, strict=True):
                began = time.perf_counter()
                _, took = await claim_and_settle(engine, SOURCE, 1)
                ended = time.perf_counter()
                await other.execute(queued(SOURCE, 1))
                if nth >= rounds // 10:  # the first ones warm up
                    claims.append(1_000 * took)
                    both.append(1_000 * (ended - began))
        for other in others:
            await other.close()
    return found
