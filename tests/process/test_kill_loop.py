"""Submissions of every priority go on while the server is killed at any moment and started again; then all is checked.

Chance alone rarely hits the moments that matter, so every other kill waits for the source to be called first.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.process.client import Journal, Wanted
from tests.process.conftest import MakeGate, Say
from tests.process.gate import Gate, Server
from tests.process.judge import arrivals, assert_kept
from tests.process.waiting import eventually
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow]

QUOTAS = ("25/s", "60/5s")
PRIORITIES = ("HIGH", "MEDIUM", "LOW")


@dataclass
class Submitters:
    """One client for each priority, in a thread of its own, with ids of its own. Every other submission has a key
    and is tried until it is answered: over a kill, too.
    """

    port: int
    folder: Path
    seed: int
    pause_s: float
    journals: list[Journal] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    failed: list[BaseException] = field(default_factory=list)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        threads = []
        for place, priority in enumerate(PRIORITIES):
            journal = Journal(self.folder / f"journal-{priority}.jsonl", _next=place * 10_000_000)
            self.journals.append(journal)
            threads.append(threading.Thread(target=self._submit, args=(journal, priority)))
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self.done.set()
            for each in threads:
                each.join(60)

    def _submit(self, journal: Journal, priority: str) -> None:
        chance = random.Random(f"{self.seed} {priority}")
        try:
            while not self.done.is_set():
                self._one(journal, priority, chance)
                time.sleep(chance.uniform(0, 2 * self.pause_s))
        except BaseException as error:
            self.failed.append(error)

    def _one(self, journal: Journal, priority: str, chance: random.Random) -> None:
        ids = journal.ids(chance.choice([1, 2, 3, 4, 7]))
        if chance.random() < 0.5:
            journal.submit(self.port, Wanted(ids, priority))
            return
        wanted = Wanted(ids, priority, key=f"{priority}-{ids[0]}")
        while journal.submit(self.port, wanted) is None and not self.done.is_set():
            time.sleep(0.05)


def merged(folder: Path, journals: list[Journal]) -> Journal:
    """One journal of them all."""
    whole = Journal(folder / "journal.jsonl")
    whole.path.write_bytes(b"".join(each.path.read_bytes() for each in journals))
    whole.cut = [each for journal in journals for each in journal.cut]
    return whole


def assert_known(server: Server, journals: list[Journal]) -> None:
    """What was last accepted before a kill is there after it."""
    for each in journals:
        for told in each.accepted()[-3:]:
            server.get(f"/status/{told.ingestion_id}")


def killed_again_and_again(
    gate: Gate, source: RunningServer, kills: int, *, pause_s: float, seed: int
) -> str:
    chance = random.Random(seed)
    submitters = Submitters(gate.port, gate.folder, seed, pause_s)
    server, held = gate.serve(), set[str]()
    with submitters.at_work():
        for kill in range(kills):
            time.sleep(chance.uniform(0.05, 0.8))
            if kill % 2:
                wait_for_a_call(source)
                time.sleep(chance.choice([0.0, 0.0, 0.002, 0.01]))
            server.kill()
            rows = gate.stored()
            assert rows.wrong == ()
            held |= {ingestion for ingestion, _ in rows.held}
            server = gate.serve()
            assert_known(server, submitters.journals)
    assert submitters.failed == []
    journal = merged(gate.folder, submitters.journals)
    told = assert_kept(gate, server, source, journal, *QUOTAS, unjudged=sorted(held))
    return (
        f"seed {seed}, {kills} kills, {len(held)} batches in hand, {len(journal.cut)} cut\n{told}"
    )


def wait_for_a_call(source: RunningServer) -> None:
    before = len(arrivals(source))
    eventually(lambda: len(arrivals(source)) > before, "another call")


def test_nothing_is_lost_doubled_or_over_when_it_is_killed_at_random(
    source: RunningServer, make_gate: MakeGate, say: Say
) -> None:
    gate = make_gate(source, *QUOTAS)

    say(killed_again_and_again(gate, source, 6, pause_s=0.25, seed=random.randrange(10**6)))


@pytest.mark.long
def test_nothing_is_lost_doubled_or_over_after_sixty_kills(
    source: RunningServer, make_gate: MakeGate, say: Say
) -> None:
    gate = make_gate(source, *QUOTAS)

    say(killed_again_and_again(gate, source, 60, pause_s=0.25, seed=random.randrange(10**6)))
