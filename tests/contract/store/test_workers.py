"""The list of workers: from the start until they stop in order."""

from __future__ import annotations

import pytest

from headgate.core.model import WorkerCard
from headgate.store.commands.beat import beat
from headgate.store.commands.workers import FORGOTTEN_US, sign_in, sign_off
from headgate.store.queries.neighbours import neighbours
from headgate.store.queries.workers import WorkerView, workers
from tests.contract.store.bench import HOUR, Bench, source
from tests.fakes import SECOND

pytestmark = pytest.mark.anyio

CARD = WorkerCard("worker-1", "gate-1", 4711, "0.1.0", ("catalog", "pages"))
OTHER = WorkerCard("worker-2", "gate-2", 1, "0.1.0", ())


async def listed(bench: Bench) -> list[WorkerView]:
    return await bench.engine.read(workers)


async def test_a_worker_is_listed_until_it_signs_off(bench: Bench) -> None:
    await bench.engine.run(sign_in, CARD, dead=[])
    await bench.engine.run(sign_in, OTHER, dead=[])
    await bench.engine.run(sign_off, "worker-1")

    assert [view.card for view in await listed(bench)] == [OTHER]


async def test_it_is_listed_with_what_it_holds(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(*range(9))
    await bench.engine.run(sign_in, CARD, dead=[])
    await bench.claims(most=2)
    (view,) = await listed(bench)

    assert (view.card, view.holds, view.silent_us) == (CARD, 2, 0)
    assert view.started_at == view.seen_at == bench.clock.wall_us


async def test_signing_in_twice_is_signing_in_once(bench: Bench) -> None:
    await bench.engine.run(sign_in, CARD, dead=[])
    bench.clock.advance(SECOND)
    await bench.engine.run(sign_in, CARD, dead=[])

    (view,) = await listed(bench)
    assert view.silent_us == SECOND


async def test_those_known_to_be_dead_are_no_longer_listed(bench: Bench) -> None:
    await bench.engine.run(sign_in, CARD, dead=[])
    await bench.engine.run(sign_in, OTHER, dead=["worker-1"])

    assert [view.card for view in await listed(bench)] == [OTHER]


async def test_a_beat_is_a_sign_of_life(bench: Bench) -> None:
    await bench.configure(source())
    await bench.engine.run(sign_in, CARD, dead=[])
    bench.clock.advance(SECOND)
    await bench.engine.run(beat, "worker-1")

    (view,) = await listed(bench)
    assert view.silent_us == 0
    assert view.seen_at == view.started_at + SECOND


async def test_who_gives_no_sign_of_life_for_long_is_forgotten(bench: Bench) -> None:
    await bench.configure(source())
    await bench.engine.run(sign_in, CARD, dead=[])
    await bench.engine.run(sign_in, OTHER, dead=[])
    bench.clock.advance(FORGOTTEN_US + 1)
    await bench.engine.run(beat, "worker-2")

    assert [view.card for view in await listed(bench)] == [OTHER]


async def test_a_sign_of_life_of_before_the_clock_was_set_back_is_none(bench: Bench) -> None:
    """Three dead ones that seem to live would have every living one stand by."""
    await bench.configure(source())
    await bench.engine.run(sign_in, CARD, dead=[])
    await bench.engine.run(sign_in, OTHER, dead=[])
    bench.clock.wall_us -= HOUR
    await bench.engine.run(beat, "worker-2")

    found = (await bench.engine.read(neighbours)).present
    assert {each.worker: each.silent_us for each in found} == {"worker-1": HOUR, "worker-2": 0}
    assert {view.card: view.silent_us for view in await listed(bench)} == {CARD: HOUR, OTHER: 0}
