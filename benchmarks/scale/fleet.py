"""A fleet in simulated time: 1,000 sources, 100 workers, 10^9 ids, one database of some processors; no clock is read.

Who is on duty and how grants are paced is the product's own code (`core/duty.py`, `core/quota.py`); what it replaces
is the database (so many processors, each transaction takes its measured cost, a source's row serves one at a time),
the network and the sources. A tenth of the workers die in the middle; what they had in hand is answered all the
same here, since how that is rescued is shown by real processes.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from benchmarks.figure import Line, at_least, at_most, note, quantile
from benchmarks.scale import model
from benchmarks.scale.model import Costs, Load
from headgate.core.duty import MISSED, on_duty
from headgate.core.quota import Pacing, Quota, Window, next_after

S = 1_000_000
LATE_US = 1_000
"""How late a lane wakes, in the mean."""

LATENCY_US = (20_000, 400_000)
SEES_US = (MISSED + 1) * S
"""How long it takes until those that stand by know that a worker is gone."""

PROCESSORS = 16

ONE_IN = 100
"""Of so many transactions the time of one is kept."""


Step = Callable[[float, int, float], None]


@dataclass(slots=True)
class Source:
    """One of them, with those on duty for it, and how many of its calls are out."""

    quota: Quota
    size: int
    ids: int
    crew: list[int]
    row_free_at: float = 0.0
    out: int = 0
    waiting: bool = False


@dataclass
class Database:
    """So many processors; each transaction takes one of them for its cost."""

    free_at: list[float]
    busy_us: float = 0.0
    transactions: int = 0
    waited: list[float] = field(default_factory=list)

    def take(self, at: float, cost_us: float) -> float:
        """Returns when it is done."""
        start = max(at, heapq.heappop(self.free_at))
        heapq.heappush(self.free_at, start + cost_us)
        self.busy_us += cost_us
        self.transactions += 1
        return start + cost_us


@dataclass
class Run:
    """What came of a simulation, until the first source had run dry."""

    seconds: float
    calls: int
    offered: float
    database: Database
    left: int


class Fleet:
    """The simulation: slots and answers as events."""

    def __init__(self, load: Load, costs: Costs, *, ids: int, seed: int = 1) -> None:
        self._load, self._costs = load, costs
        self._chance = random.Random(seed)
        self._events: list[tuple[float, int, Step, int, float]] = []
        self._pushed = 0
        self._database = Database([0.0] * PROCESSORS)
        self._alive = set(range(load.workers))
        self._sources = self._made(ids)
        self._calls = 0

    def _made(self, ids: int) -> list[Source]:
        """Quotas of all sizes; every source has work for as long as the others."""
        rates = [self._chance.lognormvariate(0, 1) for _ in range(self._load.sources)]
        share = self._load.calls_per_s / sum(rates)
        names = [f"worker-{number}" for number in range(self._load.workers)]
        found = []
        for number, rate in enumerate(rates):
            per_hour = max(60, round(rate * share * 3_600))
            quota = Quota(f"s{number}", (Window(per_hour, 3_600 * S),), Pacing.EVEN, 0)
            own = round(ids * rate / sum(rates))
            found.append(
                Source(quota, round(self._load.ids_per_call), own, self._crew(number, names))
            )
        return found

    def _crew(self, number: int, names: list[str]) -> list[int]:
        """The numbers of those that are on duty for a source."""
        return [
            place
            for place, name in enumerate(names)
            if on_duty(f"s{number}", name, names, concurrency=self._load.concurrency)
        ]

    def run(self, *, until_us: float) -> Run:
        """Until then, or until every id has its record. A tenth of the workers die half-way."""
        for number in range(len(self._sources)):
            self._push(self._chance.random() * S, self._slot, number)
        half, killed, now = until_us / 2, False, 0.0
        while self._events and now <= until_us:
            now, _, step, number, since = heapq.heappop(self._events)
            if not killed and now > half:
                killed = True
                dead = self._chance.sample(sorted(self._alive), self._load.workers // 10)
                self._alive -= set(dead)
            source = self._sources[number]
            if source.row_free_at > now:  # somebody has its row
                self._push(source.row_free_at, step, number, since)
            else:
                step(now, number, since)
        rate = sum(w.limit * S / w.span_us for s in self._sources for w in s.quota.windows)
        left = sum(source.ids for source in self._sources)
        return Run(min(now, until_us) / S, self._calls, rate, self._database, left)

    def _push(self, at: float, step: Step, number: int, since: float | None = None) -> None:
        """`since`: when it was first asked for, if it has waited."""
        self._pushed += 1
        heapq.heappush(self._events, (at, self._pushed, step, number, since or at))

    def _slot(self, now: float, number: int, since: float) -> None:
        """Everybody on duty asks; the first is granted, and asks again; the others are refused."""
        source = self._sources[number]
        if source.ids <= 0:
            return
        if source.out >= self._load.concurrency:
            source.waiting = True
            return
        crew = [each for each in source.crew if each in self._alive]
        if not crew:  # until those that stand by have seen it
            source.crew = [self._chance.choice(sorted(self._alive))]
            self._push(now + SEES_US, self._slot, number)
            return
        done = self._take(source, now, since, self._costs.granted_us)
        source.quota = _paced(source.quota, now)
        for _ in crew[1:]:
            self._push(now + self._chance.expovariate(1 / LATE_US), self._ask, number)
        self._push(done, self._ask, number)
        self._calls += 1
        source.out += 1
        source.ids -= source.size
        self._push(done + self._chance.uniform(*LATENCY_US), self._settle, number)
        late = self._chance.expovariate(1 / LATE_US)
        self._push(max(done, source.quota.next_at + late), self._slot, number)

    def _ask(self, now: float, number: int, since: float) -> None:
        """A claim that is refused."""
        self._take(self._sources[number], now, since, self._costs.refused_us)

    def _settle(self, now: float, number: int, since: float) -> None:
        source = self._sources[number]
        cost = self._costs.settle_us + source.size * self._costs.record_us
        done = self._take(source, now, since, cost)
        for _ in source.crew:
            self._push(done + self._chance.expovariate(1 / LATE_US), self._ask, number)
        source.out -= 1
        if source.waiting:
            source.waiting = False
            self._push(done, self._slot, number)

    def _take(self, source: Source, now: float, since: float, cost_us: float) -> float:
        """A transaction that has the source's row meanwhile; returns when it is done."""
        source.row_free_at = done = self._database.take(now, cost_us)
        if self._database.transactions % ONE_IN == 0:
            self._database.waited.append(done - since)
        return done


def _paced(quota: Quota, now: float) -> Quota:
    at = int(now)
    return Quota(quota.name, quota.windows, quota.pacing, next_after(quota, cost=1, now=at))


def measure(load: Load, costs: Costs, *, ids: int, until_us: float) -> list[Line]:
    """Simulate, and hold what came of it against the model."""
    run = Fleet(load, costs, ids=ids).run(until_us=until_us)
    needs = model.needs(replace(load, calls_per_s=run.calls / run.seconds), costs)
    looks = load.workers * model.LOOKS_PER_S
    accepts = run.calls * load.ids_per_call / run.seconds * costs.id_us
    busy = run.database.busy_us / run.seconds / S + (looks * costs.look_us + accepts) / S
    per_call = run.database.transactions / run.calls
    return [
        note("simulated", run.seconds, "s"),
        note("calls", run.calls, ""),
        note("ids that are done", ids - run.left, ""),
        at_least("of what the quotas allow, used", run.calls / run.seconds / run.offered, 0.95, ""),
        note("transactions a call, simulated", per_call, ""),
        note("transactions a call, by the model", needs.transactions_per_call, ""),
        note(f"of {PROCESSORS} processors of the database busy, simulated", busy, ""),
        note("the same, by the model", needs.processors, ""),
        at_most("model / simulation, apart by", abs(needs.processors / busy - 1), 0.1, ""),
        note("a transaction's time, p50", quantile(run.database.waited, 0.5) / 1_000, "ms"),
        note("a transaction's time, p99", quantile(run.database.waited, 0.99) / 1_000, "ms"),
    ]
