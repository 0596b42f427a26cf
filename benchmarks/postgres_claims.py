"""Claims on PostgreSQL, in this process and without a worker: how long one takes, and how many go in a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median

from benchmarks.figure import Line, at_most, note
from headgate.clock import HostClock
from headgate.core.model import CallReport, CallRules, QuotaSpec, SourceSpec
from headgate.core.outcome import Fetched
from headgate.core.quota import Pacing, Window
from headgate.core.retry import Complete, RetryPolicy
from headgate.store.commands.claim import Claims, claim
from headgate.store.commands.configure import configure
from headgate.store.commands.settle import settle
from headgate.store.postgres.engine import PostgresEngine
from headgate.store.postgres.url import parse_postgres_url
from tests.postgres import run_sql

UNLIMITED = 10**6

TRUSTED_S = 4.0
"""How long a process that has just started may take until it is trusted with the clock."""

_QUEUED = """
with made as (
  insert into ingestion (ingestion_id, client, source, priority, size, id_count, distinct_count,
                         batch_count, accepted_at)
  select gen_random_uuid()::text, 'default', '{source}', 30, 3, 3, 3, 1, 0 from generate_series(1, {count})
  returning seq)
insert into id_chunk (seq, start, distinct_count, ids) select seq, 0, 3, '[1,2,3]' from made
"""


def queued(source: str, count: int) -> str:
    """SQL: so many LOW ingestions of three ids."""
    return _QUEUED.format(source=source, count=count)


@asynccontextmanager
async def opened(url: str, *sources: SourceSpec) -> AsyncIterator[PostgresEngine]:
    """An engine that watches the clock as a server's does, with these sources."""
    engine = PostgresEngine(parse_postgres_url(url), clock=HostClock())
    await engine.open()
    await engine.run(configure, sources, [])
    watching = asyncio.create_task(engine.attend())
    try:
        yield engine
    finally:
        watching.cancel()
        await engine.close()


def spec(name: str, *windows: Window, size: int = 3, concurrency: int = UNLIMITED) -> SourceSpec:
    """A source without a quota, unless windows are given."""
    quota = QuotaSpec(name, windows, Pacing.EVEN if windows else Pacing.BURST)
    return SourceSpec(name, quota, (), CallRules(concurrency=concurrency, batch_size=size))


async def claim_and_settle(engine: PostgresEngine, source: str, most: int) -> tuple[int, float]:
    """How many batches were claimed and settled, and how long the claim took."""
    began = time.perf_counter()
    got = await engine.run(claim, source, worker=engine.worker, most=most)
    took = time.perf_counter() - began
    assert isinstance(got, Claims), got
    report = CallReport(sent=True, written_ago_us=0, answered_ago_us=0)
    steps = [Complete(Fetched({p: b"{}" for p, _ in each.ids})) for each in got.claims]
    policy = RetryPolicy()
    await asyncio.gather(
        *(
            engine.run(settle, each, step, report, policy=policy)
            for each, step in zip(got.claims, steps, strict=True)
        )
    )
    return len(got.claims), took


async def rates(url: str, seconds: float) -> list[Line]:
    """How many batches are claimed and settled in a second, from one and from several sources."""
    names = [f"s{number}" for number in range(16)]
    async with opened(url, *map(spec, names)) as engine:
        await asyncio.to_thread(run_sql, url, *(queued(name, 20_000) for name in names))
        await asyncio.sleep(TRUSTED_S)

        async def drain(name: str, most: int) -> int:
            done, until = 0, time.perf_counter() + seconds
            while time.perf_counter() < until:
                done += (await claim_and_settle(engine, name, most))[0]
            return done

        lines = []
        for count, most in ((1, 1), (1, 16), (4, 1), (16, 1)):
            done = sum(await asyncio.gather(*(drain(name, most) for name in names[:count])))
            what = f"batches claimed and settled, {count} sources, {most} a claim"
            lines.append(note(what, done / seconds, "/s"))
        return lines


async def lengths(url: str, quick: bool) -> list[Line]:
    """How long a claim takes at several lengths of the queue."""
    counts = {"short": 100, "middle": 100_000, "long": 100_000 if quick else 1_000_000}
    async with opened(url, *map(spec, counts)) as engine:
        fill = [queued(name, count) for name, count in counts.items()]
        await asyncio.to_thread(run_sql, url, *fill, "vacuum analyze")
        await asyncio.sleep(TRUSTED_S)
        took: dict[str, list[float]] = {name: [] for name in counts}
        for _ in range(90):
            for name in counts:
                took[name].append((await claim_and_settle(engine, name, 1))[1])
    ms = {name: 1_000 * median(times) for name, times in took.items()}
    return [
        *(note(f"a claim at {counts[name]:,} queued", ms[name], "ms") for name in counts),
        at_most("longest queue / shortest", ms["long"] / ms["short"], 1.25, "x"),
    ]
