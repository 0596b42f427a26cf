"""What every engine promises beyond its commands: what they may wait for, facts, hints, loops, snapshots, closing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from headgate.core.errors import StoreMisused, Unavailable
from headgate.core.facts import Fact, SourceOpened
from headgate.store.commands.claim import Claims
from headgate.store.engine import Transaction
from tests.contract.store.bench import (
    HOUR,
    Bench,
    change,
    ids_of,
    select,
    source,
    statement,
)
from tests.contract.store.conftest import OpenEngine

pytestmark = pytest.mark.anyio


ROOT = Path(__file__).parents[3]


Outside = Callable[..., list[Any]]


class Broken(Exception):
    """A command of a test that ends badly."""


async def write(tx: Transaction, name: str) -> str:
    """A command that leaves a row behind, which the tests look for."""
    await tx.do(statement("insert into ticket values (?1, 1, 1, 1)"), name)
    tx.state(SourceOpened(name))
    return name


async def written(bench: Bench) -> list[str]:
    return [name for (name,) in await bench.rows("select source from ticket order by source")]


# -- what a command may wait for -----------------------------------------------------------------------------


async def _event() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    "wait", [lambda: asyncio.sleep(0), lambda: asyncio.sleep(1), _event], ids=["0", "1", "event"]
)
async def test_a_command_that_waits_for_something_else_is_misuse_and_leaves_nothing(
    bench: Bench, wait: Callable[[], Awaitable[None]]
) -> None:
    async def waits(tx: Transaction) -> None:
        await write(tx, "before")
        await wait()
        await write(tx, "after")

    with pytest.raises(StoreMisused):
        await bench.engine.run(waits)

    assert await written(bench) == []
    assert bench.facts == []


async def test_a_query_that_waits_for_something_else_is_misuse(bench: Bench) -> None:
    async def waits(tx: Transaction) -> None:
        await asyncio.sleep(0)

    with pytest.raises(StoreMisused):
        await bench.engine.read(waits)

    assert await bench.rows("select 1") == [(1,)]


async def test_the_store_goes_on_after_misuse(bench: Bench) -> None:
    async def waits(tx: Transaction) -> None:
        await asyncio.sleep(0)

    with pytest.raises(StoreMisused):
        await bench.engine.run(waits)
    await bench.engine.run(write, "after")

    assert await written(bench) == ["after"]


# -- a group -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 3, 9])
async def test_one_command_of_a_group_that_fails_fails_alone(bench: Bench, at: int) -> None:
    async def fails(tx: Transaction, name: str) -> str:
        await write(tx, name)
        raise Broken

    commands = [fails if n == at else write for n in range(10)]
    got = await asyncio.gather(
        *(bench.engine.run(command, str(n)) for n, command in enumerate(commands)),
        return_exceptions=True,
    )

    others = [str(n) for n in range(10) if n != at]
    assert isinstance(got[at], Broken)
    assert [each for each in got if isinstance(each, str)] == others
    assert await written(bench) == others
    assert sorted(map(str, bench.facts)) == [str(SourceOpened(name)) for name in others]


async def test_a_statement_that_fails_fails_its_command_alone(bench: Bench) -> None:
    got = await asyncio.gather(
        *(bench.engine.run(write, name) for name in ("a", "b", "a", "c")), return_exceptions=True
    )

    first, second = type(got[0]), type(got[2])
    assert {first, second} == {str, StoreMisused}, "one of the two that write the same"
    assert [got[1], got[3]] == ["b", "c"]
    assert await written(bench) == ["a", "b", "c"]


async def test_a_command_does_not_see_what_one_that_failed_had_written(bench: Bench) -> None:
    seen: list[int] = []

    async def fails(tx: Transaction) -> None:
        await write(tx, "gone")
        raise Broken

    async def looks(tx: Transaction) -> None:
        seen.extend(count for (count,) in await select(tx, "select count(*) from ticket"))

    await asyncio.gather(bench.engine.run(fails), bench.engine.run(looks), return_exceptions=True)

    assert seen == [0]


async def test_a_command_sees_what_those_before_it_had_written(bench: Bench) -> None:
    seen: list[int] = []

    async def looks(tx: Transaction) -> None:
        seen.extend(count for (count,) in await select(tx, "select count(*) from ticket"))

    await bench.engine.run(write, "a")
    await bench.engine.run(looks)

    assert seen == [1]


async def test_facts_are_told_only_once_others_can_see_what_they_say(
    open_engine: OpenEngine, outside: Outside
) -> None:
    seen: list[object] = []

    def observe(fact: Fact) -> None:
        assert isinstance(fact, SourceOpened)
        seen.extend(outside(f"select count(*) from ticket where source = '{fact.source}'"))

    engine = open_engine(observe=observe)
    await asyncio.gather(engine.run(write, "a"), engine.run(write, "b"))

    assert seen == [(1,), (1,)]


async def test_facts_of_a_command_that_failed_are_not_told(bench: Bench) -> None:
    async def fails(tx: Transaction) -> None:
        tx.state(SourceOpened("x"))
        raise Broken

    with pytest.raises(Broken):
        await bench.engine.run(fails)

    assert bench.facts == []


async def hinted(bench: Bench) -> bool:
    """Whether somebody gave a hint since this was asked last."""
    try:
        await asyncio.wait_for(bench.engine.wakes.next("x", timeout_us=HOUR), timeout=0.02)
    except TimeoutError:
        return False
    return True


async def test_a_hint_is_given_after_the_commit(bench: Bench) -> None:
    async def wakes(tx: Transaction) -> None:
        tx.wake("x")

    assert not await hinted(bench)
    await bench.engine.run(wakes)

    assert await hinted(bench)
    assert not await hinted(bench)


async def test_a_command_that_failed_gives_no_hint(bench: Bench) -> None:
    async def wakes(tx: Transaction) -> None:
        tx.wake("x")
        raise Broken

    assert not await hinted(bench)
    with pytest.raises(Broken):
        await bench.engine.run(wakes)

    assert not await hinted(bench)


async def test_a_hint_for_one_source_wakes_no_other(bench: Bench) -> None:
    async def wakes(tx: Transaction) -> None:
        tx.wake("y")

    assert not await hinted(bench)
    await bench.engine.run(wakes)

    assert not await hinted(bench)


async def test_a_hint_may_come_from_any_thread(bench: Bench) -> None:
    assert not await hinted(bench)
    await asyncio.to_thread(bench.engine.wakes.wake, "x")

    assert await hinted(bench)


async def test_whoever_gives_up_waiting_changes_nothing_for_the_others(bench: Bench) -> None:
    """The answer is lost, what was asked for is not: it had been accepted by the store."""
    impatient = asyncio.create_task(bench.engine.run(write, "a"))
    patient = asyncio.create_task(bench.engine.run(write, "b"))
    await asyncio.sleep(0)
    impatient.cancel()

    assert await patient == "b"
    assert await written(bench) == ["a", "b"]


# -- loops and threads ---------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_commands_may_come_from_loops_in_several_threads(bench: Bench) -> None:
    async def many(thread: int) -> None:
        for n in range(20):
            names = [f"{thread}-{n}-{k}" for k in range(3)]
            assert await asyncio.gather(*(bench.engine.run(write, name) for name in names)) == names
            assert (await bench.engine.read(select, "select count(*) from ticket"))[0][0] >= 3

    await asyncio.gather(
        many(0), *(asyncio.to_thread(asyncio.run, many(thread)) for thread in (1, 2))
    )

    assert len(await written(bench)) == 180


async def test_a_loop_that_was_closed_long_ago_stops_nobody(bench: Bench) -> None:
    for n in range(5):
        await asyncio.to_thread(asyncio.run, bench.engine.run(write, f"thread-{n}"))
        await bench.engine.run(write, f"here-{n}")

    assert len(await written(bench)) == 10


# -- reading -------------------------------------------------------------------------------------------------


async def test_a_query_sees_everything_committed_before_it(bench: Bench, other: Bench) -> None:
    for n in range(20):
        await (bench, other)[n % 2].engine.run(write, f"{n:02}")

        assert len(await written(bench)) == len(await written(other)) == n + 1


async def test_a_query_sees_one_snapshot(bench: Bench, outside: Outside) -> None:
    async def looks_twice(tx: Transaction) -> list[int]:
        counts = []
        for name in ("first", "second"):
            counts += [count for (count,) in await select(tx, "select count(*) from ticket")]
            outside(f"insert into ticket values ('{name}', 1, 1, 1)")
        return counts

    assert await bench.engine.read(looks_twice) == [0, 0]
    assert await written(bench) == ["first", "second"]


async def test_a_query_cannot_write(bench: Bench) -> None:
    with pytest.raises((Unavailable, StoreMisused)):
        await bench.engine.read(change, "insert into ticket values ('a', 1, 1, 1)")

    assert await written(bench) == []


async def test_a_query_that_raises_leaves_its_reader_usable(bench: Bench) -> None:
    async def raises(tx: Transaction) -> None:
        await select(tx, "select * from ticket")
        raise Broken

    with pytest.raises(Broken):
        await bench.engine.read(raises)
    await bench.engine.run(write, "a")

    assert await written(bench) == ["a"]


async def test_nobody_sees_what_is_not_committed(
    bench: Bench, other: Bench, outside: Outside
) -> None:
    seen: list[object] = []

    async def write_and_look(tx: Transaction) -> None:
        await write(tx, "a")
        seen.extend(outside("select count(*) from ticket"))

    await bench.engine.run(write_and_look)

    assert seen == [(0,)]
    assert await written(other) == ["a"]


# -- close ---------------------------------------------------------------------------------------------------


async def test_a_closed_store_refuses_commands(bench: Bench) -> None:
    await bench.engine.close()

    with pytest.raises(Unavailable):
        await bench.engine.run(write, "a")


async def test_a_closed_store_refuses_queries(bench: Bench) -> None:
    await bench.rows("select 1")
    await bench.engine.close()

    with pytest.raises(Unavailable):
        await bench.rows("select 1")


async def test_what_was_begun_is_finished_before_the_store_closes(
    bench: Bench, other: Bench
) -> None:
    runs = [asyncio.create_task(bench.engine.run(write, f"{n:02}")) for n in range(30)]
    await asyncio.sleep(0)
    await bench.engine.close()

    assert [await run for run in runs] == [f"{n:02}" for n in range(30)]
    assert len(await written(other)) == 30


async def test_closing_twice_is_closing_once(bench: Bench) -> None:
    await bench.engine.close()
    await bench.engine.close()


# -- several processes ---------------------------------------------------------------------------------------


async def test_two_processes_on_one_file_claim_everything_once(bench: Bench, other: Bench) -> None:
    await bench.configure(source(batch_size=1))
    ingestion = await bench.submit(*range(40))
    claimed: list[object] = []

    async def drain(worker: Bench) -> None:
        while isinstance(got := await worker.try_claim(), Claims):
            claimed.extend(ids_of(got.claims[0]))
            await worker.settle(got.claims[0])

    await asyncio.gather(drain(bench), drain(other), drain(bench), drain(other))

    assert sorted(map(str, claimed)) == sorted(map(str, range(40)))
    assert (await bench.status(ingestion)).counts.fetched == 40


# -- what is left for later, and what is asked at once --------------------------------------------------------

TICKET = statement("insert into ticket (source, number, cost, due_at) values (?1, ?2, 1, 1)")
NUMBER = statement("update ticket set number = ?2 where source = ?1")
GONE = statement("delete from ticket where source = ?1")
COST = statement("update quota set slowed_at = ?2 where name = ?1")
NAMED = statement("select number from ticket where source = ?1")
MISSING = statement("select source, cast(null as bigint), number > 1 from ticket order by source")


async def test_what_was_left_for_later_is_there_for_whatever_comes_next(bench: Bench) -> None:
    async def run(tx: Transaction) -> list[object]:
        await tx.later(TICKET, "a", 1)
        seen: list[object] = [await tx.one(NAMED, "a")]
        await tx.later(NUMBER, "a", 2)
        seen += await tx.all(NAMED, "a")
        await tx.later(NUMBER, "a", 3)
        seen.append(await tx.reads((NAMED, "a"), (NAMED, "b")))
        await tx.later(NUMBER, "a", 4)
        seen.append(await tx.do(NUMBER, "a", 5))
        await tx.later(NUMBER, "a", 6)
        return seen

    assert await bench.engine.run(run) == [(1,), (2,), [[(3,)], []], 1]
    assert await bench.rows("select number from ticket") == [(6,)]


async def test_what_was_left_for_later_is_done_in_its_order(bench: Bench) -> None:
    await bench.configure(source("a"))

    async def run(tx: Transaction) -> None:
        await tx.later(TICKET, "a", 1, rows=1)
        await tx.later(COST, "a", 7, rows=1)
        await tx.later(NUMBER, "a", 2, rows=1)
        await tx.later(NUMBER, "a", 3, rows=1)
        await tx.later(TICKET, "b", 1, rows=1)
        await tx.later(GONE, "b", rows=1)
        await tx.later(GONE, "b", rows=0)
        await tx.later(TICKET, "b", 4, rows=1)
        await tx.many(TICKET, [("c", 5), ("d", 6)])
        await tx.many(NUMBER, [("c", 7), ("d", 8)])

    await bench.engine.run(run)

    stored = await bench.rows("select source, number from ticket order by source")
    assert stored == [("a", 3), ("b", 4), ("c", 7), ("d", 8)]
    assert await bench.rows("select slowed_at from quota") == [(7,)]


@pytest.mark.parametrize("last", [True, False], ids=["at the commit", "before it"])
async def test_a_change_of_another_number_of_rows_fails_its_command(
    bench: Bench, last: bool
) -> None:
    async def run(tx: Transaction) -> None:
        await tx.later(TICKET, "a", 1, rows=1)
        await tx.later(COST, "nobody", 1, rows=1)
        if not last:
            await tx.one(NAMED, "a")

    with pytest.raises(AssertionError, match="test changed 0 rows instead of 1"):
        await bench.engine.run(run)

    assert await written(bench) == []


async def test_what_goes_along_with_a_change_does_not_count_as_its_own(bench: Bench) -> None:
    added = statement("insert into quota_bucket values (?1, 1, 1, 1) returning quota, cost")

    async def run(tx: Transaction) -> list[object]:
        await tx.later(TICKET, "a", 1)
        await tx.later(TICKET, "b", 1)
        changed: list[object] = [await tx.do(COST, "nobody", 1)]
        await tx.later(NUMBER, "b", 2)
        return [*changed, await tx.one(added, "q")]

    assert await bench.engine.run(run) == [0, ("q", 1)]
    assert await written(bench) == ["a", "b"]


async def test_reads_at_once_are_each_as_if_asked_alone(bench: Bench) -> None:
    async def run(tx: Transaction) -> list[list[tuple[object, ...]]]:
        nothing = await tx.reads()
        await tx.many(TICKET, [("a", 1), ("b", 2**62)])
        return nothing + await tx.reads((MISSING,), (NAMED, "b"), (NAMED, "a"), (NAMED, "c"))

    assert await bench.engine.run(run) == [
        [("a", None, False), ("b", None, True)],
        [(2**62,)],
        [(1,)],
        [],
    ]
