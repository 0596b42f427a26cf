"""What accepting a list of ids stores, and that a refusal stores nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from headgate.core.errors import InvalidInput, NotFound, StoreMisused, TooLarge
from headgate.core.facts import IngestionAccepted
from headgate.core.model import Counts, Priority, Status
from headgate.service import Limits, Service
from headgate.store.commands.accept import ChunkRow, Submission, accept
from headgate.store.engine import Transaction
from tests.contract.store.bench import Bench, source

pytestmark = pytest.mark.anyio

AROUND_CHUNKS = [1, 2, 3, 299, 300, 301, 599, 600, 601, 902]
SIZES = [1, 3, 7, 50, 299, 300, 301, 1_000]
"""Some divide the 300 ids of a chunk, some do not, some are larger."""


class Broken(Exception):
    """A command of a test that ends badly."""


# -- what is stored ------------------------------------------------------------------------------------------


async def test_what_was_accepted_is_there_for_another_process(bench: Bench, other: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(5, 4, 3, 2, priority=Priority.HIGH)

    seen = await other.status(ingestion)

    assert (seen.source, seen.priority, seen.id_count) == ("catalog", Priority.HIGH, 4)
    assert [batch.ids for batch in await other.batches(ingestion)] == [[5, 4, 3], [2]]


async def test_what_was_accepted_is_there_after_the_store_was_closed(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2)
    await bench.engine.close()

    assert [batch.ids for batch in await other.batches(ingestion)] == [[1, 2]]


async def test_an_accepted_ingestion_has_yet_to_start(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 4)

    seen = await bench.status(ingestion)

    assert seen.status is Status.YET_TO_START
    assert seen.counts == Counts(distinct=4)
    assert await bench.batch_statuses(ingestion) == ["yet_to_start", "yet_to_start"]


async def test_the_wall_clock_of_acceptance_is_kept(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1)
    accepted_at = bench.clock.wall_us
    bench.clock.advance(7_000_000)

    assert (await bench.status(ingestion)).accepted_at == accepted_at


@pytest.mark.parametrize("size", SIZES)
async def test_every_list_comes_back_cut_into_batches_in_its_order(bench: Bench, size: int) -> None:
    await bench.configure(source(batch_size=size))
    for length in AROUND_CHUNKS:
        ids = list(range(length, 0, -1))
        batches = await bench.batches(await bench.submit(*ids))

        assert [value for batch in batches for value in batch.ids] == ids
        assert {len(batch.ids) for batch in batches[:-1]} <= {size}
        assert 1 <= len(batches[-1].ids) <= size


async def test_a_list_long_enough_for_a_thread_comes_back_as_any_other(bench: Bench) -> None:
    await bench.configure(source(batch_size=50))
    ids = list(range(5_001))
    ingestion = await bench.submit(*ids)

    batches = await bench.batches(ingestion)

    assert [value for batch in batches for value in batch.ids] == ids
    assert (await bench.status(ingestion)).counts == Counts(distinct=5_001)


async def test_the_batch_size_is_fixed_at_acceptance(bench: Bench) -> None:
    await bench.configure(source(batch_size=3))
    ingestion = await bench.submit(1, 2, 3, 4, 5)
    before = await bench.batches(ingestion)
    await bench.configure(source(batch_size=2))
    smaller = await bench.batches(ingestion)
    await bench.configure(source(batch_size=50))

    assert before == smaller == await bench.batches(ingestion)


async def test_each_submission_is_told_to_observers_once_it_is_stored(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 1, 2)

    assert bench.stated(IngestionAccepted) == [IngestionAccepted(ingestion, "catalog", 3)]


# -- ids -----------------------------------------------------------------------------------------------------


async def test_integers_stay_integers_up_to_both_ends(bench: Bench) -> None:
    await bench.configure(source())
    ids = [2**63 - 1, -(2**63 - 1), 0, -1, 2**53 + 1]
    ingestion = await bench.submit(*ids)

    kept = [value for batch in await bench.batches(ingestion) for value in batch.ids]

    assert kept == ids
    assert {type(value) for value in kept} == {int}


@pytest.mark.parametrize(
    "text", ["5", "007", "true", "null", 'a"b\\c', "\x00", "é\u2028🙂", " ", "x" * 256]
)
async def test_texts_stay_texts(bench: Bench, text: str) -> None:
    await bench.configure(source(text_ids=True))
    ingestion = await bench.submit(text, "other")

    assert [batch.ids for batch in await bench.batches(ingestion)] == [[text, "other"]]
    assert await bench.claimed_ids() == [text, "other"]


async def test_texts_that_look_like_one_number_are_different_ids(bench: Bench) -> None:
    await bench.configure(source(text_ids=True))
    ingestion = await bench.submit("5", "05", "5.0", "5")

    assert (await bench.status(ingestion)).counts == Counts(distinct=3)


@pytest.mark.parametrize("wrong", [True, 1.0, "5", None, 2**63, -(2**63), [1]])
async def test_what_is_no_integer_is_refused_where_integers_are_taken(
    bench: Bench, wrong: object
) -> None:
    await bench.configure(source())

    with pytest.raises(InvalidInput) as refused:
        await bench.service.submit([1, wrong])  # type: ignore[list-item]

    assert [error.where for error in refused.value.errors] == [("ids", 1)]


@pytest.mark.parametrize("wrong", [5, "", "x" * 257, "\ud800"])
async def test_what_is_no_good_text_is_refused_where_texts_are_taken(
    bench: Bench, wrong: object
) -> None:
    await bench.configure(source(text_ids=True))

    with pytest.raises(InvalidInput) as refused:
        await bench.service.submit(["a", wrong])  # type: ignore[list-item]

    assert [error.where for error in refused.value.errors] == [("ids", 1)]


async def test_repeats_are_shown_as_sent_and_counted_once(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 1, 2, 2, 1, 3)

    assert [batch.ids for batch in await bench.batches(ingestion)] == [[1, 1, 2], [2, 1, 3]]
    assert (await bench.status(ingestion)).counts == Counts(distinct=3)
    assert (await bench.status(ingestion)).id_count == 6


@pytest.mark.parametrize("length", AROUND_CHUNKS)
async def test_repeats_are_known_across_chunks(bench: Bench, length: int) -> None:
    await bench.configure(source())
    ids = [*range(length), *range(length)]
    ingestion = await bench.submit(*ids)

    kept = [value for batch in await bench.batches(ingestion) for value in batch.ids]

    assert kept == ids
    assert (await bench.status(ingestion)).counts == Counts(distinct=length)


# -- pages and batch ids -------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 7, 100, 101])
async def test_pages_of_batches_join_to_the_whole(bench: Bench, most: int) -> None:
    await bench.configure(source())
    ingestion = await bench.status(await bench.submit(*range(901)))
    whole = await bench.service.batches(ingestion)

    pages = [
        await bench.service.batches(ingestion, first=first, most=most)
        for first in range(0, ingestion.batch_count, most)
    ]

    assert [batch for page in pages for batch in page] == whole
    assert {len(page) for page in pages[:-1]} <= {most}


@pytest.mark.parametrize("first", [0, 98, 99, 100, 101, 300])
async def test_a_page_may_begin_at_any_batch(bench: Bench, first: int) -> None:
    await bench.configure(source())
    ingestion = await bench.status(await bench.submit(*range(901)))

    (batch,) = await bench.service.batches(ingestion, first=first, most=1)

    assert batch.ids == list(range(901))[first * 3 : first * 3 + 3]


async def test_a_page_beyond_the_end_is_empty(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.status(await bench.submit(1, 2, 3))

    assert await bench.service.batches(ingestion, first=1) == []


async def test_a_batch_id_is_the_uuid_of_its_place(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(*range(31))

    found = [batch.batch_id for batch in await bench.batches(ingestion)]

    assert found == [str(uuid.uuid5(uuid.UUID(ingestion), str(place))) for place in range(11)]


async def test_a_batch_id_stays_the_same_from_the_first_answer_to_the_end(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 4)
    seen = [await bench.batches(ingestion)]
    for _ in range(2):
        claimed = await bench.claim()
        seen.append(await bench.batches(ingestion))
        await bench.settle(claimed)
        seen.append(await bench.batches(ingestion))

    assert len({tuple(batch.batch_id for batch in each) for each in seen}) == 1


async def test_an_ingestion_id_is_a_uuid_in_the_order_of_time(bench: Bench) -> None:
    await bench.configure(source())
    found = []
    for _ in range(3):
        found.append(await bench.submit(1))
        bench.clock.advance(1_000)

    assert [uuid.UUID(each).version for each in found] == [7, 7, 7]
    assert found == sorted(found)


@pytest.mark.parametrize(
    "unknown", ["", "x", "00000000-0000-0000-0000-000000000000", "' or 1=1 --"]
)
async def test_an_unknown_or_malformed_id_is_not_found(bench: Bench, unknown: str) -> None:
    await bench.configure(source())
    await bench.submit(1)

    with pytest.raises(NotFound):
        await bench.status(unknown)


async def test_somebody_elses_ingestion_is_not_found(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, client="somebody")

    with pytest.raises(NotFound):
        await bench.status(ingestion)
    assert (await bench.service.status(ingestion, client="somebody")).id_count == 1


# -- all or nothing ------------------------------------------------------------------------------------------


async def assert_nothing_stored(bench: Bench) -> None:
    for table in ("ingestion", "id_chunk"):
        assert await bench.rows(f"select count(*) from {table}") == [(0,)]
    assert bench.stated(IngestionAccepted) == []


def submission(**more: object) -> Submission:
    made = Submission(
        ingestion_id=str(uuid.UUID(int=1)),
        client="default",
        source="catalog",
        priority=Priority.MEDIUM,
        size=3,
        id_count=600,
        distinct_count=600,
        batch_count=200,
        chunks=[ChunkRow(0, 300, None, b"[1]"), ChunkRow(300, 300, None, b"[2]")],
    )
    return replace(made, **more)  # type: ignore[arg-type]


class BreaksOff(list[ChunkRow]):
    """Chunks that end in an error after the first."""

    def __iter__(self) -> Iterator[ChunkRow]:
        yield self[0]
        raise Broken


async def test_an_acceptance_that_breaks_off_between_chunks_leaves_nothing(bench: Bench) -> None:
    with pytest.raises(Broken):
        await bench.engine.run(accept, submission(chunks=BreaksOff(submission().chunks)))

    await assert_nothing_stored(bench)


async def test_a_command_that_raises_after_its_work_leaves_nothing(bench: Bench) -> None:
    async def accept_and_raise(tx: Transaction) -> None:
        await accept(tx, submission())
        raise Broken

    with pytest.raises(Broken):
        await bench.engine.run(accept_and_raise)

    await assert_nothing_stored(bench)


async def test_a_statement_that_fails_leaves_nothing_of_its_command(bench: Bench) -> None:
    same = submission().chunks[0]
    with pytest.raises(StoreMisused):
        await bench.engine.run(accept, submission(chunks=[same, same]))

    await assert_nothing_stored(bench)


async def test_the_same_submission_again_is_stored_once(bench: Bench) -> None:
    """As after a commit whose answer was lost."""
    await bench.configure(source())
    small = submission(
        id_count=2, distinct_count=2, batch_count=1, chunks=[ChunkRow(0, 2, None, b"[1,2]")]
    )
    first = await bench.engine.run(accept, small)
    before = await bench.dump()

    assert await bench.engine.run(accept, small) == first
    assert await bench.dump() == before


async def test_nobody_sees_half_an_ingestion_while_it_is_accepted(
    bench: Bench, outside: Callable[[str], list[Any]]
) -> None:
    await bench.configure(source())
    seen: list[Any] = []

    async def accept_and_look(tx: Transaction) -> None:
        await accept(tx, submission())
        seen.extend(outside("select count(*) from ingestion"))
        raise Broken

    with pytest.raises(Broken):
        await bench.engine.run(accept_and_look)

    assert seen == [(0,)]


async def test_an_empty_list_is_refused_and_stores_nothing(bench: Bench) -> None:
    await bench.configure(source())
    with pytest.raises(InvalidInput) as refused:
        await bench.submit()

    assert [error.where for error in refused.value.errors] == [("ids",)]
    await assert_nothing_stored(bench)


async def test_a_thousand_wrong_ids_are_twenty_errors_and_store_nothing(bench: Bench) -> None:
    await bench.configure(source())
    wrong = [str(n) for n in range(1_000)]
    with pytest.raises(InvalidInput) as refused:
        await bench.submit(1, 2, *wrong)

    assert [error.where for error in refused.value.errors] == [("ids", 2 + n) for n in range(20)]
    await assert_nothing_stored(bench)


async def test_more_ids_than_one_ingestion_may_have_are_refused_and_stored_nowhere(
    bench: Bench,
) -> None:
    await bench.configure(source())
    service = Service(
        bench.engine,
        clock=bench.clock,
        sources=bench.sources,
        default_source="catalog",
        limits=Limits(max_ids=3),
    )
    await service.submit([1, 2, 3])
    with pytest.raises(TooLarge):
        await service.submit([1, 2, 3, 4])

    assert await bench.rows("select id_count from ingestion") == [(3,)]


async def test_an_unknown_source_is_refused_and_stores_nothing(bench: Bench) -> None:
    await bench.configure(source())
    with pytest.raises(InvalidInput) as refused:
        await bench.submit(1, source="nowhere")

    assert [error.where for error in refused.value.errors] == [("source",)]
    await assert_nothing_stored(bench)


async def test_submissions_at_once_are_all_stored_each_whole(bench: Bench, other: Bench) -> None:
    await bench.configure(source())
    submits = [(bench, other)[n % 2].submit(*range(n, n + 400)) for n in range(20)]
    found = await asyncio.gather(*submits)

    for n, ingestion in enumerate(found):
        kept = [value for batch in await bench.batches(ingestion) for value in batch.ids]

        assert kept == list(range(n, n + 400))
