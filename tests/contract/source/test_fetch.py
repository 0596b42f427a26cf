"""What every source promises the worker."""

from __future__ import annotations

import asyncio
import json

import pytest

from headgate.core.outcome import Failed, Fetched, Refused, Rejected, Throttled
from headgate.sources.base import NoGrant, TooLate
from tests.contract.source.conftest import FAILING, MISSING, REJECTED, Provide
from tests.contract.source.fake_wire import FakeWire

pytestmark = pytest.mark.anyio


async def test_a_fetch_is_one_call(provide: Provide) -> None:
    provided, wire = provide(), FakeWire()

    await provided.source.fetch([(0, 1), (1, 2), (2, 3)], wire)

    assert (wire.calls, wire.ended) == (1, 1)
    assert provided.asked() == [["1", "2", "3"]]


async def test_check_comes_before_written_before_answered(provide: Provide) -> None:
    wire = FakeWire()

    await provide().source.fetch([(0, 1)], wire)

    assert wire.words == ["check", "written", "answered"]


async def test_records_come_back_by_position(provide: Provide) -> None:
    outcome = await provide().source.fetch([(7, 1), (3, 2)], FakeWire())

    assert isinstance(outcome, Fetched)
    ids = {position: json.loads(record)["id"] for position, record in outcome.records.items()}
    assert ids == {7: 1, 3: 2}


async def test_an_id_may_be_a_text(provide: Provide) -> None:
    outcome = await provide().source.fetch([(0, "Zürich & Genf?"), (1, "a/b")], FakeWire())

    assert isinstance(outcome, Fetched)
    ids = [json.loads(outcome.records[position])["id"] for position in (0, 1)]
    assert ids == ["Zürich & Genf?", "a/b"]


async def test_a_missing_id_has_no_record_and_harms_no_other(provide: Provide) -> None:
    outcome = await provide().source.fetch([(0, 1), (1, MISSING), (2, 3)], FakeWire())

    assert isinstance(outcome, Fetched)
    assert set(outcome.records) == {0, 2}
    assert set(outcome.missing) <= {1}
    assert not outcome.failed


async def test_an_answer_without_any_record_is_an_answer(provide: Provide) -> None:
    outcome = await provide().source.fetch([(0, MISSING)], FakeWire())

    assert isinstance(outcome, Fetched)
    assert not outcome.records


async def test_too_late_is_raised_and_nothing_is_sent(provide: Provide) -> None:
    provided, wire = provide(), FakeWire(late=True)

    with pytest.raises(TooLate):
        await provided.source.fetch([(0, 1)], wire)

    assert wire.words == ["check"]
    assert wire.ended == 1
    assert provided.asked() == []


async def test_after_too_late_the_source_is_as_good_as_before(provide: Provide) -> None:
    provided = provide()
    for _ in range(3):
        with pytest.raises(TooLate):
            await provided.source.fetch([(0, 1)], FakeWire(late=True))
        assert isinstance(await provided.source.fetch([(0, 2)], FakeWire()), Fetched)

    assert provided.asked() == [["2"]] * 3


async def test_a_second_call_under_the_same_grant_raises_and_sends_nothing(
    provide: Provide,
) -> None:
    provided, wire = provide(), FakeWire()
    await provided.source.fetch([(0, 1)], wire)

    with pytest.raises(NoGrant):
        await provided.source.fetch([(0, 2)], wire)

    assert provided.asked() == [["1"]]


async def test_a_failing_source_is_an_outcome(provide: Provide) -> None:
    wire = FakeWire()

    outcome = await provide().source.fetch([(0, 1), (1, FAILING)], wire)

    assert isinstance(outcome, Failed)
    assert wire.words == ["check", "written", "answered"]


async def test_a_rejected_call_is_an_outcome(provide: Provide) -> None:
    outcome = await provide().source.fetch([(0, 1), (1, REJECTED)], FakeWire())

    assert isinstance(outcome, Rejected)
    assert not outcome.missing


async def test_a_throttled_call_says_for_how_long(provide: Provide) -> None:
    outcome = await provide("throttled").source.fetch([(0, 1)], FakeWire())

    assert isinstance(outcome, Throttled)
    assert outcome.after_us == 5_000_000


async def test_a_refused_call_is_an_outcome(provide: Provide) -> None:
    assert isinstance(await provide("refused").source.fetch([(0, 1)], FakeWire()), Refused)


@pytest.mark.parametrize("trouble", ["throttled", "refused", "failing", "rejected"])
async def test_a_reason_is_short_and_printable(provide: Provide, trouble: str) -> None:
    ids = [(0, {"failing": FAILING, "rejected": REJECTED}.get(trouble, 1))]

    outcome = await provide(trouble).source.fetch(ids, FakeWire())

    assert not isinstance(outcome, Fetched)
    assert 0 < len(outcome.reason) <= 120
    assert outcome.reason.isprintable()


async def test_a_cancelled_fetch_ends_and_gives_its_call_back(provide: Provide) -> None:
    provided, wire = provide("slow"), FakeWire()
    task = asyncio.create_task(provided.source.fetch([(0, 1)], wire))
    while "written" not in wire.words:
        await asyncio.sleep(0.001)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert wire.ended == 1
    assert wire.words == ["check", "written"]


async def test_closing_twice_does_no_harm(provide: Provide) -> None:
    provided = provide()
    await provided.source.fetch([(0, 1)], FakeWire())

    await provided.source.close()
    await provided.source.close()
