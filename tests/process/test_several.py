"""Several processes on one database: one queue, one quota, whoever calls. The source is told who by a header."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing

import pytest

from tests.process.client import Journal
from tests.process.conftest import MakeGate, MakeSource, Say
from tests.process.engines import on_both_engines, on_both_engines_at_length
from tests.process.gate import LEASE_S, Gate, Server
from tests.process.judge import (
    arrivals,
    assert_kept,
    assert_windows,
    drained,
    ingestions,
    times_asked,
)
from tests.process.waiting import eventually, now_us
from tests.processes import free_port
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow]

CLAIMED_BEFORE_US = 1_000_000
"""A call that was granted before an instant may be seen so much later: the slack, and a busy machine."""


def several(gate: Gate, count: int, **how: str) -> list[Server]:
    """Start so many at once, each with a name that its calls carry."""
    for name in range(count):
        gate.configure(f"{name}.toml", headers={"x-process": str(name)})
    started = [gate.start(config=f"{name}.toml", port=free_port(), **how) for name in range(count)]
    return [each.ready() for each in started]


def calls_by_process(source: RunningServer) -> Counter[str]:
    return Counter(each["headers"]["x-process"] for each in source.requests())


@on_both_engines_at_length
@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.long)])
def test_they_share_one_quota_and_one_line(
    count: int, source: RunningServer, make_gate: MakeGate, journal: Journal, say: Say
) -> None:
    quotas = ("20/s", "25/2s")
    gate = make_gate(source, *quotas, pacing="burst")
    servers = several(gate, count)
    for turn in range(12):
        for server in servers:
            journal.must_submit(server.port, 4 + turn % 3, ("LOW", "MEDIUM", "HIGH")[turn % 3])
    for server in servers:
        assert len(ingestions(server)) == 12 * count, "each sees what the others accepted"
    drained(servers[0])
    say(f"calls by process: {dict(calls_by_process(source))}")
    [(busiest, _)] = calls_by_process(source).most_common(1)
    servers.pop(int(busiest)).stop()
    journal.must_submit(servers[0].port, 3)

    assert_kept(gate, servers[0], source, journal, *quotas)
    assert len(calls_by_process(source)) >= 2, "the others call, too"
    assert set(times_asked(source).values()) == {1}


def wait_for_calls(source: RunningServer, count: int) -> None:
    eventually(lambda: len(arrivals(source)) >= count, "the call")


def test_whoever_looks_into_the_file_and_leaves_takes_nothing_along(
    source: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    """As a person's `sqlite3`, or a program that makes backups."""
    gate = make_gate(source, "20/s")
    server = gate.serve()
    journal.must_submit(server.port, 3)
    with closing(sqlite3.connect(gate.database)) as onlooker:
        assert onlooker.execute("select count(*) from ingestion").fetchall() == [(1,)]

    journal.must_submit(server.port, 3)
    drained(server)
    server.kill()

    assert_kept(gate, gate.serve(), source, journal, "20/s")


def test_a_process_that_stops_takes_nothing_of_the_others_along(
    source: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    gate = make_gate(source, "20/s")
    staying, leaving = several(gate, 2)
    journal.must_submit(staying.port, 3)
    leaving.stop()

    journal.must_submit(staying.port, 3)
    drained(staying)
    staying.kill()

    assert_kept(gate, gate.serve(), source, journal, "20/s")


@on_both_engines
def test_each_wakes_the_other(
    source: RunningServer, make_gate: MakeGate, journal: Journal, say: Say
) -> None:
    """What one that does not call accepts is called by the other: woken by the commit, not by its poll of 5 s."""
    gate = make_gate(source, "50/s")
    caller = gate.serve()
    taker = gate.serve(port=free_port(), HEADGATE_WORKER="false")
    delays = []
    for turn in range(1, 6):
        time.sleep(0.15)
        given = journal.must_submit(taker.port, 1)
        told_us = next(e.answered_us for e in journal.accepted() if e.ingestion_id == given)
        wait_for_calls(source, turn)
        delays.append((arrivals(source)[-1].at_us - told_us) / 1_000)

    say(f"ms from the answer of one to the call of the other: {sorted(map(round, delays))}")
    assert min(delays) < 2_500, "woken by nothing but the poll"
    assert_kept(gate, caller, source, journal, "50/s")


@on_both_engines_at_length
def test_the_quota_that_was_configured_last_is_obeyed_by_both(
    source: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    """One whose file still says 10/s calls while another, which said 4/s, only takes in; then the other calls."""
    gate = make_gate(source, "10/s")
    gate.configure("mild.toml", headers={"x-process": "mild"})
    gate.configure("strict.toml", quota=["4/s", "5/2s"], headers={"x-process": "strict"})
    mild = gate.serve(config="mild.toml")
    journal.must_submit(mild.port, 6)
    eventually(lambda: arrivals(source), "the mild one calls")
    strict = gate.serve(config="strict.toml", port=free_port(), HEADGATE_WORKER="false")
    in_force_us = now_us()
    told = strict.facts("quota changed")
    assert [each["level"] for each in told] == ["warning"]
    assert "10 per 1 s" in told[0]["before"]
    assert "4 per 1 s, 5 per 2 s" in told[0]["after"]
    assert mild.get("/v1/sources/catalog")["quota"] == strict.get("/v1/sources/catalog")["quota"]

    for server in (mild, strict):
        journal.must_submit(server.port, 9, "HIGH")
    eventually(lambda: calls_since(source, "mild", in_force_us) >= 5, "the mild one goes on")
    mild.stop()
    strict.stop()
    strict = gate.serve(config="strict.toml")
    journal.must_submit(strict.port, 3)

    assert_kept(gate, strict, source, journal, "10/s")
    assert_windows(source, "4/s", "5/2s", since_us=in_force_us + CLAIMED_BEFORE_US)
    assert calls_since(source, "strict", in_force_us) >= 1
    assert not strict.facts("quota changed"), "it was in force already"


def calls_since(source: RunningServer, process: str, instant_us: int) -> int:
    return sum(
        each["at_us"] > instant_us and each["headers"]["x-process"] == process
        for each in source.requests()
    )


@on_both_engines_at_length
def test_the_batch_of_a_killed_one_is_taken_over(
    start_source: MakeSource, make_gate: MakeGate, journal: Journal, say: Say, engine: str
) -> None:
    """On one host long before its lease of 15 s is over: who is alive sees that its lock is free.

    Elsewhere when its lease is over, and not before.
    """
    source = start_source()
    gate = make_gate(source, "5/s")
    gate.configure("slow.toml", url=f"{source.url}/items?mode=no-answer{{&ids}}")
    victim = gate.serve(config="slow.toml")
    given = journal.must_submit(victim.port, 4)
    eventually(lambda: arrivals(source), "its first call")
    other = gate.serve(port=free_port())
    killed_us = victim.kill()
    within_s = {"sqlite": 5, "postgres": LEASE_S + 10}[engine]
    eventually(
        lambda: len(arrivals(source)) > 1, "another call for the same batch", within_s=within_s
    )

    took_s = (arrivals(source)[1].at_us - killed_us) / 1e6
    say(f"{took_s:.2f} s from the kill to the next call")
    assert engine == "sqlite" or took_s > LEASE_S / 2, "its last renewal was not long ago"
    assert arrivals(source)[1].ids == arrivals(source)[0].ids
    assert_kept(gate, other, source, journal, "5/s", unjudged=[given])
    assert not list(gate.folder.glob(f"*{other.facts('taken back')[0]['worker']}*"))
