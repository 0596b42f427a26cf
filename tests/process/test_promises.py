"""What a client was told before the server died holds after it: accepted (I1), one key (I8), cancelled (I7)."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.process.client import Journal, Wanted
from tests.process.conftest import MakeGate, MakeSource, Say
from tests.process.engines import on_both_engines, on_both_engines_at_length
from tests.process.judge import arrivals, assert_kept, drained, ingestions, records
from tests.process.waiting import eventually, now_us
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow]

CLIENTS = 16
COPIES = 100


@on_both_engines_at_length
def test_whatever_was_answered_just_before_a_kill_is_there(
    source: RunningServer, make_gate: MakeGate, tmp_path: Path, say: Say
) -> None:
    gate = make_gate(source, "90/s")
    server = gate.serve()

    def hammer(client: int) -> Journal:
        journal = Journal(tmp_path / f"journal-{client}.jsonl", _next=client * 1_000_000)
        while not journal.cut:
            key = f"{client}-{now_us()}" if client % 2 else None
            journal.submit(gate.port, 2, key=key)
        return journal

    with ThreadPoolExecutor(CLIENTS) as pool:
        journals = [pool.submit(hammer, client) for client in range(CLIENTS)]
        eventually(lambda: len(ingestions(server)) > 50, "submissions are coming in")
        time.sleep(random.uniform(0, 0.2))
        server.kill()
        told = [each.result(30) for each in journals]
    answered = {one.ingestion_id for each in told for one in each.accepted()}
    there = set(gate.stored().ingestions)
    say(f"{len(answered)} answered, {len(there) - len(answered)} more had been committed")

    assert answered <= there
    assert len(there) <= len(answered) + sum(len(each.cut) for each in told)
    again = gate.serve()
    whole = Journal(tmp_path / "whole.jsonl", cut=[cut for each in told for cut in each.cut])
    whole.path.write_bytes(b"".join(each.path.read_bytes() for each in told))
    held = {ingestion for ingestion, _ in gate.stored().held}
    assert_kept(gate, again, source, whole, "90/s", unjudged=[*held])


@on_both_engines
def test_a_hundred_copies_of_one_key_are_one_ingestion_over_a_kill(
    source: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    gate = make_gate(source, "5/s")
    server = gate.serve()
    wanted = Wanted(journal.ids(7), key="one")

    def copy(number: int) -> str:
        time.sleep(number * 0.01)
        while (given := journal.submit(gate.port, wanted)) is None:
            time.sleep(0.02)
        return given

    with ThreadPoolExecutor(COPIES) as pool:
        copies = [pool.submit(copy, number) for number in range(COPIES)]
        time.sleep(random.uniform(0.0, 0.5))
        server.kill()
        server = gate.serve()
        given = {each.result(60) for each in copies}

    assert len(given) == 1
    assert len(ingestions(server)) == 1
    assert_kept(gate, server, source, journal, "5/s")


@on_both_engines
def test_what_is_cancelled_in_flight_is_kept_and_nothing_more_begins(
    start_source: MakeSource, make_gate: MakeGate, journal: Journal
) -> None:
    source = start_source("--latency-ms", "700")
    gate = make_gate(source, "20/s", concurrency=2)
    server = gate.serve()
    given = journal.must_submit(server.port, 12)
    later = journal.must_submit(server.port, 4, "LOW")
    eventually(lambda: len(arrivals(source)) >= 2, "two calls are in flight")
    answer = server.ask("POST", f"/v1/ingestions/{given}:cancel")
    assert (answer.status, answer.json()["in_flight"]) == (200, 2)
    assert answer.json()["ingestion"]["status"] == "triggered"
    drained(server)
    shown = server.get(f"/v1/ingestions/{given}")

    assert shown["status"] == "cancelled"
    assert (shown["counts"]["fetched"], shown["counts"]["cancelled"]) == (6, 6)
    assert len(list(records(server, given))) == 6
    called = [each.ids for each in arrivals(source)]
    assert sorted(called[:2]) == [("1", "2", "3"), ("4", "5", "6")]
    assert sorted(called[2:]) == [("13", "14", "15"), ("16",)]
    assert server.get(f"/v1/ingestions/{later}")["status"] == "completed"
    assert_kept(gate, server, source, journal, "20/s", cancelled=[given])


@pytest.mark.long
@on_both_engines
def test_a_cancellation_survives_a_kill(
    start_source: MakeSource, make_gate: MakeGate, journal: Journal
) -> None:
    """Killed right after its answer, with a call in flight: what was lost with the process is cancelled as well."""
    source = start_source("--latency-ms", "2000")
    gate = make_gate(source, "20/s")
    server = gate.serve()
    given = journal.must_submit(server.port, 9)
    eventually(lambda: arrivals(source), "a call is in flight")
    assert server.ask("POST", f"/v1/ingestions/{given}:cancel").json()["in_flight"] == 1
    server.kill()

    again = gate.serve()
    drained(again)
    shown = again.get(f"/v1/ingestions/{given}")
    assert (shown["status"], shown["counts"]["cancelled"]) == ("cancelled", 9)
    assert len(arrivals(source)) == 1
    assert_kept(gate, again, source, journal, "20/s", cancelled=[given])
