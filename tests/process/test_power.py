"""Power cuts (I1): what was answered is there, and every call that was made is in the ledger, wherever it is cut."""

from __future__ import annotations

import random
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.process import power
from tests.process.client import Journal
from tests.process.conftest import MakeGate, Say
from tests.process.faults import FLUSHES, injected, needs_strace
from tests.process.gate import Gate
from tests.process.judge import arrivals, assert_kept, drained
from tests.process.stored import stored
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow, needs_strace]

QUOTA = "20/s"
CLIENTS = 3


def submit_much(gate: Gate, folder: Path, each: int) -> list[Journal]:
    """Several clients at once, so that commits are shared."""

    def one(client: int) -> Journal:
        journal = Journal(folder / f"journal-{client}.jsonl", _next=client * 1_000_000)
        for turn in range(each):
            journal.submit(gate.port, 1 + turn % 5, ("LOW", "MEDIUM", "HIGH")[client])
        return journal

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(one, range(CLIENTS)))


@pytest.mark.parametrize(
    "flush", [3, *(pytest.param(k, marks=pytest.mark.long) for k in (1, 2, 4, 5, 7, 10, 20))]
)
def test_a_death_between_write_and_flush(
    flush: int, source: RunningServer, make_gate: MakeGate, journal: Journal, tmp_path: Path
) -> None:
    gate = make_gate(source, QUOTA)
    server = gate.serve()
    with injected(server.pid, f"{FLUSHES}:signal=KILL:when={flush}", tmp_path / "strace.log"):
        while server.alive:
            journal.submit(gate.port, 4)
        assert server.ended() == -signal.SIGKILL
    rows = gate.stored()
    assert rows.wrong == ()
    assert {each.ingestion_id for each in journal.accepted()} <= set(rows.ingestions)
    assert rows.granted >= len(arrivals(source))

    again = gate.serve()
    held = [ingestion for ingestion, _ in rows.held]
    assert_kept(gate, again, source, journal, QUOTA, unjudged=held)


def cut_everywhere(
    source: RunningServer, gate: Gate, folder: Path, *, each: int, cuts: int, seed: int
) -> power.Record:
    """Record a run with submissions, calls and checkpoints, then cut it at many places."""
    server = gate.serve()
    before = {file.name: file.read_bytes() for file in gate.folder.glob("headgate.db*")}
    log = folder / "power.log"
    with power.recording(server.pid, log):
        submit_much(gate, folder, each)
        drained(server)
    server.kill()
    record = power.read(log, {k: v for k, v in before.items() if not k.endswith(("-shm", "e"))})
    chance = random.Random(seed)
    for cut in power.interesting_cuts(record, cuts, chance):
        for survivors in (0.0, 0.5, 1.0):
            assert_promises_kept(record, cut, survivors, chance, folder)
    return record


def assert_promises_kept(
    record: power.Record, cut: int, survivors: float, chance: random.Random, folder: Path
) -> None:
    after = folder / f"cut-{cut}-{survivors}"
    after.mkdir()
    for name, data in record.files_after(cut, survivors, chance).items():
        (after / name).write_bytes(data)
    rows = stored(after / "headgate.db")
    answered, called = record.promised(cut)
    assert rows.wrong == (), (cut, survivors)
    assert answered <= set(rows.ingestions), (cut, survivors)
    assert rows.granted >= called, (cut, survivors)


def told(record: power.Record) -> str:
    counts = Counter(type(event).__name__.lower() for event in record.events)
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def test_what_was_promised_survives_a_power_cut(
    source: RunningServer, make_gate: MakeGate, tmp_path: Path, say: Say
) -> None:
    gate = make_gate(source, "100/s")
    record = cut_everywhere(source, gate, tmp_path, each=8, cuts=30, seed=random.randrange(10**6))
    say(told(record))
    answered, called = record.promised(len(record.events))

    assert len(answered) == CLIENTS * 8
    assert called == len(arrivals(source))


@pytest.mark.long
def test_what_was_promised_survives_a_power_cut_anywhere_in_a_long_run(
    source: RunningServer, make_gate: MakeGate, tmp_path: Path, say: Say
) -> None:
    gate = make_gate(source, "100/s")
    record = cut_everywhere(
        source, gate, tmp_path, each=100, cuts=300, seed=random.randrange(10**6)
    )
    say(told(record))
    checkpoints = {each.file for each in record.events if isinstance(each, power.Flush)}

    assert "headgate.db" in checkpoints, "the run was too short to meet a checkpoint"
