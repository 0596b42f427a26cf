"""`headgate move`: what was in the file is in the database, and nothing else is; nothing is lost, nothing is over."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from headgate.clock import HostClock
from headgate.core.clock import Offset, Reading
from headgate.core.errors import ClockUnwatched, Unavailable
from headgate.core.quota import Wait, Window
from headgate.store.commands.claim import Claims
from headgate.store.engine import Engine
from headgate.store.move import NotMoved, move
from headgate.store.move.handover import Ledger, handed_over
from headgate.store.move.tables import NOT_COPIED
from headgate.store.postgres.engine import PostgresEngine
from headgate.store.postgres.url import parse_postgres_url
from headgate.store.queries.neighbours import Holder, neighbours
from headgate.store.sqlite.engine import SqliteEngine
from headgate.store.sqlite.presence import Presence
from tests.contract.store.agree import assert_rows_agree
from tests.contract.store.bench import HOUR, MINUTE, Bench, source
from tests.contract.store.conftest import FakeTime
from tests.fakes import SECOND, FakeClock
from tests.postgres import run_sql
from tests.store.filled import SOURCES, all_seen, bench_of, fill, said

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Rows = dict[str, list[Any]]


@asynccontextmanager
async def on_file(file: Path, clock: FakeClock) -> AsyncIterator[Bench]:
    engine = SqliteEngine(file, clock=clock)
    try:
        yield bench_of(engine, clock)
    finally:
        await engine.close()


@asynccontextmanager
async def on_database(url: str, clock: FakeClock, *, worker: str = "pg") -> AsyncIterator[Bench]:
    engine = PostgresEngine(parse_postgres_url(url), clock=clock, time=FakeTime(clock))
    await engine.open()
    try:
        yield bench_of(engine, clock, worker=worker)
    finally:
        await engine.close()


@pytest.fixture
async def filled(file: Path, clock: FakeClock) -> Path:
    async with on_file(file, clock) as bench:
        await fill(bench)
        await assert_rows_agree(bench.engine)
    return file


async def moved(
    file: Path, url: str, clock: Any, *, failpoint: Callable[[str], None] = lambda _: None
) -> list[str]:
    """Move, and return what was said."""
    lines: list[str] = []
    parsed = parse_postgres_url(url)
    await move(file, parsed, clock=clock, say=lines.append, failpoint=failpoint)
    return lines


def in_file(file: Path, sql: str) -> list[Any]:
    with closing(apsw.Connection(str(file))) as connection:
        return connection.execute(sql).fetchall()


def in_database(url: str, *sql: str) -> list[Any]:
    """From outside, also from within a test's event loop."""
    with ThreadPoolExecutor(1) as thread:
        return [tuple(row) for row in thread.submit(run_sql, url, *sql).result()]


def tables_of(file: Path) -> list[str]:
    return [
        name
        for (name,) in in_file(
            file, "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'"
        )
    ]


def rows_of(file: Path) -> Rows:
    return {
        name: sorted(in_file(file, f"select * from {name}"), key=repr) for name in tables_of(file)
    }


def rows_in(url: str, file: Path, *, schema: str = "public") -> Rows:
    return {
        name: sorted(in_database(url, f"select * from {schema}.{name}"), key=repr)
        for name in tables_of(file)
    }


def copied(rows: Rows) -> str:
    """All but what is each engine's own and what the handover writes: when the ledger was last looked at."""
    kept = {name: each for name, each in rows.items() if name not in NOT_COPIED}
    kept["quota"] = [row[:7] for row in kept["quota"]]
    return said(kept)


def shows_nothing(url: str) -> bool:
    """Whether whoever starts on the database finds it as if nothing had been tried."""
    there = in_database(url, "select tablename from pg_tables where schemaname = 'public'")
    return not any(in_database(url, f"select 1 from {name} limit 1") for (name,) in there)


# -- the same afterwards -------------------------------------------------------------------------------------


async def test_everything_that_can_be_seen_is_the_same(
    filled: Path, database: str, clock: FakeClock
) -> None:
    async with on_file(filled, clock) as bench:
        before = await all_seen(bench)
    rows = rows_of(filled)

    await moved(filled, database, clock)

    async with on_database(database, clock) as bench:
        await assert_rows_agree(bench.engine)
        after = await all_seen(bench)
    assert before.keys() == after.keys()
    for name, seen in before.items():
        assert said(after[name]) == said(seen), name
    assert copied(rows_in(database, filled)) == copied(rows)
    assert all(rows[name] for name in rows if name != "worker"), "every kind of row"
    assert rows_of(filled) == rows, "the file is as it was"


async def test_both_go_on_alike(filled: Path, database: str, clock: FakeClock) -> None:
    """Claims, waits and numbers are those that the file would have given: for as long as it takes to drain both."""
    await moved(filled, database, clock)
    async with on_file(filled, clock) as one, on_database(database, clock, worker="w") as two:
        one.worker, claimed = "w", 0
        for step in range(400):
            for spec in SOURCES:
                answers = [await bench.try_claim(spec.name) for bench in (one, two)]
                assert answers[0] == answers[1], (step, spec.name)
                if isinstance(answers[0], Claims):
                    for each in answers[0].claims:
                        claimed += 1
                        await one.settle(each)
                        await two.settle(each)
            clock.advance(20 * SECOND)
        assert claimed > 200
        assert said(await all_seen(one)) == said(await all_seen(two))
        await assert_rows_agree(two.engine)


async def test_the_next_numbers_are_larger_than_any_that_were_given(
    filled: Path, database: str, clock: FakeClock
) -> None:
    with closing(apsw.Connection(str(filled))) as connection:
        connection.execute("update sqlite_sequence set seq = seq + 1000")  # the newest are pruned
    given = dict(in_file(filled, "select name, seq from sqlite_sequence"))

    await moved(filled, database, clock)

    async with on_database(database, clock) as bench:
        view = await bench.status(await bench.submit("a", source="odd"))
        assert view.seq == given["ingestion"] + 1
        assert (await bench.claim("odd")).entry == given["ledger"] + 1


async def test_a_key_that_was_used_is_known(filled: Path, database: str, clock: FakeClock) -> None:
    again = (1, 1, 2, 1, 2, 3, 1)
    async with on_file(filled, clock) as bench:
        before = await bench.submit(*again, source="catalog", key="once é")

    await moved(filled, database, clock)

    async with on_database(database, clock) as bench:
        assert await bench.submit(*again, source="catalog", key="once é") == before


async def test_what_a_dead_worker_held_comes_back_when_its_lease_has_run_out(
    filled: Path, database: str, clock: FakeClock
) -> None:
    await moved(filled, database, clock)
    async with on_database(database, clock) as bench:
        assert not bench.engine.known_dead("worker-1")
        assert await bench.rescue("worker-1", dead=False) == 0
        clock.advance(16 * SECOND)
        assert (await bench.engine.read(neighbours)).holders == [
            Holder("worker-1", lease_ran_out=True)
        ]
        assert await bench.rescue("worker-1", dead=False) > 0
        await assert_rows_agree(bench.engine)
        assert (await bench.engine.read(neighbours)).holders == []
        claimed = [await bench.claimed_ids("catalog") for _ in range(4)]
        assert [60, 61, 62] in claimed


async def test_a_file_on_which_nothing_was_ever_started_is_moved(
    file: Path, database: str, clock: FakeClock
) -> None:
    async with on_file(file, clock):
        pass

    await moved(file, database, clock)

    async with on_database(database, clock) as bench:
        await bench.configure(source())
        await bench.submit(1)
        assert await bench.claimed_ids("catalog") == [1]


async def test_tables_that_are_there_and_empty_are_replaced(
    filled: Path, database: str, clock: FakeClock
) -> None:
    async with on_database(database, clock):
        pass  # as `headgate migrate` does

    await moved(filled, database, clock)

    assert copied(rows_in(database, filled)) == copied(rows_of(filled))


async def test_it_says_each_table_with_its_rows(
    filled: Path, database: str, clock: FakeClock
) -> None:
    lines = await moved(filled, database, clock)

    for name in set(tables_of(filled)) - NOT_COPIED:
        count = in_file(filled, f"select count(*) from {name}")[0][0]
        assert [line.split() for line in lines if line.split()[0] == name] == [
            [name, f"{count:,}", "rows"]
        ]
    assert lines[-1] == f"compared: {len(lines) - 1} tables are the same on both sides"


# -- the two schemas -----------------------------------------------------------------------------------------


async def test_both_engines_have_the_same_columns_and_indexes(
    file: Path, database: str, clock: FakeClock
) -> None:
    async with on_file(file, clock), on_database(database, clock):
        pass
    kinds = {"bigint": "integer", "bytea": "blob"}
    ours = in_file(
        file,
        "select t.name, c.name, lower(c.type), c.pk or c.'notnull', c.dflt_value from sqlite_schema t"
        " join pragma_table_info(t.name) c where t.type = 'table' and t.name not like 'sqlite_%'",
    )
    theirs = [
        (table, column, kinds.get(kind, kind), int(required == "NO"), default)
        for table, column, kind, required, default in in_database(
            database,
            "select table_name, column_name, data_type, is_nullable, column_default"
            " from information_schema.columns where table_schema = 'public'",
        )
    ]
    assert sorted(ours, key=repr) == sorted(theirs, key=repr)
    assert in_file(
        file, "select name from sqlite_schema where type = 'index' and sql is not null order by 1"
    ) == in_database(
        database,
        "select indexname::text from pg_indexes where schemaname = 'public'"
        " and indexname !~ '_(pkey|key)$' or indexname = 'ingestion_key' order by 1",
    )


async def test_a_column_that_only_one_of_them_has_is_not_left_behind(
    filled: Path, database: str, clock: FakeClock
) -> None:
    with closing(apsw.Connection(str(filled))) as connection:
        connection.execute("alter table batch add column colour text")

    with pytest.raises(NotMoved, match="the two engines differ in batch"):
        await moved(filled, database, clock)


# -- the ledger's time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("span_us", [MINUTE, HOUR])
async def test_a_window_that_was_full_stays_full(
    file: Path, database: str, clock: FakeClock, span_us: int
) -> None:
    spec = source(windows=[Window(2, span_us)])
    async with on_file(file, clock) as bench:
        await bench.configure(spec)
        await bench.submit(*range(30), source="catalog")
        await bench.call(None, "catalog")
        await bench.call(None, "catalog")
        clock.advance(20 * SECOND)  # at rest: nobody writes down how far the ledger's time is

    await moved(file, database, clock)

    async with on_file(file, clock) as bench:
        waits = (await bench.refused("catalog")).for_us
    async with on_database(database, clock) as bench:
        await bench.configure(spec)
        assert (await bench.refused("catalog")).for_us == waits
        await bench.assert_granted_exactly_after(waits or 0, "catalog")


@pytest.mark.parametrize(
    ("span_us", "counts_us"),
    [(5 * MINUTE, 0), (2 * HOUR, 55 * MINUTE)],
    ids=["short", "long"],
)
async def test_of_the_time_until_somebody_watches_short_windows_see_none_and_long_ones_less_five_minutes(
    file: Path, database: str, clock: FakeClock, span_us: int, counts_us: int
) -> None:
    spec = source(windows=[Window(2, span_us)])
    async with on_file(file, clock) as bench:
        await bench.configure(spec)
        await bench.submit(*range(30), source="catalog")
        await bench.call(None, "catalog")
        await bench.call(None, "catalog")
        clock.advance(MINUTE)
        clock.wall_us -= MINUTE  # it is watched within this boot, whatever the wall clock says
        waits = (await bench.refused("catalog")).for_us or 0
    clock.wall_us = time.time_ns() // 1_000

    await moved(file, database, clock)

    clock.advance(HOUR)
    async with on_database(database, clock) as bench:
        await bench.configure(spec)
        for_us = (await bench.refused("catalog")).for_us or 0
    assert waits - counts_us <= for_us <= waits - counts_us + 5 * SECOND


async def test_a_newcomer_that_brings_a_quota_of_its_own_does_not_make_the_time_watched(
    file: Path, database: str, clock: FakeClock
) -> None:
    """Its estimate is written down before anybody has looked whether the database's clock has stepped."""
    spec = source(windows=[Window(1, 5 * MINUTE)])
    async with on_file(file, clock) as bench:
        await bench.configure(spec)
        await bench.submit(*range(30), source="catalog")
        await bench.call(None, "catalog")
    await moved(file, database, clock)

    estimate = in_database(
        database,
        "select offset_us + (extract(epoch from clock_timestamp()) * 1000000)::bigint from clock",
    )[0][0]

    assert estimate < in_database(database, "select min(last_at) from quota")[0][0]


async def test_a_real_process_on_the_database_waits_before_it_claims_and_the_window_is_still_full(
    file: Path, database: str
) -> None:
    clock = HostClock()
    spec = source(windows=[Window(1, MINUTE)])
    engine: Engine = SqliteEngine(file, clock=clock)
    bench = Bench(engine, clock, [], {"catalog": spec})  # type: ignore[arg-type]
    await bench.configure(spec)
    await bench.submit(*range(9))
    await bench.settle(await bench.claim())
    await engine.close()
    called_at = time.monotonic()

    await moved(file, database, clock)

    engine = bench.engine = PostgresEngine(parse_postgres_url(database), clock=clock)
    await engine.open()
    watching = asyncio.create_task(engine.attend())
    try:
        began_at = time.monotonic()
        await bench.configure(spec)
        answer = await _first_answer(bench)
        assert time.monotonic() - began_at >= 3
        assert isinstance(answer, Wait)
        assert answer.for_us is not None
        assert answer.for_us / 1e6 >= 60 - (began_at - called_at)  # the 3 s were watched by nobody
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await engine.close()


async def _first_answer(bench: Bench) -> object:
    until = time.monotonic() + 15
    while time.monotonic() < until:
        try:
            return await bench.try_claim()
        except ClockUnwatched:
            await asyncio.sleep(0.1)
    raise AssertionError("nobody is trusted with the time")


READING = Reading(5_000, "boot-1", 9_000)
LEDGER = Ledger(Offset("boot-1", 1_000), 2_000)


def test_within_the_boot_the_time_until_the_move_was_watched() -> None:
    assert handed_over(LEDGER, READING, database_us=9_500).shown_at == 6_000
    assert handed_over(replace(LEDGER, last=7_000), READING, database_us=9_500).shown_at == 7_000


def test_after_a_reboot_the_quotas_stay_at_what_they_have_shown() -> None:
    handover = handed_over(LEDGER, replace(READING, epoch="boot-2"), database_us=9_500)

    assert (handover.shown_at, handover.ahead_us) == (None, 500)


async def test_a_file_of_another_boot_is_believed_by_the_wall_clock_less_five_minutes(
    file: Path, database: str, clock: FakeClock
) -> None:
    spec = source(windows=[Window(1, 2 * HOUR)])
    async with on_file(file, clock) as bench:
        await bench.configure(spec)
        await bench.submit(*range(30), source="catalog")
        await bench.call(None, "catalog")
        waits = (await bench.refused("catalog")).for_us or 0
    clock.reboot(away_us=HOUR)
    clock.wall_us = (
        time.time_ns() // 1_000 - 10 * MINUTE
    )  # this host's is that far behind the database's
    with closing(apsw.Connection(str(file))) as connection:
        connection.execute("update quota set last_wall = ?", (clock.wall_us - HOUR,))

    await moved(file, database, clock)

    clock.wall_us += 10 * MINUTE
    async with on_database(database, clock) as bench:
        await bench.configure(spec)
        for_us = (await bench.refused("catalog")).for_us or 0
    assert waits - 55 * MINUTE <= for_us <= waits - 55 * MINUTE + 5 * SECOND


# -- cut off, and run again ----------------------------------------------------------------------------------


def headgate_move(file: Path, *urls: str, **environment: str) -> subprocess.CompletedProcess[str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    return subprocess.run(
        [sys.executable, "-m", "headgate", "move", f"sqlite:///{file}", *urls],
        capture_output=True,
        text=True,
        timeout=60,
        env=ours | environment,
    )


@pytest.mark.process
@pytest.mark.parametrize(
    ("place", "there_already"),
    [("move.copying:3", 2), ("move.copied:5", 5), ("move.before_commit", 12), ("move.done", None)],
)
async def test_killed_anywhere_it_is_run_again_and_ends_in_the_same(
    filled: Path, database: str, place: str, there_already: int | None
) -> None:
    rows = rows_of(filled)
    killed = headgate_move(filled, database, HEADGATE_FAILPOINT=place)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    if there_already is not None:
        assert shows_nothing(database)

    again = headgate_move(filled, database)

    assert (again.returncode, again.stderr) == (0, "")
    if there_already is None:
        assert "there is nothing to do" in again.stdout
    else:  # those that have no row are copied again
        assert 0 < again.stdout.count("rows, there already") <= there_already
    assert copied(rows_in(database, filled)) == copied(rows)
    assert rows_of(filled) == rows


@pytest.mark.parametrize("place", ["move.copying", "move.copied", "move.before_commit"])
async def test_where_the_database_is_lost_nothing_is_moved_and_the_next_run_goes_on(
    filled: Path, database: str, clock: FakeClock, place: str
) -> None:
    def lose(here: str) -> None:
        if here == place:
            in_database(
                database,
                "select pg_terminate_backend(pid, 1000) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()",
            )

    with pytest.raises(Unavailable):
        await moved(filled, database, clock, failpoint=lose)
    assert shows_nothing(database)

    await moved(filled, database, clock)
    assert copied(rows_in(database, filled)) == copied(rows_of(filled))


async def test_what_changed_in_the_file_since_is_copied_anew(
    filled: Path, database: str, clock: FakeClock
) -> None:
    with pytest.raises(_CutOff):
        await moved(filled, database, clock, failpoint=cut_off_at("move.before_commit"))
    async with on_file(filled, clock) as bench:
        await bench.submit(1, 2, 3, source="bulk")

    lines = await moved(filled, database, clock)

    anew = {line.split()[0] for line in lines if line.endswith("rows")}
    assert anew >= {"ingestion", "id_chunk"}
    assert copied(rows_in(database, filled)) == copied(rows_of(filled))


async def test_a_second_run_says_that_it_is_done_and_changes_nothing(
    filled: Path, database: str, clock: FakeClock
) -> None:
    await moved(filled, database, clock)
    async with on_database(database, clock) as bench:
        await bench.submit(7, source="catalog")
    before = rows_in(database, filled)

    (line,) = await moved(filled, database, clock)

    assert "was moved at" in line
    assert rows_in(database, filled) == before


class _CutOff(Exception):
    pass


def cut_off_at(place: str) -> Callable[[str], None]:
    def reached(here: str) -> None:
        if here == place:
            raise _CutOff

    return reached


# -- what is compared ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("update headgate_move.record set body = body || '\\x00' where body is not null", "record"),
        ("delete from headgate_move.ledger where entry = 1", "ledger"),
        ("update headgate_move.batch set reason = null where reason is not null", "batch"),
        ("insert into headgate_move.ticket values ('odd', 9, 1, 1)", "ticket"),
        ("update headgate_move.quota set next_at = next_at + 1 where name = 'bulk'", "quota"),
    ],
)
async def test_a_difference_is_found_named_and_nothing_is_moved(
    filled: Path, database: str, clock: FakeClock, sql: str, table: str
) -> None:
    rows = rows_of(filled)
    left = len(tables_of(filled)) - len(NOT_COPIED)

    def spoil(here: str) -> None:
        nonlocal left
        left -= here == "move.copied"
        if here == "move.copied" and not left:
            in_database(database, sql)

    with pytest.raises(NotMoved, match=f"^the table {table} is not the same on both sides"):
        await moved(filled, database, clock, failpoint=spoil)
    assert shows_nothing(database)
    assert rows_of(filled) == rows

    await moved(filled, database, clock)
    assert copied(rows_in(database, filled)) == copied(rows)


# -- refusals ------------------------------------------------------------------------------------------------


async def test_a_file_that_somebody_has_open_is_refused(
    filled: Path, database: str, clock: FakeClock
) -> None:
    async with on_file(filled, clock):
        with pytest.raises(NotMoved, match=r"a process has .* open: stop"):
            await moved(filled, database, clock)
    assert shows_nothing(database)


async def test_nobody_can_write_to_the_file_while_it_is_copied(
    filled: Path, database: str, clock: FakeClock
) -> None:
    tried = []

    def write(here: str) -> None:
        if here == "move.copying":
            with pytest.raises(apsw.BusyError):
                in_file(filled, "update source set failures = 99")
            tried.append(here)

    await moved(filled, database, clock, failpoint=write)

    assert tried


async def test_somebody_who_starts_on_the_file_meanwhile_is_noticed(
    filled: Path, database: str, clock: FakeClock
) -> None:
    started: list[Presence] = []

    def start(here: str) -> None:
        if here == "move.copied" and not started:
            started.append(Presence(filled))

    try:
        with pytest.raises(NotMoved, match=r"a process has .* open"):
            await moved(filled, database, clock, failpoint=start)
    finally:
        started[0].leave()
    assert shows_nothing(database)

    await moved(filled, database, clock)


async def test_somebody_who_starts_on_the_database_meanwhile_sees_nothing_of_the_copy_and_is_noticed(
    filled: Path, database: str, clock: FakeClock
) -> None:
    with pytest.raises(_CutOff):
        await moved(filled, database, clock, failpoint=cut_off_at("move.before_commit"))
    async with on_database(database, clock) as bench:
        await bench.configure(source())
        assert await bench.service.ingestions() == []

    with pytest.raises(NotMoved, match="the database is not empty: clock has rows"):
        await moved(filled, database, clock)


async def test_a_database_with_anything_else_in_it_is_refused(
    filled: Path, database: str, clock: FakeClock
) -> None:
    async with on_database(database, clock) as bench:
        await bench.configure(*SOURCES[:2])
        await bench.submit(1, source="catalog")

    with pytest.raises(NotMoved, match="the database is not empty"):
        await moved(filled, database, clock)
    assert in_database(database, "select count(*) from ingestion") == [(1,)]


async def test_the_move_of_another_file_is_refused(
    filled: Path, folder: Path, database: str, clock: FakeClock
) -> None:
    other = folder / "other.db"
    async with on_file(other, clock):
        pass
    with pytest.raises(_CutOff):
        await moved(filled, database, clock, failpoint=cut_off_at("move.copied"))

    with pytest.raises(NotMoved, match=r"holds a move of .*/headgate\.db"):
        await moved(other, database, clock)


async def test_tables_of_somebody_else_are_left_alone(
    filled: Path, database: str, clock: FakeClock
) -> None:
    in_database(database, "create table record (artist text)")

    with pytest.raises(NotMoved, match="a table record that is not of this Headgate"):
        await moved(filled, database, clock)
    assert in_database(database, "select count(*) from record") == [(0,)]


async def test_rights_that_would_be_lost_are_a_reason_to_ask(
    filled: Path, database: str, clock: FakeClock
) -> None:
    async with on_database(database, clock):
        pass
    in_database(database, "grant select on batch to pg_monitor")

    with pytest.raises(NotMoved, match=r"batch is one.* rights of their own"):
        await moved(filled, database, clock)


@pytest.mark.parametrize("text", [None, b"", b"SQLite format 3\0", b"a,b,c\n" * 100])
async def test_what_is_no_file_of_headgate_is_refused_and_left_as_it_is(
    file: Path, database: str, clock: FakeClock, text: bytes | None
) -> None:
    if text is not None:
        file.write_bytes(text)

    with pytest.raises(NotMoved, match=r"cannot be read|is not a database of Headgate"):
        await moved(file, database, clock)
    assert file.exists() == (text is not None)
    assert text is None or file.read_bytes() == text


async def test_a_database_of_sqlite_that_is_none_of_headgate_is_refused(
    file: Path, database: str, clock: FakeClock
) -> None:
    with closing(apsw.Connection(str(file))) as connection:
        connection.pragma("journal_mode", "wal")
        connection.execute("create table a (b)")

    with pytest.raises(NotMoved, match="is not a database of Headgate"):
        await moved(file, database, clock)


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("update schema_version set number = number - 1", "run `headgate migrate`"),
        ("insert into schema_version values (9999, 0)", "update Headgate"),
    ],
)
async def test_a_file_of_another_version_is_refused(
    filled: Path, database: str, clock: FakeClock, sql: str, what: str
) -> None:
    in_file(filled, sql)

    with pytest.raises(NotMoved, match=what):
        await moved(filled, database, clock)


async def test_a_database_that_is_away_is_said(filled: Path, clock: FakeClock) -> None:
    with pytest.raises(Unavailable):
        await moved(filled, "postgresql://nobody:geheim@127.0.0.1:1/none", clock)


# -- the command ---------------------------------------------------------------------------------------------


@pytest.mark.process
def test_the_command_says_what_to_do_next(file: Path, database: str, clock: FakeClock) -> None:
    asyncio.run(_filled(file, clock))

    done = headgate_move(file, HEADGATE_DATABASE_URL=database)

    assert (done.returncode, done.stderr) == (0, "")
    assert "set HEADGATE_DATABASE_URL" in done.stdout
    assert f"{file} is left as it is" in done.stdout


async def _filled(file: Path, clock: FakeClock) -> None:
    async with on_file(file, clock) as bench:
        await fill(bench)


@pytest.mark.process
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("sqlite:///none.db", "postgresql://u:geheim@127.0.0.1:1/x"), 1, "cannot be read"),
        (("{file}", "postgresql://u:geheim@127.0.0.1:1/x"), 1, "cannot be used now"),
        (("{file}", "postgresql://u:ge/heim@127.0.0.1:1/x"), 2, "target: should be"),
        (("{file}", "postgresql://u:geheim@127.0.0.1:port/x"), 2, "target: should be"),
        (("{file}", "mysql://u:geheim@127.0.0.1/x"), 2, "target: "),
        (("{file}", "{file}"), 2, "target: should be"),
        (("postgresql://u:geheim@127.0.0.1/x", "{file}"), 2, "source: should be"),
    ],
)
def test_a_mistake_is_said_and_no_password_is_shown(
    file: Path, clock: FakeClock, arguments: tuple[str, str], code: int, words: str
) -> None:
    asyncio.run(_filled(file, clock))
    given = [each.format(file=f"sqlite:///{file}") for each in arguments]

    done = subprocess.run(
        [sys.executable, "-m", "headgate", "move", *given],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=file.parent,
    )

    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    for secret in ("geheim", "ge/heim", "heim", "Traceback"):
        assert secret not in done.stderr
