"""An Idempotency-Key: the same body gives the same ingestion however often it is sent, another body gives none."""

from __future__ import annotations

import asyncio

import pytest

from headgate.core.errors import InvalidInput, KeyReused
from headgate.core.facts import IngestionAccepted
from headgate.core.model import Priority
from tests.contract.store.bench import Bench, source

pytestmark = pytest.mark.anyio


async def ingestions(bench: Bench) -> int:
    ((count,),) = await bench.rows("select count(*) from ingestion")
    return int(count)


async def test_the_same_key_and_body_give_the_same_ingestion(bench: Bench) -> None:
    await bench.configure(source())
    first = await bench.submit(1, 2, key="k")
    bench.clock.advance(10**12)

    assert await bench.submit(1, 2, key="k") == first
    assert await ingestions(bench) == 1


async def test_a_repeat_changes_nothing_and_tells_nobody(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, 2, key="k")
    before = await bench.dump()
    await bench.submit(1, 2, key="k")

    assert await bench.dump() == before
    assert len(bench.stated(IngestionAccepted)) == 1


async def test_without_a_key_every_submission_is_one_of_its_own(bench: Bench) -> None:
    await bench.configure(source())

    assert await bench.submit(1) != await bench.submit(1)
    assert await ingestions(bench) == 2


async def test_different_keys_are_different_submissions(bench: Bench) -> None:
    await bench.configure(source())

    assert await bench.submit(1, key="a") != await bench.submit(1, key="A")


@pytest.mark.parametrize("ids", [[1], [2, 1], [1, 2, 2], [1, 2, 3], [12]])
async def test_the_same_key_with_other_ids_is_refused_and_stores_nothing(
    bench: Bench, ids: list[int]
) -> None:
    await bench.configure(source())
    await bench.submit(1, 2, key="k")
    before = await bench.dump()

    with pytest.raises(KeyReused):
        await bench.submit(*ids, key="k")
    assert await bench.dump() == before


async def test_the_same_key_with_another_priority_is_refused(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1, key="k", priority=Priority.HIGH)

    with pytest.raises(KeyReused):
        await bench.submit(1, key="k", priority=Priority.LOW)


async def test_the_same_key_for_another_source_is_refused(bench: Bench) -> None:
    await bench.configure(source("a"), source("b"))
    await bench.submit(1, key="k", source="a")

    with pytest.raises(KeyReused):
        await bench.submit(1, key="k", source="b")


async def test_texts_are_told_apart_from_each_other(bench: Bench) -> None:
    await bench.configure(source(text_ids=True))
    await bench.submit("1,2", "3", key="k")

    with pytest.raises(KeyReused):
        await bench.submit("1", "2,3", key="k")


async def test_naming_the_default_source_is_the_same_body(bench: Bench) -> None:
    await bench.configure(source())
    first = await bench.submit(1, key="k")

    assert await bench.submit(1, key="k", source="catalog") == first


async def test_a_key_is_of_its_client(bench: Bench) -> None:
    await bench.configure(source())
    mine = await bench.submit(1, key="k")

    assert await bench.submit(2, key="k", client="somebody") != mine


async def test_an_empty_key_never_answers_for_another_body(bench: Bench) -> None:
    await bench.configure(source())
    first = await bench.submit(1, key="")
    try:
        second = await bench.submit(2, key="")
    except (KeyReused, InvalidInput):
        return

    assert second != first


@pytest.mark.parametrize("same_body", [True, False])
async def test_of_a_hundred_copies_at_once_one_is_stored(
    bench: Bench, other: Bench, *, same_body: bool
) -> None:
    await bench.configure(source())
    copies = [(bench, other)[n % 2].submit(n if not same_body else 0, key="k") for n in range(100)]

    got = await asyncio.gather(*copies, return_exceptions=True)

    accepted = {each for each in got if isinstance(each, str)}
    refused = [each for each in got if isinstance(each, KeyReused)]
    assert len(accepted) == await ingestions(bench) == 1
    assert len(refused) == (0 if same_body else 99)
    assert len(bench.stated(IngestionAccepted) + other.stated(IngestionAccepted)) == 1


async def test_a_key_outlives_the_end_of_its_ingestion(bench: Bench) -> None:
    await bench.configure(source())
    first = await bench.submit(1, key="k")
    await bench.call()

    assert await bench.submit(1, key="k") == first


async def test_a_key_outlives_a_cancellation(bench: Bench) -> None:
    await bench.configure(source())
    first = await bench.submit(1, key="k")
    await bench.cancel(first)

    assert await bench.submit(1, key="k") == first


async def test_a_key_is_known_to_every_process(bench: Bench, other: Bench) -> None:
    await bench.configure(source())
    first = await bench.submit(1, key="k")
    await bench.engine.close()

    assert await other.submit(1, key="k") == first


async def test_a_change_of_configuration_does_not_change_what_was_accepted(bench: Bench) -> None:
    await bench.configure(source(batch_size=3))
    first = await bench.submit(1, 2, key="k")
    await bench.configure(source(batch_size=50))

    assert await bench.submit(1, 2, key="k") == first


async def test_a_submission_that_was_refused_leaves_its_key_free(bench: Bench) -> None:
    await bench.configure(source())
    with pytest.raises(InvalidInput):
        await bench.submit("x", key="k")

    await bench.submit(1, key="k")

    assert await ingestions(bench) == 1


async def test_submissions_that_arrive_together_are_answered_each_for_itself(bench: Bench) -> None:
    await bench.configure(source())
    first = await bench.submit(1, 2, key="known")
    got = await asyncio.gather(
        *(bench.submit(n, key="new" if n % 3 == 0 else None) for n in [3] * 20 + [4] * 20),
        bench.submit(1, 2, key="known"),
        bench.submit(9, key="known"),
        return_exceptions=True,
    )

    assert len(set(got[:20])) == 1, "one key, one body"
    assert len(set(got[20:40])) == 20
    assert got[40] == first
    assert isinstance(got[41], KeyReused)
    assert len(await bench.rows("select 1 from ingestion")) == 22
