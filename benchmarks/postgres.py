"""The second engine, on a PostgreSQL of its own: accepts, a million ids, HIGH, claims, and what it costs at rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks import load, million, postgres_claims, postgres_high, rig, statements
from benchmarks.figure import Line, at_least, below, none_of, note, quantile
from benchmarks.postgres_claims import TRUSTED_S
from tests.postgres import PostgresServer, create_database, run_sql, served

BODY = b'{"ids": [1, 2, 3, 4, 5], "priority": "HIGH"}'


def measure(quick: bool) -> list[Line]:
    seconds = 2.0 if quick else 5.0
    with served(**statements.LOGGING) as server:
        return [
            *_accepts(server.url, processes=1, seconds=seconds),
            *_accepts(server.url, processes=2, seconds=seconds),
            *_a_million(server.url),
            *postgres_high.measure(server.url, 3 if quick else 20),
            *asyncio.run(postgres_claims.rates(create_database(server.url, "rates"), seconds)),
            *asyncio.run(postgres_claims.lengths(create_database(server.url, "lengths"), quick)),
            *_at_rest(server, 10.0 if quick else 30.0),
        ]


# -- over HTTP -----------------------------------------------------------------------------------------------


def _serve(stack: ExitStack, url: str) -> rig.Server:
    place = stack.enter_context(rig.folder())
    return stack.enter_context(rig.headgate(place, url=url))


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


def _at_rest(server: PostgresServer, seconds: float) -> list[Line]:
    url = create_database(server.url, "rest")
    statements.log_statements_of(url)
    with rig.folder() as place, rig.headgate(place, url=url):
        time.sleep(TRUSTED_S)
        (asked,) = statements.at_rest(server, [url], seconds)
    return statements.lines("one process at rest", asked)
