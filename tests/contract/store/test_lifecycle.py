"""Status only goes forward (I5): whoever looks, however often, whatever happens in between."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from headgate.core.errors import Conflict
from headgate.core.model import Claim, Priority, SourceSpec
from headgate.core.outcome import (
    Failed,
    Fetched,
    Outcome,
    Refused,
    Rejected,
    Throttled,
    Unsent,
)
from headgate.core.quota import Window
from headgate.store.commands.claim import Claims
from tests.contract.store.bench import ANSWERED, UNKNOWN, UNSENT, Bench, policy, source
from tests.fakes import SECOND

pytestmark = pytest.mark.anyio

RANK = {"yet_to_start": 0, "triggered": 1, "completed": 2, "failed": 2, "cancelled": 2}
RETRY = policy(max_attempts=3, base_us=2 * SECOND, absent=True, circuit_after=4)


@dataclass
class Reader:
    """Somebody who looks at everything again and again, and remembers what was shown."""

    bench: Bench
    shown: dict[str, str] = field(default_factory=dict)
    counted: dict[str, tuple[int, ...]] = field(default_factory=dict)

    async def look(self, ingestion_id: str) -> None:
        seen = await self.bench.status(ingestion_id)
        batches = await self.bench.service.batches(seen)
        self._show(ingestion_id, seen.status)
        for batch in batches:
            self._show(batch.batch_id, batch.status)
        counts = seen.counts
        self._count(
            ingestion_id,
            (counts.begun, counts.fetched, counts.missing, counts.failed, counts.cancelled),
        )
        self._agree(seen.status, [batch.status for batch in batches])

    def _show(self, what: str, status: str) -> None:
        before = self.shown.get(what, "yet_to_start")

        assert RANK[status] >= RANK[before], f"{what} went from {before} back to {status}"
        assert RANK[before] < 2 or status == before, f"{what} had ended {before}, and is {status}"
        self.shown[what] = status

    def _count(self, what: str, counts: tuple[int, ...]) -> None:
        before = self.counted.get(what, (0,) * len(counts))

        assert all(b >= a for a, b in zip(before, counts, strict=True)), f"{before} -> {counts}"
        self.counted[what] = counts

    def _agree(self, status: str, batches: list[str]) -> None:
        """An ingestion has ended when its batches have, and has begun when one of them has."""
        ranks = [RANK[batch] for batch in batches]

        assert (RANK[status] == 2) == (min(ranks) == 2), f"{status} of {batches}"
        assert (RANK[status] == 0) == (max(ranks) == 0), f"{status} of {batches}"
        if status == "completed":
            assert set(batches) == {"completed"}


@dataclass
class History:
    """What may happen, in an order that chance decides."""

    bench: Bench
    other: Bench
    chance: random.Random
    ingestions: list[str] = field(default_factory=list)
    held: list[tuple[Bench, Claim]] = field(default_factory=list)

    async def step(self) -> None:
        steps = {
            self.submit: 3,
            self.claim: 8,
            self.settle: 8,
            self.advance: 4,
            self.cancel: 1,
            self.rescue: 1,
            self.configure: 1,
        }
        (step,) = self.chance.choices(list(steps), list(steps.values()))
        await step()

    async def submit(self) -> None:
        length = self.chance.choice([1, 2, 3, 4, 7, 10])
        ids = [self.chance.randrange(length + 2) for _ in range(length)]
        priority = self.chance.choice(list(Priority))
        self.ingestions.append(await self.bench.submit(*ids, priority=priority))

    async def claim(self) -> None:
        worker = self.chance.choice([self.bench, self.other])
        got = await worker.try_claim(most=self.chance.choice([1, 1, 3]))
        if isinstance(got, Claims):
            self.held += [(worker, claimed) for claimed in got.claims]

    async def settle(self) -> None:
        if not self.held:
            return
        worker, claimed = self.held.pop(self.chance.randrange(len(self.held)))
        report = self.chance.choice([ANSWERED, ANSWERED, UNKNOWN, UNSENT])
        await worker.settle(claimed, self.outcome(claimed), report=report)

    def outcome(self, claimed: Claim) -> Outcome:
        positions = [position for position, _ in claimed.ids]
        some = {p: self.chance.choice("rrrmfa") for p in positions}
        answer = Fetched(
            {p: b"{}" for p, how in some.items() if how == "r"},
            frozenset(p for p, how in some.items() if how == "m"),
            {p: "bad" for p, how in some.items() if how == "f"},
        )
        others: list[Outcome] = [
            Failed("broken"),
            Rejected("400", missing=self.chance.random() < 0.5),
            Throttled(SECOND),
            Refused("401"),
            Unsent(),
        ]
        return self.chance.choice([answer, answer, answer, *others])

    async def advance(self) -> None:
        self.bench.clock.advance(self.chance.choice([1, SECOND, 5 * SECOND, 20 * SECOND]))

    async def cancel(self) -> None:
        if self.ingestions:
            try:
                await self.bench.cancel(self.chance.choice(self.ingestions))
            except Conflict:
                return

    async def rescue(self) -> None:
        worker = self.chance.choice(["worker-1", "worker-2"])
        await self.other.rescue(worker, dead=self.chance.random() < 0.5)

    async def configure(self) -> None:
        await self.bench.configure(configured(self.chance.choice([1, 2, 3, 5])))


def configured(batch_size: int) -> SourceSpec:
    windows = [Window(20, 5 * SECOND)]
    return source(windows=windows, batch_size=batch_size, concurrency=4, retry=RETRY)


async def follow(bench: Bench, other: Bench, *, seed: int, steps: int) -> None:
    await bench.configure(configured(3))
    history, readers = History(bench, other, random.Random(seed)), [Reader(bench), Reader(other)]
    for _ in range(steps):
        await history.step()
        for ingestion in history.ingestions:
            for reader in readers:
                await reader.look(ingestion)


@pytest.mark.parametrize("seed", range(8))
async def test_status_only_goes_forward(bench: Bench, other: Bench, seed: int) -> None:
    await follow(bench, other, seed=seed, steps=60)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1_000, 1_100))
async def test_status_only_goes_forward_at_length(bench: Bench, other: Bench, seed: int) -> None:
    await follow(bench, other, seed=seed, steps=200)
