"""SIGTERM and SIGINT (I19): nothing new begins, what runs is finished and settled, no attempt is burnt."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.process.client import HOST, Journal
from tests.process.conftest import MakeGate, MakeSource
from tests.process.engines import on_both_engines_at_length
from tests.process.gate import SERVE, UVICORN, Gate, Server
from tests.process.judge import arrivals, assert_kept, times_asked
from tests.process.waiting import eventually, now_us
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow]

LATENCY_S = 0.6
QUOTA = "20/s"
SEEN_LATER_US = 200_000
"""Less than a call takes, so that one begun when another had ended is not excused."""


@pytest.fixture
def slow(start_source: MakeSource) -> RunningServer:
    return start_source("--latency-ms", f"{LATENCY_S * 1_000:g}")


@contextmanager
def open_request(port: int) -> Iterator[http.client.HTTPConnection]:
    """A request whose body takes its time."""
    connection = http.client.HTTPConnection(HOST, port, timeout=20)
    try:
        connection.putrequest("POST", "/ingest")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", "15")
        connection.endheaders(b'{"ids"')
        yield connection
    finally:
        connection.close()


def with_calls_under_way(
    gate: Gate, server: Server, source: RunningServer, journal: Journal
) -> None:
    journal.must_submit(server.port, 15)
    eventually(lambda: len(arrivals(source)) >= 2, "two calls are under way")


def assert_none_began(source: RunningServer, signalled_us: int) -> None:
    """No call was begun after a signal; one that had left before it may be seen a little later."""
    seen = [each.at_us - signalled_us for each in arrivals(source)]
    assert max(seen) < SEEN_LATER_US, "a call was begun after the signal"


def assert_finished_and_no_more(
    gate: Gate, source: RunningServer, journal: Journal, signalled_us: int
) -> None:
    """What had begun is settled, and the rest is done by the next one: each id was asked for once."""
    assert_none_began(source, signalled_us)
    rows, called = gate.stored(), len(arrivals(source))
    assert (rows.held, rows.in_flight, rows.records) == ((), 0, 3 * called)
    next_one = gate.serve()
    journal.must_submit(next_one.port, 1, "HIGH")
    given = journal.accepted()[0].ingestion_id
    assert_kept(gate, next_one, source, journal, QUOTA)
    assert set(times_asked(source).values()) == {1}
    batches = next_one.get(f"/v1/ingestions/{given}/batches")["batches"]
    assert {each["attempt"] for each in batches} == {1}


@on_both_engines_at_length
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_running_calls_finish_and_none_begins(
    number: signal.Signals, slow: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    gate = make_gate(slow, QUOTA, concurrency=2)
    server = gate.serve()
    with_calls_under_way(gate, server, slow, journal)
    signalled_us = server.signal(number)
    assert server.ended(within_s=LATENCY_S + 10) in {0, -number, 128 + number}
    took_s = (now_us() - signalled_us) / 1e6

    assert took_s < LATENCY_S + 5, "it ends when its calls have ended"
    assert_finished_and_no_more(gate, slow, journal, signalled_us)


@on_both_engines_at_length
def test_dispatching_stops_at_the_signal_though_a_request_is_open(
    slow: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    """Under plain uvicorn the lifespan ends only after the last request."""
    gate = make_gate(slow, QUOTA, concurrency=2)
    server = gate.serve(command=UVICORN)
    with open_request(server.port) as request:
        with_calls_under_way(gate, server, slow, journal)
        signalled_us = server.signal(signal.SIGTERM)
        eventually(lambda: gate.stored().held == (), "the running calls are settled")
        assert server.alive, "the open request keeps it"
        assert_none_began(slow, signalled_us)
        request.send(b": [999999]")
        request.close()
    assert server.ended(within_s=15) in {0, -signal.SIGTERM}

    assert_finished_and_no_more(gate, slow, journal, signalled_us)


@on_both_engines_at_length
@pytest.mark.parametrize(
    ("command", "number"),
    [
        pytest.param(UVICORN, signal.SIGINT, id="uvicorn"),
        pytest.param(SERVE, signal.SIGTERM, id="serve", marks=pytest.mark.long),
    ],
)
def test_a_second_signal_does_no_harm(
    command: tuple[str, ...],
    number: signal.Signals,
    slow: RunningServer,
    make_gate: MakeGate,
    journal: Journal,
) -> None:
    gate = make_gate(slow, QUOTA, concurrency=2)
    server = gate.serve(command=command)
    with_calls_under_way(gate, server, slow, journal)
    signalled_us = server.signal(number)
    server.signal(number)
    server.ended(within_s=LATENCY_S + 10)
    assert_none_began(slow, signalled_us)

    next_one = gate.serve()
    assert_kept(gate, next_one, slow, journal, QUOTA)


@pytest.mark.long
def test_a_body_that_never_comes_does_not_hold_the_stop_up(
    source: RunningServer, make_gate: MakeGate
) -> None:
    server = make_gate(source, QUOTA).serve()
    with open_request(server.port):
        server.signal(signal.SIGTERM)

        assert server.ended() in {0, -signal.SIGTERM}
