"""Draining a queue as fast as it goes: no quota, a source without latency, 64 calls at once, records stored."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

from benchmarks import rig
from benchmarks.figure import Line, at_least, none_of, note
from headgate.clock import HostClock
from headgate.core.facts import BatchEnded, Fact
from headgate.core.model import CallRules, QuotaSpec, SourceSpec
from headgate.service import Service
from headgate.sources.simulated import SimulatedOptions, SimulatedSource
from headgate.store.commands.configure import configure
from headgate.store.sqlite.engine import SqliteEngine
from headgate.telemetry import Telemetry, configure_logging
from headgate.worker.dispatcher import Lane, Tools

SOURCE = SourceSpec(
    "bench", QuotaSpec("bench"), rules=CallRules(concurrency=64, batch_size=3, within_us=0)
)
AT_MOST_S = 120.0


def measure(quick: bool) -> list[Line]:
    batches, samples = (4_000, 2) if quick else (20_000, 5)
    ids = rig.distinct_ids(3 * batches)
    long_lists = [_drained(_cut(ids, 3_000)) for _ in range(samples)]
    short_lists = [_drained(_cut(ids, 6)) for _ in range(samples)]
    rates, lost = zip(*long_lists, strict=True)
    short_rates, short_lost = zip(*short_lists, strict=True)
    return [
        at_least("batches, from lists of 3,000 ids", median(rates), 6_500, "/s"),
        note("batches, from lists of 6 ids", median(short_rates), "/s"),
        none_of("records missing in the end", sum(lost) + sum(short_lost)),
    ]


def _cut(ids: Sequence[int], length: int) -> list[list[int]]:
    return [list(ids[first : first + length]) for first in range(0, len(ids), length)]


def _drained(lists: list[list[int]]) -> tuple[float, int]:
    """Batches a second, and how many records are missing in the end."""
    with rig.folder() as place:
        path = place / "headgate.db"
        seconds = asyncio.run(_drain(path, lists))
        batches = sum(-(-len(ids) // 3) for ids in lists)
        return batches / seconds, sum(map(len, lists)) - _records(path)


async def _drain(path: Path, lists: list[list[int]]) -> float:
    """Queue the lists, then let a lane work on them; returns how long it took until the last batch had ended."""
    left, ended = sum(-(-len(ids) // 3) for ids in lists), asyncio.Event()
    configure_logging(json=False, level="warning")
    telemetry = Telemetry()

    def observe(fact: Fact) -> None:
        nonlocal left
        telemetry(fact)
        left -= isinstance(fact, BatchEnded)
        if left == 0:
            ended.set()

    clock = HostClock()
    engine = SqliteEngine(path, clock=clock, observe=observe)
    await engine.run(configure, [SOURCE], ())
    service = Service(engine, clock=clock, sources={"bench": SOURCE}, default_source="bench")
    for first in range(0, len(lists), 500):
        await asyncio.gather(*(service.submit(ids) for ids in lists[first : first + 500]))
    seconds = await _work(_lane(engine, clock, observe), ended)
    await engine.close()
    return seconds


def _lane(engine: SqliteEngine, clock: HostClock, observe: Callable[[Fact], None]) -> Lane:
    tools = Tools(
        engine=engine,
        clock=clock,
        worker=engine.presence.worker,
        observe=observe,
        jitter=random.random,
        failpoint=lambda _: None,
    )
    return Lane(SOURCE, SimulatedSource(SimulatedOptions(latency_us=0)), tools)


async def _work(lane: Lane, ended: asyncio.Event) -> float:
    began = time.perf_counter()
    running = asyncio.create_task(lane.run())
    await asyncio.wait_for(ended.wait(), AT_MOST_S)
    seconds = time.perf_counter() - began
    lane.stop()
    await running
    await lane.finished()
    return seconds


def _records(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        (found,) = connection.execute(
            "select count(*) from record where body is not null"
        ).fetchone()
        return int(found)
