"""HIGH behind 100,000 LOW ingestions: how soon after the next slot opens it is sent, by the source's own journal."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from benchmarks import journal, rig
from benchmarks.figure import Line, at_most, none_of, note, quantile
from headgate.clock import HostClock
from headgate.core.model import Priority, SourceSpec
from headgate.core.model import QuotaSpec as Quota
from headgate.service import Service
from headgate.store.sqlite.engine import SqliteEngine

SPAN_US = 500_000
QUEUED = 100_000
AT_ONCE = 500
FIRST_HIGH = 1_000_000_000


def measure(quick: bool) -> list[Line]:
    samples = 6 if quick else 30
    with rig.folder() as place:
        began = time.monotonic()
        asyncio.run(queue_low(rig.database(place), QUEUED))
        queued_in = time.monotonic() - began
        with rig.headgate(place, _configuration(place)) as server:
            found = list(islice(_samples(server, place / "journal"), samples))
    late = [sample for sample in found if sample is not None]
    return [
        note(f"{QUEUED:,} LOW ingestions queued in", queued_in, "s"),
        at_most("sent after the slot opens, p95", quantile(late, 0.95), 10, "ms"),
        at_most("sent after the slot opens, slowest", max(late), 50, "ms"),
        note("sent after the slot opens, median", quantile(late, 0.5), "ms"),
        none_of("HIGH was not the next call", len(found) - len(late)),
    ]


def _configuration(place: Path) -> str:
    return f"""
[sources.simulated]
quota = ["1/{SPAN_US // 1_000}ms"]
counted_within = "0s"
latency = "20ms"
journal = "{place / "journal"}"
"""


async def queue_low(database: Path, count: int) -> None:
    """Accept so many LOW ingestions of 5 ids, through the service."""
    clock = HostClock()
    engine = SqliteEngine(database, clock=clock)
    source = SourceSpec("simulated", Quota("simulated"))
    service = Service(
        engine, clock=clock, sources={"simulated": source}, default_source="simulated"
    )
    for first in range(0, count, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, count))
        await asyncio.gather(*(_low(service, 5 * number) for number in numbers))
    await engine.close()


async def _low(service: Service, first: int) -> None:
    await service.submit(list(range(first, first + 5)), priority=Priority.LOW)


def _samples(server: rig.Server, file: Path) -> Iterator[float | None]:
    """How late each HIGH was sent, in milliseconds; None where something else was sent in its place."""
    chance = random.Random(4)
    calls = journal.follow(file)
    next(calls)
    number = FIRST_HIGH
    for previous in calls:
        number += 1
        time.sleep(chance.uniform(0.05, 0.35))
        server.submit([number], "HIGH")
        opens = journal.opens_us(previous, SPAN_US)
        if time.time() * 1e6 >= opens:
            continue  # this slot was over before the submission was answered: the next one shows nothing
        sent = next(calls)
        yield (sent.at_us - opens) / 1_000 if sent.ids == (number,) else None
