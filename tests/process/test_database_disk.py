"""PostgreSQL without a byte left (I14): 503, no call without a place in the ledger, nothing corrupt, and it goes on.

Two disks can be full, and the server takes them differently: that of its tables is an error of one statement, that of
its write-ahead log is the end of the server, which somebody has to make room for and start again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.postgres import PostgresServer, create_database, run_sql, running, served
from tests.process.client import Journal
from tests.process.conftest import MakeGate, Say
from tests.process.engines import on_postgres
from tests.process.faults import fill, needs_root, small_disk
from tests.process.gate import LEASE_S
from tests.process.judge import LENIENCY, arrivals, assert_kept
from tests.process.test_database import RESUMES_S, crew, seconds_to_the_next_call
from tests.process.test_disk import assert_reads_work, called_at_last, refuses
from tests.process.waiting import eventually, now_us
from tests.processes import give_away, open_folder
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.long, on_postgres, needs_root]

QUOTA = "10/s"
TABLES, EVERYTHING = "24m", "64m"


@contextmanager
def open_disk(size: str) -> Iterator[Path]:
    """A small disk that the server's user may write to."""
    with open_folder("headgate-disk-") as folder, small_disk(folder / "disk", size) as disk:
        disk.chmod(0o755)
        give_away(disk)
        yield disk


@contextmanager
def tables_on(disk: Path) -> Iterator[tuple[PostgresServer, str]]:
    """A server, and a database whose tables are on the disk; its log is elsewhere."""
    with served(fsync="on") as server:
        url = create_database(server.url, "gate")
        space = f"create tablespace small location '{disk}'"
        run_sql(server.url, space, "alter database gate set tablespace small")
        yield server, url


def test_tables_that_cannot_grow_are_a_503_and_go_by_themselves(
    source: RunningServer, make_gate: MakeGate, journal: Journal, say: Say
) -> None:
    with open_disk(TABLES) as disk, tables_on(disk) as (server, url):
        gate = make_gate(source, QUOTA, postgres=url)
        one, other = crew(gate, "one", "other")
        given = journal.must_submit(one.port, 300)
        eventually(lambda: len(arrivals(source)) >= 2, "it is at work")
        first, filled_us, filler = server.pid, now_us(), fill(disk)
        eventually(lambda: refuses(one, journal), "submissions are refused")
        refused = other.ask("POST", "/ingest", {"ids": [*range(10**9, 10**9 + 5_000)]})
        assert refused.status == 503
        assert "full" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        assert_reads_work(one, given)

        filler.unlink()
        held_us = now_us() - filled_us
        say(f"{seconds_to_the_next_call(source)} s from space to the next call")
        journal.must_submit(other.port, 3, "HIGH")
        kept = replace(LENIENCY, kills=(filled_us,), rescue_us=held_us + LEASE_S * 1_000_000)
        say(assert_kept(gate, other, source, journal, QUOTA, leniency=kept))
        assert server.pid == first, "and the server was there all the time"
        gate.close()


def test_a_log_that_cannot_be_written_is_a_503_until_there_is_room(
    source: RunningServer, make_gate: MakeGate, journal: Journal, say: Say
) -> None:
    """What a server was about to commit when it died is there or not: it is taken for unanswered, not for refused."""
    with open_disk(EVERYTHING) as disk:
        small = PostgresServer(disk / "server", fsync="on", max_wal_size="2MB", min_wal_size="2MB")
        with running(small, "--wal-segsize=1") as server:
            gate = make_gate(source, QUOTA, postgres=create_database(server.url, "gate"))
            one, other = crew(gate, "one", "other")
            given = journal.must_submit(one.port, 900)
            eventually(lambda: len(arrivals(source)) >= 2, "it is at work")
            filled_us, filler = now_us(), fill(disk)

            def ended() -> bool:
                journal.submit(one.port, 300, "LOW")
                return not server.alive

            eventually(ended, "what it has to write ends the server", within_s=60)
            assert refuses(one, journal)
            called_at_last(source)

            filler.unlink()
            server.start()
            held_us = now_us() - filled_us
            waited_s = seconds_to_the_next_call(source)
            say(f"{waited_s} s from its start to the next call")
            assert waited_s < RESUMES_S + LEASE_S
            journal.must_submit(other.port, 3, "HIGH")
            journal.cut, journal.refused = [*journal.cut, *journal.refused], []
            kept = replace(LENIENCY, kills=(filled_us,), rescue_us=held_us + LEASE_S * 1_000_000)
            assert other.get(f"/status/{given}")["status"] == "triggered"
            say(assert_kept(gate, other, source, journal, QUOTA, leniency=kept))
            gate.close()
