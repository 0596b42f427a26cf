"""What one accept, claim, settle, id and record cost a real PostgreSQL, and whether the model adds them up rightly."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.figure import Line, note
from benchmarks.scale import model
from benchmarks.scale.model import Costs, Load
from headgate import __version__
from headgate.clock import HostClock
from headgate.core.model import CallReport, CallRules, Priority, QuotaSpec, SourceSpec, WorkerCard
from headgate.core.outcome import Fetched
from headgate.core.quota import Pacing, Window
from headgate.core.retry import Complete, RetryPolicy
from headgate.service import Service
from headgate.sources.simulated import SimulatedOptions, SimulatedSource
from headgate.store.commands.beat import beat
from headgate.store.commands.claim import Claims, claim
from headgate.store.commands.configure import configure
from headgate.store.commands.settle import settle
from headgate.store.postgres.engine import PostgresEngine
from headgate.store.postgres.url import parse_postgres_url
from headgate.store.queries.neighbours import neighbours
from headgate.worker.dispatcher import Tools
from headgate.worker.runner import Worker
from tests.postgres import PostgresServer, create_database, run_sql, served

TRUSTED_S = 4.0
TICKS = os.sysconf("SC_CLK_TCK")
FEW, MANY = 3, 300
RECORD = b'"' + b"x" * 98 + b'"'
SENT = CallReport(sent=True, written_ago_us=0, answered_ago_us=0)
Op = Callable[[], Awaitable[object]]


@dataclass
class Meter:
    """Processor time of a server with all its processes."""

    server: PostgresServer

    def seconds(self) -> float:
        mine = Path(f"/proc/{self.server.pid}")
        children = (mine / "task" / mine.name / "children").read_text(encoding="ascii").split()
        ended = sum(_ticks(mine)[2:])  # connections that were closed meanwhile
        return (ended + sum(sum(_ticks(Path("/proc") / pid)[:2]) for pid in children)) / TICKS

    @contextmanager
    def measuring(self, into: list[float]) -> Iterator[None]:
        before = self.seconds()
        yield
        into.append(self.seconds() - before)


def _ticks(process: Path) -> list[int]:
    """utime, stime, cutime, cstime; nothing of one that has ended."""
    try:
        fields = (process / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return [0, 0, 0, 0]
    return [int(each) for each in fields.rpartition(")")[2].split()[11:15]]


def measure(quick: bool) -> list[Line]:
    """The costs, and what the model says of a load beside what that load came to."""
    count = 300 if quick else 1_500
    with served() as server:
        url = create_database(server.url, "costs")
        costs = asyncio.run(_costs(Meter(server), url, count))
        return [*_told(costs), *_checked(server, costs, 8.0 if quick else 20.0)]


def _told(costs: Costs) -> list[Line]:
    units = {name: "us" if name.endswith("_us") else "bytes" for name in vars(costs)}
    return [
        note(name.rpartition("_")[0], value, units[name]) for name, value in vars(costs).items()
    ]


# -- one of each ---------------------------------------------------------------------------------------------


def _source(name: str, size: int, *windows: Window, concurrency: int = 10**6) -> SourceSpec:
    quota = QuotaSpec(name, windows, Pacing.EVEN if windows else Pacing.BURST)
    return SourceSpec(name, quota, (), CallRules(concurrency=concurrency, batch_size=size))


async def _costs(meter: Meter, url: str, count: int) -> Costs:
    few, many, shut = (
        _source("few", FEW),
        _source("many", MANY),
        _source("shut", FEW, Window(1, 10**9)),
    )
    engine = PostgresEngine(parse_postgres_url(url), clock=HostClock())
    await engine.open()
    await engine.run(configure, [few, many, shut], [])
    watching = asyncio.create_task(engine.attend())
    service = Service(
        engine,
        clock=HostClock(),
        sources={each.name: each for each in (few, many, shut)},
        default_source="few",
    )
    await asyncio.sleep(TRUSTED_S)

    async def submit(name: str, ids: int) -> object:
        return await service.submit(list(range(ids)), source=name, priority=Priority.LOW)

    async def each_of(op: Op, times: int = count) -> float:
        spent: list[float] = []
        with meter.measuring(spent):
            for _ in range(times):
                await op()
        return spent[0] / times * 1e6

    accept_few = await each_of(partial(submit, "few", FEW))
    accept_many = await each_of(partial(submit, "many", MANY))
    sizes = [await _size(url, table) for table in ("ingestion", "id_chunk")]
    await submit("shut", 2 * FEW)
    await engine.run(claim, "shut", worker=engine.worker)
    refused = await each_of(lambda: engine.run(claim, "shut", worker=engine.worker))
    claims: dict[str, list[Claims]] = {"few": [], "many": []}

    async def take(name: str) -> None:
        got = await engine.run(claim, name, worker=engine.worker)
        assert isinstance(got, Claims), got
        claims[name].append(got)

    async def put(name: str) -> None:
        [one] = claims[name].pop().claims
        step = Complete(Fetched({position: RECORD for position, _ in one.ids}))
        await engine.run(settle, one, step, SENT, policy=RetryPolicy())

    granted = await each_of(partial(take, "few"))
    settle_few = await each_of(partial(put, "few"))
    await each_of(partial(take, "many"))
    settle_many = await each_of(partial(put, "many"))

    async def look() -> None:
        await engine.run(beat, engine.worker)
        await engine.read(neighbours)

    looked = await each_of(look) / 2
    watching.cancel()
    await engine.close()
    record = (settle_many - settle_few) / (MANY - FEW)
    ids = (accept_many - accept_few) / (MANY - FEW)
    return Costs(
        accept_us=accept_few - FEW * ids,
        id_us=ids,
        granted_us=granted,
        refused_us=refused,
        settle_us=settle_few - FEW * record,
        record_us=record,
        look_us=looked,
        ingestion_bytes=sizes[0] / (2 * count),
        id_bytes=sizes[1] / (count * (FEW + MANY)),
        batch_bytes=await _size(url, "batch") / (2 * count),
        record_bytes=await _size(url, "record") / (count * (FEW + MANY)) - len(RECORD),
    )


async def _size(url: str, table: str) -> int:
    [[size]] = await asyncio.to_thread(run_sql, url, f"select pg_total_relation_size('{table}')")
    return int(size)


# -- a small fleet -------------------------------------------------------------------------------------------


FLEET = Load(
    sources=8, workers=6, calls_per_s=80, ids_per_call=FEW, ids_per_ingestion=FEW, concurrency=4
)
PER_S = 10


def _checked(server: PostgresServer, costs: Costs, seconds: float) -> list[Line]:
    """Six workers in one process on eight sources of ten calls a second, without the accepts."""
    url = create_database(server.url, "fleet")
    calls, busy = asyncio.run(_fleet(Meter(server), url, seconds))
    at = Load(**{**vars(FLEET), "calls_per_s": calls / seconds})
    free = Costs(**{**vars(costs), "accept_us": 0.0, "id_us": 0.0})
    predicted = model.needs(at, free).processors
    return [
        note("a fleet of 6 workers: calls", calls / seconds, "/s"),
        note("its database, predicted", 100 * predicted, "% of a processor"),
        note("its database, measured", 100 * busy / seconds, "% of a processor"),
        note("measured / predicted", busy / seconds / predicted, "x"),
    ]


async def _fleet(meter: Meter, url: str, seconds: float) -> tuple[int, float]:
    """How many calls were settled, and how long the database's processors were busy."""
    specs = [
        _source(f"s{number}", FEW, Window(PER_S, 1_000_000), concurrency=FLEET.concurrency)
        for number in range(FLEET.sources)
    ]
    async with AsyncExitStack() as stack:
        for number in range(FLEET.workers):
            await _join(stack, url, specs, configures=number == 0)
        await asyncio.sleep(2 * TRUSTED_S)
        for spec in specs:
            count = int(PER_S * (seconds + 10))
            await asyncio.to_thread(run_sql, url, _queued(spec.name, count))
        await asyncio.sleep(3)
        spent: list[float] = []
        before, began = await _ended(url), time.monotonic()
        with meter.measuring(spent):
            await asyncio.sleep(seconds)
        took = time.monotonic() - began
        return int((await _ended(url) - before) * seconds / took), spent[0] * seconds / took


async def _join(
    stack: AsyncExitStack, url: str, specs: list[SourceSpec], *, configures: bool
) -> None:
    engine = PostgresEngine(parse_postgres_url(url), clock=HostClock())
    await engine.open()
    stack.push_async_callback(engine.close)
    if configures:
        await engine.run(configure, specs, [])
    names = tuple(spec.name for spec in specs)
    card = WorkerCard(engine.worker, "fleet", os.getpid(), __version__, names)
    tools = Tools(engine, HostClock(), engine.worker, lambda _: None, lambda: 0.5, lambda _: None)
    worker = Worker([(spec, SimulatedSource(SimulatedOptions())) for spec in specs], tools, card)
    await worker.start()
    stack.push_async_callback(worker.stop)


async def _ended(url: str) -> int:
    [[count]] = await asyncio.to_thread(
        run_sql, url, "select count(*) from batch where ended_at is not null"
    )
    return int(count)


def _queued(source: str, count: int) -> str:
    """SQL: so many ingestions of three ids."""
    return f"""
with made as (
  insert into ingestion (ingestion_id, client, source, priority, size, id_count, distinct_count,
                         batch_count, accepted_at)
  select gen_random_uuid()::text, 'default', '{source}', 30, 3, 3, 3, 1, 0
  from generate_series(1, {count}) returning seq)
insert into id_chunk (seq, start, distinct_count, ids) select seq, 0, 3, '[1,2,3]' from made
"""
