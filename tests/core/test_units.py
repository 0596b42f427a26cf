"""Durations, rates and sizes as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.quota import MAX_SPAN_US, Window
from headgate.core.units import (
    LONGEST_US,
    duration_us,
    size_bytes,
    spoken,
    spoken_window,
    window,
)

SECOND, HOUR, DAY = 1_000_000, 3_600_000_000, 86_400_000_000


@given(st.integers(min_value=0, max_value=LONGEST_US))
def test_a_spoken_duration_reads_back_as_itself(span):
    assert duration_us(spoken(span)) == span


@given(st.builds(Window, st.integers(1, 10**15 - 1), st.integers(1, MAX_SPAN_US)))
def test_a_spoken_window_reads_back_as_itself(each):
    assert window(spoken_window(each)) == each


@given(st.text())
def test_any_other_text_is_refused_with_words_and_never_with_another_error(text):
    for read in (duration_us, window, size_bytes):
        try:
            read(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017 - whether it raises is up to the text


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("0s", 0),
        ("7us", 7),
        ("100ms", 100_000),
        ("1.5s", 1_500_000),
        ("90 s", 90 * SECOND),
        ("2m", 120 * SECOND),
        ("5min", 300 * SECOND),
        ("25h", 25 * HOUR),
        ("1d", DAY),
        ("3 days", 3 * DAY),
        (" 1hour ", HOUR),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text, span):
    assert duration_us(text) == span


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10/s", Window(10, SECOND)),
        ("1/5s", Window(1, 5 * SECOND)),
        ("1/20ms", Window(1, 20_000)),
        ("1/0.5s", Window(1, 500_000)),
        ("60/m", Window(60, 60 * SECOND)),
        ("900 / 15 min", Window(900, 900 * SECOND)),
        ("100000/day", Window(100_000, DAY)),
        ("100_000/d", Window(100_000, DAY)),
        ("1/25h", Window(1, 25 * HOUR)),
        ("5/31d", Window(5, 31 * DAY)),
        ("3/250us", Window(3, 250)),
    ],
)
def test_a_rate_is_a_number_per_span(text, expected):
    assert window(text) == expected


@pytest.mark.parametrize(
    ("each", "text"),
    [
        (Window(1, 5 * SECOND), "1/5s"),
        (Window(10, SECOND), "10/s"),
        (Window(1, 500_000), "1/500ms"),
        (Window(100_000, DAY), "100000/day"),
        (Window(5, 11 * SECOND), "5/11s"),
        (Window(7, 7 * DAY), "7/7d"),
    ],
)
def test_a_window_is_spoken_as_it_is_written(each, text):
    assert spoken_window(each) == text


@pytest.mark.parametrize(
    ("span", "text"),
    [(0, "0s"), (100_000, "100ms"), (5 * SECOND, "5s"), (90 * SECOND, "90s"), (DAY, "1d")],
)
def test_a_duration_is_spoken_in_the_largest_unit_that_leaves_a_whole_number(span, text):
    assert spoken(span) == text


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("5", 'write "5s"'),
        ("", "not a duration"),
        ("-5s", "not a duration"),
        ("five s", "not a duration"),
        ("5 parsecs", "unknown unit"),
        ("1.5us", "whole number of microseconds"),
        ("400d", "longer than 366d"),
        ("9" * 5_000 + "s", "not a duration"),
        ("٣s", "not a duration"),
    ],
)
def test_what_is_no_duration_is_refused_with_advice(text, advice):
    with pytest.raises(ValueError, match=advice):
        duration_us(text)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("10", "not a rate"),
        ("10/5", "not a rate"),
        ("1.5/s", "not a rate"),
        ("-1/s", "not a rate"),
        ("0/s", "at least 1"),
        ("1/0s", "over 0"),
        ("1/32d", "at most 31d"),
        ("10/fortnight", "unknown unit"),
    ],
)
def test_what_is_no_rate_is_refused_with_advice(text, advice):
    with pytest.raises(ValueError, match=advice):
        window(text)


@pytest.mark.parametrize("text", ["500/month", "500/months", "500/year"])
def test_a_calendar_span_is_refused_with_the_window_that_holds_in_every_month(text):
    with pytest.raises(ValueError, match=r'no fixed length.*write "500/31d"'):
        window(text)


def test_a_long_text_is_not_repeated_at_length():
    with pytest.raises(ValueError) as refused:
        duration_us("x" * 10_000)

    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    ("text", "size"), [("32MiB", 32 * 2**20), ("500 kB", 500_000), ("1.5KiB", 1536), ("7B", 7)]
)
def test_a_size_is_a_number_and_a_unit(text, size):
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["32", "32M", "MiB", "32mib"])
def test_what_is_no_size_is_refused_with_advice(text):
    with pytest.raises(ValueError, match='write one such as "32MiB"'):
        size_bytes(text)
