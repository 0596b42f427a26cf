"""The roster on a real store and the fake clock: who is put on duty, who is relieved, who comes back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from headgate.core.duty import AT_LEAST, SETTLED_US
from headgate.core.model import CallRules, QuotaSpec, SourceSpec, WorkerCard
from headgate.sources.simulated import SimulatedOptions, SimulatedSource
from headgate.store.commands.workers import sign_off
from headgate.store.queries.neighbours import neighbours
from headgate.store.sqlite.engine import SqliteEngine
from headgate.worker.dispatcher import Lane, Tools
from headgate.worker.roster import Roster
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

NAMES = [f"s{number}" for number in range(40)]


class OneProcess(SqliteEngine):
    """Its workers are names here, and have no processes that could be dead."""

    def known_dead(self, worker: str) -> bool:
        return False


@dataclass
class Crew:
    """Workers on one file, each with a lane for every source."""

    engine: OneProcess
    clock: FakeClock
    rosters: dict[str, Roster] = field(default_factory=dict)
    lanes: dict[str, list[Lane]] = field(default_factory=dict)

    async def join(self, worker: str, names: Sequence[str] = NAMES) -> None:
        tools = Tools(self.engine, self.clock, worker, lambda _: None, lambda: 0.0, lambda _: None)
        self.lanes[worker] = [
            Lane(SourceSpec(name, QuotaSpec(name), rules=CallRules()), _source(), tools)
            for name in names
        ]
        card = WorkerCard(worker, "gate", 1, "0.1.0", tuple(names))
        self.rosters[worker] = Roster(self.engine, card, self.lanes[worker])
        await self.rosters[worker].sign_in()

    async def look(self) -> None:
        for roster in self.rosters.values():
            await roster.see((await self.engine.read(neighbours)).present)

    def on_duty(self, name: str) -> set[str]:
        return {
            worker
            for worker, lanes in self.lanes.items()
            for lane in lanes
            if lane.name == name and lane._on_duty
        }


def _source() -> SimulatedSource:
    return SimulatedSource(SimulatedOptions())


@asynccontextmanager
async def crew(tmp_path: Path, clock: FakeClock, count: int) -> AsyncIterator[Crew]:
    engine = OneProcess(tmp_path / "headgate.db", clock=clock)
    made = Crew(engine, clock)
    try:
        for number in range(count):
            await made.join(f"w{number}")
        clock.advance(SETTLED_US)
        await made.look()
        yield made
    finally:
        await engine.close()


async def test_alone_it_is_on_duty_for_everything(tmp_path: Path, clock: FakeClock) -> None:
    async with crew(tmp_path, clock, 1) as made:
        assert all(made.on_duty(name) == {"w0"} for name in NAMES)


async def test_three_are_all_on_duty(tmp_path: Path, clock: FakeClock) -> None:
    async with crew(tmp_path, clock, 3) as made:
        assert all(len(made.on_duty(name)) == 3 for name in NAMES)


async def test_of_many_a_few_are_on_duty_for_each_source(tmp_path: Path, clock: FakeClock) -> None:
    async with crew(tmp_path, clock, 8) as made:
        assert {len(made.on_duty(name)) for name in NAMES} == {AT_LEAST}
        assert set().union(*map(made.on_duty, NAMES)) == set(made.rosters)


async def test_who_signs_off_is_replaced(tmp_path: Path, clock: FakeClock) -> None:
    async with crew(tmp_path, clock, 8) as made:
        gone = min(made.on_duty("s0"))
        await made.rosters.pop(gone).sign_off()
        del made.lanes[gone]
        await made.look()

        assert {len(made.on_duty(name)) for name in NAMES} == {AT_LEAST}


async def test_a_newcomer_relieves_nobody_before_it_has_settled(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with crew(tmp_path, clock, 8) as made:
        before = {name: made.on_duty(name) for name in NAMES}
        await made.join("new")
        await made.look()
        assert all(before[name] <= made.on_duty(name) for name in NAMES)
        assert any("new" in made.on_duty(name) for name in NAMES)

        clock.advance(SETTLED_US)
        await made.look()
        assert {len(made.on_duty(name)) for name in NAMES} == {AT_LEAST}


async def test_only_those_that_call_a_source_are_counted_for_it(
    tmp_path: Path, clock: FakeClock
) -> None:
    async with crew(tmp_path, clock, 1) as made:
        for number in range(6):
            await made.join(f"other{number}", ["s0"])
        clock.advance(SETTLED_US)
        await made.look()

        assert all(made.on_duty(name) == {"w0"} for name in NAMES[1:])
        assert len(made.on_duty("s0")) == AT_LEAST


async def test_who_was_taken_for_lost_signs_in_again(tmp_path: Path, clock: FakeClock) -> None:
    async with crew(tmp_path, clock, 2) as made:
        await made.engine.run(sign_off, "w0")
        await made.look()
        there = (await made.engine.read(neighbours)).present

        assert {each.worker for each in there} == {"w0", "w1"}
