"""What came of the ids, read a page at a time: all of it, or what ended in one way."""

from __future__ import annotations

import pytest

from headgate.core.model import Ending
from headgate.core.outcome import Fetched
from headgate.store.queries.records import is_full
from tests.contract.store.bench import Bench, source

pytestmark = pytest.mark.anyio


async def ended(bench: Bench) -> str:
    """Nine ids: the first and the last three fetched, those between failed but for one that is missing."""
    await bench.configure(source())
    ingestion = await bench.submit(*range(10, 19))
    await bench.call()
    await bench.call(Fetched(missing=frozenset({4}), failed={3: "no", 5: "neither"}))
    await bench.call()
    return ingestion


@pytest.mark.parametrize(
    ("ending", "positions"),
    [
        (None, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (Ending.FETCHED, [0, 1, 2, 6, 7, 8]),
        (Ending.FAILED, [3, 5]),
        (Ending.MISSING, [4]),
        (Ending.CANCELLED, []),
    ],
)
@pytest.mark.parametrize("most", [1, 2, 100])
async def test_pages_of_one_ending_are_all_that_ended_so(
    bench: Bench, ending: Ending | None, positions: list[int], most: int
) -> None:
    ingestion = await ended(bench)
    of = await bench.status(ingestion)
    found = []
    first = 0
    while page := await bench.service.records(of, first=first, most=most, ending=ending):
        assert len(page) <= most
        found += page
        first = page[-1].position + 1

    assert [each.position for each in found] == positions
    assert [each.id for each in found] == [position + 10 for position in positions]


@pytest.mark.parametrize("ending", [None, Ending.FETCHED])
@pytest.mark.parametrize(
    ("page_bytes", "sizes"), [(1, [1] * 6), (12, [2] * 3), (22, [2] * 3), (23, [3] * 2)]
)
async def test_a_page_ends_with_the_record_that_makes_it_too_large(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    ending: Ending | None,
    page_bytes: int,
    sizes: list[int],
) -> None:
    monkeypatch.setattr("headgate.store.queries.records.PAGE_BYTES", page_bytes)
    await bench.configure(source())
    ingestion = await bench.submit(*range(6))
    await bench.call()
    await bench.call()
    of = await bench.status(ingestion)
    pages = [await bench.service.records(of, most=100, ending=ending)]
    while is_full(pages[-1], 100):
        first = pages[-1][-1].position + 1
        pages.append(await bench.service.records(of, first=first, most=100, ending=ending))

    assert [record.body for page in pages for record in page] == [b'{"ok":true}'] * 6
    assert [len(page) for page in pages if page] == sizes
