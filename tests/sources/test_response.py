"""From an answer to an outcome: status by status, and records that are the source's very bytes."""

from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.ids import Id
from headgate.core.outcome import Failed, Fetched, Outcome, Refused, Rejected, Throttled
from headgate.sources import raw_json
from headgate.sources.records import Expression, Path, shape_of
from headgate.sources.response import Answer, outcome_of

NOW = 1_800_000_000.0
LIMIT = 100_000
SECOND = 1_000_000


def outcome(
    body: bytes | str,
    *ids: Id,
    records: str | None = None,
    record_id: str | None = None,
    one: bool = False,
    status: int = 200,
    **headers: str,
) -> Outcome:
    """What an answer to a call for these ids comes to; they stand at positions 0, 10, 20 and so on."""
    answer = Answer(
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
        body.encode() if isinstance(body, str) else body,
    )
    asked = [(10 * index, value) for index, value in enumerate(ids or (1, 2, 3))]
    shape = shape_of(records, record_id, one=one)
    return outcome_of(answer, asked, shape, now_wall_s=NOW, max_bytes=LIMIT)


def fetched(body: bytes | str, *ids: Id, **how: Any) -> Fetched:
    found = outcome(body, *ids, **how)
    assert isinstance(found, Fetched), found
    return found


# Statuses


@pytest.mark.parametrize("status", [401, 403, 407])
def test_who_does_not_let_us_in_refuses(status: int) -> None:
    assert isinstance(outcome("", status=status), Refused)


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_rejected_as_missing(status: int) -> None:
    found = outcome("", status=status)

    assert isinstance(found, Rejected)
    assert found.missing


@pytest.mark.parametrize("status", [400, 402, 405, 406, 409, 413, 414, 418, 422, 423, 451, 499])
def test_other_client_errors_are_about_the_ids(status: int) -> None:
    found = outcome("", status=status)

    assert isinstance(found, Rejected)
    assert not found.missing


@pytest.mark.parametrize(
    "status", [101, 199, 300, 301, 302, 304, 308, 408, 425, 500, 502, 504, 599, 999]
)
def test_everything_else_is_worth_another_try(status: int) -> None:
    assert isinstance(outcome("", status=status), Failed)


@pytest.mark.parametrize(
    ("headers", "after_us"),
    [
        ({}, None),
        ({"retry_after": "7"}, 7 * SECOND),
        ({"retry_after": "Fri, 15 Jan 2027 08:00:09 GMT"}, 9 * SECOND),
        (
            {
                "retry_after": "Fri, 15 Jan 2027 08:00:09 GMT",
                "date": "Fri, 15 Jan 2027 08:00:05 GMT",
            },
            4 * SECOND,
        ),
        ({"retry_after": "0"}, None),
        ({"retry_after": "a while"}, None),
    ],
)
def test_too_many_requests_is_throttled(headers: dict[str, Any], after_us: int | None) -> None:
    assert outcome("", status=429, **headers) == Throttled(after_us, "429 Too Many Requests")


def test_unavailable_is_throttled_only_where_it_says_until_when() -> None:
    assert isinstance(outcome("", status=503), Failed)
    assert isinstance(outcome("", status=503, retry_after="later"), Failed)
    assert outcome("", status=503, retry_after="3") == Throttled(
        3 * SECOND, "503 Service Unavailable"
    )


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://user:pass@other.example:8443/path?token=secret#x", "https://other.example:8443)"),
        ("HTTPS://Other.Example/secret", "https://other.example)"),
        ("http://[::1]:80/secret", "http://[::1]:80)"),
        ("/login?token=secret", "not followed"),
        ("//other.example/secret", "not followed"),
        ("javascript:secret()", "not followed"),
        ("https://[secret", "not followed"),
        ("https://a.example:secret/", "not followed"),
        ("https://" + "secret" * 100, "not followed"),
        ("https://exämple.secret/", "not followed"),
    ],
)
def test_a_redirect_tells_no_more_than_an_origin(location: str, said: str) -> None:
    found = outcome("", status=302, location=location)

    assert isinstance(found, Failed)
    assert found.reason.endswith(said)
    assert "secret" not in found.reason
    assert "pass" not in found.reason


@settings(deadline=None, max_examples=50)
@given(
    st.integers(100, 999),
    st.dictionaries(
        st.sampled_from(["retry-after", "date", "location", "content-encoding"]), st.text()
    ),
    st.binary(max_size=200),
)
def test_no_answer_raises_or_says_more_than_it_should(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    found = outcome_of(
        Answer(status, headers, body),
        [(0, 1), (1, "a")],
        shape_of("a.b", "id"),
        now_wall_s=NOW,
        max_bytes=LIMIT,
    )

    if not isinstance(found, Fetched):
        assert found.reason.isprintable()
        assert found.reason.isascii()
        assert len(found.reason) <= 200


# Records by their id


def listed(*ids: object) -> str:
    return json.dumps([{"id": each} for each in ids])


def test_records_are_found_by_their_id_in_any_order() -> None:
    found = fetched('{"items": [{"id":3},{"id":1}, {"id" : 2}]}', records="items", record_id="id")

    assert found == Fetched({0: b'{"id":1}', 10: b'{"id" : 2}', 20: b'{"id":3}'})


def test_a_record_keeps_its_very_bytes() -> None:
    record = b'{ "id":1,\n\t"b":1.10e2, "a" : -0 ,"a":[ 1E+5,0.10 ],"t":"\\u00e9\\/\xc3\xa9" }'
    body = b'\xef\xbb\xbf {"deep": {"er": [' + record + b"  ,null]}} \r\n"

    found = fetched(body, 1, 2, records="deep.er", record_id="id")

    assert found.records == {0: record}


def test_half_a_surrogate_pair_is_kept_as_it_was_sent() -> None:
    record = b'{"id": "a", "cut": "\\ud83d", "n":1.0, "list" :[{"x":"\\uDE00"},[ ],{ }]}'
    body = b' { "x" : "\\ud83d" , "items" : [ ' + record + b' , {"id":"\\ud800"} ], "n": 1e5 } '

    found = fetched(body, "a", "b", records="items", record_id="id")

    assert found.records == {0: record}


@pytest.mark.parametrize(
    "cut",
    [
        b'{"items": [{"id": 1, "x": "\\ud83d"}',
        b'{"items": [{"id": 1, "x": "\\ud83d"}],}',
        b'{"items": [{"id": 1, "x": "\\ud83d"}]} 1',
        b'{"items": [{"id": 1, "x": "\\ud83d", "n": NaN}]}',
    ],
)
def test_half_a_surrogate_pair_does_not_make_broken_json_good(cut: bytes) -> None:
    assert isinstance(outcome(cut, records="items", record_id="id"), Failed)


def test_ids_that_are_not_mentioned_are_left_to_the_core() -> None:
    assert fetched(listed(2), record_id="id") == Fetched({10: b'{"id": 2}'})


def test_extra_and_null_records_are_passed_over() -> None:
    found = fetched('[null, {"id": 99}, {"id": 1}, null]', record_id="id")

    assert found == Fetched({0: b'{"id": 1}'})


def test_of_a_repeated_id_the_first_record_is_taken() -> None:
    found = fetched('[{"id": 1, "n": 1}, {"id": 1, "n": 2}]', record_id="id")

    assert found == Fetched({0: b'{"id": 1, "n": 1}'})


def test_an_id_asked_for_twice_gets_its_record_twice() -> None:
    assert set(fetched(listed(5), 5, 6, 5, record_id="id").records) == {0, 20}


@pytest.mark.parametrize("body", ["[]", "null", "[null]", listed(7, 8)])
def test_an_answer_that_mentions_nobody_is_an_answer(body: str) -> None:
    assert fetched(body, record_id="id") == Fetched()


@pytest.mark.parametrize(
    ("asked", "said", "same"),
    [
        (5, "5", True),
        ("5", 5, True),
        (5, 5.0, True),
        (2**63 - 1, str(2**63 - 1), True),
        (2**63 - 1, 2**63 - 1, True),
        (2**53 - 1, float(2**53 - 1), True),
        (2**60, float(2**60), False),
        (5, "05", False),
        (5, " 5", False),
        (5, "5.0", False),
        (5, 5.5, False),
        (1, True, False),
        ("True", True, False),
        ("null", None, False),
        (-5, "-5", True),
        ("a", "A", False),
        ("ü", "ü", True),
    ],
)
def test_an_id_is_recognised_as_the_other_side_writes_it(
    asked: Id, said: object, same: bool
) -> None:
    found = fetched(json.dumps([{"id": said}, {"id": "other"}]), asked, "other", record_id="id")

    assert (0 in found.records) is same


def test_an_id_is_not_guessed_at_where_two_could_be_meant() -> None:
    found = fetched('[{"id": 5, "n": 1}, {"id": "5", "n": 2}]', 5, "5", record_id="id")

    assert found == Fetched({0: b'{"id": 5, "n": 1}', 10: b'{"id": "5", "n": 2}'})
    assert fetched('[{"id": 5}]', 5, "5", record_id="id").records.keys() == {0}


def test_a_record_id_may_lie_deep_or_be_an_expression() -> None:
    body = '[{"a": {"b": 1}}, {"a": {"b": 2}}]'

    assert fetched(body, record_id="a.b").records.keys() == {0, 10}
    assert fetched(body, record_id="a.*|[0]").records.keys() == {0, 10}


def test_the_object_itself_may_be_the_one_record() -> None:
    assert fetched('{"id": 1}', 1, record_id="id") == Fetched({0: b'{"id": 1}'})
    assert fetched('{"id": 2}', 1, record_id="id") == Fetched()


@pytest.mark.parametrize(
    "body", ['[{"x": 1}]', "[1, 2]", '[{"id": null}]', '[{"id": [1]}]', '{"error": "x"}']
)
def test_records_that_do_not_say_whose_they_are_make_no_answer(body: str) -> None:
    assert isinstance(outcome(body, record_id="id"), Failed)


def test_an_id_is_not_called_missing_while_a_record_does_not_say_whose_it_is() -> None:
    found = fetched('[{"id": 1}, {"error": "?"}]', record_id="id")

    assert found.records.keys() == {0}
    assert not found.missing
    assert found.failed.keys() == {10, 20}


def test_a_record_without_id_harms_nobody_when_all_are_found() -> None:
    assert fetched('[{"id": 1}, {"meta": 1}]', 1, record_id="id") == Fetched({0: b'{"id": 1}'})


# Records by position


def test_records_come_by_position() -> None:
    found = fetched('[{"x":1},null, 2.50]')

    assert found == Fetched({0: b'{"x":1}', 20: b"2.50"}, frozenset({10}))


@pytest.mark.parametrize("body", ["[]", "[1, 2]", "[1, 2, 3, 4]", "null"])
def test_another_number_of_records_than_ids_is_no_answer(body: str) -> None:
    assert isinstance(outcome(body), Failed)


def test_an_empty_list_for_one_id_mentions_it_not() -> None:
    assert fetched("[]", 1) == Fetched()


# Records by key


def test_the_keys_of_an_object_are_ids() -> None:
    found = fetched('{"3": {"x":1.0}, "1": null, "99": {}}')

    assert found == Fetched({20: b'{"x":1.0}'}, frozenset({0}))


def test_an_object_without_any_of_the_ids_is_no_answer() -> None:
    assert isinstance(outcome('{"error": "rate limit"}'), Failed)
    assert fetched("{}") == Fetched()


def test_for_one_id_an_object_is_keyed_or_the_record_itself() -> None:
    assert fetched('{"1": {"a": 1}}', 1) == Fetched({0: b'{"a": 1}'})
    assert fetched('{"a": 1}', 1) == Fetched({0: b'{"a": 1}'})


# One record


@pytest.mark.parametrize("body", ['{"1": 2}', "[1, 2]", "[]", '"text"', "3.10", "false"])
def test_of_an_address_for_one_id_the_whole_answer_is_the_record(body: str) -> None:
    assert fetched(f" {body} ", 1, one=True) == Fetched({0: body.encode()})


@pytest.mark.parametrize(
    "how", [{}, {"one": True}, {"record_id": "id"}, {"one": True, "record_id": "id"}]
)
def test_null_for_one_id_is_missing(how: dict[str, Any]) -> None:
    assert fetched("null", 1, **how) == Fetched(missing=frozenset({0}))


def test_the_record_may_lie_inside() -> None:
    assert fetched('{"data": {"a":1}}', 1, one=True, records="data") == Fetched({0: b'{"a":1}'})
    assert isinstance(outcome('{"error": 1}', 1, one=True, records="data"), Failed)


# Where the records are


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        ('"a-b"."c d"', ("a-b", "c d")),
        ("@", ()),
        ("@.a", ("a",)),
    ],
)
def test_names_are_a_path(text: str, names: tuple[str, ...]) -> None:
    assert shape_of(text, None).records == Path(names)


@pytest.mark.parametrize(
    "text", ["a[]", "a[0]", "a[].b", "a.*", "values(a)", "a | b", "a[?b > `1`]"]
)
def test_anything_else_is_an_expression(text: str) -> None:
    assert isinstance(shape_of(text, None).records, Expression)


@pytest.mark.parametrize("setting", ["records", "record_id"])
@pytest.mark.parametrize("text", ["", "a..b", "a[", "é", "nosuch("])
def test_what_is_no_expression_is_a_mistake(setting: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{setting}: "):
        shape_of(text if setting == "records" else None, text if setting == "record_id" else None)


def test_an_expression_keeps_the_numbers_as_they_were_written() -> None:
    numbers = "[1.10e2, -0, 0.10, 1E5, -0.0, 1e999, 12345678901234567890123, 7, 0]"
    body = f'{{"items": [{{"v": {{"id": 1, "n": {numbers}, "t": "\\u00e9"}}}}]}}'

    found = fetched(body, 1, records="items[].v", record_id="id")

    assert found.records[0] == f'{{"id":1,"n":{numbers},"t":"é"}}'.replace(", ", ",").encode()


def test_an_expression_may_reckon_with_numbers() -> None:
    body = '[{"id": 1, "n": 1.5}, {"id": 2, "n": 2.50}, {"id": 3, "n": 9}]'

    assert fetched(body, records="[?n > `2`]", record_id="id").records.keys() == {10, 20}
    found = fetched(body, records="sort_by(@, &n)", record_id="id")
    assert found.records[10] == b'{"id":2,"n":2.50}'
    assert fetched(body, 1, records="sum([].n)", one=True).records == {0: b"13.0"}


def test_an_expression_keeps_half_a_surrogate_pair() -> None:
    found = fetched('[[{"id": 1, "t": "\\ud83d"}]]', 1, records="[]", record_id="id")

    assert json.loads(found.records[0]) == {"id": 1, "t": "\ud83d"}


@pytest.mark.parametrize("expression", ["abs(@)", "sum(@)", "sort(@)", "max_by(@, &a)", "keys(@)"])
def test_an_expression_that_does_not_fit_the_answer_fails(expression: str) -> None:
    assert isinstance(outcome('["a", {"a": 1}, 3]', records=expression), Failed)


def test_an_expression_that_finds_nothing_finds_null() -> None:
    assert fetched('{"error": 1}', records="a[0]", record_id="id") == Fetched()


@pytest.mark.parametrize(
    "body", ['{"error": 1}', '{"a": {}}', '{"a": null}', '{"a": [{"b": []}]}', "[]", "1"]
)
def test_nothing_at_the_path_is_no_answer(body: str) -> None:
    assert isinstance(outcome(body, records="a.b", record_id="id"), Failed)


# Bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html>",
        b'[{"id": 1}',
        b'[{"id": 1}] x',
        b'[{"id": 1},]',
        b'[{"id": NaN}]',
        b'[{"id": 1, "x": "\xff"}]',
        b'[{"id": 1, "x": "\x01"}]',
        '[{"id": 1}]'.encode("utf-16"),
        b"[" * 100_000,
        b"[" * 50_000 + b"]" * 50_000,
        b'{"a": ' * 50_000,
    ],
    ids=range(13),
)
@pytest.mark.parametrize("records", [None, "[]"])
def test_broken_json_fails(body: bytes, records: str | None) -> None:
    assert isinstance(outcome(body, 1, record_id="id", records=records), Failed)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "deflate"])
def test_an_answer_that_is_packed_all_the_same_is_unpacked(coding: str) -> None:
    pack = zlib.compress if coding == "deflate" else gzip.compress

    assert fetched(pack(b"[7]"), 1, content_encoding=coding) == Fetched({0: b"7"})


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(b"[7]", mtime=0)[:-3], "gzip"),
        (b"[7]", "gzip"),
        (b"", "gzip"),
        (b"[7]", "br"),
        (gzip.compress(b"[7]", mtime=0), "gzip, gzip"),
        (gzip.compress(b'["' + b"x" * LIMIT + b'"]', mtime=0), "gzip"),
        (gzip.compress(b" " * 50_000_000, mtime=0), "gzip"),
    ],
)
def test_what_cannot_be_unpacked_in_bounds_fails(body: bytes, coding: str) -> None:
    assert isinstance(outcome(body, 1, content_encoding=coding), Failed)


def test_a_bomb_is_not_unpacked_to_see_how_large_it_is() -> None:
    bomb = gzip.compress(b" " * 50_000_000, mtime=0)

    tracemalloc.start()
    try:
        outcome(bomb, 1, content_encoding="gzip")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 10 * LIMIT


# The bytes, whatever they are

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=50)
@given(st.lists(JSON, max_size=5), st.sampled_from([None, 1]), st.booleans())
def test_every_element_comes_out_as_it_was_written(
    values: list[Any], indent: int | None, ascii_only: bool
) -> None:
    written = [json.dumps(each, indent=indent, ensure_ascii=ascii_only) for each in values]
    try:
        body = f" [ {' , '.join(written)} ] ".encode()
    except UnicodeEncodeError:
        return
    whole = raw_json.document(body)

    assert raw_json.elements(whole) == [each.encode() for each in written]
    assert json.loads(raw_json.written(raw_json.tree(whole))) == values


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(st.characters()), JSON, max_size=4))
def test_both_ways_of_taking_apart_agree(value: dict[str, Any]) -> None:
    whole = json.dumps(value).encode()
    cut = json.dumps({**value, "cut\ud83d": "\ud83d"}).encode()

    parts = raw_json.members(raw_json.document(cut))

    assert parts.pop("cut\ud83d") == b'"\\ud83d"'
    assert {name: json.loads(part) for name, part in parts.items()} == json.loads(whole)
    if "\\ud" not in whole.decode():
        assert parts == {
            k: bytes(v) for k, v in msgspec.json.decode(whole, type=dict[str, msgspec.Raw]).items()
        }


def test_a_good_answer_may_say_that_it_was_the_last_one_for_a_while() -> None:
    answer = Answer(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "7"}, b'[{"id":1}]')
    shape = shape_of(None, "id")

    found = outcome_of(answer, [(0, 1)], shape, now_wall_s=0.0, max_bytes=1_000)

    assert isinstance(found, Fetched)
    assert found.nothing_left_us == 7_000_000
