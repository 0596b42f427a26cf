"""PgBouncer between Headgate and PostgreSQL, in transaction mode: killed and started again under two processes."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from tests.pgbouncer import CONNECTIONS, PgBouncer, pgbouncer
from tests.postgres import run_sql
from tests.process.conftest import MakeGate, NewDatabase, Say
from tests.process.engines import on_postgres
from tests.process.gate import LEASE_S, Gate, Server, free_port
from tests.process.judge import LENIENCY, assert_kept
from tests.process.submitters import Submitters, merged
from tests.process.test_database import RESUMES_S, seconds_to_the_next_call, wait_for_calls
from tests.process.waiting import now_us
from tests.simulator.process import RunningServer

__all__ = ["pgbouncer"]

pytestmark = [pytest.mark.process, pytest.mark.slow, on_postgres]

QUOTAS = ("20/s", "30/2s")

CLIENTS = "select 1 from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"


def two_behind(pooler: PgBouncer, gate: Gate) -> list[Server]:
    """Two processes that have nothing but PgBouncer to reach their database by."""
    assert gate.postgres
    url = pooler.url_of(gate.postgres)
    started = [gate.start(port=free_port(), HEADGATE_DATABASE_URL=url) for _ in range(2)]
    return [each.ready() for each in started]


@pytest.mark.parametrize(
    "downs",
    [
        pytest.param([0.0, 1.5], id="twice"),
        pytest.param([0.0, 0.1, 1.0, 4.0] * 5, id="twenty times", marks=pytest.mark.long),
    ],
)
def test_nothing_is_lost_or_over_when_pgbouncer_is_killed(
    downs: list[float],
    pgbouncer: PgBouncer,
    source: RunningServer,
    make_gate: MakeGate,
    new_database: NewDatabase,
    say: Say,
) -> None:
    gate = make_gate(source, *QUOTAS, postgres=new_database())
    servers = two_behind(pgbouncer, gate)
    seed = random.randrange(10**6)
    submitters = Submitters([each.port for each in servers], gate.folder, seed, pause_s=0.15)
    kills, back = [], []
    with submitters.at_work():
        wait_for_calls(source, 10)
        sessions = len(run_sql(gate.postgres or "", CLIENTS)) - 1
        for down_s in downs:
            wait_for_calls(source, 3)
            kills.append(now_us())
            pgbouncer.kill()
            time.sleep(down_s)
            pgbouncer.start()
            back.append(seconds_to_the_next_call(source))
    assert submitters.failed == []
    assert 1 <= sessions <= CONNECTIONS, "both share what PgBouncer has"

    held_us = int((max(downs) + RESUMES_S + LEASE_S) * 1e6)
    told = assert_kept(
        gate,
        servers[0],
        source,
        merged(gate.folder, submitters.journals),
        *QUOTAS,
        leniency=replace(LENIENCY, kills=tuple(kills), rescue_us=held_us),
    )
    say(f"seed {seed}, s to the next call: {back}\n{told}")
