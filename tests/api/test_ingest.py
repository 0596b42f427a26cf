"""POST /ingest: what it takes, what it answers, and that every wrong input is told where it is wrong."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any
from uuid import UUID

import anyio
import pytest
from starlette.testclient import TestClient

from headgate.bootstrap import make_app
from headgate.core.errors import SourceMisconfigured
from tests.api.client import JSON, TEXTS, Api, Raw, places
from tests.api.conftest import Environment, Serve
from tests.api.wrong import BIGGEST, STRANGE_HEADERS, WRONG, Place, where

ECHOED = 4_000
"""No answer about a mistake is longer than this, however long the input was."""


# -- accepted ------------------------------------------------------------------------------------------------


def test_ids_and_a_priority_are_answered_with_an_ingestion_id_and_nothing_else(still: Api):
    answer = still.client.post("/ingest", json={"ids": [1, 2, 3, 4, 5], "priority": "HIGH"})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["ingestion_id"]
    assert str(UUID(answer.json()["ingestion_id"])) == answer.json()["ingestion_id"]


@pytest.mark.parametrize("priority", ["HIGH", "MEDIUM", "LOW"])
def test_each_priority_is_kept(still: Api, priority: str):
    accepted = still.ingest(1, priority=priority)

    assert still.look(accepted)["priority"] == priority


def test_without_a_priority_it_is_medium(still: Api):
    assert still.look(still.ingest(1))["priority"] == "MEDIUM"


def test_two_submissions_alike_are_two_ingestions(still: Api):
    assert still.ingest(1, 2) != still.ingest(1, 2)


def test_a_submission_that_is_sent_again_with_its_key_is_the_same_ingestion(still: Api):
    answers = [
        still.client.post("/ingest", json={"ids": [1, 2]}, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert still.accept(1, 2, key="k")["ingestion_id"] == answers[0].json()["ingestion_id"]


def test_a_key_of_another_submission_is_refused(still: Api):
    still.client.post("/ingest", json={"ids": [1, 2]}, headers={"Idempotency-Key": "k"})

    answer = still.client.post("/ingest", json={"ids": [1]}, headers={"Idempotency-Key": "k"})

    assert answer.status_code == 422
    assert "use a new key" in answer.json()["detail"]


def test_a_key_with_a_blank_is_a_mistake_of_the_header(still: Api):
    answer = still.client.post("/ingest", json={"ids": [1]}, headers={"Idempotency-Key": "a b"})

    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["header", "Idempotency-Key"]
    assert still.listed() == []


def test_the_biggest_and_the_smallest_id_are_kept_digit_by_digit(still: Api):
    ids = [BIGGEST, -BIGGEST, 2**53 + 1, 0, -1]

    accepted = still.ingest(*ids)

    assert [id_ for batch in still.status(accepted)["batches"] for id_ in batch["ids"]] == ids


def test_repeats_stay_in_the_list_as_sent_and_are_fetched_once(running: Api):
    accepted = running.ingest(7, 7, 8, 7, 9, 8)

    seen = running.ended(accepted)

    assert [b["ids"] for b in running.status(accepted)["batches"]] == [[7, 7, 8], [7, 9, 8]]
    assert seen["counts"] | {"ids": 6, "distinct": 3, "fetched": 3} == seen["counts"]
    assert [record["id"] for record in running.records(accepted)] == [7, 8, 9]


def test_keys_that_we_do_not_know_are_passed_over(still: Api):
    answer = still.client.post("/ingest", json={"ids": [1], "note": {"by": "me"}, "Priority": 5})

    assert answer.status_code == 200


def test_a_key_that_only_v1_knows_is_passed_over_too(still: Api):
    answer = still.client.post("/ingest", json={"ids": [1], "source": 5})

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/vnd.api+json",
        "application/json;charset=UTF-8 ; x=y",
    ],
)
def test_json_is_taken_under_each_of_its_names(still: Api, kind: str):
    answer = still.client.post("/ingest", content=b'{"ids":[1]}', headers={"content-type": kind})

    assert answer.status_code == 200


def test_escapes_and_spaces_are_taken_as_json_means_them(still: Api):
    body = b' { "\\u0069ds" : [ 1 ,\n2,\t3 ] , "priority" : "\\u0048IGH" } '

    answer = still.client.post("/ingest", content=body, headers=JSON)

    assert still.look(answer.json()["ingestion_id"])["priority"] == "HIGH"


def test_a_body_in_pieces_is_put_together(still: Api):
    request = still.raw("/ingest", b'{"id', b's": [1', b"2, 3]}", content_type="application/json")

    assert request.status_code == 200
    assert still.look(still.listed()[0])["counts"]["ids"] == 2


@pytest.mark.slow
def test_a_million_ids_are_accepted_in_one_request(still: Api):
    body = json.dumps({"ids": list(range(1_000_000)), "priority": "LOW"}).encode()

    answer = still.client.post("/ingest", content=body, headers=JSON)

    seen = still.look(answer.json()["ingestion_id"])
    assert seen["counts"]["ids"] == seen["counts"]["distinct"] == 1_000_000
    assert seen["batch_count"] == 333_334


# -- wrong input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "place"), WRONG)
def test_wrong_input_is_told_where_it_is_wrong_and_nothing_is_stored(
    still: Api, body: bytes, place: Place
):
    answer = still.client.post("/ingest", content=body, headers=JSON)

    assert places(answer) == [where(place)]
    assert all(set(error) == {"type", "loc", "msg"} for error in answer.json()["detail"])
    assert len(answer.content) < ECHOED
    assert still.listed() == []


@pytest.mark.parametrize("headers", STRANGE_HEADERS)
def test_a_body_that_is_not_said_to_be_plain_json_is_refused(still: Api, headers: dict[str, str]):
    answer = still.client.post("/ingest", content=b'{"ids": [1]}', headers=headers)

    assert places(answer) == [["body"]]
    assert still.listed() == []


def test_a_compressed_body_is_refused_before_it_is_looked_at(still: Api):
    bomb = gzip.compress(b" " * 1_000_000)

    answer = still.client.post(
        "/ingest", content=bomb, headers={**JSON, "content-encoding": "gzip"}
    )

    assert "uncompressed" in answer.json()["detail"][0]["msg"]


def test_a_request_without_any_body_is_told_so(still: Api):
    assert places(still.client.post("/ingest")) == [["body"]]


def test_of_many_mistakes_the_first_twenty_are_told(still: Api):
    for wrong in ("x", True, 2**63):
        answer = still.client.post("/ingest", json={"ids": [1, *[wrong] * 30]})

        assert places(answer) == [["body", "ids", position] for position in range(1, 21)]


def test_mistakes_of_several_fields_are_told_together(still: Api):
    answer = still.client.post("/ingest", json={"ids": [1, True], "priority": 5})

    assert sorted(map(str, places(answer))) == [
        "['body', 'ids', 1]",
        "['body', 'priority']",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("id_", ["true", '"5"', "1.0", str(2**63)])
def test_a_million_wrong_ids_are_answered_as_briefly_as_twenty(still: Api, id_: str):
    body = b'{"ids":[%s]}' % ",".join([id_] * 1_000_000).encode()

    answer = still.client.post("/ingest", content=body, headers=JSON)

    assert places(answer) == [["body", "ids", position] for position in range(20)]
    assert len(answer.content) < ECHOED


@pytest.mark.slow
def test_one_wrong_id_at_the_end_of_a_million_is_found(still: Api):
    body = b'{"ids":[%s,"x"]}' % ",".join(map(str, range(999_999))).encode()

    answer = still.client.post("/ingest", content=body, headers=JSON)

    assert places(answer) == [["body", "ids", 999_999]]
    assert still.listed() == []


# -- too large -----------------------------------------------------------------------------------------------


def assert_too_large(answer_status: int | None, body: object) -> None:
    assert answer_status == 413
    assert isinstance(body, dict)
    assert isinstance(body["detail"], str)


def test_as_many_ids_as_are_configured_are_taken_and_one_more_is_too_large(serve: Serve):
    api = serve(worker="false", max_ids=10)

    taken = api.client.post("/ingest", json={"ids": list(range(10))})
    refused = api.client.post("/ingest", json={"ids": list(range(11))})

    assert taken.status_code == 200
    assert_too_large(refused.status_code, refused.json())
    assert len(api.listed()) == 1


def test_a_body_of_just_the_most_bytes_is_taken_and_one_byte_more_is_too_large(serve: Serve):
    api = serve(worker="false", max_body_bytes=100)
    body = b'{"ids":[1]}'.ljust(100)

    taken = api.client.post("/ingest", content=body, headers=JSON)
    refused = api.client.post("/ingest", content=body + b" ", headers=JSON)

    assert taken.status_code == 200
    assert_too_large(refused.status_code, refused.json())


MIB = 1024 * 1024


def test_a_body_that_is_too_large_may_be_sent_to_its_end_before_it_is_refused(serve: Serve):
    api = serve(worker="false", max_body_bytes=100)

    parts = [b" " * 60] * 1_000
    said = api.raw("/ingest", *parts, content_type="application/json", content_length="60000")
    chunked = api.raw("/ingest", *parts, content_type="application/json")

    assert (said.status_code, said.asked) == (413, 1_000)
    assert (chunked.status_code, chunked.asked) == (413, 1_000)


def test_a_body_of_another_kind_may_be_sent_to_its_end_before_it_is_refused(still: Api):
    request = still.raw("/ingest", *[b" " * 60] * 1_000, content_type="text/plain")

    assert (request.status_code, request.asked) == (422, 1_000)


def test_an_endless_body_is_cut_off(serve: Serve):
    api = serve(worker="false", max_body_bytes=100)

    request = api.raw("/ingest", *[b" " * MIB] * 1_000, content_type="application/json")

    assert request.status_code == 413
    assert request.asked < 5


@pytest.mark.slow
def test_who_sends_a_refused_body_slowly_is_answered_nonetheless(still: Api):
    request = Raw("POST", "/ingest", [], {"content_type": "text/plain"})

    async def stalled() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    request._receive = stalled  # type: ignore[method-assign]
    still.call(request.send_to, still.app)

    assert request.status_code == 422


def test_who_asks_before_sending_too_large_a_body_is_refused_unread(serve: Serve):
    api = serve(worker="false", max_body_bytes=100)

    request = api.raw(
        "/ingest",
        b"[",
        b"]",
        content_type="application/json",
        content_length="101",
        expect="100-continue",
    )

    assert (request.status_code, request.asked) == (413, 0)


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "9" * 5_000, "１０"])
def test_a_length_that_is_none_is_no_bug_of_ours(serve: Serve, length: str):
    api = serve(worker="false", max_body_bytes=100)
    latin = length.encode().decode("latin-1")

    request = api.raw(
        "/ingest", b'{"ids":[1]}', content_type="application/json", content_length=latin
    )

    assert request.status_code in {200, 413}


@pytest.mark.parametrize("sent", [[], [b'{"ids": [1, 2'], [b'{"ids": [1, 2]}']])
def test_a_client_that_goes_away_while_it_sends_leaves_nothing_behind(
    still: Api, sent: list[bytes]
):
    request = still.raw("/ingest", *sent, cut=True, content_type="application/json")

    assert request.status_code is None or request.status_code < 500
    assert still.listed() == []


AMPLE = 12
"""So many times its own size may a body take while it is looked at: a good list of a million ids takes five."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "piece", "end"),
    [
        pytest.param(b'{"ids":[', b"1234567,", b"1]}", id="good-ids"),
        pytest.param(b'{"ids":[', b"true,", b"1]}", id="wrong-ids"),
        pytest.param(b'{"ids":[', b"[],", b"1]}", id="lists-for-ids"),
        pytest.param(b'{"ids":[1],"note":[', b"[],", b"1]}", id="lists-in-an-unknown-key"),
        pytest.param(b'{"ids":[1],"note":[', b"{},", b"1]}", id="objects-in-an-unknown-key"),
        pytest.param(b"[", b"[],", b"1]", id="lists-all-over"),
        pytest.param(b'{"ids":[', b"[],", b"", id="lists-without-an-end"),
    ],
)
def test_however_a_body_is_made_looking_at_it_takes_memory_in_proportion(
    serve: Serve, start: bytes, piece: bytes, end: bytes
):
    api = serve(worker="false", max_ids=50_000)
    body = start + piece * (1_000_000 // len(piece)) + end

    tracemalloc.start()
    try:
        answer = api.client.post("/ingest", content=body, headers=JSON)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answer.status_code in {200, 413, 422}
    assert most < AMPLE * len(body)


# -- which ids, which source ---------------------------------------------------------------------------------


def test_a_source_of_texts_takes_texts_as_they_are(serve: Serve):
    api = serve(TEXTS, worker="false")
    ids = ["a", "b-c", "é", "a:b", "ids", "a" * 256]

    accepted = api.ingest(*ids)

    assert [id_ for batch in api.status(accepted)["batches"] for id_ in batch["ids"]] == ids


@pytest.mark.parametrize(
    "id_", [5, "", "A", "a b", "a\n", "a" * 257, "\x00", "日", "\ud800", True, None, 1.5]
)
def test_what_a_source_of_texts_does_not_take_is_told_where_it_stands(serve: Serve, id_: object):
    api = serve(TEXTS, worker="false")

    answer = api.client.post(
        "/ingest", content=json.dumps({"ids": ["a", id_]}).encode(), headers=JSON
    )

    assert places(answer) == [["body", "ids", 1]]
    assert len(answer.content) < ECHOED


def test_a_range_of_integers_is_kept_to_at_both_ends(serve: Serve):
    api = serve(
        """
        [sources.catalog]
        ids = { type = "integer", min = 1, max = 1000000007 }
        """,
        worker="false",
    )

    taken = api.client.post("/ingest", json={"ids": [1, 1_000_000_007]})
    refused = api.client.post("/ingest", json={"ids": [1, 0, 1_000_000_007, 1_000_000_008]})

    assert taken.status_code == 200
    assert places(refused) == [["body", "ids", 1], ["body", "ids", 3]]


def test_where_the_file_names_no_source_it_goes_to_the_simulated_one(still: Api):
    assert still.look(still.ingest(1))["source"] == "simulated"


def test_where_the_file_names_one_source_it_goes_there(serve: Serve):
    api = serve("[sources.catalog]", worker="false")

    assert api.look(api.ingest(1))["source"] == "catalog"


TWO = "[sources.catalog]\n[sources.articles]\n"


def test_of_several_sources_it_goes_to_the_default_one(serve: Serve):
    api = serve(f'default_source = "articles"\n{TWO}', worker="false")

    assert api.look(api.ingest(1))["source"] == "articles"


def test_the_environment_may_name_the_default_source(serve: Serve):
    api = serve(TWO, worker="false", default_source="articles")

    assert api.look(api.ingest(1))["source"] == "articles"


@pytest.mark.parametrize("file", [TWO, f'default_source = "artikel"\n{TWO}'])
def test_several_sources_without_a_right_default_stop_the_start(
    environment: Environment, file: str
):
    environment(file)

    with pytest.raises(SourceMisconfigured, match="default_source"), TestClient(make_app()):
        pass
