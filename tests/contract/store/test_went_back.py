"""A database that is older than it was: a restored backup, a standby that was behind. Nobody knows what it forgot."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from headgate.core.errors import NotFound
from headgate.core.facts import LedgerWentBack
from headgate.core.model import Priority
from headgate.core.quota import Hold, Wait, Window
from headgate.store.commands.claim import claim
from headgate.store.commands.release import release
from headgate.store.commands.settle import Lost, Settled
from headgate.store.engine import Transaction
from tests.contract.store.bench import DAY, HOUR, MINUTE, Bench, change, shared, source
from tests.fakes import SECOND

pytestmark = pytest.mark.anyio

OUT_US = 6 * SECOND
"""How long after its grant a call may be on its way: slack and grace of the bench's sources."""


def forgets_after_us(us: int) -> int:
    """A window, what may still be on its way, and a thousandth of both."""
    return us + us // 1_000 + OUT_US + OUT_US // 1_000


async def put_back(bench: Bench, us: int, quota: str = "catalog") -> None:
    """As if the database were as it was so long ago: behind the back of every process."""
    await bench.engine.run(
        change, f"update quota set last_at = last_at - {us} where name = '{quota}'"
    )


async def called(bench: Bench, name: str = "catalog") -> None:
    await bench.submit(1, 2, 3, 4, 5, 6, source=name)
    await bench.call(name=name)


async def test_every_quota_is_held_until_what_was_forgotten_has_left_its_windows(
    bench: Bench,
) -> None:
    await bench.configure(
        source(windows=[Window(10, 5 * SECOND)], batch_size=1),
        source("hourly", windows=[Window(10, SECOND), Window(100, HOUR)], batch_size=1),
    )
    await called(bench)
    await called(bench, "hourly")
    await put_back(bench, 1)

    waits = await bench.refused("catalog")
    also_waits = await bench.refused("hourly")

    assert (waits.why, waits.for_us) == (Hold.PAUSED, forgets_after_us(5 * SECOND))
    assert (also_waits.why, also_waits.for_us) == (Hold.PAUSED, forgets_after_us(HOUR))
    assert bench.stated(LedgerWentBack) == [LedgerWentBack("catalog", 1, forgets_after_us(HOUR))]
    await bench.assert_granted_exactly_after(forgets_after_us(5 * SECOND), "catalog")
    assert len(bench.stated(LedgerWentBack)) == 1


async def test_a_window_of_more_than_a_day_is_held_like_one_of_a_day(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(100, 31 * DAY)], batch_size=1))
    await called(bench)
    await put_back(bench, MINUTE)

    assert (await bench.refused()).for_us == forgets_after_us(DAY)


async def test_a_source_without_windows_goes_on(bench: Bench) -> None:
    await bench.configure(source(batch_size=1))
    await called(bench)
    await put_back(bench, MINUTE)

    await bench.claim()
    assert bench.stated(LedgerWentBack) == [LedgerWentBack("catalog", MINUTE, 0)]


async def test_a_call_that_was_out_meanwhile_is_settled_and_the_quota_is_held(bench: Bench) -> None:
    await bench.configure(source(windows=[Window(10, 5 * SECOND)], batch_size=1))
    await bench.submit(1, 2)
    claimed = await bench.claim()
    await put_back(bench, 1)

    await bench.settle(claimed)

    assert (await bench.refused()).why is Hold.PAUSED


async def test_a_shared_quota_shows_it_too(bench: Bench) -> None:
    await bench.configure(
        source("one", shares=["account"], batch_size=1),
        source("two", shares=["account"], batch_size=1),
        quotas=[shared("account", Window(10, MINUTE))],
    )
    await called(bench, "one")
    await put_back(bench, 5, "account")
    await bench.submit(7, source="two")

    waits = await bench.refused("two")

    assert (waits.why, waits.for_us, waits.quota) == (
        Hold.PAUSED,
        forgets_after_us(MINUTE),
        "account",
    )


async def test_who_remembers_nothing_of_it_goes_by_what_there_is(
    bench: Bench, other: Bench
) -> None:
    await bench.configure(source(windows=[Window(10, 5 * SECOND)], batch_size=1))
    other.sources |= bench.sources
    await called(bench)
    await put_back(bench, MINUTE)

    await other.claim()
    assert other.stated(LedgerWentBack) == []


async def test_who_has_only_looked_remembers_what_it_saw(bench: Bench, other: Bench) -> None:
    await bench.configure(source(windows=[Window(1, 5 * SECOND)], batch_size=1))
    other.sources |= bench.sources
    await called(bench)
    await other.refused()
    await put_back(bench, 1)

    assert (await other.refused()).why is Hold.PAUSED


async def test_what_was_never_committed_is_not_missed(bench: Bench) -> None:
    async def claim_and_fail(tx: Transaction) -> None:
        await claim(tx, "catalog", worker="worker-1")
        raise NotFound("rolled back")

    await bench.configure(source(windows=[Window(10, 5 * SECOND)], batch_size=1))
    await called(bench)
    bench.clock.advance(SECOND)
    with pytest.raises(NotFound):
        await bench.engine.run(claim_and_fail)

    await bench.claim()
    assert bench.stated(LedgerWentBack) == []


async def test_names_that_change_places_are_no_sign_of_it(bench: Bench, other: Bench) -> None:
    await bench.configure(source("a", batch_size=1), source("b", batch_size=1))
    await called(bench, "b")
    bench.clock.advance(MINUTE)
    await called(bench, "a")
    was_a = replace(source("c", batch_size=1), was="a")
    was_b = replace(source("a", batch_size=1), was="b")

    await other.configure(was_a, was_b)

    await bench.claim("a")
    assert bench.stated(LedgerWentBack) == []


async def test_a_call_that_was_forgotten_settles_nothing_that_was_made_afterwards(
    bench: Bench, other: Bench
) -> None:
    """Its batch is claimed again, and everything that is counted begins where it did then."""
    await bench.configure(source(windows=[Window(1, SECOND)], batch_size=1))
    other.sources |= bench.sources
    await bench.submit(1)
    forgotten = await bench.claim()
    for sql in (
        "delete from ledger",
        "delete from ledger_charge",
        "delete from batch",
        "update ingestion set next_batch = 0, waiting = 1, begun = 0",
    ):
        await bench.engine.run(change, sql)
    await put_back(bench, 1)
    bench.clock.advance((await bench.refused()).for_us or 0)
    again = await other.claim()
    assert (forgotten.seq, forgotten.number) == (again.seq, again.number)

    assert await bench.renew(forgotten) == [forgotten]
    assert await bench.settle(forgotten) == Lost()
    assert isinstance(await other.settle(again), Settled)


# -- nobody watched meanwhile -----------------------------------------------------------------------------------


async def test_it_is_noticed_by_whoever_finds_that_nobody_watched_meanwhile(bench: Bench) -> None:
    """Then the ledger goes on from later than anybody remembers, since much time is believed to have passed."""
    await bench.configure(source(windows=[Window(10, HOUR)], batch_size=1))
    await called(bench)
    await put_back(bench, MINUTE)
    bench.clock.reboot(away_us=20 * MINUTE)

    waits = await bench.refused()

    assert (waits.why, waits.for_us) == (Hold.PAUSED, forgets_after_us(HOUR))
    assert bench.stated(LedgerWentBack) == [
        LedgerWentBack("catalog", MINUTE, forgets_after_us(HOUR))
    ]


async def test_whoever_looks_later_does_not_notice_it_once_more(bench: Bench, other: Bench) -> None:
    """Somebody may have released the sources meanwhile."""
    await bench.configure(
        source(windows=[Window(10, HOUR)], batch_size=1),
        source("other", windows=[Window(10, HOUR)], batch_size=1),
    )
    other.sources |= bench.sources
    await called(bench)
    bench.clock.advance(MINUTE)
    await called(other, "other")
    await put_back(bench, 10 * SECOND)
    await put_back(bench, 2 * MINUTE, "other")
    bench.clock.reboot(away_us=MINUTE)
    assert (await bench.refused()).why is Hold.PAUSED
    await bench.engine.run(release, ["catalog", "other"])

    await other.claim("other")
    assert other.stated(LedgerWentBack) == []


# -- somebody knows better ------------------------------------------------------------------------------------


async def held(bench: Bench) -> Wait:
    """Two sources that are held, the one of them for a minute."""
    await bench.configure(
        source(windows=[Window(10, MINUTE)], shares=["account"], batch_size=1),
        source("other", windows=[Window(10, HOUR)], batch_size=1),
        quotas=[shared("account", Window(10, MINUTE))],
    )
    await called(bench)
    await called(bench, "other")
    await put_back(bench, 1)
    return await bench.refused()


async def test_a_source_that_is_released_is_called_at_once_and_no_other(bench: Bench) -> None:
    assert (await held(bench)).why is Hold.PAUSED

    await bench.engine.run(release, ["catalog"])

    await bench.claim("catalog")
    assert (await bench.refused("other")).why is Hold.PAUSED
    assert len(bench.stated(LedgerWentBack)) == 1


async def test_whoever_waits_for_a_source_is_told_that_it_is_released(bench: Bench) -> None:
    await held(bench)
    await bench.engine.wakes.next("catalog", timeout_us=0)
    await bench.engine.run(release, ["catalog"])

    async with asyncio.timeout(5):
        await bench.engine.wakes.next("catalog", timeout_us=60 * SECOND)


async def test_a_source_that_nobody_configured_cannot_be_released(bench: Bench) -> None:
    await held(bench)
    with pytest.raises(NotFound, match="'nowhere' is not configured"):
        await bench.engine.run(release, ["catalog", "nowhere"])

    assert (await bench.refused("catalog")).why is Hold.PAUSED


async def test_what_is_accepted_meanwhile_keeps_its_place(bench: Bench) -> None:
    await held(bench)
    await bench.submit(99, priority=Priority.HIGH, source="catalog")
    await bench.engine.run(release, ["catalog"])

    assert await bench.claimed_ids("catalog") == [99]
