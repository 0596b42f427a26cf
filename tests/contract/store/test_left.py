"""What a worker far from the store finds worth a claim: what others have left for a while, and no more."""

from __future__ import annotations

import pytest

from headgate.core.outcome import Failed
from headgate.core.quota import Hold, Wait, Window
from headgate.core.retry import RetryPolicy
from headgate.store.queries.left import left
from tests.contract.store.bench import HOUR, Bench, policy, source
from tests.fakes import SECOND

pytestmark = pytest.mark.anyio

FOR_US = 400_000


async def look(bench: Bench, name: str = "catalog") -> Wait | None:
    return await bench.engine.read(left, name, for_us=FOR_US)


async def test_what_has_been_free_for_a_while_is_left(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(1, SECOND)]))
    await bench.submit(1, 2, 3, 4)
    await bench.call()
    freed = (await bench.refused()).for_us
    assert freed is not None

    bench.clock.advance(freed)
    assert await look(bench) == Wait(FOR_US, Hold.WINDOW, "catalog"), "others go first"
    bench.clock.advance(FOR_US - 1)
    assert await look(bench) == Wait(1, Hold.WINDOW, "catalog")
    bench.clock.advance(1)
    assert await look(bench) is None


async def test_what_somebody_else_takes_meanwhile_is_not_left(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(1, SECOND)]))
    await bench.submit(1, 2, 3, 4)
    bench.clock.advance(HOUR)
    assert await look(bench) is None

    await bench.claim()

    assert await look(bench) == Wait(None, Hold.ANSWER, "catalog")


async def test_nothing_queued_is_nothing_left(bench: Bench) -> None:
    await bench.configure(source())

    assert await look(bench) == Wait(None)


async def test_no_more_is_left_than_may_be_under_way(bench: Bench) -> None:
    await bench.configure(source(concurrency=1))
    await bench.submit(1, 2, 3, 4)
    await bench.claim()

    assert await look(bench) == Wait(None, Hold.CONCURRENCY)


async def test_what_backs_off_is_left_a_while_after_its_instant(bench: Bench) -> None:
    await bench.configure(source(retry=policy(base_us=SECOND)))
    await bench.submit(1)
    await bench.call(Failed("broken"))
    told = (await bench.refused()).for_us
    assert told is not None

    assert await look(bench) == Wait(told + FOR_US)
    bench.clock.advance(told + FOR_US)
    assert await look(bench) is None
    await bench.claim()


async def test_a_closed_source_is_for_a_claim_to_judge(bench: Bench) -> None:
    await bench.configure(source(retry=RetryPolicy(circuit_after=1)))
    await bench.submit(1)
    await bench.call(Failed("broken"))

    assert await look(bench) is None


async def test_what_costs_more_than_a_window_is_for_a_claim_to_judge(bench: Bench) -> None:
    """It says so, and looks for another call."""
    await bench.configure(source(windows=[Window(3, SECOND)], call_cost=4))
    await bench.submit(1)

    assert await look(bench) is None
    assert (await bench.refused()).why is Hold.COST


async def test_a_call_for_few_ids_is_not_passed_over_because_one_for_many_would_be(
    bench: Bench,
) -> None:
    await bench.configure(source(windows=[Window(3, SECOND)], call_cost=1, id_cost=1))
    await bench.submit(1)
    bench.clock.advance(HOUR)

    assert await look(bench) is None
    await bench.claim()


async def test_a_source_that_nobody_configured_is_for_a_claim_to_judge(bench: Bench) -> None:
    assert await look(bench, "unheard-of") is None


async def test_a_look_changes_nothing(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(1, SECOND)], retry=policy(base_us=SECOND)))
    await bench.submit(1, 2, 3, 4)
    await bench.call(Failed("broken"))
    bench.clock.advance(HOUR)
    before = await bench.dump()

    await look(bench)

    assert await bench.dump() == before
