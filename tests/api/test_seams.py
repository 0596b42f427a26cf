"""Where the API meets what is below it: another client's things, and a store that cannot answer now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx2
import pytest

from headgate.bootstrap import make_app
from headgate.core.errors import Conflict, KeyReused, NotFound
from tests.api.client import PROBLEM, UNLIMITED, Api, assert_problem, ok, routes_of, until
from tests.api.conftest import Serve

OTHER = "somebody-else"

OF_AN_INGESTION = [each for each in routes_of(make_app()) if "{ingestion_id}" in each[1]]


@pytest.fixture
def database_url(folder: Path) -> str:
    """A file, which can be filled up, moved away and taken to pieces."""
    return f"sqlite:///{folder}/headgate.db"


# -- somebody else's -----------------------------------------------------------------------------------------


def theirs(api: Api, *ids: int, **more: object) -> str:
    """An ingestion of another client."""
    return str(api.call(api.service.submit, list(ids), client=OTHER, **more))


def test_the_routes_that_are_tried_are_all_there_are():
    assert {path for _, path in OF_AN_INGESTION} >= {
        "/status/{ingestion_id}",
        "/v1/ingestions/{ingestion_id}",
        "/v1/ingestions/{ingestion_id}/batches",
        "/v1/ingestions/{ingestion_id}/records",
        "/v1/ingestions/{ingestion_id}:cancel",
    }


@pytest.mark.parametrize(("method", "path"), OF_AN_INGESTION)
def test_somebody_else_s_ingestion_is_answered_like_one_that_there_is_not(
    still: Api, method: str, path: str
):
    accepted = theirs(still, 1, 2)

    there, nowhere = (
        still.client.request(method, path.format(ingestion_id=each))
        for each in (accepted, accepted[::-1])
    )

    assert there.status_code == nowhere.status_code == 404
    assert there.content.replace(accepted.encode(), b"") == nowhere.content
    assert dict(there.headers) == dict(nowhere.headers)


def test_somebody_else_s_ingestion_is_in_no_list(still: Api):
    accepted = theirs(still, 1)
    mine = still.ingest(2)

    assert still.listed() == still.listed(status="yet_to_start") == [mine]
    assert [each.ingestion_id for each in still.call(still.service.ingestions, client=OTHER)] == [
        accepted
    ]


def test_somebody_else_s_cancellation_leaves_an_ingestion_as_it_was(still: Api):
    mine = still.ingest(1, 2)

    with pytest.raises(NotFound):
        still.call(still.service.cancel, mine, client=OTHER)

    assert still.look(mine)["status"] == "yet_to_start"


def test_somebody_else_s_status_is_not_found_by_the_service(still: Api):
    mine = still.ingest(1)

    with pytest.raises(NotFound):
        still.call(still.service.status, mine, client=OTHER)


def test_two_clients_may_use_the_same_idempotency_key(still: Api):
    mine = still.accept(1, 2, key="k")["ingestion_id"]

    accepted = theirs(still, 3, 4, idempotency_key="k")

    assert accepted != mine
    assert theirs(still, 3, 4, idempotency_key="k") == accepted
    assert still.accept(1, 2, key="k")["ingestion_id"] == mine
    with pytest.raises(KeyReused):
        theirs(still, 1, 2, idempotency_key="k")


def test_somebody_else_s_calls_are_shown_without_a_name(running: Api):
    accepted = theirs(running, 1, 2)
    until(lambda: running.source()["calls"] or None, "it was called")
    mine = running.ingest(3)
    running.ended(mine)

    newest, oldest = running.source()["calls"]

    assert (newest["ingestion_id"], oldest["ingestion_id"]) == (mine, None)
    assert oldest["batch_id"] is None
    assert accepted not in running.client.get("/v1/sources/simulated").text
    named = running.call(running.service.calls, "simulated", client=OTHER)
    assert [call.ingestion_id for call in named] == [None, accepted]


def test_somebody_else_s_work_counts_in_a_forecast(still: Api):
    theirs(still, *range(9))

    assert still.accept(1)["forecast"]["position"] == 3


# -- a store that cannot take anything now -------------------------------------------------------------------


@contextmanager
def full(api: Api) -> Iterator[None]:
    """No page more than the file has now."""
    with set_for_writing(api, "max_page_count", api.engine._writer.pragma("page_count"), 2**31):
        yield


@contextmanager
def unwritable(api: Api) -> Iterator[None]:
    """Nothing may be written at all."""
    with set_for_writing(api, "query_only", True, False):
        yield


@contextmanager
def set_for_writing(api: Api, name: str, during: object, after: object) -> Iterator[None]:
    async def put(value: object) -> None:
        api.engine._writer.pragma(name, value)

    api.call(put, during)
    yield
    api.call(put, after)


Trouble = Callable[[Api], AbstractContextManager[None]]
TROUBLES = [pytest.param(full, id="full"), pytest.param(unwritable, id="unwritable")]

MANY = list(range(100_000))
"""More ids than free places in the pages of the file."""


def assert_unavailable(answer: httpx2.Response) -> None:
    assert answer.status_code == 503, f"{answer.status_code} {answer.text[:300]}"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    if answer.headers["content-type"] == PROBLEM:
        assert_problem(answer, 503, "unavailable")
    else:
        assert list(answer.json()) == ["detail"]


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("path", ["/ingest", "/v1/ingestions"])
def test_a_store_that_takes_nothing_is_a_503_and_half_of_nothing_is_stored(
    still: Api, path: str, trouble: Trouble
):
    with trouble(still):
        refused = still.client.post(path, json={"ids": MANY})

    assert_unavailable(refused)
    assert still.listed() == []


@pytest.mark.parametrize("trouble", TROUBLES)
def test_once_the_trouble_is_over_it_takes_submissions_again(still: Api, trouble: Trouble):
    with trouble(still):
        still.client.post("/ingest", json={"ids": MANY})

    accepted = still.ingest(1, 2, 3, 4)

    assert still.listed() == [accepted]
    assert [batch["ids"] for batch in still.status(accepted)["batches"]] == [[1, 2, 3], [4]]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_key_of_a_submission_that_was_not_stored_is_not_used_up(still: Api, trouble: Trouble):
    with trouble(still):
        refused = still.client.post(
            "/v1/ingestions", json={"ids": MANY}, headers={"Idempotency-Key": "k"}
        )

    assert_unavailable(refused)
    assert still.accept(1, key="k")["counts"]["ids"] == 1


@pytest.mark.parametrize("trouble", TROUBLES)
def test_what_was_accepted_before_is_shown_during_the_trouble(still: Api, trouble: Trouble):
    accepted = still.accept(1, 2)["ingestion_id"]
    before = still.status(accepted)

    with trouble(still):
        assert still.status(accepted) == before
        assert still.listed() == [accepted]


def test_a_cancellation_that_cannot_be_written_is_a_503_and_changes_nothing(still: Api):
    accepted = still.ingest(1, 2)

    with unwritable(still):
        assert_unavailable(still.cancel(accepted))

    assert still.look(accepted)["status"] == "yet_to_start"
    assert ok(still.cancel(accepted))["ingestion"]["status"] == "cancelled"


def test_a_full_disk_is_named_as_such(still: Api):
    with full(still):
        refused = still.client.post("/ingest", json={"ids": MANY})

    assert "disk is full" in refused.json()["detail"]


@pytest.mark.slow
def test_while_nothing_can_be_written_nobody_is_called_and_then_it_goes_on_by_itself(serve: Serve):
    api = serve(UNLIMITED)
    with unwritable(api):
        until(lambda: refuses(api), "it refuses")

        calls = api.source()["calls"]

    assert calls == []
    api.ended(api.ingest(1, 2, 3))


def refuses(api: Api) -> bool | None:
    return True if api.client.post("/ingest", json={"ids": [1]}).status_code == 503 else None


READS = [
    "/readyz",
    "/status/{}",
    "/v1/ingestions",
    "/v1/ingestions/{}",
    "/v1/ingestions/{}/batches",
    "/v1/ingestions/{}/records",
    "/v1/ingestions/{}/records?format=ndjson",
    "/v1/sources",
    "/v1/sources/simulated",
]


@pytest.mark.parametrize("path", READS)
def test_a_store_that_is_gone_answers_no_question_with_a_503(still: Api, path: str):
    accepted = still.accept(1)["ingestion_id"]
    still.call(still.engine.close)

    assert_unavailable(still.client.get(path.format(accepted)))


@pytest.mark.parametrize("path", ["/ingest", "/v1/ingestions", "/v1/ingestions/{}:cancel"])
def test_a_store_that_is_gone_takes_nothing_with_a_503(still: Api, path: str):
    accepted = still.ingest(1)
    still.call(still.engine.close)

    assert_unavailable(still.client.post(path.format(accepted), json={"ids": [1]}))


@pytest.mark.parametrize("path", READS)
def test_a_store_whose_tables_are_gone_answers_no_question_with_a_503(still: Api, path: str):
    accepted = still.accept(1)["ingestion_id"]
    for table in ("ingestion", "source", "record"):
        still.engine._writer.execute(f"alter table {table} rename to was_{table}")

    assert_unavailable(still.client.get(path.format(accepted)))


def test_what_was_stored_is_never_answered_with_an_error(still: Api):
    still.engine._writer.execute("alter table source rename to was_source")  # no forecast any more

    answer = still.client.post("/v1/ingestions", json={"ids": [1]})

    assert answer.is_success == (len(still.listed()) == 1), answer.text


def test_a_process_without_its_store_lives_and_is_not_ready(still: Api):
    still.call(still.engine.close)

    assert still.client.get("/healthz").text == "ok"
    assert still.client.get("/readyz").status_code == 503


def test_a_store_that_cannot_be_opened_once_more_for_reading_is_a_503(still: Api, folder: Path):
    for reader in still.engine._readers:
        reader.close()
    still.engine._readers.clear()
    (folder / "headgate.db").rename(folder / "moved.db")
    (folder / "headgate.db").mkdir()

    assert_unavailable(still.client.get("/v1/ingestions"))


def test_a_conflict_is_a_conflict_on_every_way_in(running: Api):
    accepted = running.ingest(1)
    running.ended(accepted)

    with pytest.raises(Conflict):
        running.call(running.service.cancel, accepted)
    assert_problem(running.cancel(accepted), 409, "conflict")
