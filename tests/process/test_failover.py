"""A promoted standby keeps every promise: two real servers, the first killed, everybody going on by themselves."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.postgres import PostgresServer, create_database, run_sql
from tests.process.client import Journal, Wanted
from tests.process.conftest import MakeGate, Say
from tests.process.engines import on_postgres
from tests.process.gate import LEASE_S
from tests.process.judge import LENIENCY, arrivals, assert_kept, drained
from tests.process.submitters import Submitters, merged
from tests.process.waiting import eventually, now_us
from tests.processes import children_of, free_port, frozen, give_away, open_folder
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow, on_postgres]

QUOTAS = ("5/s", "8/2s")
GOES_ON_S = 30.0
"""The new primary is found, and one that had watched the clock goes on with it."""


class Standby(PostgresServer):
    """A copy of a primary that follows it, and may take its place."""

    def __init__(self, folder: Path, primary: PostgresServer) -> None:
        super().__init__(folder)
        self._primary = primary

    def make(self, *options: str) -> None:
        """Copy the primary's files, which must not run yet: no version's tools are needed for that."""
        assert not options
        self.folder.mkdir(parents=True)
        give_away(self.folder)
        copied = Path(self._data)
        subprocess.run(["cp", "-rp", self._primary.folder / "data", copied], check=True)
        where = f"host=127.0.0.1 port={self._primary.port} user=postgres"
        with (copied / "postgresql.auto.conf").open("a") as conf:
            conf.write(f"primary_conninfo = '{where}'\n")
        (copied / "standby.signal").touch()

    def promote(self) -> None:
        """Take the primary's place; there is nobody to be waited for any more."""
        self._run("pg_ctl", "promote", "-D", self._data, "-w", "-t", "20")


@dataclass(frozen=True)
class Pair:
    """A primary, and a standby without which nothing is committed."""

    primary: PostgresServer
    standby: Standby

    def database(self, name: str) -> str:
        """A database on both, as one URL that finds whichever is the primary."""
        create_database(self.primary.url, name)
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://postgres@{hosts}/{name}?target_session_attrs=primary"

    def on_the_standby(self, name: str) -> str:
        return f"{self.standby.url.rpartition('/')[0]}/{name}"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with open_folder("headgate-pair-") as folder:
        primary = PostgresServer(folder / "primary", fsync="on", synchronous_commit="on")
        standby = Standby(folder / "standby", primary)
        primary.make()
        standby.make()
        try:
            primary.start()
            standby.start()
            run_sql(
                primary.url,
                "alter system set synchronous_standby_names = '*'",
                "select pg_reload_conf()",
            )
            eventually(lambda: _is_synchronous(primary), "the standby is waited for")
            yield Pair(primary, standby)
        finally:
            standby.stop()
            primary.stop()


def _is_synchronous(primary: PostgresServer) -> bool:
    states = run_sql(primary.url, "select sync_state from pg_stat_replication")
    return [row[0] for row in states] == ["sync"]


def test_a_promoted_standby_keeps_every_promise(
    pair: Pair, source: RunningServer, make_gate: MakeGate, say: Say
) -> None:
    gate = make_gate(source, *QUOTAS, postgres=pair.database("failover"))
    servers = [gate.start(port=free_port()) for _ in range(2)]
    for each in servers:
        each.ready()
    submitters = Submitters([each.port for each in servers], gate.folder, 1, pause_s=0.2)
    with submitters.at_work():
        eventually(lambda: len(arrivals(source)) >= 10, "calls are made")
        killed = now_us()
        pair.primary.kill()
        time.sleep(1.0)  # somebody notices
        pair.standby.promote()
        called = len(arrivals(source))
        eventually(lambda: len(arrivals(source)) >= called + 10, "calls go on", within_s=GOES_ON_S)
    assert submitters.failed == []

    gate.postgres = pair.on_the_standby("failover")
    told = assert_kept(
        gate,
        servers[0],
        source,
        merged(gate.folder, submitters.journals),
        *QUOTAS,
        leniency=replace(
            LENIENCY, kills=(killed,), rescue_us=int((GOES_ON_S + LEASE_S) * 1_000_000)
        ),
    )
    away_s = (arrivals(source)[called].at_us - killed) / 1e6
    say(f"{away_s:.1f} s from the kill to the next call\n{told}")


@pytest.mark.long
def test_what_the_standby_has_not_taken_is_promised_to_nobody(
    pair: Pair, source: RunningServer, make_gate: MakeGate, journal: Journal, tmp_path: Path
) -> None:
    """A server that is asked to give up a commit, which waits for the standby, commits without it: nobody may ask."""
    gate = make_gate(source, *QUOTAS, postgres=pair.database("frozen"))
    server = gate.serve()
    journal.must_submit(server.port, 3)
    drained(server)
    wanted = Wanted(journal.ids(3), key="once")
    refused = Journal(tmp_path / "refused.jsonl")
    with frozen([pair.standby.pid, *children_of(pair.standby.pid)]):
        for _ in range(2):
            assert refused.submit(server.port, wanted) is None
        pair.primary.kill()
    pair.standby.promote()
    gate.postgres = pair.on_the_standby("frozen")

    eventually(lambda: refused.submit(server.port, wanted), "it is taken", within_s=GOES_ON_S)
    journal.must_submit(server.port, wanted)
    assert_kept(gate, server, source, journal, *QUOTAS)
