"""Which ids a source takes, strictly, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.ids import (
    IdRule,
    IdType,
    encodable,
    first_wrong,
    mistake_in,
)
from tests.core.steady import steady

MAX_INTEGER = 9_223_372_036_854_775_807
MAX_TEXT = 256
ANY_INTEGER = IdRule()
SMALL = IdRule(min=1, max=1_000)
ANY_TEXT = IdRule(IdType.TEXT)
CODE = IdRule(IdType.TEXT, pattern="[A-Z]{2}[0-9]+")

NOT_AN_INTEGER = "Input should be a valid integer"
NOT_A_TEXT = "Input should be a valid string"


@pytest.mark.parametrize("value", [0, -1, MAX_INTEGER, -MAX_INTEGER])
def test_the_default_takes_every_integer_that_a_database_holds(value: int) -> None:
    assert mistake_in(ANY_INTEGER, value) is None


@pytest.mark.parametrize("value", [True, False, 1.0, "5", None, [1], {"id": 1}])
def test_nothing_but_an_integer_passes_for_an_integer(value: object) -> None:
    assert mistake_in(ANY_INTEGER, value) == NOT_AN_INTEGER


@pytest.mark.parametrize(
    ("value", "mistake"),
    [
        (MAX_INTEGER + 1, f"Input should be less than or equal to {MAX_INTEGER}"),
        (-MAX_INTEGER - 1, f"Input should be greater than or equal to -{MAX_INTEGER}"),
    ],
)
def test_an_integer_beyond_64_bits_is_refused(value: int, mistake: str) -> None:
    assert mistake_in(ANY_INTEGER, value) == mistake


@pytest.mark.parametrize(
    ("value", "mistake"),
    [
        (0, "Input should be greater than or equal to 1"),
        (1, None),
        (1_000, None),
        (1_001, "Input should be less than or equal to 1000"),
    ],
)
def test_the_range_of_a_source_includes_both_its_ends(value: int, mistake: str | None) -> None:
    assert mistake_in(SMALL, value) == mistake


@pytest.mark.parametrize("value", ["a", "é", "5", " ", "x" * MAX_TEXT])
def test_a_text_of_up_to_256_characters_is_taken(value: str) -> None:
    assert mistake_in(ANY_TEXT, value) is None


@pytest.mark.parametrize(
    ("value", "mistake"),
    [
        (5, NOT_A_TEXT),
        (None, NOT_A_TEXT),
        (b"a", NOT_A_TEXT),
        ("", "Text should have at least 1 character"),
        ("x" * (MAX_TEXT + 1), f"Text should have at most {MAX_TEXT} characters"),
        ("\ud800", "Text should be valid Unicode: it has a lone surrogate"),
    ],
)
def test_a_text_that_cannot_be_an_id_is_refused_with_the_reason(
    value: object, mistake: str
) -> None:
    assert mistake_in(ANY_TEXT, value) == mistake


@pytest.mark.parametrize("value", ["AB1", "XY0042"])
def test_a_text_that_matches_the_pattern_is_taken(value: str) -> None:
    assert mistake_in(CODE, value) is None


@pytest.mark.parametrize("value", ["AB", "ab1", "AB1 ", " AB1", "AB1\n", "AB1x"])
def test_the_whole_text_must_match_the_pattern(value: str) -> None:
    assert mistake_in(CODE, value) == "Text should match the pattern '[A-Z]{2}[0-9]+'"


def test_half_a_surrogate_pair_cannot_be_sent() -> None:
    assert not encodable("a\udfff")
    assert encodable("a\U0001f600")


def test_a_list_of_good_ids_has_no_mistakes() -> None:
    assert first_wrong(SMALL, [1, 2, 1_000]) == []
    assert first_wrong(CODE, ["AB1", "AB2"]) == []


def test_an_empty_list_has_no_wrong_ids() -> None:
    assert first_wrong(ANY_INTEGER, []) == []


def test_each_mistake_says_where_it_is() -> None:
    assert first_wrong(ANY_INTEGER, [1, "2", 3, None]) == [(1, NOT_AN_INTEGER), (3, NOT_AN_INTEGER)]


def test_a_million_wrong_ids_are_twenty_mistakes() -> None:
    wrong = first_wrong(ANY_INTEGER, ["x"] * 1_000)

    assert [position for position, _ in wrong] == list(range(20))


VALUES: st.SearchStrategy[Any] = st.one_of(
    st.integers(-3, 1_003),
    st.sampled_from([True, 1.0, None, "AB1", "", "\ud800", MAX_INTEGER + 1]),
)


@given(
    st.sampled_from([ANY_INTEGER, SMALL, ANY_TEXT, CODE]),
    st.one_of(st.lists(VALUES, max_size=8), st.lists(st.integers(-3, 1_003), max_size=8)),
    st.integers(1, 4),
)
@steady(200)
def test_the_mistakes_of_a_list_are_the_first_of_those_of_its_ids_one_by_one(
    rule: IdRule, ids: list[object], most: int
) -> None:
    each = [(position, mistake_in(rule, value)) for position, value in enumerate(ids)]

    assert first_wrong(rule, ids, most) == [wrong for wrong in each if wrong[1]][:most]
