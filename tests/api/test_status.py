"""GET /status/{ingestion_id}: batches in order, named once and for all, whole or streamed, and forward only."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest

from headgate.api.seed import PAGE, _pages
from headgate.core.model import Priority
from headgate.service import Service
from headgate.store.commands.configure import configure
from headgate.store.sqlite.engine import SqliteEngine
from tests.api.client import Api, until
from tests.api.conftest import Serve
from tests.contract.store.bench import source
from tests.fakes import FakeClock

RANK = {"yet_to_start": 0, "triggered": 1, "completed": 2, "failed": 2, "cancelled": 2}
FULL = 1_000
"""So many batches come in one piece."""


def statuses(seen: dict[str, object]) -> list[str]:
    batches = seen["batches"]
    assert isinstance(batches, list)
    return [str(seen["status"]), *(batch["status"] for batch in batches)]


# -- what is shown -------------------------------------------------------------------------------------------


def test_it_shows_the_ingestion_and_its_batches_and_nothing_else(still: Api):
    accepted = still.ingest(1, 2, 3, 4, 5)

    seen = still.status(accepted)

    assert seen == {
        "ingestion_id": accepted,
        "status": "yet_to_start",
        "batches": [
            {
                "batch_id": seen["batches"][0]["batch_id"],
                "ids": [1, 2, 3],
                "status": "yet_to_start",
            },
            {"batch_id": seen["batches"][1]["batch_id"], "ids": [4, 5], "status": "yet_to_start"},
        ],
    }


@pytest.mark.parametrize(("count", "cut"), [(1, [1]), (3, [3]), (4, [3, 1]), (7, [3, 3, 1])])
def test_batches_are_the_list_cut_in_threes_in_its_order(still: Api, count: int, cut: list[int]):
    ids = [5, 3, 9, 1, 2, 8, 7][:count]

    batches = still.status(still.ingest(*ids))["batches"]

    assert [len(batch["ids"]) for batch in batches] == cut
    assert [id_ for batch in batches for id_ in batch["ids"]] == ids


def test_batches_are_as_large_as_the_source_takes(serve: Serve):
    api = serve("[sources.catalog]\nbatch_size = 50", worker="false")

    batches = api.status(api.ingest(*range(120)))["batches"]

    assert [len(batch["ids"]) for batch in batches] == [50, 50, 20]


def test_every_batch_has_a_uuid_of_its_own(still: Api):
    seen = [still.status(still.ingest(*range(30))) for _ in range(2)]

    names = [batch["batch_id"] for each in seen for batch in each["batches"]]
    assert len(set(names)) == 20
    assert [str(UUID(name)) for name in names] == names


def test_a_batch_is_called_the_same_from_the_first_answer_to_the_last(serve: Serve):
    api = serve('[sources.simulated]\nquota = []\nlatency = "1ms"')
    accepted = api.ingest(*range(30))

    first = [batch["batch_id"] for batch in api.status(accepted)["batches"]]

    api.ended(accepted)
    assert [batch["batch_id"] for batch in api.status(accepted)["batches"]] == first
    assert [batch["batch_id"] for batch in api.batches(accepted)] == first


@pytest.mark.parametrize(
    "unknown",
    [
        "x",
        "0",
        "null",
        "01935fda-e3e7-7f3d-ac52-6bfc4124c292",
        "01935fdae3e77f3dac526bfc4124c292",
        "%00",
        "%ff%fe",
        "%F0%9F%92%A9",
        "..",
        "' or 1=1 --",
        "%27%20or%201%3D1%20--",
        "x" * 100_000,
    ],
)
def test_an_unknown_or_malformed_id_is_a_404(still: Api, unknown: str):
    answer = still.raw(f"/status/{unknown}", b"", method="GET")

    assert answer.status_code == 404


def test_a_404_says_so_as_fastapi_does(still: Api):
    answer = still.client.get("/status/x")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["detail"]


def test_an_id_is_known_in_the_one_spelling_that_was_given(still: Api):
    accepted = still.ingest(1)

    for other in (accepted.upper(), accepted.replace("-", ""), f"{{{accepted}}}", f"{accepted}%20"):
        assert still.client.get(f"/status/{other}").status_code == 404


# -- how it moves --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_statuses_only_go_forward_for_who_keeps_looking(serve: Serve):
    api = serve('[sources.simulated]\nquota = []\nlatency = "5ms"\nconcurrency = 2')
    accepted = api.ingest(*range(60))
    seen: list[list[str]] = []

    def ended() -> bool | None:
        seen.append(statuses(api.status(accepted)))
        return True if seen[-1][0] == "completed" else None

    until(ended, "it is completed")

    for before, after in pairwise(seen):
        assert all(RANK[a] <= RANK[b] for a, b in zip(before, after, strict=True))
    assert set(seen[-1]) == {"completed"}


def test_what_the_source_does_not_know_is_completed_all_the_same(serve: Serve):
    api = serve('[sources.simulated]\nquota = []\nlatency = "0s"\nmissing = [2, 4]')
    accepted = api.ingest(1, 2, 4)

    api.ended(accepted)

    assert statuses(api.status(accepted)) == ["completed", "completed"]


def test_what_failed_for_good_is_failed_and_the_rest_is_there(serve: Serve):
    api = serve('[sources.simulated]\nquota = []\nlatency = "0s"\nfailing = [4]\nmax_attempts = 1')
    accepted = api.ingest(1, 2, 3, 4, 5, 6, 7)

    api.ended(accepted)

    assert statuses(api.status(accepted)) == ["failed", "completed", "failed", "completed"]


def test_what_was_cancelled_is_cancelled(still: Api):
    accepted = still.ingest(1, 2, 3, 4)

    still.cancel(accepted)

    assert statuses(still.status(accepted)) == ["cancelled", "cancelled", "cancelled"]


def test_a_batch_of_nothing_but_repeats_ends_as_they_did(running: Api):
    accepted = running.ingest(1, 2, 3, 1, 2, 3, 4)

    running.ended(accepted)

    assert statuses(running.status(accepted)) == ["completed"] * 4


# -- how it is sent ------------------------------------------------------------------------------------------


def test_a_thousand_batches_come_in_one_piece(still: Api):
    accepted = still.ingest(*range(3 * FULL))

    answer = still.client.get(f"/status/{accepted}")

    assert len(answer.json()["batches"]) == FULL
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize("ids", [3 * FULL + 1, 6 * FULL, 6 * FULL + 1, 10_000])
def test_more_than_a_thousand_batches_are_streamed_and_are_the_same_as_the_pages_of_v1(
    still: Api, ids: int
):
    accepted = still.ingest(*range(ids))

    answer = still.client.get(f"/status/{accepted}")

    pages = [
        {"batch_id": each["batch_id"], "ids": each["ids"], "status": each["status"]}
        for each in still.batches(accepted)
    ]
    assert answer.json() == {"ingestion_id": accepted, "status": "yet_to_start", "batches": pages}
    assert [id_ for batch in pages for id_ in batch["ids"]] == list(range(ids))
    assert answer.headers["content-type"] == "application/json"
    assert "content-length" not in answer.headers


def test_streamed_or_not_the_bytes_are_spelled_alike(still: Api):
    short, long = (
        still.client.get(f"/status/{still.ingest(*range(count))}") for count in (6, 3 * FULL + 3)
    )

    for answer in (short, long):
        again = json.dumps(answer.json(), separators=(",", ":")).encode()
        assert answer.content == again


def test_while_a_long_status_is_read_slowly_others_are_served(still: Api):
    accepted = still.ingest(*range(10_000))

    with still.client.stream("GET", f"/status/{accepted}") as slow:
        pieces = slow.iter_raw()
        first = next(pieces)
        taken = still.ingest(1, 2, 3)
        looked = still.status(taken)
        rest = b"".join(pieces)

    assert looked["status"] == "yet_to_start"
    assert len(json.loads(first + rest)["batches"]) == 3_334


def test_who_stops_reading_a_long_status_disturbs_nobody(still: Api):
    accepted = still.ingest(*range(10_000))

    with still.client.stream("GET", f"/status/{accepted}") as slow:
        next(slow.iter_raw())

    assert len(still.status(accepted)["batches"]) == 3_334


@pytest.mark.slow
def test_a_hundred_thousand_ids_are_shown_to_who_insists(still: Api):
    batches = still.status(still.ingest(*range(100_000)))["batches"]

    assert len(batches) == 33_334
    assert batches[-1]["ids"] == [99_999]


@pytest.mark.anyio
async def test_who_asks_for_a_long_one_leaves_others_their_turn(tmp_path: Path):
    """Neither a file nor a client that reads fast makes us wait: a million ids took over a second of everybody's."""
    catalog = source(batch_size=1)
    engine = SqliteEngine(tmp_path / "headgate.db", clock=FakeClock())
    await engine.run(configure, [catalog], [])
    service = Service(
        engine, clock=FakeClock(), sources={"catalog": catalog}, default_source="catalog"
    )
    accepted = await service.submit(list(range(5 * PAGE)), priority=Priority.LOW)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    pages = [page async for page in _pages(service, await service.status(accepted))]
    task.cancel()
    await engine.close()

    assert len(json.loads(b"".join(pages))["batches"]) == 5 * PAGE
    assert turns >= 5
