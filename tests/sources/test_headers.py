"""Retry-After: a stranger's text that may only ever make us wait, and never for longer than a day."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headgate.core.retry import MAX_PAUSE_US
from headgate.sources.headers import http_date, retry_after_us

NOW = 1_800_000_000.0
SECOND = 1_000_000


@pytest.mark.parametrize(
    ("value", "after_us"),
    [
        ("0", 0),
        ("5", 5 * SECOND),
        ("  5\t", 5 * SECOND),
        ("007", 7 * SECOND),
        ("1.5", 1_500_000),
        ("0.0000001", 1),
        ("86400", MAX_PAUSE_US),
        ("86401", MAX_PAUSE_US),
        ("9" * 60, MAX_PAUSE_US),
    ],
)
def test_seconds(value: str, after_us: int) -> None:
    assert retry_after_us(value, now_wall_s=NOW) == after_us


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        " ",
        "-3",
        "+3",
        "1e3",
        "NaN",
        "inf",
        "-inf",
        "0x10",
        "5s",
        "5, 10",
        "1.",
        ".5",
        "1_000",
        "５",
        "٣",
        "soon",
        "9" * 65,
        "2027-01-15T08:00:00Z",
        "Fri, 15 Jan 2027",
        "Fri, 32 Jan 2027 08:00:00 GMT",
        "Fri, 15 Jan 2027 08:00:61 GMT",
        "Fri, 15 Jan 99999 08:00:00 GMT",
        "Fri, 15 Jan 2027 08:00:00 +9999",
    ],
)
def test_what_makes_no_sense_says_nothing(value: str | None) -> None:
    assert retry_after_us(value, now_wall_s=NOW) is None


@pytest.mark.parametrize(
    "value",
    [
        "Fri, 15 Jan 2027 08:00:30 GMT",
        "Friday, 15-Jan-27 08:00:30 GMT",
        "Fri Jan 15 08:00:30 2027",
        "Fri, 15 Jan 2027 09:00:30 +0100",
    ],
)
def test_every_form_of_a_date(value: str) -> None:
    assert http_date("Fri, 15 Jan 2027 08:00:00 GMT") == NOW
    assert retry_after_us(value, now_wall_s=NOW) == 30 * SECOND


def test_a_date_that_has_passed_is_now() -> None:
    assert retry_after_us("Fri, 15 Jan 2027 07:59:00 GMT", now_wall_s=NOW) == 0


def test_a_date_far_away_is_a_day() -> None:
    assert retry_after_us("Fri, 15 Jan 2999 08:00:00 GMT", now_wall_s=NOW) == MAX_PAUSE_US


def test_a_date_is_counted_from_the_clock_that_wrote_it() -> None:
    theirs = formatdate(NOW - 3_600, usegmt=True)
    until = formatdate(NOW - 3_600 + 20, usegmt=True)

    assert retry_after_us(until, now_wall_s=NOW, date=theirs) == 20 * SECOND


@pytest.mark.parametrize("date", ["", "yesterday", formatdate(0, usegmt=True)])
def test_a_date_header_that_cannot_be_right_is_not_believed(date: str) -> None:
    until = formatdate(NOW + 20, usegmt=True)

    assert retry_after_us(until, now_wall_s=NOW, date=date) == 20 * SECOND


DATE_LIKE = st.from_regex(
    r"[A-Za-z]{3,9},? [0-9A-Za-z :+-]{0,20}[0-9]{2}:[0-9]{2}:[0-9]{2}[ 0-9A-Za-z+-]{0,12}",
    fullmatch=True,
)
ANY = st.text() | st.from_regex(r"\A[-+]?[0-9.eE_]{0,70}\Z") | DATE_LIKE


@settings(deadline=None)
@given(ANY, st.none() | ANY, st.floats(0, 4e9))
@example("Mon, 01 Jan 0001 00:00:00 +2359", None, NOW)
@example("Fri, 31 Dec 9999 23:59:59 -2359", "Mon, 01 Jan 0001 00:00:00 +2359", NOW)
def test_no_text_raises_or_leaves_the_range(value: str, date: str | None, now: float) -> None:
    after = retry_after_us(value, now_wall_s=now, date=date)

    assert after is None or 0 <= after <= MAX_PAUSE_US
