"""/v1: submit once, list, look ahead, batches, records, cancel, sources; and a problem for every mistake."""

from __future__ import annotations

import base64
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from headgate.bootstrap import make_app
from tests.api.client import (
    JSON,
    TEXTS,
    UNLIMITED,
    Api,
    assert_problem,
    client_of,
    ok,
    pointers,
    until,
)
from tests.api.conftest import Environment, Serve
from tests.api.odd_source import OddSource, odd_record, tall_record
from tests.api.wrong import BIGGEST, STRANGE_HEADERS, WRONG, Place, pointer

ECHOED = 4_000
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def instant(text: str) -> datetime:
    assert INSTANT.fullmatch(text), text
    return datetime.fromisoformat(text)


def token(position: object, kind: str = "p1") -> str:
    return base64.urlsafe_b64encode(f"{kind}:{position}".encode()).decode().rstrip("=")


def simulated(**options: str) -> str:
    """A simulated source without a quota or a latency, but for what is named."""
    lines = {"quota": "[]", "latency": '"0s"', **options}
    return "\n".join(["[sources.simulated]", *(f"{key} = {value}" for key, value in lines.items())])


# -- submit --------------------------------------------------------------------------------------------------


def test_a_submission_is_answered_202_with_the_resource_and_where_it_is(still: Api):
    answer = still.client.post("/v1/ingestions", json={"ids": [1, 2, 3, 4], "priority": "LOW"})

    assert answer.status_code == 202
    body = answer.json()
    assert answer.headers["location"] == f"/v1/ingestions/{body['ingestion_id']}"
    assert ok(still.client.get(answer.headers["location"])).keys() == body.keys()
    shown = (
        "source",
        "priority",
        "status",
        "batch_count",
        "batch_size",
        "ended_at",
        "cancelled_at",
    )
    assert [body[key] for key in shown] == ["simulated", "LOW", "yet_to_start", 2, 3, None, None]


def test_both_faces_show_the_same_ingestion(still: Api):
    by_v1, by_ingest = still.accept(1, 2)["ingestion_id"], still.ingest(3, 4)

    assert still.status(by_v1)["batches"][0]["ids"] == [1, 2]
    assert still.batches(by_ingest)[0]["ids"] == [3, 4]
    assert still.listed() == [by_ingest, by_v1]


def test_a_submission_may_name_its_source(serve: Serve):
    api = serve(f'default_source = "simulated"\n{UNLIMITED}{TEXTS}', worker="false")

    assert api.accept("a", "b", source="pages")["source"] == "pages"
    assert api.accept(1, 2)["source"] == "simulated"


def test_when_it_was_accepted_is_an_instant_in_utc(still: Api):
    before = datetime.now(UTC)

    accepted = instant(still.accept(1)["accepted_at"])

    assert before - timedelta(milliseconds=1) <= accepted <= datetime.now(UTC)


def test_the_edges_of_an_integer_go_in_and_come_out_exactly(running: Api):
    ids = [BIGGEST, -BIGGEST, 2**53 + 1]

    accepted = running.accept(*ids)["ingestion_id"]

    running.ended(accepted)
    assert running.batches(accepted)[0]["ids"] == ids
    assert [record["id"] for record in running.records(accepted)] == ids
    assert [record["record"]["id"] for record in running.records(accepted)] == ids


# -- submit: mistakes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "place"), WRONG)
def test_wrong_input_is_a_problem_with_a_pointer_and_nothing_is_stored(
    still: Api, body: bytes, place: Place
):
    answer = still.client.post("/v1/ingestions", content=body, headers=JSON)

    problem = assert_problem(answer, 422, "invalid_input")
    assert pointers(problem) == [pointer(place)]
    assert all(set(error) == {"pointer", "detail", "code"} for error in problem["errors"])
    assert len(answer.content) < ECHOED
    assert still.listed() == []


@pytest.mark.parametrize("headers", STRANGE_HEADERS)
def test_a_body_that_is_not_said_to_be_plain_json_is_refused(still: Api, headers: dict[str, str]):
    answer = still.client.post("/v1/ingestions", content=b'{"ids": [1]}', headers=headers)

    assert pointers(assert_problem(answer, 422)) == [""]


def test_the_sentence_of_a_problem_begins_with_a_word(still: Api):
    answer = still.client.post("/v1/ingestions", content=b"[", headers=JSON)

    assert re.match(r"\w", assert_problem(answer, 422)["detail"])


@pytest.mark.parametrize(
    ("key", "at"),
    [
        ("note", "/note"),
        ("Ids", "/Ids"),
        ("max_age", "/max_age"),
        ("client", "/client"),
        ("", "/"),
        ("a/b~c", "/a~1b~0c"),
        ("ключ", "/ключ"),
    ],
)
def test_an_unknown_key_is_a_mistake_that_is_pointed_at(still: Api, key: str, at: str):
    answer = still.client.post("/v1/ingestions", json={"ids": [1], key: 1})

    assert pointers(assert_problem(answer, 422, "invalid_input")) == [at]
    assert still.listed() == []


def test_an_unknown_key_of_a_lone_surrogate_is_pointed_at_too(still: Api):
    body = b'{"ids": [1], "\\ud800": 1}'

    answer = still.client.post("/v1/ingestions", content=body, headers=JSON)

    assert pointers(assert_problem(answer, 422)) == ["/\\ud800"]


def test_of_many_unknown_keys_twenty_are_told_and_none_at_length(still: Api):
    keys = {f"{'k' * 10_000}{number}": 1 for number in range(50)}

    answer = still.client.post("/v1/ingestions", json={"ids": [1], **keys})

    assert len(assert_problem(answer, 422)["errors"]) == 20
    assert len(answer.content) < 2 * ECHOED


def test_of_many_wrong_ids_twenty_are_told(still: Api):
    answer = still.client.post("/v1/ingestions", json={"ids": [1, *[None] * 50]})

    assert pointers(assert_problem(answer, 422)) == [f"/ids/{place}" for place in range(1, 21)]


@pytest.mark.parametrize("source", [5, True, None, ["simulated"], {"name": "simulated"}])
def test_a_source_that_is_no_text_is_a_mistake(still: Api, source: object):
    answer = still.client.post("/v1/ingestions", json={"ids": [1], "source": source})

    assert pointers(assert_problem(answer, 422)) == ["/source"]


@pytest.mark.parametrize("source", ["nope", "", "Simulated", "simulated ", "\ud800", "\x00"])
def test_an_unknown_source_is_a_mistake(still: Api, source: str):
    body = json.dumps({"ids": [1], "source": source}).encode()

    answer = still.client.post("/v1/ingestions", content=body, headers=JSON)

    assert pointers(assert_problem(answer, 422)) == ["/source"]


def test_the_name_of_an_unknown_source_is_not_echoed_at_length(still: Api):
    answer = still.client.post("/v1/ingestions", json={"ids": [1], "source": "x" * 100_000})

    assert_problem(answer, 422)
    assert len(answer.content) < ECHOED


def test_too_many_ids_are_a_413_and_nothing_is_stored(serve: Serve):
    api = serve(worker="false", max_ids=10)

    answer = api.client.post("/v1/ingestions", json={"ids": list(range(11))})

    assert_problem(answer, 413, "too_large")
    assert api.listed() == []


def test_too_large_a_body_is_a_413(serve: Serve):
    api = serve(worker="false", max_body_bytes=100)

    answer = api.client.post("/v1/ingestions", content=b" " * 101, headers=JSON)

    assert_problem(answer, 413, "too_large")


@pytest.mark.slow
def test_an_ingestion_of_which_nobody_lives_to_see_the_end_is_accepted_and_shown(serve: Serve):
    api = serve(
        '[sources.simulated]\nquota = "1/31d"\nbatch_size = 1', worker="false", max_ids=200_000
    )

    answer = api.client.post("/v1/ingestions", json={"ids": list(range(100_000))})

    assert answer.status_code == 202, answer.text
    assert api.look(api.listed()[0])["status"] == "yet_to_start"


# -- submit: once ---------------------------------------------------------------------------------------------


def test_the_same_key_and_body_are_the_same_ingestion(still: Api):
    first, again = (still.accept(1, 2, priority="HIGH", key="k-1") for _ in range(2))

    assert first["ingestion_id"] == again["ingestion_id"]
    assert len(still.listed()) == 1


def test_the_same_key_and_body_are_answered_alike_with_where_it_is(still: Api):
    answers = [
        still.client.post("/v1/ingestions", json={"ids": [1]}, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].headers["location"] == answers[1].headers["location"]


def test_what_a_body_means_is_what_makes_it_the_same(still: Api):
    bodies = [
        b'{"ids":[1,2]}',
        b' { "ids" : [1, 2] }\n',
        b'{"priority":"MEDIUM","ids":[1,2]}',
        b'{"ids":[1,2],"source":"simulated"}',
        b'{"\\u0069ds":[1,2]}',
    ]

    seen = {
        still.client.post(
            "/v1/ingestions", content=body, headers={**JSON, "Idempotency-Key": "k"}
        ).json()["ingestion_id"]
        for body in bodies
    }

    assert len(seen) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"ids": [1]},
        {"ids": [2, 1]},
        {"ids": [1, 2, 2]},
        {"ids": [1, 2], "priority": "HIGH"},
    ],
)
def test_the_same_key_with_another_body_is_refused_and_stores_nothing(
    still: Api, other: dict[str, object]
):
    first = still.accept(1, 2, key="k-1")

    answer = still.client.post("/v1/ingestions", json=other, headers={"Idempotency-Key": "k-1"})

    assert_problem(answer, 422, "idempotency_key_reused")
    assert still.listed() == [first["ingestion_id"]]


def test_the_same_key_for_another_source_is_refused(serve: Serve):
    api = serve("default_source = 'a'\n[sources.a]\n[sources.b]", worker="false")
    api.accept(1, key="k", source="a")

    answer = api.client.post(
        "/v1/ingestions", json={"ids": [1], "source": "b"}, headers={"Idempotency-Key": "k"}
    )

    assert_problem(answer, 422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["k", "k" * 255, "!", "~", "a/b:c=d", '"8e03978e"'])
def test_a_key_of_1_to_255_visible_characters_is_taken(still: Api, key: str):
    assert still.accept(1, key=key)["ingestion_id"] == still.accept(1, key=key)["ingestion_id"]


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "a\tb", "é", "\x7f", "a\x00b", "日", " "])
def test_a_malformed_key_is_a_mistake_and_nothing_is_stored(still: Api, key: str):
    answer = still.client.post(
        "/v1/ingestions", json={"ids": [1]}, headers=[(b"Idempotency-Key", key.encode())]
    )

    problem = assert_problem(answer, 422, "invalid_input")
    assert pointers(problem) == ["/header/Idempotency-Key"]
    assert still.listed() == []


def test_keys_differ_by_case(still: Api):
    assert still.accept(1, key="k")["ingestion_id"] != still.accept(1, key="K")["ingestion_id"]


def test_a_submission_that_was_refused_does_not_use_its_key_up(still: Api):
    refused = still.client.post(
        "/v1/ingestions", json={"ids": [True]}, headers={"Idempotency-Key": "k"}
    )

    assert refused.status_code == 422
    assert still.accept(1, key="k")["counts"]["ids"] == 1


def test_a_key_is_known_after_the_ingestion_ended_and_after_a_restart(environment: Environment):
    environment(UNLIMITED)

    with client_of(make_app()) as before:
        first = before.accept(1, 2, key="k")["ingestion_id"]
        before.ended(first)
    with client_of(make_app()) as after:
        assert after.accept(1, 2, key="k")["ingestion_id"] == first


@pytest.mark.slow
def test_a_hundred_copies_at_once_are_one_ingestion(still: Api):
    with ThreadPoolExecutor(32) as threads:
        seen = list(threads.map(lambda _: still.accept(1, 2, 3, key="k"), range(100)))

    assert len({each["ingestion_id"] for each in seen}) == 1
    assert len(still.listed()) == 1


@pytest.mark.slow
def test_of_copies_with_two_bodies_at_once_one_body_wins_and_the_other_is_refused(still: Api):
    def submit(number: int) -> tuple[int, int]:
        answer = still.client.post(
            "/v1/ingestions", json={"ids": [number % 2]}, headers={"Idempotency-Key": "k"}
        )
        return number % 2, answer.status_code

    with ThreadPoolExecutor(16) as threads:
        seen = set(threads.map(submit, range(60)))

    winner = next(body for body, status in seen if status == 202)
    assert seen == {(winner, 202), (1 - winner, 422)}
    assert len(still.listed()) == 1


# -- list ----------------------------------------------------------------------------------------------------


def test_ingestions_are_listed_newest_first(still: Api):
    accepted = [still.ingest(number) for number in range(5)]

    assert still.listed() == accepted[::-1]


def test_nothing_accepted_is_an_empty_page(still: Api):
    assert ok(still.client.get("/v1/ingestions")) == {"ingestions": [], "next_page": None}


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 24, 25, 26, 1_000])
def test_all_pages_together_are_the_list_without_a_repeat_or_a_gap(still: Api, limit: int):
    accepted = [still.ingest(number) for number in range(25)]

    walked = list(still.pages("/v1/ingestions", "ingestions", limit=limit))

    assert [each["ingestion_id"] for each in walked] == accepted[::-1]


def test_what_is_accepted_while_pages_are_walked_shifts_none_of_them(still: Api):
    accepted = [still.ingest(number) for number in range(6)]
    seen = []

    for each in still.pages("/v1/ingestions", "ingestions", limit=2):
        seen.append(each["ingestion_id"])
        still.ingest(99)

    assert seen == accepted[::-1]


def test_a_page_holds_no_more_than_was_asked_for_and_a_hundred_by_default(still: Api):
    for number in range(101):
        still.ingest(number)

    assert len(still.listed()) == 100
    assert len(still.listed(limit=7)) == 7
    assert len(still.listed(limit=1_000)) == 101


@pytest.mark.parametrize(
    "status", ["yet_to_start", "triggered", "completed", "failed", "cancelled"]
)
def test_a_list_can_be_of_one_status(mixed: tuple[Api, dict[str, str]], status: str):
    api, named = mixed

    assert api.listed(status=status) == [named[status]]
    assert api.look(named[status])["status"] == status


def test_a_list_can_be_of_one_source_or_one_priority_or_both(mixed: tuple[Api, dict[str, str]]):
    api, named = mixed

    assert api.listed(source="simulated") == [named["failed"], named["completed"]]
    assert api.listed(priority="LOW") == [named["yet_to_start"], named["failed"]]
    assert api.listed(priority="LOW", source="stuck") == [named["yet_to_start"]]
    assert api.listed(priority="LOW", source="stuck", status="failed") == []


def test_a_source_that_there_is_not_has_no_ingestions(mixed: tuple[Api, dict[str, str]]):
    assert mixed[0].listed(source="nope") == []


def test_pages_of_a_filtered_list_have_no_gap(still: Api):
    wanted = [still.ingest(number, priority=["LOW", "HIGH"][number % 2]) for number in range(20)][
        1::2
    ]

    walked = still.pages("/v1/ingestions", "ingestions", limit=3, priority="HIGH")

    assert [each["ingestion_id"] for each in walked] == wanted[::-1]


@pytest.mark.parametrize(
    ("query", "at"),
    [
        ("limit=0", "/query/limit"),
        ("limit=1001", "/query/limit"),
        ("limit=-1", "/query/limit"),
        ("limit=x", "/query/limit"),
        ("limit=", "/query/limit"),
        (f"limit={'9' * 5_000}", "/query/limit"),
        ("status=done", "/query/status"),
        ("status=COMPLETED", "/query/status"),
        ("priority=high", "/query/priority"),
        ("priority=10", "/query/priority"),
        (f"source={'x' * 257}", "/query/source"),
    ],
)
def test_a_wrong_filter_is_pointed_at(still: Api, query: str, at: str):
    answer = still.client.get(f"/v1/ingestions?{query}")

    assert pointers(assert_problem(answer, 422, "invalid_input")) == [at]
    assert len(answer.content) < ECHOED


@pytest.mark.parametrize(
    "path",
    [
        "/v1/ingestions?staus=failed",
        "/v1/ingestions/{}?staus=failed",
        "/v1/ingestions/{}/batches?staus=failed",
        "/v1/ingestions/{}/records?staus=failed",
        "/v1/sources?staus=failed",
        "/v1/sources/simulated?staus=failed",
        "/v1/workers?staus=failed",
    ],
)
def test_a_parameter_that_no_route_knows_is_pointed_at(still: Api, path: str):
    answer = still.client.get(path.format(still.ingest(1)))

    assert pointers(assert_problem(answer, 422, "invalid_input")) == ["/query/staus"]
    assert "known" in answer.json()["errors"][0]["detail"]


TOKENS = [
    "",
    "x",
    "====",
    "%00",
    "%ff",
    "é",
    "p1:1",
    "a" * 65,
    token(1, "p2"),
    token(""),
    token("x"),
    token("-1"),
    token("1.5"),
    token(2**63),
    token("9" * 30),
]


@pytest.mark.parametrize("wrong", TOKENS)
@pytest.mark.parametrize("path", ["", "/{}/batches", "/{}/records"])
def test_a_page_that_we_did_not_name_is_a_mistake(still: Api, path: str, wrong: str):
    path = f"/v1/ingestions{path}".format(still.ingest(1))

    answer = still.client.get(f"{path}?page={wrong}")

    assert pointers(assert_problem(answer, 422, "invalid_input"))[0].endswith("/page")


def test_a_page_that_we_did_not_name_is_pointed_at_as_any_other_parameter(still: Api):
    asked = [still.client.get(f"/v1/ingestions?{query}") for query in ("page=x", "limit=x")]

    assert [pointers(assert_problem(answer, 422)) for answer in asked] == [
        ["/query/page"],
        ["/query/limit"],
    ]


@pytest.mark.parametrize("position", [5, 2**31, 2**53, 2**61, 2**62, 2**63 - 101, 2**63 - 1])
@pytest.mark.parametrize("what", ["batches", "records"])
def test_a_page_behind_the_end_is_empty(running: Api, what: str, position: int):
    accepted = running.ingest(1, 2, 3, 4)
    running.ended(accepted)

    page = running.look(accepted, f"/{what}", page=token(position), limit=1_000)

    assert page == {what: [], "next_page": None}


# -- look ----------------------------------------------------------------------------------------------------


def test_counts_of_what_has_not_begun(still: Api):
    counts = still.accept(1, 2, 2, 3)["counts"]

    assert counts == {
        "ids": 4,
        "distinct": 3,
        "begun": 0,
        "fetched": 0,
        "missing": 0,
        "failed": 0,
        "cancelled": 0,
        "left": 3,
    }


def test_counts_say_how_each_id_ended(serve: Serve):
    api = serve(simulated(missing="[2]", failing="[4]", max_attempts="1"))
    accepted = api.accept(1, 2, 3, 4, 5)["ingestion_id"]

    counts = api.ended(accepted)["counts"]

    assert counts | {"begun": 5, "fetched": 2, "missing": 1, "failed": 2, "left": 0} == counts


def test_an_ended_ingestion_says_when_and_forecasts_nothing(running: Api):
    seen = running.ended(running.accept(1, 2)["ingestion_id"])

    assert instant(seen["accepted_at"]) <= instant(seen["ended_at"])
    assert seen["forecast"] is None
    assert seen["cancelled_at"] is None


@pytest.mark.parametrize(
    "unknown", ["x", "01935fda-e3e7-7f3d-ac52-6bfc4124c292", "%00", "x" * 9_999]
)
@pytest.mark.parametrize("what", ["", "/batches", "/records", "/records?format=ndjson"])
def test_an_unknown_ingestion_is_a_404(still: Api, unknown: str, what: str):
    answer = still.client.get(f"/v1/ingestions/{unknown}{what}")

    assert_problem(answer, 404, "not_found")


# -- forecast ------------------------------------------------------------------------------------------------


def test_the_first_in_line_starts_at_once_and_waits_for_nothing(still: Api):
    before = datetime.now(UTC)

    forecast = still.accept(1, 2, 3)["forecast"]

    assert (forecast["position"], forecast["waits_for"], forecast["quota"]) == (0, None, None)
    starts_at, finishes_at = instant(forecast["starts_at"]), instant(forecast["finishes_at"])
    assert before - timedelta(milliseconds=1) <= starts_at <= datetime.now(UTC)
    assert starts_at < finishes_at < starts_at + timedelta(seconds=1)


def test_who_stands_behind_others_is_told_how_many_batches_are_ahead(still: Api):
    still.accept(*range(7), priority="HIGH")
    last = still.accept(1, priority="LOW")["forecast"]
    first = still.accept(1, priority="HIGH")["forecast"]

    assert (first["position"], first["waits_for"]) == (3, "ahead")
    assert (last["position"], last["waits_for"]) == (3, "ahead")


def test_each_batch_ahead_costs_a_slot(still: Api):
    forecasts = [still.accept(1)["forecast"] for _ in range(4)]

    starts = [instant(forecast["starts_at"]) for forecast in forecasts]
    gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(starts)]
    assert gaps == pytest.approx([5, 5, 5], abs=1)


def test_a_more_urgent_ingestion_moves_the_others_back(still: Api):
    waiting = still.accept(1, priority="MEDIUM")["ingestion_id"]

    still.accept(1, 2, 3, 4, priority="HIGH")

    assert still.look(waiting)["forecast"]["position"] == 2


def test_between_two_slots_it_waits_for_its_quota(serve: Serve):
    api = serve(simulated(quota='"1/h"'))
    api.ended(api.accept(1)["ingestion_id"])

    forecast = api.accept(2)["forecast"]

    assert forecast["waits_for"] in {"window", "pace"}
    assert forecast["quota"] == "simulated"
    wait = instant(forecast["starts_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < wait < timedelta(minutes=61)


def test_what_failed_waits_for_its_next_attempt(serve: Serve):
    api = serve(simulated(failing="[1]", backoff='"1h"', backoff_max='"1h"'))
    accepted = api.accept(1)["ingestion_id"]
    until(lambda: api.batches(accepted)[0]["not_before"], "it backs off")

    forecast = api.look(accepted)["forecast"]

    assert forecast["waits_for"] == "backoff"
    not_before = instant(api.batches(accepted)[0]["not_before"])
    assert abs(instant(forecast["starts_at"]) - not_before) < timedelta(milliseconds=10)
    assert instant(forecast["finishes_at"]) >= instant(forecast["starts_at"])


def test_behind_a_closed_source_it_says_so(serve: Serve):
    api = serve(simulated(refuse="true", probe='"1h"', probe_max='"1h"'))
    accepted = api.accept(1)["ingestion_id"]
    until(lambda: api.source()["state"] == "closed" or None, "the source is closed")

    assert api.look(accepted)["forecast"]["waits_for"] == "closed"
    assert "401" in api.source()["reason"]


def test_behind_a_pause_it_says_so(serve: Serve):
    api = serve(simulated(throttle_rate="1.0", retry_after='"1h"'))
    accepted = api.accept(1)["ingestion_id"]
    until(lambda: api.source()["state"] == "paused" or None, "the source is paused")

    forecast = api.look(accepted)["forecast"]

    assert forecast["waits_for"] == "paused"
    assert instant(forecast["starts_at"]) > datetime.now(UTC) + timedelta(minutes=59)


def test_behind_a_source_that_nobody_here_serves_it_says_so_and_promises_nothing(
    environment: Environment,
):
    environment(simulated(), worker="false")
    app = make_app()
    with client_of(app) as api:
        accepted = [api.accept(*ids)["ingestion_id"] for ids in ([1, 2, 3, 4], [5])]

    environment("[sources.another]\nquota = []", worker="false")
    with client_of(app) as api:
        forecasts = [api.look(each)["forecast"] for each in accepted]

    nothing = {"starts_at": None, "finishes_at": None, "waits_for": "unserved", "quota": None}
    assert forecasts == [{"position": 0, **nothing}, {"position": 2, **nothing}]


def test_a_start_says_which_work_nobody_does(
    environment: Environment, capsys: pytest.CaptureFixture[str]
):
    environment(simulated(), worker="false")
    with client_of(make_app()) as api:
        api.accept(1)
    environment("[sources.another]\nquota = []", worker="false")
    with client_of(make_app()):
        said = capsys.readouterr().err

    assert "the source 'simulated' has work left and is not in the configuration" in said


def test_once_its_source_is_named_again_it_is_forecast_again(environment: Environment):
    environment(simulated(), worker="false")
    with client_of(make_app()) as api:
        accepted = api.accept(1)["ingestion_id"]
    environment("[sources.another]\nquota = []", worker="false")
    with client_of(make_app()) as api:
        assert api.look(accepted)["forecast"]["waits_for"] == "unserved"

    environment(simulated(), worker="false")
    with client_of(make_app()) as api:
        forecast = api.look(accepted)["forecast"]

    assert forecast["waits_for"] is None
    assert forecast["starts_at"] is not None


def test_what_has_ended_is_not_forecast_though_nobody_serves_its_source_any_more(
    environment: Environment,
):
    environment(UNLIMITED)
    with client_of(make_app()) as api:
        accepted = api.accept(1)["ingestion_id"]
        api.ended(accepted)

    environment("[sources.another]\nquota = []", worker="false")
    with client_of(make_app()) as api:
        assert api.look(accepted)["forecast"] is None


SLOT_S = 0.25


@pytest.mark.slow
def test_while_nothing_changes_a_forecast_is_off_by_a_slot_at_most(serve: Serve):
    api = serve(simulated(quota='"1/250ms"', batch_size="1"))
    accepted = [api.accept(*range(count))["ingestion_id"] for count in (2, 1, 2)]
    told = {each: api.look(each)["forecast"] for each in accepted[1:]}

    api.ended(accepted[-1])

    for ingestion_id, forecast in told.items():
        began = instant(api.batches(ingestion_id)[0]["triggered_at"])
        ended = instant(api.look(ingestion_id)["ended_at"])
        assert abs((began - instant(forecast["starts_at"])).total_seconds()) <= SLOT_S
        assert abs((ended - instant(forecast["finishes_at"])).total_seconds()) <= SLOT_S


# -- batches -------------------------------------------------------------------------------------------------


def test_a_batch_that_has_not_begun_says_nothing_of_attempts(still: Api):
    accepted = still.accept(1, 2, 3, 4)["ingestion_id"]

    batches = still.batches(accepted)

    assert [batch["number"] for batch in batches] == [0, 1]
    assert batches[1] == {
        "batch_id": still.status(accepted)["batches"][1]["batch_id"],
        "number": 1,
        "ids": [4],
        "status": "yet_to_start",
        "attempt": None,
        "in_flight": False,
        "not_before": None,
        "reason": None,
        "triggered_at": None,
        "ended_at": None,
    }


def test_a_completed_batch_says_when_it_began_and_ended(running: Api):
    accepted = running.accept(1, 2)["ingestion_id"]
    seen = running.ended(accepted)

    batch = running.batches(accepted)[0]

    assert (batch["status"], batch["attempt"], batch["in_flight"]) == ("completed", 1, False)
    assert instant(seen["accepted_at"]) <= instant(batch["triggered_at"])
    assert instant(batch["triggered_at"]) <= instant(batch["ended_at"])


def test_a_batch_that_failed_once_stays_triggered_and_says_why_and_until_when_it_waits(
    serve: Serve,
):
    api = serve(simulated(failing="[2]", backoff='"1h"', backoff_max='"1h"'))
    accepted = api.accept(1, 2, 3, 4)["ingestion_id"]

    batch = until(
        lambda: found if (found := api.batches(accepted)[0])["not_before"] else None, "it waits"
    )

    assert (batch["status"], batch["attempt"], batch["in_flight"]) == ("triggered", 2, False)
    assert "500" in batch["reason"]
    assert instant(batch["not_before"]) <= datetime.now(UTC) + timedelta(hours=1)
    assert batch["ended_at"] is None


def test_a_batch_that_failed_for_good_says_why_and_how_often_it_was_tried(serve: Serve):
    api = serve(simulated(failing="[2]", backoff='"1us"', max_attempts="3"))
    accepted = api.accept(1, 2, 3)["ingestion_id"]
    api.ended(accepted)

    batch = api.batches(accepted)[0]

    assert (batch["status"], batch["attempt"], batch["not_before"]) == ("failed", 3, None)
    assert "500" in batch["reason"]
    assert len(api.source()["calls"]) == 3


def test_being_throttled_uses_no_attempt_up(serve: Serve):
    api = serve(simulated(throttle_rate="1.0", retry_after='"1h"'))
    accepted = api.accept(1)["ingestion_id"]
    until(lambda: api.source()["state"] == "paused" or None, "the source is paused")

    assert api.batches(accepted)[0]["attempt"] == 1


@pytest.mark.parametrize("limit", [1, 2, 99, 100, 101, 333, 1_000])
def test_all_pages_of_batches_are_the_list_without_a_repeat_or_a_gap(still: Api, limit: int):
    accepted = still.ingest(*range(1_000))

    walked = list(still.pages(f"/v1/ingestions/{accepted}/batches", "batches", limit=limit))

    assert [batch["number"] for batch in walked] == list(range(334))
    assert [id_ for batch in walked for id_ in batch["ids"]] == list(range(1_000))


# -- records -------------------------------------------------------------------------------------------------


def test_records_come_in_the_order_of_the_list_with_what_became_of_each_id(serve: Serve):
    api = serve(simulated(missing="[2]", failing="[4]", max_attempts="1"))
    accepted = api.accept(3, 2, 1, 4, 5)["ingestion_id"]
    api.ended(accepted)

    records = api.records(accepted)

    assert [(r["id"], r["position"], r["ending"]) for r in records] == [
        (3, 0, "fetched"),
        (2, 1, "missing"),
        (1, 2, "fetched"),
        (4, 3, "failed"),
        (5, 4, "failed"),
    ]
    assert [r["record"] for r in records] == [
        {"id": 3, "simulated": True},
        None,
        {"id": 1, "simulated": True},
        None,
        None,
    ]
    assert ["500" in (r["reason"] or "") for r in records] == [False, False, False, True, True]
    assert all(INSTANT.fullmatch(r["ended_at"]) for r in records)


@pytest.mark.parametrize("format_", ["json", "ndjson"])
def test_records_that_ended_in_one_way_can_be_asked_for(serve: Serve, format_: str):
    api = serve(simulated(missing="[2]", failing="[4]", max_attempts="1"))
    accepted = api.accept(3, 2, 1, 4, 5)["ingestion_id"]
    api.ended(accepted)

    answer = api.client.get(f"/v1/ingestions/{accepted}/records?ending=failed&format={format_}")

    found = lines_of(answer) if format_ == "ndjson" else ok(answer)["records"]
    assert [(each["id"], each["ending"]) for each in found] == [(4, "failed"), (5, "failed")]


def test_what_has_not_ended_has_no_record_yet(still: Api):
    assert still.records(still.ingest(1, 2, 3)) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 50, 99, 100, 101, 1_000])
def test_all_pages_of_records_are_the_list_without_a_repeat_or_a_gap(running: Api, limit: int):
    accepted = running.ingest(*range(100))
    running.ended(accepted)

    walked = list(running.pages(f"/v1/ingestions/{accepted}/records", "records", limit=limit))

    assert [record["id"] for record in walked] == list(range(100))


def test_records_can_be_read_while_the_ingestion_runs(serve: Serve):
    api = serve(simulated(quota='"1/h"'))
    accepted = api.ingest(1, 2, 3, 4, 5)

    records = until(lambda: api.records(accepted) or None, "the first batch is there")

    assert [record["id"] for record in records] == [1, 2, 3]
    assert api.look(accepted)["status"] == "triggered"


def lines_of(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text == "" or answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ("?format=ndjson", "*/*"),
        ("?format=ndjson", "application/json"),
        ("", "application/x-ndjson"),
        ("", "text/plain, application/x-ndjson;q=0.9"),
    ],
)
def test_as_ndjson_every_record_is_a_line(running: Api, query: str, accept: str):
    accepted = running.ingest(*range(600))
    running.ended(accepted)

    answer = running.client.get(
        f"/v1/ingestions/{accepted}/records{query}", headers={"accept": accept}
    )

    assert lines_of(answer) == running.records(accepted)
    assert len(lines_of(answer)) == 600


def test_who_asks_for_json_gets_json_whatever_it_accepts(running: Api):
    accepted = running.ingest(1)

    answer = running.client.get(
        f"/v1/ingestions/{accepted}/records?format=json",
        headers={"accept": "application/x-ndjson"},
    )

    assert answer.headers["content-type"] == "application/json"


def test_as_ndjson_nothing_is_no_line(still: Api):
    accepted = still.ingest(1)

    assert lines_of(still.client.get(f"/v1/ingestions/{accepted}/records?format=ndjson")) == []


def test_ndjson_goes_on_from_a_page(running: Api):
    accepted = running.ingest(*range(10))
    running.ended(accepted)
    page = running.look(accepted, "/records", limit=4)["next_page"]

    answer = running.client.get(f"/v1/ingestions/{accepted}/records?format=ndjson&page={page}")

    assert [line["id"] for line in lines_of(answer)] == [4, 5, 6, 7, 8, 9]


def test_a_page_of_large_records_is_short_and_not_the_last(
    running: Api, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("headgate.store.queries.records.PAGE_BYTES", 1)
    accepted = running.ingest(1, 2)
    running.ended(accepted)
    page = running.look(accepted, "/records")
    last = running.look(accepted, "/records", page=page["next_page"])

    assert [each["id"] for each in page["records"]] == [1]
    assert [each["id"] for each in last["records"]] == [2]
    streamed = running.client.get(f"/v1/ingestions/{accepted}/records?format=ndjson")
    assert [line["id"] for line in lines_of(streamed)] == [1, 2]


@pytest.mark.parametrize("format_", ["csv", "JSON", ""])
def test_an_unknown_format_is_a_mistake(still: Api, format_: str):
    answer = still.client.get(f"/v1/ingestions/{still.ingest(1)}/records?format={format_}")

    assert pointers(assert_problem(answer, 422)) == ["/query/format"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_record_is_the_very_bytes_that_the_source_sent(
    serve: Serve, odd_source: OddSource, number: int
):
    api = serve(odd_source.toml())
    accepted = api.ingest(1, 2, 3)
    api.ended(accepted)
    path = f"/v1/ingestions/{accepted}/records"

    page = api.client.get(path).content
    line = api.client.get(f"{path}?format=ndjson").content.splitlines()[number - 1]

    assert b'"record":' + odd_record(number) in page
    assert b'"record":' + odd_record(number) in line


def test_a_record_of_several_lines_is_shown_as_it_is_and_is_one_line_as_ndjson(
    serve: Serve, odd_source: OddSource
):
    api = serve(odd_source.toml("/tall"))
    accepted = api.ingest(1, 2, 3)
    api.ended(accepted)
    path = f"/v1/ingestions/{accepted}/records"

    page = api.client.get(path)
    streamed = api.client.get(f"{path}?format=ndjson")

    assert b'"record":' + tall_record(2) in page.content
    assert len(streamed.content.split(b"\n")) == 3 + 1
    assert lines_of(streamed) == page.json()["records"]


# -- cancel --------------------------------------------------------------------------------------------------


def test_cancelling_what_has_not_begun_ends_it_at_once(still: Api):
    accepted = still.accept(1, 2, 3, 4)["ingestion_id"]

    answer = ok(still.cancel(accepted))

    assert answer["in_flight"] == 0
    seen = answer["ingestion"]
    assert (seen["status"], seen["forecast"]) == ("cancelled", None)
    assert seen["counts"] | {"cancelled": 4, "left": 0} == seen["counts"]
    assert instant(seen["cancelled_at"]) == instant(seen["ended_at"])


def test_cancelling_again_changes_nothing(still: Api):
    accepted = still.accept(1, 2)["ingestion_id"]

    first, again = ok(still.cancel(accepted)), ok(still.cancel(accepted))

    assert first == again == {"in_flight": 0, "ingestion": still.look(accepted)}


@pytest.fixture
def held(serve: Serve, odd_source: OddSource) -> tuple[Api, str]:
    """An ingestion of five ids of which the first three are being fetched: the source has not answered yet."""
    odd_source.hold()
    api = serve(odd_source.toml())
    accepted = api.ingest(1, 2, 3, 4, 5)
    api.triggered(accepted)
    return api, accepted


def test_cancelling_keeps_what_is_in_flight_and_begins_nothing_more(
    held: tuple[Api, str], odd_source: OddSource
):
    api, accepted = held

    answer = ok(api.cancel(accepted))
    odd_source.let_go()

    assert (answer["in_flight"], answer["ingestion"]["status"]) == (1, "triggered")
    seen = api.ended(accepted)
    assert seen["status"] == "cancelled"
    assert seen["counts"] | {"fetched": 3, "cancelled": 2, "left": 0} == seen["counts"]
    assert [record["id"] for record in api.records(accepted)] == [1, 2, 3]
    assert [batch["status"] for batch in api.batches(accepted)] == ["completed", "cancelled"]
    assert len(api.source("catalog")["calls"]) == 1


def test_what_is_cancelled_with_a_call_in_flight_forecasts_its_answer(held: tuple[Api, str]):
    api, accepted = held

    forecast = ok(api.cancel(accepted))["ingestion"]["forecast"]

    assert (forecast["position"], forecast["starts_at"]) == (0, None)
    assert forecast["waits_for"] == "answer"


def test_what_runs_is_shown_in_flight_until_it_is_answered(
    held: tuple[Api, str], odd_source: OddSource
):
    api, accepted = held

    source, batches = api.source("catalog"), api.batches(accepted)
    odd_source.let_go()

    assert (source["in_flight"], source["calls"][0]["in_flight"]) == (1, True)
    assert [batch["in_flight"] for batch in batches] == [True, False]
    assert [batch["status"] for batch in batches] == ["triggered", "yet_to_start"]
    api.ended(accepted)
    assert api.source("catalog")["in_flight"] == 0


def test_behind_a_call_that_runs_it_waits_for_a_place(held: tuple[Api, str]):
    api, accepted = held

    assert api.look(accepted)["forecast"]["waits_for"] == "concurrency"


def test_what_has_ended_cannot_be_cancelled(running: Api):
    accepted = running.accept(1)["ingestion_id"]
    ended = running.ended(accepted)

    assert_problem(running.cancel(accepted), 409, "conflict")
    assert running.look(accepted) == ended


def test_what_is_unknown_cannot_be_cancelled(still: Api):
    for unknown in ("x", "01935fda-e3e7-7f3d-ac52-6bfc4124c292", "%00", ":cancel"):
        assert_problem(still.cancel(unknown), 404, "not_found")


def test_cancelling_takes_no_body_and_minds_none(still: Api):
    accepted = still.accept(1)["ingestion_id"]

    answer = still.client.post(f"/v1/ingestions/{accepted}:cancel", content=b"\xff[", headers=JSON)

    assert answer.status_code == 200


# -- sources -------------------------------------------------------------------------------------------------


def test_sources_are_listed_by_name_with_the_default_marked(serve: Serve):
    api = serve(
        """
        default_source = "catalog"
        [quotas.account]
        windows = ["100/s"]
        [sources.pages]
        quota = ["10/s", "1000/day"]
        shares = ["account"]
        batch_size = 7
        concurrency = 2
        [sources.catalog]
        """,
        worker="false",
    )

    catalog, pages = ok(api.client.get("/v1/sources"))["sources"]

    assert [catalog["name"], catalog["default"], catalog["quota"]] == ["catalog", True, ["1/5s"]]
    assert [pages["name"], pages["default"], pages["type"]] == ["pages", False, "simulated"]
    assert pages["quota"] == ["10/s", "1000/day"]
    assert [pages["batch_size"], pages["concurrency"], pages["state"]] == [7, 2, "open"]
    assert {quota["name"]: [w["limit"] for w in quota["windows"]] for quota in pages["quotas"]} == {
        "account": [100],
        "pages": [10, 1_000],
    }
    assert (pages["in_flight"], pages["next_slot_in_us"], pages["reason"]) == (0, 0, None)


def test_a_latency_is_told_once_a_call_was_answered(running: Api):
    before = running.source()
    running.ended(running.ingest(1))
    after = running.source()

    assert (before["latency"], before["usable_share"], before["hint"]) == (None, None, None)
    assert after["latency"].endswith(("us", "ms"))
    assert 0 < after["usable_share"] <= 1


def test_a_source_shows_its_line(still: Api):
    still.ingest(*range(7))
    still.ingest(1)

    assert still.source()["queue"] == {"ingestions": 2, "waiting": 4, "ready": 0, "backing_off": 0}


def test_a_source_shows_what_is_used_of_its_quota_and_when_the_next_slot_is(serve: Serve):
    api = serve(simulated(quota='"2/h"', pacing='"burst"'))
    api.ended(api.ingest(1, 2, 3, 4))

    seen = api.source()

    assert seen["quotas"][0]["windows"] == [{"limit": 2, "span": "1h", "used": 2}]
    assert 3_500_000_000 < seen["next_slot_in_us"] < 3_700_000_000
    ahead = instant(seen["next_slot_at"]) - instant(seen["now"])
    assert ahead == timedelta(microseconds=seen["next_slot_in_us"])


def test_a_source_shows_its_calls_newest_first_and_for_whom_they_were(serve: Serve):
    api = serve(simulated(batch_size="1"))
    accepted = api.ingest(1, 2, 3)
    api.ended(accepted)

    calls = api.source()["calls"]

    assert [call["batch_id"] for call in calls] == [
        batch["batch_id"] for batch in api.batches(accepted)[::-1]
    ]
    assert {call["ingestion_id"] for call in calls} == {accepted}
    assert not any(call["in_flight"] for call in calls)
    granted = [instant(call["granted_at"]) for call in calls]
    assert granted == sorted(granted, reverse=True)
    assert all(instant(call["written_at"]) >= instant(call["granted_at"]) for call in calls)


def test_a_source_shows_its_last_fifty_calls(serve: Serve):
    api = serve(simulated(batch_size="1"))
    accepted = api.ingest(*range(60))
    api.ended(accepted)

    calls = api.source()["calls"]

    assert [call["batch_id"] for call in calls] == [
        batch["batch_id"] for batch in api.batches(accepted)[:9:-1]
    ]


def test_a_source_that_the_file_no_longer_names_is_shown_without_a_type(
    environment: Environment,
):
    environment("[sources.old]", worker="false")
    with client_of(make_app()) as before:
        before.ingest(1)
    environment("[sources.new]", worker="false")

    with client_of(make_app()) as after:
        old = after.source("old")

    assert (old["type"], old["default"], old["queue"]["waiting"]) == (None, False, 1)


@pytest.mark.parametrize("name", ["nope", "Simulated", "%00", "x" * 9_999])
def test_an_unknown_source_is_a_404(still: Api, name: str):
    assert_problem(still.client.get(f"/v1/sources/{name}"), 404, "not_found")


def test_nothing_of_a_source_s_headers_or_address_is_shown(serve: Serve, monkeypatch: Any):
    monkeypatch.setenv("CATALOG_TOKEN", "s3cr3t-t0ken")
    api = serve(
        """
        [sources.catalog]
        type = "http"
        url = "https://inside.example.com/items{?ids}"
        quota = ["10/s"]
        headers = { authorization = "Bearer ${env:CATALOG_TOKEN}" }
        """,
        worker="false",
    )

    shown = api.client.get("/v1/sources").text + api.client.get("/v1/sources/catalog").text

    assert "s3cr3t" not in shown
    assert "inside.example.com" not in shown


def test_workers_are_listed_while_they_work(running: Api):
    (worker,) = ok(running.client.get("/v1/workers"))["workers"]

    assert worker["state"] == "working"
    assert worker["pid"] == os.getpid()
    assert worker["sources"] == [
        source["name"] for source in ok(running.client.get("/v1/sources"))["sources"]
    ]


def test_a_process_that_calls_nothing_is_no_worker(environment: Environment):
    environment(UNLIMITED, worker="false")
    with client_of(make_app()) as api:
        assert ok(api.client.get("/v1/workers")) == {"workers": []}


def test_a_worker_that_has_stopped_is_no_longer_listed(environment: Environment):
    environment(UNLIMITED)
    with client_of(make_app()):
        pass
    environment(UNLIMITED, worker="false")
    with client_of(make_app()) as api:
        assert ok(api.client.get("/v1/workers")) == {"workers": []}
