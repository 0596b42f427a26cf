"""What becomes of a batch, of its ids and of its source after each kind of call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from headgate.core.facts import (
    BatchEnded,
    BatchReturned,
    LeaseLost,
    SourceClosed,
    SourceOpened,
)
from headgate.core.model import CallReport, Claim, Counts, Status
from headgate.core.outcome import (
    Failed,
    Fetched,
    Outcome,
    Refused,
    Rejected,
    Throttled,
    Unsent,
)
from headgate.core.quota import Hold, Wait
from headgate.core.retry import RetryPolicy
from headgate.store.commands.claim import Claims, Idle
from headgate.store.commands.settle import Lost, Settled
from tests.contract.store.bench import (
    HOUR,
    MINUTE,
    UNKNOWN,
    UNSENT,
    Bench,
    fetched,
    fetched_only,
    ids_of,
    policy,
    source,
)
from tests.fakes import SECOND

pytestmark = pytest.mark.anyio

TRIGGERED = Settled(Status.TRIGGERED)


async def column(bench: Bench, name: str) -> object:
    """One column of the only batch that has begun."""
    ((value,),) = await bench.rows(f"select {name} from batch")
    return value


# -- an answer -----------------------------------------------------------------------------------------------


async def test_a_batch_is_completed_when_every_id_was_fetched(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)
    claimed = await bench.claim()

    assert await bench.settle(claimed) == Settled(Status.COMPLETED)
    seen = await bench.status(ingestion)
    assert (seen.status, seen.counts) == (
        Status.COMPLETED,
        Counts(distinct=3, begun=3, fetched=3),
    )


async def test_a_record_is_the_bytes_that_came(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)
    bodies = {0: b'{"a": 1.10e2,\n "a":2}', 1: b"", 2: bytes(range(256)) * 300}
    await bench.call(Fetched(bodies))

    assert {p: body for p, (_, body, _) in (await bench.records(ingestion)).items()} == bodies


async def test_an_id_that_the_source_does_not_know_is_missing(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)
    await bench.call(Fetched({0: b"{}", 2: b"{}"}, missing=frozenset({1})))

    assert await bench.endings(ingestion) == {0: "fetched", 1: "missing", 2: "fetched"}
    assert (await bench.status(ingestion)).status is Status.COMPLETED


async def test_an_id_that_the_answer_does_not_mention_is_missing(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)
    claimed = await bench.claim()
    await bench.settle(claimed, fetched_only(claimed, 2))

    assert await bench.endings(ingestion) == {0: "missing", 1: "fetched", 2: "missing"}


async def test_an_empty_answer_is_an_answer(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)
    await bench.call(Fetched())

    seen = await bench.status(ingestion)
    assert (seen.status, seen.counts.missing) == (Status.COMPLETED, 3)


async def test_a_batch_fails_if_any_of_its_ids_failed(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 4)
    await bench.call(Fetched({0: b"{}"}, frozenset({1}), {2: "no such field"}))
    await bench.call()

    seen = await bench.status(ingestion)
    assert await bench.batch_statuses(ingestion) == ["failed", "completed"]
    assert (seen.status, seen.counts) == (
        Status.FAILED,
        Counts(distinct=4, begun=4, fetched=2, missing=1, failed=1),
    )
    assert (await bench.records(ingestion))[2] == ("failed", None, "no such field")


async def test_a_position_that_was_not_asked_for_is_not_stored(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 4)
    await bench.call(Fetched({0: b"{}", 1: b"{}", 2: b"{}", 3: b"{}"}))

    assert await bench.endings(ingestion) == dict.fromkeys((0, 1, 2), "fetched")


async def test_an_ingestion_ends_with_its_last_batch(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 4)
    first, second = await bench.claims(most=2)
    await bench.settle(second)
    assert (await bench.status(ingestion)).ended_at is None
    bench.clock.advance(SECOND)
    await bench.settle(first)

    assert (await bench.status(ingestion)).ended_at == bench.clock.wall_us


# -- an answer in part ---------------------------------------------------------------------------------------


AGAIN = policy(absent=True, max_attempts=3)


async def test_only_what_is_absent_is_fetched_again(bench: Bench) -> None:
    await bench.configure(source(retry=AGAIN))
    ingestion = await bench.submit(1, 2, 3)
    claimed = await bench.claim()
    assert await bench.settle(claimed, fetched_only(claimed, 2)) == TRIGGERED
    again = await bench.claim()
    await bench.settle(again)

    assert (ids_of(again), again.attempt) == ([1, 3], 2)
    assert await bench.endings(ingestion) == dict.fromkeys(range(3), "fetched")


async def test_what_came_in_part_is_kept_and_counted_at_once(bench: Bench) -> None:
    await bench.configure(source(retry=AGAIN))
    ingestion = await bench.submit(1, 2, 3)
    claimed = await bench.claim()
    await bench.settle(claimed, Fetched({0: b"{}"}, failed={1: "bad"}))

    assert (await bench.status(ingestion)).counts == Counts(
        distinct=3, begun=3, fetched=1, failed=1
    )
    assert await bench.batch_statuses(ingestion) == ["triggered"]


async def test_a_batch_of_which_a_part_failed_ends_failed_however_the_rest_ends(
    bench: Bench,
) -> None:
    await bench.configure(source(retry=AGAIN))
    ingestion = await bench.submit(1, 2, 3)
    await bench.call(Fetched({0: b"{}"}, failed={1: "bad"}))
    await bench.call()

    assert await bench.batch_statuses(ingestion) == ["failed"]


async def test_what_stays_absent_to_the_last_attempt_is_missing(bench: Bench) -> None:
    await bench.configure(source(retry=AGAIN))
    ingestion = await bench.submit(1, 2)
    attempts = []
    for _ in range(3):
        claimed = await bench.claim()
        attempts.append((ids_of(claimed), claimed.attempt))
        await bench.settle(claimed, fetched_only(claimed, 1))

    assert attempts == [([1, 2], 1), ([2], 2), ([2], 3)]
    assert await bench.endings(ingestion) == {0: "fetched", 1: "missing"}
    assert (await bench.status(ingestion)).status is Status.COMPLETED


async def test_an_answer_in_part_waits_before_it_is_asked_again(bench: Bench) -> None:
    await bench.configure(source(retry=RetryPolicy(absent=True)))
    await bench.submit(1, 2)
    claimed = await bench.claim()
    await bench.settle(claimed, fetched_only(claimed, 1))

    await bench.assert_granted_exactly_after(SECOND // 2)


async def test_a_source_that_answers_in_part_never_breaks_its_circuit(bench: Bench) -> None:
    await bench.configure(source(retry=policy(absent=True, max_attempts=99, circuit_after=2)))
    await bench.submit(1)
    for _ in range(10):
        await bench.call(Fetched())

    assert bench.stated(SourceClosed) == []


# -- a call that failed --------------------------------------------------------------------------------------


async def test_a_failed_call_is_tried_again_with_the_same_ids(bench: Bench) -> None:
    await bench.configure(source(retry=policy()))
    await bench.submit(1, 2)
    await bench.call(Failed("503"))
    again = await bench.claim()

    assert (ids_of(again), again.attempt) == ([1, 2], 2)


async def test_the_pause_before_a_retry_doubles_up_to_its_most(bench: Bench) -> None:
    await bench.configure(
        source(retry=RetryPolicy(max_attempts=9, max_us=5 * SECOND, circuit_after=99))
    )
    await bench.submit(1)
    waits = []
    for _ in range(5):
        await bench.call(Failed("503"))
        waits.append((await bench.refused()).for_us)
        bench.clock.advance(waits[-1] or 0)

    assert waits == [500_000, 1_000_000, 2_000_000, 2_500_000, 2_500_000]


async def test_the_pause_before_a_retry_is_anything_up_to_its_most(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await bench.settle(await bench.claim(), Failed("503"), jitter=0.0)
    again = await bench.claim()
    await bench.settle(again, Failed("503"), jitter=0.999)

    assert (await bench.refused()).for_us == 1_998_000


async def test_attempts_count_up_to_the_last_and_then_the_ids_fail(bench: Bench) -> None:
    await bench.configure(source(retry=policy(max_attempts=3)))
    ingestion = await bench.submit(1, 2)
    attempts = [(await bench.call(Failed(f"error {n}"))).attempt for n in range(3)]

    assert attempts == [1, 2, 3]
    assert isinstance(await bench.try_claim(), Idle)
    assert await bench.records(ingestion) == dict.fromkeys((0, 1), ("failed", None, "error 2"))
    assert (await bench.status(ingestion)).status is Status.FAILED


async def test_one_attempt_is_the_last_where_only_one_is_allowed(bench: Bench) -> None:
    await bench.configure(source(retry=policy(max_attempts=1)))
    ingestion = await bench.submit(1)
    await bench.call(Failed("503"))

    assert await bench.batch_statuses(ingestion) == ["failed"]


async def test_a_call_that_failed_says_why(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1)
    await bench.call(Failed("connection refused"))

    assert await column(bench, "reason") == "connection refused"
    assert bench.stated(BatchReturned) == [
        BatchReturned("catalog", ingestion, 0, "connection refused", 500_000)
    ]


async def test_the_next_ids_of_a_batch_begin_again_with_their_first_attempt(bench: Bench) -> None:
    await bench.configure(source(batch_size=4, retry=policy()))
    await bench.submit(1, 2, 3, 4)
    await bench.configure(source(batch_size=2, retry=policy()))
    attempts = [
        (await bench.call(outcome)).attempt for outcome in (Failed("x"), Failed("x"), None, None)
    ]

    assert attempts == [1, 2, 3, 1]


# -- a call that burns nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Throttled(0), Unsent()])
async def test_a_call_that_was_not_let_through_burns_no_attempt(
    bench: Bench, outcome: Outcome
) -> None:
    await bench.configure(source(retry=policy(max_attempts=2)))
    ingestion = await bench.submit(1, 2)
    await bench.call(Failed("broken"))
    attempts = [(await bench.call(outcome)).attempt for _ in range(10)]

    assert set(attempts) == {2}
    assert await bench.batch_statuses(ingestion) == ["triggered"]
    assert await bench.endings(ingestion) == {}


async def test_a_refused_call_burns_no_attempt(bench: Bench) -> None:
    await bench.configure(source(retry=policy(max_attempts=2)))
    await bench.submit(1, 2)
    attempts = []
    for _ in range(10):
        attempts.append((await bench.call(Refused("401"))).attempt)
        bench.clock.advance(HOUR)

    assert set(attempts) == {1}


async def test_a_throttled_batch_keeps_its_place(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await bench.submit(2)
    await bench.call(Throttled(SECOND))
    bench.clock.advance(SECOND)

    assert await bench.claimed_ids() == [1]


async def test_a_call_given_up_unsent_may_be_claimed_again_at_once(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await bench.submit(2)
    claimed = await bench.claim()

    assert await bench.settle(claimed, Unsent(), report=UNSENT) == TRIGGERED
    assert await bench.claimed_ids() == [1]


async def test_a_call_given_up_unsent_says_nothing_of_its_source(bench: Bench) -> None:
    await bench.configure(source(retry=policy(circuit_after=2)))
    await bench.submit(1)
    for _ in range(5):
        await bench.settle(await bench.claim(), Unsent(), report=UNSENT)
    await bench.fail(1)

    assert bench.stated(SourceClosed) == []


# -- a rejected call -----------------------------------------------------------------------------------------


async def test_a_rejected_id_alone_fails(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1)
    await bench.call(Rejected("422"))

    assert await bench.records(ingestion) == {0: ("failed", None, "422")}
    assert await bench.batch_statuses(ingestion) == ["failed"]


async def test_a_rejected_id_alone_is_missing_where_the_source_says_so(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1)
    await bench.call(Rejected("404", missing=True))

    assert await bench.endings(ingestion) == {0: "missing"}
    assert await bench.batch_statuses(ingestion) == ["completed"]


async def test_several_rejected_ids_are_split_in_two(bench: Bench) -> None:
    await bench.configure(source(batch_size=5))
    await bench.submit(1, 2, 3, 4, 5)
    claimed = await bench.claim()

    assert await bench.settle(claimed, Rejected("400")) == TRIGGERED
    assert await bench.claimed_ids() == [1, 2, 3]
    await bench.settle_all()
    assert await bench.claimed_ids() == [4, 5]


async def call_until_idle(bench: Bench, poison: set[int]) -> list[list[object]]:
    """A source that rejects every call with a bad id in it."""
    calls: list[list[object]] = []
    while not isinstance(await_ := await bench.try_claim(), Idle):
        assert isinstance(await_, Claims)
        (claimed,) = await_.claims
        calls.append(list(ids_of(claimed)))
        await bench.settle(claimed, Rejected("400") if poison & set(calls[-1]) else None)
    return calls


async def test_a_poison_id_is_found_and_the_others_are_fetched(bench: Bench) -> None:
    await bench.configure(source(batch_size=8))
    ingestion = await bench.submit(*range(8))
    calls = await call_until_idle(bench, {5})

    assert calls == [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [4, 5],
        [4],
        [5],
        [6, 7],
    ]
    endings = await bench.endings(ingestion)
    assert endings == {n: "failed" if n == 5 else "fetched" for n in range(8)}
    assert await bench.batch_statuses(ingestion) == ["failed"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
async def test_any_poison_ids_are_found_and_only_they_fail(bench: Bench, size: int) -> None:
    await bench.configure(source(batch_size=size, retry=policy(max_attempts=1)))
    ids = range(2 * size + 1)
    poison = {n for n in ids if n % 11 == 3 or n == size}
    ingestion = await bench.submit(*ids)
    await call_until_idle(bench, poison)

    assert await bench.endings(ingestion) == {
        n: "failed" if n in poison else "fetched" for n in ids
    }


async def test_a_split_batch_is_one_batch_to_every_reader(bench: Bench) -> None:
    await bench.configure(source(batch_size=4))
    ingestion = await bench.submit(1, 2, 3, 4)
    before = (await bench.batches(ingestion))[0]
    await bench.call(Rejected("400"))
    await bench.call()

    (seen,) = await bench.batches(ingestion)
    assert (seen.batch_id, seen.ids) == (before.batch_id, [1, 2, 3, 4])
    assert seen.status is Status.TRIGGERED
    assert (await bench.status(ingestion)).counts == Counts(distinct=4, begun=4, fetched=2)


async def test_a_split_burns_no_attempt(bench: Bench) -> None:
    await bench.configure(source(batch_size=8, retry=policy(max_attempts=1)))
    await bench.submit(*range(8))
    attempts = [(await bench.call(Rejected("400"))).attempt for _ in range(3)]

    assert attempts == [1, 1, 1]


async def test_each_part_of_a_split_batch_has_attempts_of_its_own(bench: Bench) -> None:
    await bench.configure(source(batch_size=4, retry=policy(max_attempts=3)))
    ingestion = await bench.submit(1, 2, 3, 4)
    await bench.call(Rejected("400"))
    first = [(await bench.call(Failed("x"))) for _ in range(3)]
    second = [(await bench.call(Failed("x"))) for _ in range(2)]
    await bench.call()

    assert [each.attempt for each in first + second] == [1, 2, 3, 1, 2]
    assert await bench.endings(ingestion) == {0: "failed", 1: "failed", 2: "fetched", 3: "fetched"}


async def test_a_split_and_a_smaller_limit_work_through_everything_once(bench: Bench) -> None:
    await bench.configure(source(batch_size=7))
    ingestion = await bench.submit(*range(7))
    await bench.configure(source(batch_size=4))
    await call_until_idle(bench, {2})

    assert await bench.endings(ingestion) == {
        n: "failed" if n == 2 else "fetched" for n in range(7)
    }


async def test_a_source_that_rejects_ids_one_by_one_never_breaks_its_circuit(bench: Bench) -> None:
    """A rejection is an answer: a list of bad ids must not close the source for everybody."""
    await bench.configure(source(batch_size=1))
    await bench.submit(*range(7))
    for _ in range(6):
        await bench.call(Rejected("422"))

    assert isinstance(await bench.try_claim(), Claims)
    assert bench.stated(SourceClosed) == []


async def test_a_source_that_splits_never_breaks_its_circuit(bench: Bench) -> None:
    await bench.configure(source(batch_size=64, retry=policy(circuit_after=2)))
    await bench.submit(*range(64))
    for _ in range(6):
        await bench.call(Rejected("400"))

    assert bench.stated(SourceClosed) == []


# -- a source that lets nobody in, or keeps failing ----------------------------------------------------------


CLOSED_10S = Wait(10 * SECOND, Hold.CLOSED)


async def test_a_refusal_closes_the_source_until_its_probe(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await bench.call(Refused("401"))

    assert await bench.refused() == CLOSED_10S
    assert bench.stated(SourceClosed) == [SourceClosed("catalog", 10 * SECOND, "401")]
    assert ids_of(await bench.assert_granted_exactly_after(10 * SECOND)) == [1]


@pytest.mark.parametrize("outcome", [Refused("403"), Failed("broken")])
async def test_what_a_closed_source_does_not_answer_is_set_aside_for_other_probes(
    bench: Bench, outcome: Outcome
) -> None:
    await bench.configure(source(batch_size=1, retry=policy(circuit_after=1, max_attempts=99)))
    await bench.submit(1, 2, 3)
    await bench.call(outcome)
    probed = []
    for _ in range(7):
        bench.clock.advance(5 * MINUTE)
        probed += ids_of(await bench.call(outcome))

    assert probed in ([1, 2, 3] * 2 + [1], [2, 3, 1] * 2 + [2])


@pytest.mark.parametrize("outcome", [Refused("403"), Failed("broken")])
async def test_a_source_that_answers_for_some_ids_gets_them_all_done(
    bench: Bench, outcome: Outcome
) -> None:
    """Two ids that always fail, before many that do not: none is refused for ever, and all end."""
    await bench.configure(source(batch_size=1, retry=RetryPolicy()))
    ingestion = await bench.submit(*range(10))
    for _ in range(200):
        match await bench.try_claim():
            case Wait(for_us):
                bench.clock.advance(for_us or 0)
            case Idle():
                break
            case Claims((claimed, *_)):
                bad = ids_of(claimed)[0] in (0, 1)
                await bench.settle(claimed, outcome if bad else None)

    endings = await bench.endings(ingestion)
    assert endings == {n: "failed" if n in (0, 1) else "fetched" for n in range(10)}


async def test_what_was_set_aside_has_used_up_an_attempt_once_the_source_answers_others(
    bench: Bench,
) -> None:
    await bench.configure(source(batch_size=1))
    await bench.submit(1, 2)
    await bench.call(Refused("403"))
    bench.clock.advance(10 * SECOND)
    await bench.call()

    again = await bench.claim()
    assert (ids_of(again), again.attempt) == ([1], 2)


async def test_a_batch_that_is_refused_at_its_last_attempt_fails(bench: Bench) -> None:
    """Others were let in each time between: it is the ids, not the key."""
    await bench.configure(source(batch_size=1, retry=policy(max_attempts=2)))
    ingestion = await bench.submit(1, 2, 3)
    await bench.call(Refused("403"))
    bench.clock.advance(10 * SECOND)
    await bench.call()
    await bench.call(Refused("403"))

    assert await bench.endings(ingestion) == {0: "failed", 1: "fetched"}
    assert ids_of(await bench.claim()) == [3]


async def test_a_key_that_has_expired_buries_nothing(bench: Bench) -> None:
    await bench.configure(source(batch_size=1, retry=policy(max_attempts=2)))
    ingestion = await bench.submit(1, 2, 3)
    for _ in range(30):
        await bench.call(Refused("401"))
        bench.clock.advance(5 * MINUTE)

    assert await bench.batch_statuses(ingestion) == ["triggered"] * 3


async def test_a_closed_source_holds_no_other_one_up(bench: Bench) -> None:
    await bench.configure(source("a"), source("b"))
    await bench.submit(1, 2, 3, 4, source="a")
    await bench.submit(5, source="b")
    await bench.call(Refused("401"), "a")

    assert await bench.claimed_ids("b") == [5]


async def test_a_closed_source_is_probed_by_one_call_at_a_time(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(*range(9))
    await bench.call(Refused("401"))
    bench.clock.advance(10 * SECOND)

    assert len(await bench.claims(most=10)) == 1
    assert await bench.refused() == Wait(None, Hold.CLOSED)


async def test_a_probe_that_is_answered_opens_the_source_for_all(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(*range(9))
    await bench.call(Refused("401"))
    bench.clock.advance(10 * SECOND)
    await bench.call()

    assert len(await bench.claims(most=10)) == 2
    assert bench.stated(SourceOpened) == [SourceOpened("catalog")]


@pytest.mark.parametrize("outcome", [Rejected("400"), Fetched()])
async def test_any_answer_to_a_probe_opens_the_source(bench: Bench, outcome: Outcome) -> None:
    await bench.configure(source())
    await bench.submit(*range(9))
    await bench.call(Refused("401"))
    bench.clock.advance(10 * SECOND)
    await bench.call(outcome)

    assert len(await bench.claims(most=10)) > 1


@pytest.mark.parametrize("size", [1, 2], ids=["buried", "split"])
async def test_a_probe_that_was_never_sent_opens_nothing(bench: Bench, size: int) -> None:
    """Ids that no address can name are settled without a call: that says nothing of the source."""
    await bench.configure(source(batch_size=size))
    await bench.submit(*range(9))
    await bench.call(Refused("401"))
    bench.clock.advance(10 * SECOND)
    claimed = await bench.claim()
    await bench.settle(claimed, Rejected("not asked"), report=CallReport(sent=False))

    assert bench.stated(SourceOpened) == []
    assert len(await bench.claims(most=10)) == 1, "one probe, and no more"


async def test_a_probe_that_is_refused_closes_the_source_again(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    await bench.call(Refused("401"))
    bench.clock.advance(10 * SECOND)
    await bench.call(Refused("401"))

    waited = (await bench.refused()).for_us
    assert waited is not None
    assert waited >= 10 * SECOND


async def test_a_probe_that_fails_leaves_the_source_alone_for_a_while_again(bench: Bench) -> None:
    await bench.configure(source(retry=policy(circuit_after=5)))
    await bench.submit(*range(9))
    await bench.call(Refused("401"))
    bench.clock.advance(10 * SECOND)
    await bench.call(Failed("timed out"))

    assert await bench.refused() == CLOSED_10S


async def test_a_call_of_before_the_closing_that_fails_does_not_open_the_source(
    bench: Bench,
) -> None:
    await bench.configure(source())
    await bench.submit(*range(9))
    first, second = await bench.claims(most=2)
    await bench.settle(first, Refused("401"))
    await bench.settle(second, Failed("timed out"))

    assert await bench.refused() == CLOSED_10S


async def test_a_throttled_probe_does_not_open_the_source_for_all(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(*range(9))
    await bench.call(Refused("401"))
    bench.clock.advance(10 * SECOND)
    await bench.call(Throttled(SECOND))
    bench.clock.advance(SECOND)

    assert len(await bench.claims(most=10)) == 1


async def test_a_probe_that_was_not_sent_is_followed_by_another_at_once(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(*range(9))
    await bench.call(Refused("401"))
    bench.clock.advance(10 * SECOND)
    await bench.settle(await bench.claim(), Unsent(), report=UNSENT)

    assert len(await bench.claims(most=10)) == 1


async def test_a_probe_of_a_lost_worker_is_followed_by_another(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(*range(9))
    await bench.call(Refused("401"))
    bench.clock.advance(10 * SECOND)
    await bench.claim()
    await bench.rescue()

    assert len(await bench.claims(most=10)) == 1


BREAKS = policy(max_attempts=99, circuit_after=5)


async def test_five_failures_in_a_row_open_the_circuit(bench: Bench) -> None:
    await bench.configure(source(retry=BREAKS))
    await bench.submit(*range(9))
    await bench.fail(4)
    assert bench.stated(SourceClosed) == []
    await bench.fail(1)

    assert await bench.refused() == CLOSED_10S
    assert bench.stated(SourceClosed) == [SourceClosed("catalog", 10 * SECOND, "broken")]


@pytest.mark.parametrize("answer", [None, Rejected("400")])
async def test_an_answer_begins_the_count_of_failures_anew(
    bench: Bench, answer: Outcome | None
) -> None:
    await bench.configure(source(retry=BREAKS))
    await bench.submit(*range(9))
    await bench.fail(4)
    await bench.call(answer)
    await bench.fail(4)

    assert bench.stated(SourceClosed) == []


async def test_the_pause_before_a_probe_doubles_up_to_five_minutes(bench: Bench) -> None:
    await bench.configure(source(retry=BREAKS))
    await bench.submit(1)
    await bench.fail(5)
    waits = []
    for _ in range(7):
        waits.append((await bench.refused()).for_us)
        bench.clock.advance(waits[-1] or 0)
        await bench.fail(1)

    assert waits == [n * SECOND for n in (10, 20, 40, 80, 160, 300, 300)]


async def test_once_open_again_a_source_takes_as_many_failures_to_close(bench: Bench) -> None:
    await bench.configure(source(retry=BREAKS))
    await bench.submit(*range(9))
    await bench.fail(5)
    bench.clock.advance(10 * SECOND)
    await bench.call()
    await bench.fail(4)

    assert len(bench.stated(SourceClosed)) == 1


async def test_a_probe_burns_no_attempt_until_probes_are_as_far_apart_as_they_get(
    bench: Bench,
) -> None:
    await bench.configure(source(retry=BREAKS))
    await bench.submit(1)
    await bench.fail(5)
    attempts = []
    for _ in range(8):
        bench.clock.advance(5 * MINUTE)
        attempts.append((await bench.call(Failed("broken"))).attempt)

    assert attempts == [6, 6, 6, 6, 6, 6, 7, 8]


async def test_a_probe_that_fails_buries_nothing(bench: Bench) -> None:
    await bench.configure(source(retry=policy(max_attempts=2, circuit_after=2)))
    ingestion = await bench.submit(*range(6))
    first, second = await bench.claims(most=2)
    await bench.settle(first, Failed("broken"))
    await bench.settle(second, Failed("broken"))
    bench.clock.advance(10 * SECOND)
    await bench.call(Failed("broken"))

    assert await bench.batch_statuses(ingestion) == ["triggered", "triggered"]


@pytest.mark.parametrize("outcome", [Failed("broken"), Refused("401")])
async def test_calls_that_fail_together_close_the_source_no_longer_than_one(
    bench: Bench, outcome: Outcome
) -> None:
    """With many calls in flight a hiccup of the source must not cost five minutes."""
    await bench.configure(source(retry=BREAKS))
    await bench.submit(*range(60))
    for claimed in await bench.claims(most=20):
        await bench.settle(claimed, outcome)

    assert await bench.refused() == CLOSED_10S


async def test_an_answer_of_before_the_closing_opens_the_source(bench: Bench) -> None:
    await bench.configure(source(retry=BREAKS))
    await bench.submit(*range(60))
    claims = await bench.claims(most=6)
    for claimed in claims[:5]:
        await bench.settle(claimed, Failed("broken"))
    await bench.settle(claims[5])

    assert isinstance(await bench.try_claim(), Claims)


async def test_the_state_of_a_source_is_of_the_store_and_not_of_a_process(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source(retry=BREAKS))
    await bench.submit(*range(60))
    for n in range(5):
        await (bench, other)[n % 2].fail(1)

    assert await bench.refused() == CLOSED_10S
    assert await other.refused() == CLOSED_10S


# -- any end frees what was held -----------------------------------------------------------------------------


ENDS: list[Callable[[Claim], Outcome]] = [
    fetched,
    lambda claimed: fetched_only(claimed, ids_of(claimed)[0]),
    lambda _: Fetched(),
    lambda _: Fetched(failed={0: "bad", 1: "bad", 2: "bad"}),
    lambda _: Failed("broken"),
    lambda _: Rejected("400"),
    lambda _: Throttled(SECOND),
    lambda _: Refused("401"),
    lambda _: Unsent(),
]


@pytest.mark.parametrize("outcome", ENDS)
@pytest.mark.parametrize("cancelled", [False, True])
async def test_however_a_call_ends_its_place_is_free_again(
    bench: Bench, outcome: Callable[[Claim], Outcome], *, cancelled: bool
) -> None:
    await bench.configure(source(concurrency=1))
    ingestion = await bench.submit(1, 2, 3)
    await bench.submit(4)
    claimed = await bench.claim()
    if cancelled:
        await bench.cancel(ingestion)
    await bench.settle(claimed, outcome(claimed))
    bench.clock.advance(HOUR)

    assert isinstance(await bench.try_claim(), Claims)


async def test_a_settled_batch_is_told_to_observers(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 4)
    await bench.call()
    await bench.call(Rejected("422"))

    assert bench.stated(BatchEnded) == [
        BatchEnded("catalog", ingestion, 0, Status.COMPLETED, ""),
        BatchEnded("catalog", ingestion, 1, Status.FAILED, "422"),
    ]


async def test_a_settled_call_is_a_hint_to_its_lane(bench: Bench) -> None:
    await bench.configure(source())
    await bench.submit(1)
    claimed = await bench.claim()
    await bench.engine.wakes.next("catalog", timeout_us=0)
    await bench.settle(claimed)

    await asyncio.wait_for(bench.engine.wakes.next("catalog", timeout_us=HOUR), timeout=5)


# -- under a stale fence -------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ENDS)
async def test_a_settle_after_a_rescue_changes_nothing_the_ledger_neither(
    bench: Bench, outcome: Callable[[Claim], Outcome]
) -> None:
    await bench.configure(source())
    await bench.submit(1, 2, 3)
    claimed = await bench.claim()
    await bench.rescue()
    before = await bench.dump()
    bench.clock.advance(SECOND)

    assert await bench.settle(claimed, outcome(claimed)) == Lost()
    assert await bench.dump() == before


@pytest.mark.parametrize("outcome", ENDS)
async def test_a_settle_after_somebody_else_claimed_the_batch_changes_nothing(
    bench: Bench, other: Bench, outcome: Callable[[Claim], Outcome]
) -> None:
    await bench.configure(source())
    await bench.submit(1, 2, 3)
    claimed = await bench.claim()
    await other.rescue()
    theirs = await other.claim()
    before = await bench.dump()

    assert await bench.settle(claimed, outcome(claimed)) == Lost()
    assert await bench.dump() == before
    assert await other.settle(theirs) == Settled(Status.COMPLETED)


@pytest.mark.parametrize("outcome", ENDS)
async def test_a_settle_that_is_repeated_changes_nothing(
    bench: Bench, outcome: Callable[[Claim], Outcome]
) -> None:
    """An answer that was lost on the way is asked for again."""
    await bench.configure(source())
    await bench.submit(1, 2, 3)
    claimed = await bench.claim()
    await bench.settle(claimed, outcome(claimed))
    before = await bench.dump()
    bench.clock.advance(SECOND)

    assert await bench.settle(claimed, outcome(claimed)) == Lost()
    assert await bench.dump() == before


async def test_a_lost_lease_is_told_to_observers_and_nothing_else(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)
    claimed = await bench.claim()
    await bench.rescue()
    bench.facts.clear()
    await bench.settle(claimed)

    assert bench.facts == [LeaseLost("catalog", ingestion, 0)]


async def test_of_two_that_settle_one_claim_at_once_one_is_heard(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)
    claimed = await bench.claim()

    got = await asyncio.gather(bench.settle(claimed), other.settle(claimed, Fetched()))

    assert sorted(map(str, got)) == [str(Lost()), str(Settled(Status.COMPLETED))]
    assert (await bench.status(ingestion)).counts.ended == 3


# -- after a cancellation ------------------------------------------------------------------------------------


async def test_what_a_call_brings_after_a_cancellation_is_kept(bench: Bench) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3, 4)
    claimed = await bench.claim()
    await bench.cancel(ingestion)
    await bench.settle(claimed)

    seen = await bench.status(ingestion)
    assert await bench.endings(ingestion) == dict.fromkeys(range(3), "fetched")
    assert await bench.batch_statuses(ingestion) == ["completed", "cancelled"]
    assert (seen.status, seen.counts) == (
        Status.CANCELLED,
        Counts(distinct=4, begun=4, fetched=3, cancelled=1),
    )


async def test_what_a_call_leaves_open_after_a_cancellation_is_cancelled(bench: Bench) -> None:
    await bench.configure(source(retry=AGAIN))
    ingestion = await bench.submit(1, 2, 3)
    claimed = await bench.claim()
    await bench.cancel(ingestion)
    await bench.settle(claimed, fetched_only(claimed, 2))

    assert await bench.endings(ingestion) == {1: "fetched"}
    assert await bench.batch_statuses(ingestion) == ["cancelled"]
    assert (await bench.status(ingestion)).counts == Counts(
        distinct=3, begun=3, fetched=1, cancelled=2
    )


@pytest.mark.parametrize(
    "outcome", [Failed("broken"), Rejected("400"), Throttled(SECOND), Refused("401"), Unsent()]
)
async def test_a_call_that_brings_nothing_after_a_cancellation_ends_cancelled(
    bench: Bench, outcome: Outcome
) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)
    claimed = await bench.claim()
    await bench.cancel(ingestion)

    assert await bench.settle(claimed, outcome) == Settled(Status.CANCELLED)
    assert (await bench.status(ingestion)).status is Status.CANCELLED
    assert await bench.endings(ingestion) == {}


async def test_ids_that_failed_before_a_cancellation_stay_failed(bench: Bench) -> None:
    await bench.configure(source(batch_size=2))
    ingestion = await bench.submit(1, 2, 3)
    await bench.call(Rejected("400"))
    await bench.call(Rejected("422"))
    await bench.cancel(ingestion)

    assert (await bench.status(ingestion)).counts == Counts(
        distinct=3, begun=3, failed=1, cancelled=2
    )
    assert await bench.batch_statuses(ingestion) == ["cancelled", "cancelled"]


async def test_a_throttled_call_of_a_cancelled_ingestion_still_pauses_its_source(
    bench: Bench,
) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1)
    await bench.submit(2)
    claimed = await bench.claim()
    await bench.cancel(ingestion)
    await bench.settle(claimed, Throttled(MINUTE), report=UNKNOWN)

    assert (await bench.refused()).for_us == MINUTE
