"""The status of an ingestion of 1,000 batches, over HTTP: before anything of it began, and when all of it ended."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import closing
from statistics import median

from benchmarks import rig
from benchmarks.figure import Line, below, note, quantile

BATCHES = 1_000
WAITING = '[sources.simulated]\nquota = ["1/h"]\n'
FAST = '[sources.simulated]\nquota = []\nlatency = "0s"\nconcurrency = 64\n'
AT_MOST_S = 30.0


def measure(quick: bool) -> list[Line]:
    times = 60 if quick else 400
    waiting, ended = _asked(WAITING, "yet_to_start", times), _asked(FAST, "completed", times)
    slower = max(waiting, ended, key=median)
    return [
        note("none has begun, median", median(waiting), "ms"),
        note("all have ended, median", median(ended), "ms"),
        below(f"status of {BATCHES:,} batches, median of the slower", median(slower), 5, "ms"),
        note("its p95", quantile(slower, 0.95), "ms"),
    ]


def _asked(configuration: str, until: str, times: int) -> list[float]:
    """How long each answer took, in milliseconds, once the last batch stands there."""
    with rig.folder() as place, rig.headgate(place, configuration) as server:
        if until == "yet_to_start":
            server.submit([0], "HIGH")  # takes the only slot
        path = f"/status/{server.submit(rig.distinct_ids(3 * BATCHES))}"
        with closing(http.client.HTTPConnection(rig.HOST, server.port, timeout=10)) as connection:
            _wait_until(connection, path, until)
            return [_timed(connection, path) for _ in range(times)]


def _wait_until(connection: http.client.HTTPConnection, path: str, status: str) -> None:
    before = time.monotonic() + AT_MOST_S
    while time.monotonic() < before:
        found = json.loads(rig.exchange(connection, "GET", path)[1])
        assert len(found["batches"]) == BATCHES
        if found["batches"][-1]["status"] == status:
            return
        time.sleep(0.05)
    raise TimeoutError(f"{path} was not {status} within {AT_MOST_S} s")


def _timed(connection: http.client.HTTPConnection, path: str) -> float:
    began = time.perf_counter()
    status, _ = rig.exchange(connection, "GET", path)
    assert status == 200, status
    return 1_000 * (time.perf_counter() - began)
