"""A lane on a real store and the fake clock: what it begins, what it leaves, how it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pytest

from headgate.core.facts import BatchReturned, Fact, GrantsLate, LoopFailed
from headgate.core.ids import Id
from headgate.core.model import CallRules, QuotaSpec, SourceSpec, Status
from headgate.core.outcome import Fetched, Outcome
from headgate.core.quota import Window
from headgate.service import Service
from headgate.sources.base import Source, TooLate, Wire
from headgate.store.commands.claim import Claims
from headgate.store.commands.configure import configure
from headgate.store.engine import Command
from headgate.store.sqlite.engine import SqliteEngine
from headgate.worker.dispatcher import Lane, Tools
from tests.fakes import SECOND, FakeClock

pytestmark = pytest.mark.anyio

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class HeldSource:
    """Answers when the test says so; remembers what it was asked for."""

    asked: list[list[Id]] = field(default_factory=list)
    answer: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

    async def fetch(self, ids: Sequence[tuple[int, Id]], wire: Wire) -> Outcome:
        async with wire.call() as call:
            call.check()
            call.written()
            self.asked.append([value for _, value in ids])
            await self.answer.wait()
            if self.error is not None:
                raise self.error
            call.answered()
            return Fetched({position: b"1" for position, _ in ids})

    async def close(self) -> None:
        """Nothing is held."""


@dataclass
class Rig:
    service: Service
    lane: Lane
    source: HeldSource
    clock: FakeClock
    facts: list[Fact]
    engine: FarEngine

    async def asked(self, calls: int) -> list[list[Id]]:
        async with asyncio.timeout(5):
            while len(self.source.asked) < calls:
                await asyncio.sleep(0)
        return self.source.asked

    async def ended(self, ingestion_id: str) -> Status:
        async with asyncio.timeout(5):
            while (view := await self.service.status(ingestion_id)).counts.left:
                await asyncio.sleep(0)
        return view.status


class FarEngine(SqliteEngine):
    """A real store, as if far away: a round trip takes as long as the test says, and so does every claim."""

    def __init__(self, file: Path, **more: Any) -> None:
        super().__init__(file, **more)
        self.claimed: list[int] = []
        self.trip = self.claim_lasts = self.grant_lasts = 0

    @property
    def trip_us(self) -> int:
        return self.trip

    async def run(self, command: Command[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        result = await super().run(command, *args, **kwargs)
        if isinstance(result, Claims):
            self.claimed.append(len(result.claims))
            assert isinstance(self._clock, FakeClock)
            self._clock.advance(self.claim_lasts + self.grant_lasts * len(result.claims))
        return result


@asynccontextmanager
async def rig(
    tmp_path: Path,
    clock: FakeClock,
    *windows: Window,
    concurrency: int = 4,
    shares: str | None = None,
) -> AsyncIterator[Rig]:
    facts: list[Fact] = []
    engine = FarEngine(tmp_path / "headgate.db", clock=clock, observe=facts.append)
    shared = (shares,) if shares else ()
    spec = SourceSpec("s", QuotaSpec("s", windows), shared, CallRules(concurrency=concurrency))
    await engine.run(configure, [spec], [QuotaSpec(name, windows) for name in shared])
    source = HeldSource()
    typed: Source = source
    lane = Lane(spec, typed, Tools(engine, clock, "me", facts.append, lambda: 0.0, lambda _: None))
    running = asyncio.create_task(lane.run())
    service = Service(engine, clock=clock, sources={"s": spec}, default_source="s")
    try:
        yield Rig(service, lane, source, clock, facts, engine)
    finally:
        source.answer.set()
        lane.stop()
        await running
        await lane.finished()
        await engine.close()


async def test_work_that_comes_is_begun_without_a_poll(tmp_path: Path, clock: FakeClock) -> None:
    async with rig(tmp_path, clock) as bench:
        await asyncio.sleep(0)
        await bench.service.submit([1, 2, 3, 4])

        assert await bench.asked(2) == [[1, 2, 3], [4]]


async def test_no_more_calls_are_under_way_than_allowed(tmp_path: Path, clock: FakeClock) -> None:
    async with rig(tmp_path, clock, concurrency=2) as bench:
        await bench.service.submit(list(range(12)))
        await bench.asked(2)
        await asyncio.sleep(0.01)

        assert len(bench.source.asked) == len(bench.lane.held) == 2


async def test_an_answer_lets_the_next_call_begin(tmp_path: Path, clock: FakeClock) -> None:
    async with rig(tmp_path, clock, concurrency=1) as bench:
        ingestion = await bench.service.submit(list(range(9)))
        await bench.asked(1)
        bench.source.answer.set()

        assert await bench.ended(ingestion) is Status.COMPLETED
        assert bench.source.asked == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


async def test_stopping_begins_nothing_and_lets_what_runs_finish(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with rig(tmp_path, clock, Window(1, 5 * SECOND)) as bench:
        ingestion = await bench.service.submit([1, 2, 3, 4])
        await bench.asked(1)
        bench.lane.stop()
        bench.source.answer.set()
        await bench.lane.finished()
        clock.advance(60 * SECOND)
        await asyncio.sleep(0.01)

        assert bench.source.asked == [[1, 2, 3]]
        assert (await bench.service.status(ingestion)).counts.fetched == 3


async def test_a_source_whose_code_raises_fails_its_batch_and_not_the_lane(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with rig(tmp_path, clock) as bench:
        bench.source.error = ZeroDivisionError()
        bench.source.answer.set()
        ingestion = await bench.service.submit([1])
        await bench.ended(ingestion)

        batch = (await bench.service.batches(await bench.service.status(ingestion)))[0]
        assert batch.status is Status.FAILED
        assert sum(isinstance(fact, LoopFailed) for fact in bench.facts) == 5


async def test_a_call_that_came_too_late_burns_no_attempt(tmp_path: Path, clock: FakeClock) -> None:
    async with rig(tmp_path, clock) as bench:
        late = iter([TooLate(), TooLate(), None])

        async def fetch(ids: Sequence[tuple[int, Id]], wire: Wire) -> Outcome:
            if (error := next(late)) is not None:
                raise error
            return await HeldSource.fetch(bench.source, ids, wire)

        bench.source.fetch = fetch  # type: ignore[method-assign]
        bench.source.answer.set()
        ingestion = await bench.service.submit([1])
        await bench.ended(ingestion)

        begun = await bench.service.begun(await bench.service.status(ingestion))
        assert begun[0].attempt == 1


# -- far from the store ---------------------------------------------------------------------------------------


async def settled(bench: Rig) -> None:
    """Until the lane has done what it can at this instant."""
    for _ in range(50):
        bench.engine.wakes.wake("s")
        await asyncio.sleep(0.002)


async def seconds_pass(bench: Rig, *each: int) -> None:
    """The lane does what it can after each of these."""
    for seconds in each:
        bench.clock.advance(seconds * SECOND)
        await settled(bench)


async def for_a_moment_a_slot_is_free(bench: Rig, *, trip_us: int) -> None:
    """One call was made of one a second, and the next has been possible for 0.3 s."""
    bench.source.answer.set()
    await bench.service.submit(list(range(9)))
    await bench.asked(1)
    bench.engine.trip = trip_us
    bench.clock.advance(SECOND + 300_000)
    await settled(bench)


async def test_who_is_far_from_the_store_lets_others_go_first(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with rig(tmp_path, clock, Window(1, SECOND)) as bench:
        await for_a_moment_a_slot_is_free(bench, trip_us=100_000)
        assert len(bench.source.asked) == 1

        clock.advance(400_000)
        await settled(bench)
        assert len(bench.source.asked) == 2


async def test_who_is_near_does_not(tmp_path: Path, clock: FakeClock) -> None:
    async with rig(tmp_path, clock, Window(1, SECOND)) as bench:
        await for_a_moment_a_slot_is_free(bench, trip_us=19_999)

        assert len(bench.source.asked) == 2


async def test_who_is_granted_too_late_again_and_again_asks_for_one_and_less_and_less_often(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with rig(tmp_path, clock) as bench:
        bench.engine.trip, bench.engine.claim_lasts = 40_000, 2 * SECOND
        await bench.service.submit(list(range(60)))
        for aside_s in (0, 1, 2, 4, 8, 16, 32):
            clock.advance(aside_s * SECOND - 1 if aside_s else 0)
            await settled(bench)
            clock.advance(1)
            await settled(bench)

        assert bench.source.asked == []
        late = [fact for fact in bench.facts if isinstance(fact, GrantsLate)]
        asides = [fact.aside_us // SECOND for fact in late]
        assert asides == [1, 2, 4, 8, 16, 32, 60]
        returned = [fact for fact in bench.facts if isinstance(fact, BatchReturned)]
        assert len(returned) == 4 + 6, "four at once, then one by one"

        bench.engine.claim_lasts = 0
        clock.advance(60 * SECOND)
        await settled(bench)
        assert len(bench.source.asked) == 4, "it is in time again"


async def test_who_sees_in_the_middle_that_it_is_too_far_takes_nothing_and_stands_aside(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with rig(tmp_path, clock) as bench:
        clock.look_us = bench.engine.trip = SECOND // 7 + 1
        await bench.service.submit([1, 2, 3])
        await seconds_pass(bench, 0, 1, 2)

        assert bench.engine.claimed == []
        late = [fact for fact in bench.facts if isinstance(fact, GrantsLate)]
        assert [fact.aside_us for fact in late] == [SECOND, 2 * SECOND, 4 * SECOND]

        clock.look_us = 0
        await seconds_pass(bench, 4)
        assert bench.source.asked == [[1, 2, 3]]


async def test_who_has_come_near_again_is_not_aside_any_more(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with rig(tmp_path, clock) as bench:
        clock.look_us = bench.engine.trip = SECOND
        await bench.service.submit([1, 2, 3])
        await seconds_pass(bench, 0, 1, 2, 4, 8, 16, 32)

        clock.look_us = bench.engine.trip = 0
        await settled(bench)
        assert bench.source.asked == [[1, 2, 3]]


async def test_who_is_near_and_was_held_up_stands_aside_for_nobody(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with rig(tmp_path, clock) as bench:
        clock.look_us = SECOND
        await bench.service.submit([1, 2, 3])
        await settled(bench)
        assert bench.source.asked == []

        clock.look_us = 0
        await settled(bench)
        assert bench.source.asked == [[1, 2, 3]]
        assert not [fact for fact in bench.facts if isinstance(fact, GrantsLate)]


@pytest.mark.parametrize(
    ("trip_us", "most"), [(20_000, 19), (40_000, 6), (80_000, 1), (300_000, 1)]
)
async def test_who_is_far_claims_no_more_than_it_can_still_call(
    tmp_path: Path, clock: FakeClock, trip_us: int, most: int
) -> None:
    async with rig(tmp_path, clock, concurrency=100) as bench:
        bench.engine.trip = bench.engine.grant_lasts = trip_us
        bench.engine.claim_lasts = 6 * trip_us
        await bench.service.submit(list(range(60)))
        clock.advance(2 * SECOND)
        await settled(bench)

        if trip_us > 100_000:
            assert bench.engine.claimed
            assert bench.source.asked == [], "even one comes too late"
        else:
            assert len(await bench.asked(20)) == sum(bench.engine.claimed), "every grant was called"
        assert max(bench.engine.claimed) == most


async def test_who_is_far_asks_at_once_where_a_quota_is_shared(
    tmp_path: Path, clock: FakeClock
) -> None:
    """Only who was refused by a claim has a ticket."""
    async with rig(tmp_path, clock, Window(1, SECOND), shares="both") as bench:
        await for_a_moment_a_slot_is_free(bench, trip_us=100_000)

        assert len(bench.source.asked) == 2


async def test_who_is_near_and_stood_still_goes_on_at_once(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with rig(tmp_path, clock) as bench:
        bench.engine.claim_lasts = 2 * SECOND
        await bench.service.submit(list(range(60)))
        await settled(bench)
        bench.engine.claim_lasts = 0

        assert len(await bench.asked(4)) == 4
        assert not any(isinstance(fact, GrantsLate) for fact in bench.facts)
