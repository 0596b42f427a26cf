"""The address of a call, and what an id can never do to it."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import httpx2
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from headgate.core.ids import Id
from headgate.core.outcome import Rejected
from headgate.sources.request import MAX_URL, request_url, url_template

HOST = "https://api.example.com"
IDS = st.lists(
    st.integers(-(2**63) + 1, 2**63 - 1)
    | st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
    min_size=1,
    max_size=8,
)


def url_for(template: str, *ids: Id, join: str = ",") -> str:
    url = request_url(url_template(HOST + template, join), ids)
    assert isinstance(url, str), url
    return url.removeprefix(HOST)


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("/items{?ids}", "/items?ids=1,2,3"),
        ("/items?a=b{&ids}", "/items?a=b&ids=1,2,3"),
        ("/items?ids={ids}", "/items?ids=1,2,3"),
        ("/items?filter=id:{ids}&n=9", "/items?filter=id:1,2,3&n=9"),
        ("/items{/ids}", "/items/1,2,3"),
        ("/items{/ids*}", "/items/1/2/3"),
        ("/items{;ids}/x", "/items;ids=1,2,3/x"),
        ("{/ids}", "/1,2,3"),
        ("{?ids}", "?ids=1,2,3"),
        ("/items{?ids*}", "/items?ids=1&ids=2&ids=3"),
        ("/items?a=b{&ids*}", "/items?a=b&ids=1&ids=2&ids=3"),
    ],
)
def test_the_ids_stand_where_the_template_says(template: str, url: str) -> None:
    assert url_for(template, 1, 2, 3) == url


@pytest.mark.parametrize("template", ["/items/{id}", "/items{/id}", "/items/{id}/{id}"])
def test_a_single_id(template: str) -> None:
    assert url_for(template, -5) == template.replace("{id}", "-5").replace("{/id}", "/-5")


@pytest.mark.parametrize(
    ("join", "shown"),
    [
        (",", "1,2"),
        (";", "1;2"),
        ("|", "1%7C2"),
        ("%7C", "1%7C2"),
        (" ", "1%202"),
        ("+", "1+2"),
        ("&ids=", "1&ids=2"),
        ("%", "1%252"),
        ("#", "1%232"),
        (" OR ", "1%20OR%202"),
    ],
)
def test_the_join_stays_readable_where_that_is_legal(join: str, shown: str) -> None:
    assert url_for("/items{?ids}", 1, 2, join=join) == f"/items?ids={shown}"


def test_the_join_replaces_no_comma_of_the_template() -> None:
    assert url_for("/a,b{?ids}", 1, 2, join="|") == "/a,b?ids=1%7C2"


def test_an_id_is_encoded_as_a_value() -> None:
    assert url_for("/items{?ids}", "a,b", "c&d=e", "ü/?#%2F ~") == (
        "/items?ids=a%2Cb,c%26d%3De,%C3%BC%2F%3F%23%252F%20~"
    )


@settings(deadline=None, max_examples=50)
@given(IDS)
def test_the_other_side_reads_the_very_ids(ids: list[Id]) -> None:
    url = request_url(url_template(HOST + "/items{?ids*}"), ids)

    assert isinstance(url, str)
    assert parse_qs(urlsplit(url).query, keep_blank_values=True)["ids"] == [
        str(each) for each in ids
    ]


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_an_id_stays_one_segment_of_the_path_all_the_way_to_the_wire(value: str) -> None:
    url = request_url(url_template(HOST + "/items/{id}/parts"), [value])
    assume(isinstance(url, str))

    path = httpx2.URL(str(url)).raw_path.decode()
    assert [unquote(part) for part in path.split("/")] == ["", "items", value, "parts"]


@pytest.mark.parametrize("value", [".", ".."])
@pytest.mark.parametrize("template", ["/items/{id}", "/items{/id}", "/items/{id}?x=1"])
def test_an_id_that_would_climb_up_the_path_is_not_asked_for(template: str, value: str) -> None:
    outcome = request_url(url_template(HOST + template), [value])

    assert isinstance(outcome, Rejected)
    assert not outcome.missing


def test_dots_do_no_harm_in_a_query_or_inside_a_segment() -> None:
    assert url_for("/items{?ids}", "..", ".") == "/items?ids=..,."
    assert url_for("/items/x{id}", "..") == "/items/x.."


@pytest.mark.parametrize("ids", [[], [""], ["\ud800"], [1, ""]])
def test_what_cannot_be_written_is_not_asked_for(ids: list[Id]) -> None:
    assert isinstance(request_url(url_template(HOST + "/items{?ids}"), ids), Rejected)


def test_several_ids_do_not_fit_an_address_for_one() -> None:
    assert isinstance(request_url(url_template(HOST + "/items/{id}"), [1, 2]), Rejected)


def test_an_address_that_would_be_too_long_is_rejected_so_that_the_batch_is_split() -> None:
    template = url_template(HOST + "/items{?ids}")
    ids: list[Id] = ["x" * 250] * (MAX_URL // 250 + 1)

    assert isinstance(request_url(template, ids), Rejected)
    half = request_url(template, ids[: len(ids) // 2])
    assert isinstance(half, str)
    assert httpx2.URL(half)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("https://api.example.com/items", "nothing says"),
        ("https://api.example.com/items{?idz}", "not understood"),
        ("https://api.example.com/items{+ids}", "not understood"),
        ("https://api.example.com/items{#ids}", "not understood"),
        ("https://api.example.com/items{?ids,lang}", "not understood"),
        ("https://api.example.com/items/{id:3}", "not understood"),
        ("https://api.example.com/items/{id*}", "not understood"),
        ("https://api.example.com/items/{}", "not understood"),
        ("https://api.example.com/items/{id}{?ids}", "do not go together"),
        ("https://api.example.com/items/{id", "nothing says"),
        ("https://api.example.com/items/}{id}", "brace"),
        ("https://api.example.com/a b/{id}", "a space"),
        ("https://api.example.com/a\n/{id}", "invisible"),
        ("https://api.example.com/{id}#part", "a #"),
        ("https://api.example.com/a/../{id}", "/../"),
        ("https://api.example.com/items?a=b{?ids}", "{&ids}"),
        ("https://api.example.com/items{?ids}{?ids}", "{&ids}"),
        ("https://api.example.com/items{&ids}", "{?ids}"),
        ("https://{id}.example.com/", "begin with"),
        ("https://api.example.com{id}", "part of the host"),
        ("https://api.example.com:80{id}", "part of the host"),
        ("https://api.example.com{.id}", "part of the host"),
        ("https://user:pass@api.example.com/{id}", "`headers`"),
        ("https://key@api.example.com/{id}", "`headers`"),
        ("https://api.example.com\\@evil/{id}", "begin with"),
        ("https://api.example.com#@evil/{id}", "begin with"),
        ("https://@evil/{id}", "begin with"),
        ("https://api.example.com:999999/{id}", "begin with"),
        ("ftp://api.example.com/{id}", "begin with"),
        ("https:///{id}", "begin with"),
        ("/items/{id}", "begin with"),
    ],
)
def test_a_mistake_in_the_template_is_named(url: str, word: str) -> None:
    with pytest.raises(ValueError, match=r"^url: ") as mistake:
        url_template(url)

    assert word in str(mistake.value)


def test_an_empty_join_is_a_mistake_unless_the_address_takes_one_id() -> None:
    with pytest.raises(ValueError, match=r"^join: "):
        url_template(HOST + "/items{?ids}", "")
    assert url_template(HOST + "/items/{id}", "").one


def test_a_template_does_not_print_what_it_holds() -> None:
    assert "secret" not in repr(url_template(HOST + "/items?key=secret{&ids}"))
