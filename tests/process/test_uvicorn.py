"""As people run it already: `uvicorn main:app` with several workers, and a TestClient beside a running server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.process.client import Journal
from tests.process.conftest import MakeGate, Say
from tests.process.gate import REPOSITORY, UVICORN
from tests.process.judge import arrivals, assert_kept
from tests.process.waiting import eventually
from tests.processes import children_of
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow]

WORKERS = 4

BARE = """
import json, sys, time
from fastapi.testclient import TestClient
import main

client = TestClient(main.app)
asked_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000
answer = client.post("/ingest", json={"ids": [900_001, 900_002, 900_003, 900_004], "priority": "HIGH"})
answered_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000
assert answer.status_code == 200, answer.text
given = answer.json()["ingestion_id"]
until = time.monotonic() + 30
while client.get(f"/status/{given}").json()["status"] != "completed":
    assert time.monotonic() < until, "nobody did the work"
    time.sleep(0.05)
print(json.dumps({"ingestion_id": given, "asked_us": asked_us, "answered_us": answered_us}))
"""


def test_several_workers_have_one_file_and_one_quota(
    source: RunningServer, make_gate: MakeGate, journal: Journal, say: Say
) -> None:
    quotas = ("20/s", "25/2s")
    gate = make_gate(source, *quotas, pacing="burst")
    server = gate.serve(command=(*UVICORN, "--workers", str(WORKERS)))

    def alive() -> dict[str, int]:
        return holders(gate.folder)

    eventually(lambda: len(alive()) == WORKERS, "every worker has opened the file")
    for _ in range(8):
        journal.must_submit(server.port, 5)
    eventually(lambda: len(arrivals(source)) >= 5, "they are at work")
    caller = gate.stored().callers[-1]
    assert alive()[caller] in children_of(server.pid)
    os.kill(alive()[caller], signal.SIGKILL)
    held = [ingestion for ingestion, _ in gate.stored().held]
    for _ in range(4):
        journal.submit(server.port, 3)
    eventually(lambda: caller not in alive() and len(alive()) == WORKERS, "another took its place")

    assert_kept(gate, server, source, journal, *quotas, unjudged=held)
    say(f"{len(gate.stored().callers)} of {WORKERS + 1} workers called")
    assert len(gate.stored().callers) >= 2
    server.stop()
    assert not list(gate.folder.glob("*.alive")), "they took their leave"


def holders(folder: Path) -> dict[str, int]:
    """Which process holds the lock of which worker, as the kernel knows it; a file without a lock is nobody's."""
    pids = {}
    for line in Path("/proc/locks").read_text().splitlines():
        fields = line.split()
        if "FLOCK" in fields:
            at = fields.index("FLOCK")
            pids[int(fields[at + 4].rpartition(":")[2])] = int(fields[at + 3])
    found = {}
    for file in folder.glob("*.alive"):
        with suppress(FileNotFoundError):  # swept away by somebody while we look
            if pid := pids.get(file.stat().st_ino):
                found[file.name.split(".")[-2]] = pid
    return found


def test_a_bare_test_client_beside_a_running_server_submits_and_does_not_dispatch(
    source: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    gate = make_gate(source, "5/s")
    server = gate.serve()
    journal.must_submit(server.port, 4, "LOW")
    done = subprocess.run(
        [sys.executable, "-c", BARE],
        cwd=gate.folder,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "HEADGATE_CONFIG": str(gate.folder / "headgate.toml"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    with journal.path.open("a") as file:
        ids = [900_001, 900_002, 900_003, 900_004]
        file.write(json.dumps({**told, "ids": ids, "priority": "HIGH"}) + "\n")

    assert done.stderr.count("nothing is dispatched") == 1
    assert_kept(gate, server, source, journal, "5/s")
    assert len(gate.stored().callers) == 1, "only the server called"
