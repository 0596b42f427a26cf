"""As people run it already: `uvicorn main:app` with several workers, and a TestClient beside a running server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.client import Journal
from tests.process.conftest import MakeGate, Say
from tests.process.gate import REPOSITORY, UVICORN, children_of
from tests.process.judge import arrivals, assert_kept
from tests.process.waiting import eventually
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

    def all_alive() -> bool:
        return len(list(gate.folder.glob("*.alive"))) == WORKERS

    eventually(all_alive, "every worker has opened the file")
    for _ in range(8):
        journal.must_submit(server.port, 5)
    eventually(lambda: len(arrivals(source)) >= 5, "they are at work")
    victim = next(pid for pid in children_of(server.pid) if is_worker(pid))
    os.kill(victim, signal.SIGKILL)
    held = [ingestion for ingestion, _ in gate.stored().held]
    for _ in range(4):
        journal.submit(server.port, 3)

    assert_kept(gate, server, source, journal, *quotas, unjudged=held)
    say(f"{gate.stored().callers} of {WORKERS} workers called")
    assert gate.stored().callers >= 2
    server.stop()
    assert not list(gate.folder.glob("*.alive")), "they took their leave"


def is_worker(pid: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


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
    assert gate.stored().callers == 1, "only the server called"
