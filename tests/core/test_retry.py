"""What becomes of a batch: every outcome at every attempt, and how long it waits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.outcome import (
    Failed,
    Fetched,
    Outcome,
    Refused,
    Rejected,
    Throttled,
    Unsent,
)
from headgate.core.retry import (
    Bury,
    Close,
    Complete,
    Postpone,
    Release,
    Retry,
    RetryPolicy,
    Split,
    Step,
    next_step,
)
from tests.core.steady import steady

SECOND = 1_000_000
DAY = 24 * 60 * 60 * SECOND
POLICY = RetryPolicy()
PERSISTENT = RetryPolicy(absent=True)
EARLY, LAST = 1, 5
ATTEMPTS = range(EARLY, LAST + 2)
JITTERS = st.floats(0, 1, exclude_max=True)

WHOLE = Fetched({0: b"{}", 1: b"{}"}, frozenset({2}), {3: "no"})
PART = Fetched({0: b"{}"}, frozenset({1}))
NOTHING = Fetched()


def step(
    outcome: Outcome,
    *,
    asked: int = 4,
    attempt: int = EARLY,
    policy: RetryPolicy = POLICY,
    jitter: float = 0.5,
    probe: bool = False,
    failures: int = 0,
) -> Step:
    return next_step(
        outcome,
        asked=asked,
        attempt=attempt,
        policy=policy,
        jitter=jitter,
        probe=probe,
        failures=failures,
    )


# -- each outcome at each attempt ----------------------------------------------------------------------------


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("policy", [POLICY, PERSISTENT])
def test_an_answer_that_mentions_every_id_completes(attempt: int, policy: RetryPolicy) -> None:
    assert step(WHOLE, attempt=attempt, policy=policy) == Complete(WHOLE)


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("answer", [PART, NOTHING])
def test_an_id_that_the_answer_does_not_mention_completes_as_missing(
    attempt: int, answer: Fetched
) -> None:
    assert step(answer, attempt=attempt) == Complete(answer)


@pytest.mark.parametrize("attempt", range(EARLY, LAST))
def test_an_id_that_the_answer_does_not_mention_is_fetched_again_where_the_source_says_so(
    attempt: int,
) -> None:
    after_us = SECOND * 2 ** (attempt - 1) // 2

    assert step(PART, attempt=attempt, policy=PERSISTENT) == Retry(
        after_us, "2 of 4 ids were not in the answer", PART
    )


@pytest.mark.parametrize("attempt", [LAST, LAST + 1])
def test_an_id_that_no_answer_mentions_is_missing_in_the_end(attempt: int) -> None:
    assert step(PART, attempt=attempt, policy=PERSISTENT) == Bury(
        "2 of 4 ids were not in the answer", missing=True, fetched=PART, answered=True
    )


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_throttled_call_waits_as_long_as_the_source_says(attempt: int) -> None:
    assert step(Throttled(7 * SECOND, "429"), attempt=attempt) == Postpone(7 * SECOND, "429")


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_throttled_call_without_a_word_backs_off(attempt: int) -> None:
    after_us = SECOND * 2 ** (attempt - 1) // 2

    assert step(Throttled(), attempt=attempt) == Postpone(after_us, "throttled", hinted=False)


def test_no_source_pauses_itself_for_more_than_a_day() -> None:
    assert step(Throttled(10**18)) == Postpone(DAY, "throttled")


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("asked", [2, 50])
def test_a_rejected_call_for_several_ids_is_split(attempt: int, missing: bool, asked: int) -> None:
    assert step(Rejected("422", missing), asked=asked, attempt=attempt) == Split("422")


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("missing", [False, True])
def test_a_rejected_call_for_one_id_ends_it(attempt: int, missing: bool) -> None:
    assert step(Rejected("404", missing), asked=1, attempt=attempt) == Bury(
        "404", missing, answered=True
    )


@pytest.mark.parametrize("attempt", range(EARLY, LAST))
def test_a_refused_call_closes_the_source_and_burns_nothing(attempt: int) -> None:
    assert step(Refused("401"), attempt=attempt) == Close("401")


@pytest.mark.parametrize("attempt", [LAST, LAST + 1])
def test_a_call_that_is_refused_at_its_last_attempt_fails_but_not_as_a_probe(attempt: int) -> None:
    assert step(Refused("403"), attempt=attempt) == Bury("403")
    assert step(Refused("403"), attempt=attempt, probe=True) == Close("403")


@pytest.mark.parametrize("attempt", range(EARLY, LAST))
def test_a_failed_call_is_tried_again(attempt: int) -> None:
    after_us = SECOND * 2 ** (attempt - 1) // 2

    assert step(Failed("cut off"), attempt=attempt) == Retry(after_us, "cut off")


@pytest.mark.parametrize("attempt", [LAST, LAST + 1])
def test_a_call_that_failed_at_its_last_attempt_ends_as_failed(attempt: int) -> None:
    assert step(Failed("cut off"), attempt=attempt) == Bury("cut off")


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_probe_that_fails_is_tried_again_at_whatever_attempt(attempt: int) -> None:
    after_us = SECOND * 2 ** (attempt - 1) // 2

    assert step(Failed("cut off"), attempt=attempt, probe=True) == Retry(after_us, "cut off")


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("outcome", [WHOLE, PART, Throttled(7), Rejected("422"), Unsent()])
def test_a_probe_that_does_not_fail_is_a_call_like_any_other(
    attempt: int, outcome: Outcome
) -> None:
    assert step(outcome, attempt=attempt, probe=True) == step(outcome, attempt=attempt)


def test_a_probe_that_fails_at_its_last_attempt_fails_once_probes_are_as_far_apart_as_they_get() -> (
    None
):
    buried = [
        failures
        for failures in range(5, 15)
        if step(Failed("broken"), attempt=LAST, probe=True, failures=failures) == Bury("broken")
    ]

    assert buried == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_call_that_was_never_sent_is_given_back_at_once(attempt: int) -> None:
    assert step(Unsent("too late"), attempt=attempt) == Release("too late")


def test_an_outcome_that_is_none_of_ours_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        step("fetched")  # type: ignore[arg-type]  # that is the point


# -- how long ------------------------------------------------------------------------------------------------


@given(st.integers(1, 100), JITTERS)
@steady()
def test_full_jitter_is_anything_below_the_doubled_base_and_never_over_the_cap(
    attempt: int, jitter: float
) -> None:
    delay = POLICY.delay_us(attempt, jitter)

    assert 0 <= delay <= POLICY.max_us
    assert delay <= POLICY.base_us * 2 ** (attempt - 1)


def test_the_backoff_doubles_from_its_base_to_its_cap() -> None:
    longest = [POLICY.delay_us(attempt, 0.999_999_999) + 1 for attempt in range(1, 13)]

    assert longest[:9] == [SECOND * 2**doubled for doubled in range(9)]
    assert longest[9:] == [300 * SECOND] * 3


def test_jitter_may_leave_nothing_to_wait() -> None:
    assert POLICY.delay_us(9, 0.0) == 0


def test_a_thousandth_attempt_does_not_overflow() -> None:
    assert POLICY.delay_us(1_000, 0.5) == POLICY.max_us // 2


@pytest.mark.parametrize("failures", [0, 1, 5])
def test_a_source_is_probed_ten_seconds_after_it_was_left_alone(failures: int) -> None:
    assert POLICY.probe_delay_us(failures) == 10 * SECOND


def test_probes_double_their_distance_with_each_further_failure_up_to_the_cap() -> None:
    delays = [POLICY.probe_delay_us(failures) for failures in range(5, 12)]

    assert delays == [each * SECOND for each in (10, 20, 40, 80, 160, 300, 300)]


def test_a_source_that_was_never_back_is_probed_at_the_cap_for_ever() -> None:
    assert POLICY.probe_delay_us(10**6) == POLICY.probe_max_us


def test_probes_never_come_closer_together_while_a_source_keeps_failing() -> None:
    delays = [POLICY.probe_delay_us(failures) for failures in range(60)]

    assert all(before <= after for before, after in pairwise(delays))
