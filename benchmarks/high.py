"""HIGH behind 100,000 LOW ingestions: how soon after the next slot opens it is sent, by the source's own journal."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
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
        with rig.headgate(place, configuration(place / "journal")) as server:
            found = measured(server, place / "journal", samples, after_the_slot)
    return [note(f"{QUEUED:,} LOW ingestions queued in", queued_in, "s"), *lines(found)]


def lines(found: Sequence[float | None], whose: str = "") -> list[Line]:
    """What the samples come to; `whose`: what each line begins with."""
    late = [sample for sample in found if sample is not None]
    return [
        at_most(f"{whose}sent after the slot opens, p95", quantile(late, 0.95), 10, "ms"),
        at_most(f"{whose}sent after the slot opens, slowest", max(late), 50, "ms"),
        note(f"{whose}sent after the slot opens, median", quantile(late, 0.5), "ms"),
        none_of(f"{whose}HIGH was not the next call", len(found) - len(late)),
    ]


def configuration(file: Path) -> str:
    """A source that is called once in each span, and notes in a file when it was."""
    return f"""
[sources.simulated]
quota = ["1/{SPAN_US // 1_000}ms"]
counted_within = "0s"
latency = "20ms"
journal = "{file}"
"""


def after_the_slot(previous: journal.Call) -> float:
    """When the slot after a call opens."""
    return journal.opens_us(previous, SPAN_US)


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


def measured(
    server: rig.Server, file: Path, samples: int, opens_us: Callable[[journal.Call], float]
) -> list[float | None]:
    """How late each HIGH was sent, in milliseconds; None where something else was sent in its place.

    `opens_us` says of the call before it from when on it could have been sent.
    """
    return list(islice(_samples(server, file, opens_us), samples))


def _samples(
    server: rig.Server, file: Path, opens_us: Callable[[journal.Call], float]
) -> Iterator[float | None]:
    chance = random.Random(4)
    calls = journal.follow(file)
    next(calls)
    number = FIRST_HIGH
    for previous in calls:
        number += 1
        time.sleep(chance.uniform(0.05, 0.35))
        server.submit([number], "HIGH")
        opens = opens_us(previous)
        if time.time() * 1e6 >= opens:
            continue  # this slot was over before the submission was answered: the next one shows nothing
        sent = next(calls)
        yield (sent.at_us - opens) / 1_000 if sent.ids == (number,) else None
