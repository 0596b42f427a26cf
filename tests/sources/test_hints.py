"""What a source says of its own limit only ever makes us wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.retry import MAX_PAUSE_US
from headgate.sources.hints import nothing_left_us

NOW_S = 1_800_000_000.0
SECOND = 1_000_000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"ratelimit": '"default";r=0;t=30'}, 30),
        ({"ratelimit": '"burst";r=5;t=1, "daily";r=0;t=600'}, 600),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "12"}, 12),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000007"}, 7),
        ({"x-rate-limit-remaining": " 0 ", "x-rate-limit-reset": "3"}, 3),
    ],
)
def test_a_limit_that_is_used_up_is_a_pause(headers: dict[str, str], seconds: int) -> None:
    assert nothing_left_us(headers, now_wall_s=NOW_S) == seconds * SECOND


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ratelimit": '"default";r=1;t=30'},
        {"ratelimit": '"default";r=0.5;t=30'},
        {"ratelimit-remaining": "0"},
        {"ratelimit-remaining": "-1", "ratelimit-reset": "12"},
        {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000000"},
        {"x-ratelimit-remaining": "NaN", "x-ratelimit-reset": "5"},
    ],
)
def test_what_makes_no_sense_says_nothing(headers: dict[str, str]) -> None:
    assert nothing_left_us(headers, now_wall_s=NOW_S) is None


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "ratelimit",
                "ratelimit-remaining",
                "ratelimit-reset",
                "x-ratelimit-remaining",
                "x-ratelimit-reset",
            ]
        ),
        st.text(max_size=80) | st.integers().map(str),
    )
)
def test_no_header_breaks_it_or_holds_us_for_longer_than_a_day(headers: dict[str, str]) -> None:
    found = nothing_left_us(headers, now_wall_s=NOW_S)

    assert found is None or 0 < found <= MAX_PAUSE_US
