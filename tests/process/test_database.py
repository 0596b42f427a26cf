"""PostgreSQL as one more thing that fails: killed, at a wrong time, without a free connection; and those who share it,
stopped with its locks in their hands.

Asserted is what must never be, from the source's own log and the clients' journals.
"""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import asyncpg
import pytest

from tests.postgres import FAST, PostgresServer, create_database, run_sql, served
from tests.process.client import ANSWER_S, Journal
from tests.process.conftest import MakeGate, MakeSource, Say
from tests.process.engines import on_postgres
from tests.process.faults import wait_until_stopped
from tests.process.gate import LEASE_S, Gate, Server
from tests.process.judge import LENIENCY, arrivals, assert_kept, drained, times_asked
from tests.process.submitters import Submitters, merged
from tests.process.test_clocks import faketime
from tests.process.waiting import PATIENCE_S, eventually, now_us
from tests.processes import free_port
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow, on_postgres]

QUOTAS = ("20/s", "30/2s")

FULL = ("5/s", "8/2s")
"""So few that the windows are always full: a call too early is one too many."""

RESUMES_S = 10
"""I14: it goes on by itself within 10 s."""


@pytest.fixture
def durable() -> Iterator[PostgresServer]:
    """A server of the test's own that flushes what it commits."""
    with served(fsync="on", synchronous_commit="on") as server:
        yield server


def crew(gate: Gate, *names: str) -> list[Server]:
    """Start so many at once, each with a name that its calls and its sessions carry."""
    for name in names:
        gate.configure(f"{name}.toml", headers={"x-process": name})
    started = [
        gate.start(
            config=f"{name}.toml",
            port=free_port(),
            HEADGATE_DATABASE_URL=f"{gate.postgres}?application_name={name}",
        )
        for name in names
    ]
    return [each.ready() for each in started]


def callers(source: RunningServer, *, since: int = 0) -> Counter[str]:
    """How many calls each process made, from a place in the source's log on."""
    return Counter(each["headers"]["x-process"] for each in source.requests()[since:])


def wait_for_calls(source: RunningServer, more: int = 1, *, within_s: float = PATIENCE_S) -> None:
    """Wait until the source is called so many times more."""
    before = len(arrivals(source))
    eventually(lambda: len(arrivals(source)) >= before + more, "calls go on", within_s=within_s)


def wait_until_trusted(gate: Gate, count: int) -> None:
    """Wait until so many processes touch the clock, each once a second: whoever does is trusted with it."""

    def all_touch() -> bool:
        before, began = touches(gate), time.monotonic()
        time.sleep(2.2)
        return touches(gate) - before > (count - 1) * (time.monotonic() - began + 1)

    eventually(all_touch, f"{count} processes are trusted with the clock")


def touches(gate: Gate) -> int:
    [[count]] = run_sql(gate.postgres or "", "select coalesce(max(touches), 0) from clock")
    return int(count)


# The server is killed


class Killable(Protocol):
    """What stands between the processes and their rows."""

    def kill(self) -> None: ...

    def start(self) -> None: ...


def killed_and_started(
    killable: Killable,
    servers: list[Server],
    source: RunningServer,
    gate: Gate,
    downs: list[float],
    look: Callable[[], None] = lambda: None,
) -> str:
    """Kill it, each time for so long, while these processes work and three clients submit.

    `look`: at what is to be seen while they are at work, before it is killed.
    """
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    submitters = Submitters([each.port for each in servers], gate.folder, seed, pause_s=0.15)
    kills, back = [], []
    with submitters.at_work():
        look()
        for down_s in downs:
            wait_for_calls(source, 3)
            time.sleep(chance.uniform(0, 0.2))
            kills.append(now_us())
            killable.kill()
            time.sleep(down_s)
            killable.start()
            back.append(seconds_to_the_next_call(source))
    assert submitters.failed == []
    held_us = int((max(downs) + RESUMES_S + LEASE_S) * 1e6)
    told = assert_kept(
        gate,
        servers[0],
        source,
        merged(gate.folder, submitters.journals),
        *QUOTAS,
        leniency=replace(LENIENCY, kills=tuple(kills), rescue_us=held_us),
    )
    refused, cut = (
        sum(len(getattr(j, name)) for j in submitters.journals) for name in ("refused", "cut")
    )
    return f"seed {seed}, {refused} refused, {cut} cut, s to the next call: {back}\n{told}"


def seconds_to_the_next_call(source: RunningServer) -> float:
    """A claim whose answer was lost with the database holds its place until its lease is over."""
    called, from_us = len(arrivals(source)), now_us()
    eventually(lambda: len(arrivals(source)) > called, "calls go on", within_s=RESUMES_S + LEASE_S)
    return round((arrivals(source)[called].at_us - from_us) / 1e6, 2)


@pytest.mark.parametrize(
    "downs",
    [
        pytest.param([0.3, 1.5], id="twice"),
        pytest.param([0.0, 0.1, 1.0, 4.0] * 5, id="twenty times", marks=pytest.mark.long),
        pytest.param([12.0, 35.0, 12.0], id="for long", marks=pytest.mark.long),
    ],
)
def test_nothing_is_lost_or_over_when_the_database_is_killed(
    downs: list[float],
    durable: PostgresServer,
    source: RunningServer,
    make_gate: MakeGate,
    say: Say,
) -> None:
    gate = make_gate(source, *QUOTAS, postgres=create_database(durable.url, "gate"))

    say(killed_and_started(durable, crew(gate, "one", "other"), source, gate, downs))


# Who shares it is stopped


@contextmanager
def holding(url: str, statement: str) -> Iterator[None]:
    """Hold the rows of a statement until the `with` ends."""
    held, release = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(url)
        try:
            async with connection.transaction():
                await connection.execute(statement)
                held.set()
                while not release.is_set():
                    await asyncio.sleep(0.01)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: asyncio.run(hold()))
        assert held.wait(PATIENCE_S)
        try:
            yield
        finally:
            release.set()
        done.result(PATIENCE_S)


def sessions(url: str, name: str, condition: str) -> int:
    [[count]] = run_sql(
        url,
        f"select count(*) from pg_stat_activity where application_name = '{name}' and {condition}",
    )
    return int(count)


WAITS_FOR_THE_SOURCE = "wait_event_type = 'Lock' and query like '%from source%for update%'"
IN_TRANSACTION = "state like 'idle in transaction%'"


def test_who_is_stopped_inside_a_transaction_loses_its_locks_and_nothing_else(
    source: RunningServer, make_gate: MakeGate, journal: Journal, say: Say
) -> None:
    """It has the source's row when it stops: for a second, not for as long as it is stopped."""
    gate = make_gate(source, "10/s", "12/2s")
    assert gate.postgres
    sleeper, other = crew(gate, "sleeper", "other")
    wait_until_trusted(gate, 2)
    journal.must_submit(sleeper.port, 60, "LOW")
    with holding(gate.postgres, "select 1 from source for update"):
        eventually(
            lambda: sessions(gate.postgres or "", "sleeper", WAITS_FOR_THE_SOURCE),
            "it waits for the source",
        )
        sleeper.signal(signal.SIGSTOP)
        wait_until_stopped(sleeper.pid)
    stopped_us, called = now_us(), len(arrivals(source))
    eventually(
        lambda: callers(source, since=called)["other"], "the other calls", within_s=RESUMES_S
    )
    say(f"{(arrivals(source)[-1].at_us - stopped_us) / 1e6:.2f} s until the other called")
    eventually(
        lambda: not sessions(gate.postgres or "", "sleeper", IN_TRANSACTION), "its locks are free"
    )
    while now_us() < stopped_us + (LEASE_S + 1) * 1_000_000:
        journal.must_submit(other.port, 2, "HIGH")
        time.sleep(0.5)
    sleeper.signal(signal.SIGCONT)
    given = journal.must_submit(sleeper.port, 4)
    held = [ingestion for ingestion, _ in gate.stored().held]

    assert_kept(gate, other, source, journal, "10/s", "12/2s", unjudged=[*held, given])
    again = [name for name, count in times_asked(source).items() if count > 1]
    assert len(again) <= 3, "no more than the batch in its hands is asked for again"


def test_who_is_told_to_stop_in_the_middle_of_a_claim_leaves_nothing_held(
    source: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    """The claim is committed once the row is free, whoever waits for it or not: what it took is given back."""
    gate = make_gate(source, "50/s", lease="60s")
    assert gate.postgres
    [server] = crew(gate, "one")
    wait_until_trusted(gate, 1)
    with holding(gate.postgres, "select 1 from source for update"):
        journal.must_submit(server.port, 3)
        eventually(lambda: sessions(gate.postgres or "", "one", WAITS_FOR_THE_SOURCE), "it claims")
        server.signal(signal.SIGTERM)
        time.sleep(0.5)
    assert server.ended() in {0, -signal.SIGTERM}

    assert gate.stored().held == ()
    assert gate.stored().in_flight == 0


@pytest.mark.long
def test_who_is_told_to_stop_while_the_database_is_away_ends_all_the_same(
    durable: PostgresServer,
    make_gate: MakeGate,
    start_source: MakeSource,
    journal: Journal,
    say: Say,
) -> None:
    source = start_source("--latency-ms", "1500")
    gate = make_gate(source, "50/s", postgres=create_database(durable.url, "gate"))
    [server] = crew(gate, "one")
    journal.must_submit(server.port, 3)
    eventually(lambda: len(arrivals(source)) == 1, "a call is under way")
    durable.kill()
    began = time.monotonic()
    server.signal(signal.SIGTERM)

    assert server.ended(within_s=40) in {0, -signal.SIGTERM}
    say(f"{time.monotonic() - began:.1f} s from SIGTERM to its end")
    [lost] = server.facts("the database is lost")
    assert lost["level"] == "error"


# Many share one quota


def test_three_share_five_a_second(
    source: RunningServer, make_gate: MakeGate, journal: Journal, say: Say
) -> None:
    """Who calls is left to chance, and may be one of them for long: the busiest is stopped half-way."""
    gate = make_gate(source, "5/s", batch_size=4)
    names = ("a", "b", "c")
    servers = crew(gate, *names)
    for place in range(20):
        priority = ("LOW", "MEDIUM", "HIGH")[place % 3]
        journal.must_submit(servers[place % 3].port, 10, priority)
    eventually(lambda: len(arrivals(source)) >= 25, "they are at work")
    [(busiest, _)] = callers(source).most_common(1)
    servers.pop(names.index(busiest)).stop()
    shown = drained(servers[0])

    assert sum(each["counts"]["fetched"] for each in shown) == 200
    say(f"calls by process: {dict(callers(source))}")
    assert len(callers(source)) >= 2
    assert set(times_asked(source).values()) == {1}
    say(assert_kept(gate, servers[1], source, journal, "5/s"))


# No connection is free


CONNECTIONS = 12


@pytest.fixture
def narrow() -> Iterator[PostgresServer]:
    """A server with fewer connections than two processes would like to have."""
    few = {"max_connections": f"{CONNECTIONS + 2}", "superuser_reserved_connections": "2"}
    with served(**{**FAST, **few}) as server:
        yield server


@contextmanager
def every_connection(url: str) -> Iterator[list[asyncpg.Connection]]:
    """Take every connection that becomes free, and keep them until the `with` ends; tells which are taken."""
    full, release = threading.Event(), threading.Event()
    taken: list[asyncpg.Connection] = []

    async def take() -> None:
        try:
            while not release.is_set():
                try:
                    taken.append(await asyncpg.connect(url))
                except asyncpg.TooManyConnectionsError:
                    full.set()
                    await asyncio.sleep(0.02)
        finally:
            for each in taken:
                await each.close()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: asyncio.run(take()))
        assert full.wait(PATIENCE_S)
        try:
            yield taken
        finally:
            release.set()
        done.result(PATIENCE_S)


def rush(
    servers: list[Server], folder: Path, clients: int, each: int, first: int = 0
) -> list[Journal]:
    """Many clients at once, each on a new connection for every submission."""

    folder.mkdir(exist_ok=True)

    def one(client: int) -> Journal:
        journal = Journal(folder / f"rush-{client}.jsonl", _next=(client + 1) * 1_000_000 + first)
        for turn in range(each):
            key = f"{client}-{first + turn}" if client % 2 else None
            journal.submit(servers[turn % len(servers)].port, 2, key=key)
        return journal

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(one, range(clients)))


@pytest.mark.long
def test_too_few_connections_are_a_503_or_a_wait_and_go_by_themselves(
    narrow: PostgresServer, source: RunningServer, make_gate: MakeGate, tmp_path: Path, say: Say
) -> None:
    ours = create_database(narrow.url, "gate")
    run_sql(ours, "create role gate login", "alter database gate owner to gate")
    theirs = ours.replace("postgres@", "gate@")
    gate = make_gate(source, "30/s", postgres=theirs)
    servers = crew(gate, "one", "other")
    gate.postgres = ours  # for the superuser, who looks into it, some are kept free
    first = Journal(tmp_path / "first.jsonl")
    first.must_submit(servers[0].port, 300)
    wait_for_calls(source)
    crowded = rush(servers, tmp_path / "crowded", clients=24, each=3)
    after_rush = seconds_to_the_next_call(source)
    with every_connection(theirs) as taken:
        eventually(lambda: cut_off(ours) == 0 and len(taken) == CONNECTIONS, "none is left")
        called = len(arrivals(source))
        asked_s = time.monotonic()
        alone = rush(servers, tmp_path / "alone", clients=4, each=1, first=500_000)
        assert all(each.refused for each in alone), "503: there was no connection"
        assert time.monotonic() - asked_s < ANSWER_S, "and that was said in time"
        assert len(arrivals(source)) <= called + 1, "no call without a place in the ledger"
    after_none = seconds_to_the_next_call(source)
    journals = [first, *crowded, *alone]
    journal = merged(tmp_path, journals)
    journal.refused = [each for one in journals for each in one.refused]
    refused = sum(len(each.refused) for each in crowded)
    say(f"{refused} refused in the rush; calls {after_rush} s after it, {after_none} s after none")

    assert_kept(gate, servers[0], source, journal, "30/s")


def cut_off(url: str) -> int:
    """End every session of the gate; says how many there were."""
    return len(
        run_sql(
            url,
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name in ('one', 'other')",
        )
    )


# Its clock steps


class DatabaseClock:
    """What a server's wall clock is off by, read by libfaketime at every look at it; its other clocks go on as they do.

    A time-out inside of PostgreSQL that runs while the clock is set back comes late by as much.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._file = server.folder / "off-by"
        self.off_us = 0
        self.step(0)

    def step(self, by_us: int) -> None:
        self.off_us += by_us
        new = self._file.with_suffix(".new")
        new.write_text(f"{self.off_us / 1e6:+.6f}\n", encoding="ascii")
        new.chmod(0o644)
        new.replace(self._file)  # nobody reads half of it

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(faketime()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture
def timeless() -> Iterator[tuple[PostgresServer, DatabaseClock]]:
    """A server whose clock the test sets."""
    with served(**FAST) as server:
        clock = DatabaseClock(server)
        server.stop()
        server.start(**clock.environment)
        yield server, clock


def steps(count: int, seed: int) -> list[int]:
    """Of both signs in turn, 50 ms to an hour, small ones as likely as large ones."""
    chance = random.Random(seed)
    sizes = [int(0.05e6 * (3_600 / 0.05) ** chance.random()) for _ in range(count)]
    return [size * chance.choice((1, -1)) for size in sizes]


def stepped(
    timeless: tuple[PostgresServer, DatabaseClock],
    source: RunningServer,
    make_gate: MakeGate,
    journal: Journal,
    *,
    jumps: int,
    newcomer_every: int,
) -> str:
    """Set the clock again and again while two processes work; one of them is killed now and then, and another joins."""
    server, clock = timeless
    seed = random.randrange(10**6)
    gate = make_gate(source, *FULL, pacing="burst", postgres=create_database(server.url, "gate"))
    working = crew(gate, "0", "1")
    wait_until_trusted(gate, 2)
    backlog = journal.must_submit(working[0].port, 30 * jumps + 100, "LOW")
    waits, killed = [], []
    for place, jump_us in enumerate(steps(jumps, seed)):
        if place % newcomer_every == newcomer_every - 1:
            killed.append(working.pop(0).kill())
            working += crew(gate, str(place + 2))
        journal.must_submit(random.choice(working).port, 3, "HIGH")
        clock.step(jump_us)
        waits.append(seconds_to_the_next_call(source))
    assert abs(off_by_s(server) - clock.off_us / 1e6) < 60, "the clock was not set at all"
    assert working[0].ask("POST", f"/v1/ingestions/{backlog}:cancel").status == 200
    told = assert_kept(
        gate,
        working[-1],
        source,
        journal,
        *FULL,
        cancelled=[backlog],
        leniency=replace(LENIENCY, kills=tuple(killed), rescue_us=(LEASE_S + 5) * 1_000_000),
    )
    seen = sum(len(each.facts("clock has stepped")) for each in gate.servers)
    return f"seed {seed}, {jumps} jumps, {seen} put right, longest wait {max(waits)} s\n{told}"


def off_by_s(server: PostgresServer) -> float:
    [[seconds]] = run_sql(server.url, "select extract(epoch from clock_timestamp())::float8")
    return float(seconds) - time.time()


needs_faketime = pytest.mark.skipif(
    faketime() is None, reason="NEEDS LIBFAKETIME, to set the clock of a database"
)


@needs_faketime
@pytest.mark.parametrize(
    ("jumps", "newcomer_every"),
    [pytest.param(8, 4), pytest.param(200, 10, marks=pytest.mark.long)],
    ids=["eight times", "two hundred times"],
)
def test_no_window_is_over_when_the_clock_of_the_database_steps(
    jumps: int,
    newcomer_every: int,
    timeless: tuple[PostgresServer, DatabaseClock],
    source: RunningServer,
    make_gate: MakeGate,
    journal: Journal,
    say: Say,
) -> None:
    say(stepped(timeless, source, make_gate, journal, jumps=jumps, newcomer_every=newcomer_every))


# Its sessions are ended


@pytest.mark.long
def test_sessions_that_the_server_ends_again_and_again_are_nobodys_error(
    source: RunningServer, make_gate: MakeGate, tmp_path: Path, say: Say
) -> None:
    """As at a restart in order or by an administrator: a last word on an idle connection, and then its end."""
    gate = make_gate(source, "30/s")
    servers = crew(gate, "one", "other")
    wait_until_trusted(gate, 2)
    began_us = now_us()
    with ThreadPoolExecutor(1) as pool:
        rushing = pool.submit(rush, servers, tmp_path / "rush", 16, 12)
        ended = 0
        while not rushing.done():
            ended += cut_off(gate.postgres or "")
            time.sleep(0.02)
        journals = rushing.result()
    journal = merged(tmp_path, journals)
    say(f"{ended} sessions ended, {len(journal.accepted())} accepted")
    lost = replace(
        LENIENCY, kills=(began_us,), rescue_us=now_us() - began_us + (LEASE_S + 5) * 1_000_000
    )

    told = [line for each in servers for line in each.facts("a loop met an error")]
    assert told == []
    assert_kept(gate, servers[0], source, journal, "30/s", leniency=lost)
