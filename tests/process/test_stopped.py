"""A process that is stopped (SIGSTOP, a debugger, a machine that swaps) and goes on later as if nothing had been.

Where exactly it stops is chosen by a fault in a system call: in the commit of a claim, and while it connects.
"""

from __future__ import annotations

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.process.client import Journal, Wanted
from tests.process.conftest import MakeGate, MakeSource
from tests.process.engines import on_both_engines, on_both_engines_at_length
from tests.process.faults import FLUSHES, injected, needs_strace, wait_until_stopped
from tests.process.judge import arrivals, assert_kept, drained, records, times_asked
from tests.process.waiting import eventually, now_us
from tests.processes import free_port
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow]

SLACK_S = 0.5


@needs_strace
@pytest.mark.parametrize(
    "fault",
    [
        # a commit flushes once: the first is of the submission, the second of the claim that follows it
        pytest.param(
            f"{FLUSHES}:signal=STOP:when=2", id="in the commit of its claim", marks=pytest.mark.long
        ),
        pytest.param("connect:signal=STOP:when=1", id="while it connects"),
    ],
)
def test_a_call_that_has_become_stale_meanwhile_is_not_sent(
    fault: str, source: RunningServer, make_gate: MakeGate, journal: Journal, tmp_path: Path
) -> None:
    gate = make_gate(source, "1/300ms", slack=f"{SLACK_S * 1000:g}ms", grace="300ms")
    server = gate.serve()
    wanted = Wanted(journal.ids(7), key="once")
    with ThreadPoolExecutor(1) as pool:
        with injected(server.pid, fault, tmp_path / "strace.log"):
            submitted = pool.submit(journal.submit, server.port, wanted)
            wait_until_stopped(server.pid)
            time.sleep(1.5 * SLACK_S)
        assert arrivals(source) == []
        resumed_us = now_us()
        server.signal(signal.SIGCONT)
        assert submitted.result(20)
    drained(server)

    assert arrivals(source)[0].at_us > resumed_us + 300_000, "the first grant was spent unsent"
    journal.must_submit(server.port, 2, "HIGH")
    assert_kept(gate, server, source, journal, "1/300ms")
    assert set(times_asked(source).values()) == {1}


def stopped_again_and_again(
    source: RunningServer, make_gate: MakeGate, journal: Journal, *, stops: int
) -> None:
    """Stop it at any moment, for less and for more than its slack."""
    quotas = ("10/s", "5/600ms")
    gate = make_gate(source, *quotas, slack="300ms", grace="500ms")
    server = gate.serve()
    journal.must_submit(server.port, 18 * stops, "LOW")
    for _ in range(stops):
        time.sleep(random.uniform(0.1, 0.5))
        server.signal(signal.SIGSTOP)
        time.sleep(random.choice([0.05, 0.35, 0.8]))
        server.signal(signal.SIGCONT)
        journal.must_submit(server.port, 2, "HIGH")

    assert_kept(gate, server, source, journal, *quotas)


@on_both_engines
def test_no_window_is_over_whenever_it_was_stopped(
    source: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    stopped_again_and_again(source, make_gate, journal, stops=3)


@pytest.mark.long
@on_both_engines
def test_no_window_is_over_however_often_it_was_stopped(
    source: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    stopped_again_and_again(source, make_gate, journal, stops=60)


@on_both_engines_at_length
def test_who_was_stopped_past_its_lease_changes_nothing_when_it_wakes(
    start_source: MakeSource, make_gate: MakeGate, journal: Journal
) -> None:
    """It still has its lock, so only the lease tells; it wakes with an answer in its hands."""
    source = start_source()
    gate = make_gate(source, "5/s", lease="2500ms")
    gate.configure("slow.toml", url=f"{source.url}/items?latency_ms=500{{&ids}}")
    sleeper = gate.serve(config="slow.toml")
    given = journal.must_submit(sleeper.port, 4)
    eventually(lambda: arrivals(source), "its first call")
    sleeper.signal(signal.SIGSTOP)
    other = gate.serve(port=free_port())
    drained(other, within_s=20)
    before = [line for _, line in records(other, given)]
    assert other.facts("taken back")

    sleeper.signal(signal.SIGCONT)
    eventually(lambda: sleeper.facts("lease lost"), "the one that wakes sees that it lost")
    after = [line for _, line in records(other, given)]

    assert after == before
    assert [journal.must_submit(each.port, 2) for each in (sleeper, other)]
    assert_kept(gate, other, source, journal, "5/s", unjudged=[given])


@pytest.mark.long
@on_both_engines
def test_a_live_worker_keeps_its_lease_however_long_a_call_takes(
    start_source: MakeSource, make_gate: MakeGate, journal: Journal
) -> None:
    source = start_source("--latency-ms", "20000")
    gate = make_gate(source, "5/s", concurrency=2)
    one, other = gate.serve(), gate.serve(port=free_port())
    journal.must_submit(one.port, 3)
    drained(other)

    assert len(arrivals(source)) == 1
    assert not one.facts("lease lost")
    assert_kept(gate, other, source, journal, "5/s")


@pytest.mark.long
@on_both_engines
@pytest.mark.parametrize("lease", ["4s", "2s"])
def test_a_live_worker_keeps_a_short_lease_too(
    lease: str, start_source: MakeSource, make_gate: MakeGate, journal: Journal
) -> None:
    source = start_source("--latency-ms", "8000")
    gate = make_gate(source, "5/s", lease=lease)
    one, other = gate.serve(), gate.serve(port=free_port())
    journal.must_submit(one.port, 3)
    drained(other)

    assert len(arrivals(source)) == 1
    assert not one.facts("lease lost") + other.facts("lease lost")
