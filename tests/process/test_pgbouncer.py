"""PgBouncer between Headgate and PostgreSQL, in transaction mode: killed and started again under two processes."""

from __future__ import annotations

import pytest

from tests.pgbouncer import CONNECTIONS, PgBouncer, pgbouncer
from tests.postgres import run_sql
from tests.process.conftest import MakeGate, NewDatabase, Say
from tests.process.engines import on_postgres
from tests.process.gate import Gate, Server
from tests.process.test_database import QUOTAS, killed_and_started, wait_for_calls
from tests.processes import free_port
from tests.simulator.process import RunningServer

__all__ = ["pgbouncer"]

pytestmark = [pytest.mark.process, pytest.mark.slow, on_postgres]

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

    def they_share() -> None:
        wait_for_calls(source, 10)
        sessions = len(run_sql(gate.postgres or "", CLIENTS)) - 1
        assert 1 <= sessions <= CONNECTIONS, "both share what PgBouncer has"

    say(killed_and_started(pgbouncer, servers, source, gate, downs, they_share))
