"""One grant, one call: when it may leave, when it is too late, and what is reported of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headgate.core.model import CallReport, Claim
from headgate.sources.base import NoGrant, TooLate
from headgate.worker.wire import GrantedWire
from tests.fakes import SECOND, FakeClock

pytestmark = pytest.mark.anyio


def claimed(*, slack_us: int = SECOND, not_before_us: int = 0) -> Claim:
    return Claim(
        seq=1,
        number=0,
        fence=1,
        entry=1,
        source="catalog",
        ids=((0, 1),),
        attempt=1,
        slack_us=slack_us,
        lease_us=15 * SECOND,
        looked_us=0,
        not_before_us=not_before_us,
    )


def wire_for(
    clock: FakeClock, claim: Claim, *, looked_ago_us: int = 0, stopping: bool = False
) -> GrantedWire:
    now = clock.boot_us()
    claim = replace(claim, looked_us=now - looked_ago_us)
    return GrantedWire(claim, clock=clock, got_us=now, stopping=lambda: stopping)


async def test_a_call_may_leave_until_the_slack_is_used_up(clock: FakeClock) -> None:
    wire = wire_for(clock, claimed())
    clock.advance(SECOND)

    async with wire.call() as call:
        call.check()

    assert wire.report().sent


async def test_a_call_is_too_late_after_the_slack(clock: FakeClock) -> None:
    wire = wire_for(clock, claimed())
    clock.advance(SECOND + 1)

    async with wire.call() as call:
        with pytest.raises(TooLate):
            call.check()

    assert wire.report() == CallReport(sent=False)


async def test_the_slack_counts_from_before_the_look_at_the_ledgers_clock(clock: FakeClock) -> None:
    wire = wire_for(clock, claimed(), looked_ago_us=SECOND + 1)

    async with wire.call() as call:
        with pytest.raises(TooLate):
            call.check()


async def test_nothing_leaves_once_the_process_is_stopping(clock: FakeClock) -> None:
    wire = wire_for(clock, claimed(), stopping=True)

    async with wire.call() as call:
        with pytest.raises(TooLate):
            call.check()


async def test_a_grant_pays_for_one_call(clock: FakeClock) -> None:
    wire = wire_for(clock, claimed())
    async with wire.call() as call:
        call.check()

    with pytest.raises(NoGrant):
        async with wire.call():
            pass


async def test_a_call_is_checked_once(clock: FakeClock) -> None:
    async with wire_for(clock, claimed()).call() as call:
        call.check()

        with pytest.raises(NoGrant):
            call.check()


async def test_a_grant_ahead_of_time_has_its_slack_from_its_own_instant(clock: FakeClock) -> None:
    wire = wire_for(clock, claimed(slack_us=SECOND, not_before_us=20_000))
    clock.advance(SECOND + 20_000)

    async with wire.call() as call:
        call.check()

    assert wire.report().sent


async def test_a_report_tells_ages_not_instants(clock: FakeClock) -> None:
    wire = wire_for(clock, claimed())
    async with wire.call() as call:
        call.check()
        clock.advance(10)
        call.written()
        clock.advance(100)
        call.answered()
    clock.advance(1_000)

    assert wire.report() == CallReport(sent=True, written_ago_us=1_100, answered_ago_us=1_000)


async def test_the_first_byte_is_the_answer(clock: FakeClock) -> None:
    wire = wire_for(clock, claimed())
    async with wire.call() as call:
        call.check()
        call.written()
        call.answered()
        clock.advance(SECOND)
        call.answered()

    assert wire.report().answered_ago_us == SECOND
