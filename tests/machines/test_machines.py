"""Three machines on one PostgreSQL, each over a network of its own that fails: delayed, dropped, cut one way, reset,
without a cable; frozen past their leases and thawed, killed and started; and the database killed and started.

Asserted is what must never be, from the source's own log and the clients' journals, and how much of the quota was
used while a machine and the database were there.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from tests.machines.crew import Crew, Machine, crew
from tests.postgres import PostgresServer, create_database
from tests.process.client import Journal
from tests.process.conftest import MakeGate, Say
from tests.process.engines import on_postgres
from tests.process.faults import wait_until_stopped
from tests.process.gate import LEASE_S
from tests.process.judge import LENIENCY, arrivals, assert_kept
from tests.process.submitters import Submitters, merged
from tests.process.waiting import eventually, now_us
from tests.simulator import checker
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow, on_postgres]

QUOTAS = ("40/10s",)
"""A window that is long beside what a lost call costs, whose fate nobody knows: it is counted for 6 s more."""

GOES_ON_S = 30.0
RESUMES_S = 10.0
"""I14: it goes on by itself within 10 s of the database's return."""


@dataclass
class Story:
    """What is done to a crew, and when: the judge has to know."""

    crew: Crew
    chance: random.Random
    kills: list[int] = field(default_factory=list)
    nobody_us: list[tuple[int, int]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def victim(self) -> Machine:
        return self.chance.choice(self.crew.machines)

    def wait_for_calls(self, more: int = 2) -> None:
        before = len(arrivals(self.crew.source))
        eventually(
            lambda: len(arrivals(self.crew.source)) >= before + more,
            f"calls go on after {self.told[-1:]}",
            within_s=GOES_ON_S,
        )

    # -- one machine's network -----------------------------------------------------------------------------

    def delayed(self) -> None:
        self.victim().database.delay(40, 40)

    def dropped(self) -> None:
        self.victim().database.drop(up=True, down=True)

    def cut_upwards(self) -> None:
        self.victim().database.drop(up=True)

    def cut_downwards(self) -> None:
        self.victim().database.drop(down=True)

    def reset(self) -> None:
        self.victim().database.reset()

    def refused(self) -> None:
        self.victim().database.refuse()

    def unplugged(self) -> None:
        """Its cable is pulled: nothing at all comes to it or from it."""
        victim = self.victim()
        if victim.site.cable:
            victim.site.pull()
        else:
            victim.database.refuse()

    def heal(self) -> None:
        for each in self.crew.machines:
            each.database.heal()
            if each.site.cable:
                each.site.plug()

    # -- one machine ---------------------------------------------------------------------------------------

    def frozen_past_its_lease(self) -> None:
        victim = self.victim()
        self.kills.append(now_us())
        victim.signal(signal.SIGSTOP)
        for each in victim.processes:
            wait_until_stopped(each.pid)
        time.sleep(LEASE_S + 1)
        victim.signal(signal.SIGCONT)

    def killed(self) -> None:
        victim = self.victim()
        self.kills.append(now_us())
        victim.kill()
        victim.start().ready()

    # -- the database --------------------------------------------------------------------------------------

    def database_killed(self) -> None:
        began = now_us()
        self.kills.append(began)
        self.crew.database.kill()
        time.sleep(1.0)
        self.crew.database.start()
        self.nobody_us.append((began, now_us() + int(RESUMES_S * 1e6)))

    def play(self, step: Callable[[], None], *, lasts_s: float) -> None:
        """Do it, let calls go on beside it, make it good, let calls go on after it."""
        self.told.append(step.__name__)
        before, began = len(arrivals(self.crew.source)), now_us()
        self.kills.append(
            now_us()
        )  # a call may be out whose answer is lost, and its batch comes again late
        step()
        time.sleep(lasts_s)
        self.wait_for_calls()
        self.heal()
        self.wait_for_calls()
        calls, took_s = len(arrivals(self.crew.source)) - before, (now_us() - began) / 1e6
        self.told[-1] += f": {calls} calls in {took_s:.1f} s"


def used(source: RunningServer, without: list[tuple[int, int]], quota: str) -> float:
    """What share of the rule was used from the first call to the last, but for some spans."""
    found = arrivals(source)
    window = checker.parse_window(quota)
    latency_us = checker.mean_latency_us(found)
    instants, gone = [], 0
    spans = sorted(without)
    for each in sorted(each.at_us for each in found):
        while spans and each > spans[0][1]:
            gone += spans[0][1] - spans[0][0]
            spans.pop(0)
        if not spans or each < spans[0][0]:
            instants.append(each - gone)
    share = checker.share_of_rule(instants, [window], latency_us=latency_us)
    assert share is not None
    return share


def judged(story: Story, submitters: Submitters, backlog: Journal, *, held_s: float) -> str:
    """Everything is kept; returns what the checker says."""
    rescue_us = int((held_s + LEASE_S) * 1e6)
    return assert_kept(
        story.crew.gate,
        story.crew.apis[0],
        story.crew.source,
        merged(story.crew.gate.folder, [*submitters.journals, backlog]),
        *QUOTAS,
        leniency=replace(LENIENCY, kills=tuple(story.kills), rescue_us=rescue_us),
    )


def went_through(
    names: list[str],
    durable: PostgresServer,
    source: RunningServer,
    make_gate: MakeGate,
    *,
    seed: int,
    lasts_s: float,
    pause_s: float,
    backlog_ids: int,
    first_calls: int = 5,
) -> tuple[str, float]:
    gate = make_gate(source, *QUOTAS, concurrency=8, postgres=create_database(durable.url, "gate"))
    with crew(gate, source, durable) as made:
        story = Story(made, random.Random(seed))
        backlog = Journal(gate.folder / "journal-backlog.jsonl", _next=500_000_000)
        backlog.must_submit(made.apis[0].port, backlog_ids, "LOW")
        ports = [each.port for each in made.apis]
        submitters = Submitters(ports, gate.folder, seed, pause_s=pause_s)
        eventually(lambda: len(arrivals(source)) >= first_calls, "calls are made")
        with submitters.at_work():
            for name in names:
                story.play(getattr(story, name), lasts_s=lasts_s)
        assert submitters.failed == []
        share = used(source, story.nobody_us, QUOTAS[0])
        told = judged(story, submitters, backlog, held_s=GOES_ON_S + lasts_s)
        callers = dict(made.callers())
        return f"{made.where}; seed {seed}; {story.told}; calls {callers}\n{told}", share


def test_machines_whose_networks_fail_lose_nothing_and_are_never_over(
    durable: PostgresServer, source: RunningServer, make_gate: MakeGate, say: Say
) -> None:
    told, share = went_through(
        ["cut_downwards", "killed", "database_killed"],
        durable,
        source,
        make_gate,
        seed=random.randrange(10**6),
        lasts_s=0.5,
        pause_s=0.5,
        backlog_ids=60,
    )
    say(f"{share:.1%} of the rule was used\n{told}")


NETWORK = ["delayed", "dropped", "cut_upwards", "cut_downwards", "reset", "refused", "unplugged"]
MACHINE = ["frozen_past_its_lease", "killed"]


@pytest.mark.long
def test_every_fault_in_any_order_is_survived_and_the_quota_is_used(
    durable: PostgresServer, source: RunningServer, make_gate: MakeGate, say: Say
) -> None:
    seed = random.randrange(10**6)
    names = [*NETWORK, *MACHINE, "database_killed", "killed", "reset"]
    random.Random(seed).shuffle(names)
    told, share = went_through(
        names,
        durable,
        source,
        make_gate,
        seed=seed,
        lasts_s=5.0,
        pause_s=2.0,
        backlog_ids=900,
        first_calls=20,  # all three are trusted with the clock by then
    )
    say(f"{share:.1%} of the rule was used\n{told}")

    assert share >= 0.95, "at least one machine and the database were there"
