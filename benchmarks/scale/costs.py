"""What one accept, claim, settle, id and record cost a real PostgreSQL, and whether the model adds them up rightly."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

from benchmarks import rig
from benchmarks.figure import Line, note
from benchmarks.postgres_claims import TRUSTED_S, opened, queued, spec
from benchmarks.scale import model
from benchmarks.scale.model import Costs, Load
from headgate import __version__
from headgate.clock import HostClock
from headgate.core.model import CallReport, Priority, SourceSpec, WorkerCard
from headgate.core.outcome import Fetched
from headgate.core.quota import Window
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
from tests.processes import children_of

FEW, MANY = 3, 300
RECORD = b'"' + b"x" * 98 + b'"'
SENT = CallReport(sent=True, written_ago_us=0, answered_ago_us=0)
SOURCES = (
    spec("few", size=FEW),
    spec("many", size=MANY),
    spec("shut", Window(1, 10**9), size=FEW),
)
Op = Callable[[], Awaitable[object]]


@dataclass
class Meter:
    """Processor time of a server with all its processes."""

    server: PostgresServer

    @contextmanager
    def measuring(self, into: list[float]) -> Iterator[None]:
        before = self._seconds()
        yield
        into.append(self._seconds() - before)

    def _seconds(self) -> float:
        ticks = sum(rig.cpu_ticks(self.server.pid)[2:])  # connections that were closed meanwhile
        for pid in children_of(self.server.pid):
            with suppress(OSError):  # it has just ended
                ticks += sum(rig.cpu_ticks(pid)[:2])
        return ticks / rig.TICKS_A_SECOND


def measure(quick: bool) -> list[Line]:
    """The costs, and what the model says of a load beside what that load came to."""
    with served() as server:
        url = create_database(server.url, "costs")
        costs = asyncio.run(_costs(Meter(server), url, 300 if quick else 1_500))
        return [*_told(costs), *_checked(server, costs, 8.0 if quick else 20.0)]


def _told(costs: Costs) -> list[Line]:
    units = {name: "us" if name.endswith("_us") else "bytes" for name in vars(costs)}
    return [
        note(name.rpartition("_")[0], value, units[name]) for name, value in vars(costs).items()
    ]


# -- one of each ---------------------------------------------------------------------------------------------


class _Trial:
    """So many of each, one after the other, on one database."""

    def __init__(self, meter: Meter, engine: PostgresEngine, count: int) -> None:
        self._meter = meter
        self._engine = engine
        self._count = count
        self._claims: list[Claims] = []
        self._service = Service(
            engine,
            clock=HostClock(),
            sources={each.name: each for each in SOURCES},
            default_source="few",
        )

    async def each_us(self, op: Op) -> float:
        """What one costs the database's processors."""
        spent: list[float] = []
        with self._meter.measuring(spent):
            for _ in range(self._count):
                await op()
        return spent[0] / self._count * 1e6

    async def submit(self, name: str, ids: int) -> None:
        await self._service.submit(list(range(ids)), source=name, priority=Priority.LOW)

    async def ask(self, name: str) -> object:
        return await self._engine.run(claim, name, worker=self._engine.worker)

    async def take(self, name: str) -> None:
        got = await self.ask(name)
        assert isinstance(got, Claims), got
        self._claims.append(got)

    async def put(self) -> None:
        [one] = self._claims.pop().claims
        step = Complete(Fetched({position: RECORD for position, _ in one.ids}))
        await self._engine.run(settle, one, step, SENT, policy=RetryPolicy())

    async def look(self) -> None:
        await self._engine.run(beat, self._engine.worker)
        await self._engine.read(neighbours)


async def _costs(meter: Meter, url: str, count: int) -> Costs:
    async with opened(url, *SOURCES) as engine:
        trial = _Trial(meter, engine, count)
        await asyncio.sleep(TRUSTED_S)
        accept_few = await trial.each_us(partial(trial.submit, "few", FEW))
        accept_many = await trial.each_us(partial(trial.submit, "many", MANY))
        ingestions, chunks = [await _size(url, table) for table in ("ingestion", "id_chunk")]
        await trial.submit("shut", 2 * FEW)
        await trial.ask("shut")
        refused = await trial.each_us(partial(trial.ask, "shut"))
        granted = await trial.each_us(partial(trial.take, "few"))
        settle_few = await trial.each_us(trial.put)
        await trial.each_us(partial(trial.take, "many"))
        settle_many = await trial.each_us(trial.put)
        looked = await trial.each_us(trial.look) / 2
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
        ingestion_bytes=ingestions / (2 * count),
        id_bytes=chunks / (count * (FEW + MANY)),
        batch_bytes=await _size(url, "batch") / (2 * count),
        record_bytes=await _size(url, "record") / (count * (FEW + MANY)) - len(RECORD),
    )


async def _size(url: str, table: str) -> int:
    return await _asked(url, f"select pg_total_relation_size('{table}')")


async def _asked(url: str, sql: str) -> int:
    [[number]] = await asyncio.to_thread(run_sql, url, sql)
    return int(number)


# -- a small fleet -------------------------------------------------------------------------------------------


FLEET = Load(
    sources=8, workers=6, calls_per_s=80, ids_per_call=FEW, ids_per_ingestion=FEW, concurrency=4
)
PER_S = 10


def _checked(server: PostgresServer, costs: Costs, seconds: float) -> list[Line]:
    """Six workers in one process on eight sources of ten calls a second, without the accepts."""
    url = create_database(server.url, "fleet")
    calls, busy = asyncio.run(_fleet(Meter(server), url, seconds))
    at = replace(FLEET, calls_per_s=calls / seconds)
    predicted = model.needs(at, replace(costs, accept_us=0.0, id_us=0.0)).processors
    return [
        note("a fleet of 6 workers: calls", calls / seconds, "/s"),
        note("its database, predicted", 100 * predicted, "% of a processor"),
        note("its database, measured", 100 * busy / seconds, "% of a processor"),
        note("measured / predicted", busy / seconds / predicted, "x"),
    ]


async def _fleet(meter: Meter, url: str, seconds: float) -> tuple[int, float]:
    """How many calls were settled, and how long the database's processors were busy."""
    specs = [
        spec(f"s{number}", Window(PER_S, 1_000_000), concurrency=FLEET.concurrency)
        for number in range(FLEET.sources)
    ]
    async with AsyncExitStack() as stack:
        for number in range(FLEET.workers):
            await _join(stack, url, specs, configures=number == 0)
        await asyncio.sleep(2 * TRUSTED_S)
        fill = [queued(each.name, int(PER_S * (seconds + 10))) for each in specs]
        await asyncio.to_thread(run_sql, url, *fill)
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
    names = tuple(each.name for each in specs)
    card = WorkerCard(engine.worker, "fleet", os.getpid(), __version__, names)
    tools = Tools(engine, HostClock(), engine.worker, lambda _: None, lambda: 0.5, lambda _: None)
    worker = Worker([(each, SimulatedSource(SimulatedOptions())) for each in specs], tools, card)
    await worker.start()
    stack.push_async_callback(worker.stop)


async def _ended(url: str) -> int:
    return await _asked(url, "select count(*) from batch where ended_at is not null")
