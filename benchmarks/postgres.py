"""The second engine, on a PostgreSQL of its own: accepts, a million ids, claims, and what it costs at rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from statistics import median

from benchmarks import load, million, rig
from benchmarks.figure import Line, at_least, at_most, below, none_of, note, quantile
from headgate.clock import HostClock
from headgate.core.model import CallReport, CallRules, QuotaSpec, SourceSpec
from headgate.core.outcome import Fetched
from headgate.core.quota import Pacing
from headgate.core.retry import Complete, RetryPolicy
from headgate.store.commands.claim import Claims, claim
from headgate.store.commands.configure import configure
from headgate.store.commands.settle import settle
from headgate.store.postgres.engine import PostgresEngine
from headgate.store.postgres.url import parse_postgres_url
from tests.postgres import create_database, run_sql, served

BODY = b'{"ids": [1, 2, 3, 4, 5], "priority": "HIGH"}'
TRUSTED_S = 4.0
"""How long a process that has just started may take until it is trusted with the clock."""

QUEUED = """
with made as (
  insert into ingestion (ingestion_id, client, source, priority, size, id_count, distinct_count,
                         batch_count, accepted_at)
  select gen_random_uuid()::text, 'default', '{source}', 10, 3, 3, 3, 1, 0 from generate_series(1, {count})
  returning seq)
insert into id_chunk (seq, start, distinct_count, ids) select seq, 0, 3, '[1,2,3]' from made
"""


def measure(quick: bool) -> list[Line]:
    seconds = 2.0 if quick else 5.0
    with served() as server, rig.folder():
        return [
            *_accepts(server.url, processes=1, seconds=seconds),
            *_accepts(server.url, processes=2, seconds=seconds),
            *_a_million(server.url),
            *asyncio.run(_claims(create_database(server.url, "claims"), seconds)),
            *asyncio.run(_lengths(create_database(server.url, "lengths"), quick)),
            *_at_rest(create_database(server.url, "rest"), 10.0 if quick else 30.0),
        ]


# -- over HTTP -----------------------------------------------------------------------------------------------


def _serve(stack: ExitStack, url: str) -> rig.Server:
    place, port = stack.enter_context(rig.folder()), rig.free_port()
    arguments = ["-m", "uvicorn", "--log-level", "warning", "main:app"]
    arguments += ["--app-dir", str(rig.REPOSITORY), "--host", rig.HOST, "--port", str(port)]
    environment = {**rig.environment_of(place), "HEADGATE_DATABASE_URL": url}
    server = stack.enter_context(rig.started(arguments, port, place, environment))
    rig.wait_for(server, "/readyz")
    return server


def _accepts(server_url: str, *, processes: int, seconds: float) -> list[Line]:
    url = create_database(server_url, f"accepts_{processes}")
    with ExitStack() as stack:
        servers = [_serve(stack, url) for _ in range(processes)]
        _load(servers, 1.0)
        before = run_sql(url, "select count(*) from ingestion")[0][0]
        loads = _load(servers, seconds)
        stored = run_sql(url, "select count(*) from ingestion")[0][0] - before
    latencies = [each for one in loads for each in one.latencies_ms]
    what = f"{processes} API process{'es' * (processes > 1)}"
    return [
        at_least(f"{what}: accepted", sum(one.per_second for one in loads), 2_500, "/s"),
        note(f"{what}: p99", quantile(latencies, 0.99), "ms"),
        none_of(f"{what}: failed, or answered and not stored", _lost(loads, stored)),
    ]


def _load(servers: Sequence[rig.Server], seconds: float) -> list[load.Load]:
    async def all_at_once() -> list[load.Load]:
        return await asyncio.gather(
            *(
                load.run(each.port, load.post("/ingest", BODY, each.port), seconds=seconds)
                for each in servers
            )
        )

    return asyncio.run(all_at_once())


def _lost(loads: Sequence[load.Load], stored: int) -> int:
    answered = sum(len(one.latencies_ms) - one.failures for one in loads)
    return sum(one.failures for one in loads) + max(0, answered - stored)


def _a_million(server_url: str) -> list[Line]:
    with ExitStack() as stack:
        server = _serve(stack, create_database(server_url, "million"))
        status, seconds = million.post(server.port, million.body_of(range(1_000_000)))
        assert status == 200, status
        peak = server.peak_mib()
    return [
        below("a million ids in one POST", seconds, 1, "s"),
        note("its peak of resident memory", peak, "MiB"),
    ]


def _at_rest(url: str, seconds: float) -> list[Line]:
    with ExitStack() as stack:
        _serve(stack, url)
        time.sleep(TRUSTED_S)
        count = "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
        before = run_sql(url, "select pg_stat_clear_snapshot()", count)[0][0]
        time.sleep(seconds)
        after = run_sql(url, "select pg_stat_clear_snapshot()", count)[0][0]
    return [note("transactions a minute, one process at rest", (after - before) * 60 / seconds, "")]


# -- in this process -----------------------------------------------------------------------------------------


def _source(name: str) -> SourceSpec:
    quota = QuotaSpec(name, (), Pacing.BURST)
    return SourceSpec(name, quota, (), CallRules(concurrency=10**6, batch_size=3))


async def _open(url: str, names: Sequence[str]) -> PostgresEngine:
    engine = PostgresEngine(parse_postgres_url(url), clock=HostClock())
    await engine.open()
    await engine.run(configure, [_source(name) for name in names], [])
    return engine


async def _claim_and_settle(engine: PostgresEngine, source: str, most: int) -> tuple[int, float]:
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


async def _claims(url: str, seconds: float) -> list[Line]:
    names = [f"s{number}" for number in range(16)]
    engine = await _open(url, names)
    watching = asyncio.create_task(engine.attend())
    for name in names:
        await asyncio.to_thread(run_sql, url, QUEUED.format(source=name, count=20_000))
    await asyncio.sleep(TRUSTED_S)

    async def drain(name: str, most: int) -> int:
        done, until = 0, time.perf_counter() + seconds
        while time.perf_counter() < until:
            done += (await _claim_and_settle(engine, name, most))[0]
        return done

    lines = []
    for count, most in ((1, 1), (1, 16), (4, 1), (16, 1)):
        done = sum(await asyncio.gather(*(drain(name, most) for name in names[:count])))
        what = f"batches claimed and settled, {count} sources, {most} a claim"
        lines.append(note(what, done / seconds, "/s"))
    watching.cancel()
    await engine.close()
    return lines


async def _lengths(url: str, quick: bool) -> list[Line]:
    lengths = {"short": 100, "middle": 100_000, "long": 100_000 if quick else 1_000_000}
    engine = await _open(url, list(lengths))
    watching = asyncio.create_task(engine.attend())
    for name, count in lengths.items():
        await asyncio.to_thread(run_sql, url, QUEUED.format(source=name, count=count))
    await asyncio.to_thread(run_sql, url, "vacuum analyze")
    await asyncio.sleep(TRUSTED_S)
    took: dict[str, list[float]] = {name: [] for name in lengths}
    for _ in range(90):
        for name in lengths:
            took[name].append((await _claim_and_settle(engine, name, 1))[1])
    watching.cancel()
    await engine.close()
    ms = {name: 1_000 * median(times) for name, times in took.items()}
    return [
        *(note(f"a claim at {lengths[name]:,} queued", ms[name], "ms") for name in lengths),
        at_most("longest queue / shortest", ms["long"] / ms["short"], 1.25, "x"),
    ]
