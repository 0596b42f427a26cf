"""Submissions of every priority go on while the server is killed at any moment and started again; then all is checked.

Chance alone rarely hits the moments that matter, so every other kill waits for the source to be called first.
"""

from __future__ import annotations

import random
import time

import pytest

from tests.process.client import Journal
from tests.process.conftest import MakeGate, Say
from tests.process.engines import on_both_engines
from tests.process.gate import Gate, Server
from tests.process.judge import arrivals, assert_kept
from tests.process.submitters import Submitters, merged
from tests.process.waiting import eventually
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow]

QUOTAS = ("25/s", "60/5s")


def assert_known(server: Server, journals: list[Journal]) -> None:
    """What was last accepted before a kill is there after it."""
    for each in journals:
        for told in each.accepted()[-3:]:
            server.get(f"/status/{told.ingestion_id}")


def killed_again_and_again(
    gate: Gate, source: RunningServer, kills: int, *, pause_s: float, seed: int
) -> str:
    chance = random.Random(seed)
    submitters = Submitters([gate.port], gate.folder, seed, pause_s)
    server, held = gate.serve(), set[str]()
    with submitters.at_work():
        for kill in range(kills):
            time.sleep(chance.uniform(0.05, 0.8))
            if kill % 2:
                wait_for_calls(source, 2 if kill % 10 == 1 else 1)
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


def wait_for_calls(source: RunningServer, count: int) -> None:
    """With one call at a time the second says that the first was settled: lost 20 times in a row it would fail."""
    before = len(arrivals(source))
    eventually(lambda: len(arrivals(source)) >= before + count, f"{count} more calls")


@on_both_engines
def test_nothing_is_lost_doubled_or_over_when_it_is_killed_at_random(
    source: RunningServer, make_gate: MakeGate, say: Say, engine: str
) -> None:
    gate = make_gate(source, *QUOTAS)
    kills, pause_s = {"sqlite": (6, 0.25), "postgres": (2, 0.5)}[engine]

    say(killed_again_and_again(gate, source, kills, pause_s=pause_s, seed=random.randrange(10**6)))


@pytest.mark.long
@on_both_engines
def test_nothing_is_lost_doubled_or_over_after_sixty_kills(
    source: RunningServer, make_gate: MakeGate, say: Say, engine: str
) -> None:
    gate = make_gate(source, *QUOTAS)
    pause_s = {"sqlite": 0.25, "postgres": 3.0}[engine]  # here a life of seconds makes no call

    say(killed_again_and_again(gate, source, 60, pause_s=pause_s, seed=random.randrange(10**6)))
