"""A disk that is full, and one that says it could not write (I14): 503, no call, nothing corrupt, and it goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.process.client import Journal
from tests.process.conftest import MakeGate, Say
from tests.process.faults import FLUSHES, fill, injected, needs_root, needs_strace, small_disk
from tests.process.gate import Server
from tests.process.judge import arrivals, assert_kept
from tests.process.waiting import eventually, now_us
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow]

RESUMES_S = 10
QUOTA = "10/s"


def refuses(server: Server, journal: Journal) -> bool:
    """Whether submissions are refused now. Each way in is tried; a refusal is remembered as a promise of nothing."""
    answered = [journal.submit(server.port, 2), journal.submit(server.port, 2, key=f"k{now_us()}")]
    return answered == [None, None]


@needs_root
def test_a_full_disk_is_a_503_and_goes_by_itself(
    source: RunningServer, make_gate: MakeGate, journal: Journal, tmp_path: Path, say: Say
) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        gate = make_gate(source, QUOTA, folder=disk / "gate")
        server = gate.serve()
        given = journal.must_submit(server.port, 60)
        eventually(lambda: len(arrivals(source)) >= 2, "it is at work")
        filler = fill(disk)
        eventually(lambda: refuses(server, journal), "submissions are refused")
        refused = server.ask("POST", "/ingest", {"ids": [10**9]})
        assert refused.status == 503
        assert "full" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) >= 1
        assert_reads_work(server, given)
        called = called_at_last(source)
        assert_reads_work(server, given)

        filler.unlink()
        freed_us = now_us()
        eventually(lambda: len(arrivals(source)) > called, "calls go on", within_s=RESUMES_S)
        say(
            f"{(arrivals(source)[called].at_us - freed_us) / 1e6:.2f} s from space to the next call"
        )
        journal.must_submit(server.port, 3, "HIGH")

        assert_kept(gate, server, source, journal, QUOTA)
        server.stop()
        assert gate.stored().wrong == ()
        gate.close()


def called_at_last(source: RunningServer) -> int:
    """How many calls were made once those under way have ended; meanwhile it tried again, and none was made."""

    def quiet() -> bool:
        before = len(arrivals(source))
        time.sleep(1.1)
        return len(arrivals(source)) == before

    eventually(quiet, "no call is made without a place in the ledger")
    return len(arrivals(source))


def assert_reads_work(server: Server, given: str) -> None:
    assert server.get(f"/status/{given}")["status"] == "triggered"
    assert server.get(f"/v1/ingestions/{given}/records")["records"]
    assert server.get("/v1/sources")["sources"]
    assert server.ask("GET", "/healthz").status == 200


@needs_strace
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(f"{FLUSHES}:error=EIO", id="EIO at the flush"),
        pytest.param("pwrite64:error=ENOSPC", id="ENOSPC at the write", marks=pytest.mark.long),
        pytest.param("pwrite64:error=EIO", id="EIO at the write", marks=pytest.mark.long),
    ],
)
def test_what_the_disk_did_not_take_is_a_503_and_never_there(
    fault: str, source: RunningServer, make_gate: MakeGate, journal: Journal, tmp_path: Path
) -> None:
    gate = make_gate(source, QUOTA)
    server = gate.serve()
    given = journal.must_submit(server.port, 24)
    eventually(lambda: len(arrivals(source)) >= 2, "it is at work")
    with injected(server.pid, fault, tmp_path / "strace.log"):
        assert refuses(server, journal)
        assert_reads_work(server, given)
        called = called_at_last(source)
    eventually(lambda: len(arrivals(source)) > called, "calls go on", within_s=RESUMES_S)
    journal.must_submit(server.port, 2)
    server.kill()

    again = gate.serve()
    assert_kept(gate, again, source, journal, QUOTA)


@needs_strace
@pytest.mark.long
def test_a_death_while_the_disk_fails_leaves_nothing_corrupt_or_over(
    source: RunningServer, make_gate: MakeGate, journal: Journal, tmp_path: Path, say: Say
) -> None:
    """Two faults at once: SQLite had written the commit before its flush failed, and then nothing could undo it.

    So what was refused may be there after all (docs/guarantees.md); everything else holds.
    """
    gate = make_gate(source, QUOTA)
    server = gate.serve()
    journal.must_submit(server.port, 12)
    eventually(lambda: len(arrivals(source)) >= 2, "it is at work")
    with injected(server.pid, f"{FLUSHES}:error=EIO", tmp_path / "strace.log"):
        assert refuses(server, journal)
        server.kill()
    rows = gate.stored()
    say(f"{len(rows.ingestions) - 1} of {len(journal.refused)} that were refused are there")
    assert rows.wrong == ()
    journal.cut, journal.refused = [*journal.cut, *journal.refused], []

    again = gate.serve()
    held = [ingestion for ingestion, _ in rows.held]
    assert_kept(gate, again, source, journal, QUOTA, unjudged=held)
