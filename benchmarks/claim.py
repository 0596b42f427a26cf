"""
The time of a claim at 100 and at 1,000,000 queued ingestions.

Both queues stay as long as they are: what ends is replaced. Only the claim is timed, not the flush after it.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median

import apsw

from benchmarks import rig
from benchmarks.figure import Line, at_most, note
from headgate.clock import HostClock
from headgate.core.model import CallReport, CallRules, Claim, Priority, QuotaSpec, SourceSpec
from headgate.core.outcome import Fetched
from headgate.core.retry import Complete, RetryPolicy
from headgate.core.slicing import chunks
from headgate.service import uuid7
from headgate.store.commands.accept import ChunkRow, Submission, accept
from headgate.store.commands.claim import Claims, claim
from headgate.store.commands.configure import configure
from headgate.store.commands.settle import settle
from headgate.store.engine import Transaction
from headgate.store.sqlite.engine import SqliteEngine

FEW, MANY = 100, 1_000_000
IDS = 6
CLAIMS = 50
SOURCE = SourceSpec("bench", QuotaSpec("bench"), rules=CallRules(concurrency=CLAIMS))
REPORT = CallReport(sent=True, written_ago_us=0, answered_ago_us=0)

_FILL = f"""
with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < :count)
insert into ingestion (ingestion_id, client, source, priority, size, id_count, distinct_count, batch_count,
                       accepted_at)
select printf('00000000-0000-7000-8000-%012x', n), 'default', 'bench', 10 + 10 * (n % 3), 3, {IDS}, {IDS}, {IDS // 3},
       0 from numbers;
insert into id_chunk (seq, start, distinct_count, repeats, ids)
select seq, 0, {IDS}, null, printf('[%d,%d,%d,%d,%d,%d]', seq, seq + 1, seq + 2, seq + 3, seq + 4, seq + 5)
from ingestion;
"""


@dataclass(slots=True)
class Queue:
    """A database with so many ingestions queued, and how long each claim took."""

    engine: SqliteEngine
    took_us: list[float] = field(default_factory=list)


def measure(quick: bool) -> list[Line]:
    many = MANY // 10 if quick else MANY
    rounds = 40 if quick else 200
    with rig.folder() as place:
        few, lots = asyncio.run(_measure(place, many, rounds))
    return [
        note(f"a claim at {FEW:,} queued", median(few), "us"),
        note(f"a claim at {many:,} queued", median(lots), "us"),
        at_most(f"{many:,} queued / {FEW:,} queued", median(lots) / median(few), 1.25, "x"),
    ]


async def _measure(place: Path, many: int, rounds: int) -> tuple[list[float], list[float]]:
    few = Queue(await _opened(place / "few.db", FEW))
    lots = Queue(await _opened(place / "many.db", many))
    numbers = count(10 * MANY)  # beyond the ones that were filled in
    for number in range(rounds):
        for queue in (few, lots):
            took = await queue.engine.run(_turn, numbers)
            if number >= rounds // 10:  # the first ones warm up
                queue.took_us += took
    await few.engine.close()
    await lots.engine.close()
    return few.took_us, lots.took_us


async def _opened(path: Path, queued: int) -> SqliteEngine:
    engine = SqliteEngine(path, clock=HostClock())
    await engine.run(configure, [SOURCE], ())
    await engine.close()
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("begin")
        connection.execute(_FILL, {"count": queued})
        connection.execute("commit")
        connection.pragma("wal_checkpoint(truncate)")
    return SqliteEngine(path, clock=HostClock())


async def _turn(tx: Transaction, numbers: count[int]) -> list[float]:
    """Claim some batches, one by one; then settle them and queue as many ingestions as have ended."""
    took: list[float] = []
    claims: list[Claim] = []
    for _ in range(CLAIMS):
        began = time.perf_counter_ns()
        got = await claim(tx, SOURCE.name, worker="bench")
        took.append((time.perf_counter_ns() - began) / 1_000)
        assert isinstance(got, Claims), got
        claims += got.claims
    for each in claims:
        fetched = Fetched({position: b"{}" for position, _ in each.ids})
        await settle(tx, each, Complete(fetched), REPORT, policy=RetryPolicy())
    for _ in range(CLAIMS * 3 // IDS):
        await accept(tx, _submission(next(numbers)))
    return took


def _submission(number: int) -> Submission:
    ids = [IDS * number + offset for offset in range(IDS)]
    rows = [ChunkRow(c.start, c.distinct, None, str(list(c.ids)).encode()) for c in chunks(ids, 3)]
    return Submission(
        ingestion_id=uuid7(0, number.to_bytes(10, "big")),
        client="bench",
        source=SOURCE.name,
        priority=list(Priority)[number % 3],
        size=3,
        id_count=IDS,
        distinct_count=IDS,
        batch_count=IDS // 3,
        chunks=rows,
    )
