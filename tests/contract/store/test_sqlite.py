"""What the SQLite engine promises beyond the contract: group commit, failures of the file, other processes on it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import pytest

from headgate.core.errors import SourceMisconfigured, Unavailable
from headgate.core.facts import Fact, SourceOpened, StoreBack, StoreLost
from headgate.core.model import Status
from headgate.store.engine import Transaction
from headgate.store.sqlite import engine as sqlite_engine
from headgate.store.sqlite.engine import SqliteEngine
from tests.contract.store.bench import (
    ONE_PER_5S,
    Bench,
    change,
    select,
    source,
    statement,
)
from tests.contract.store.conftest import OpenEngine
from tests.contract.store.disks import Disk, inserted
from tests.contract.store.test_engine import Broken, hinted, write, written
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio


ROOT = Path(__file__).parents[3]


@pytest.fixture
def new_engine(folder: Path, clock: FakeClock) -> OpenEngine:
    """Here it is SQLite and nothing else."""
    return partial(SqliteEngine, folder / "headgate.db", clock=clock)


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk that can fail. Ask for it before `bench`, so that the store lies on it."""
    with inserted() as made:
        yield made


# -- what a command may wait for -----------------------------------------------------------------------------


# -- a group -------------------------------------------------------------------------------------------------


async def test_commands_that_arrive_together_share_a_flush(disk: Disk, bench: Bench) -> None:
    before = disk.flushes
    await asyncio.gather(*(bench.engine.run(write, str(n)) for n in range(50)))

    assert len(await written(bench)) == 50
    assert 1 <= disk.flushes - before <= 25


async def test_a_command_is_flushed_before_it_is_answered(disk: Disk, bench: Bench) -> None:
    for n in range(5):
        before = disk.flushes
        await bench.engine.run(write, str(n))

        assert disk.flushes > before


async def test_commands_run_in_the_order_in_which_they_were_given(bench: Bench) -> None:
    ran: list[int] = []

    async def note(tx: Transaction, number: int) -> None:
        ran.append(number)

    await asyncio.gather(*(bench.engine.run(note, n) for n in range(100)))

    assert ran == list(range(100))


async def stuck(engine: SqliteEngine) -> bool:
    """Whether the store no longer answers: seconds are an eternity for one small command."""
    try:
        await asyncio.wait_for(engine.run(write, "later"), timeout=5)
    except TimeoutError:
        return True
    return False


@contextmanager
def deaf() -> Iterator[None]:
    """Errors that reach the loop itself are expected meanwhile."""
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda *_: None)
    try:
        yield
    finally:
        loop.set_exception_handler(handler)


@pytest.fixture
async def fragile(folder: Path) -> AsyncIterator[Callable[..., SqliteEngine]]:
    """Stores that may get stuck, which a fixture that closes them would then be too."""
    opened: list[SqliteEngine] = []

    def open_one(**more: Any) -> SqliteEngine:
        opened.append(SqliteEngine(folder / "fragile.db", clock=FakeClock(), **more))
        return opened[-1]

    yield open_one
    for engine in opened:
        if not engine._turn.taken:
            await engine.close()


async def test_an_observer_that_raises_does_not_stop_the_store(
    fragile: Callable[..., SqliteEngine],
) -> None:
    """A log that cannot be written to (a closed pipe) must not be the end of everything."""

    def observe(fact: Fact) -> None:
        raise BrokenPipeError

    with deaf():
        engine = fragile(observe=observe)
        await engine.run(write, "a")

        assert not await stuck(engine)


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
async def test_a_command_that_raises_whatever_does_not_stop_the_store(
    fragile: Callable[..., SqliteEngine], error: type[BaseException]
) -> None:
    async def raises(tx: Transaction) -> None:
        raise error

    with deaf():
        engine = fragile()
        with pytest.raises(BaseException):  # noqa: B017 - whatever it is, it must not be silence
            await asyncio.wait_for(engine.run(raises), timeout=5)

        assert not await stuck(engine)


# -- when the file fails -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["full", "broken"])
async def test_a_commit_that_fails_fails_all_of_its_group_and_the_store_goes_on(
    disk: Disk, bench: Bench, fault: str
) -> None:
    setattr(disk, fault, True)
    got = await asyncio.gather(
        *(bench.engine.run(write, str(n)) for n in range(5)), return_exceptions=True
    )
    assert [type(each) for each in got] == [Unavailable] * 5
    assert await written(bench) == []
    setattr(disk, fault, False)
    await bench.engine.run(write, "after")

    assert await written(bench) == ["after"]


@pytest.mark.parametrize("fault", ["full", "broken"])
async def test_of_a_commit_that_fails_nothing_is_told_and_nobody_is_woken(
    disk: Disk, bench: Bench, fault: str
) -> None:
    async def wakes(tx: Transaction) -> None:
        await write(tx, "x")
        tx.wake("x")

    assert not await hinted(bench)
    setattr(disk, fault, True)
    with pytest.raises(Unavailable):
        await bench.engine.run(wakes)
    setattr(disk, fault, False)

    assert bench.facts == []
    assert not await hinted(bench)


async def test_a_store_goes_on_after_any_number_of_commits_that_fail(
    disk: Disk, bench: Bench
) -> None:
    for n in range(20):
        disk.full = n % 2 == 0
        if disk.full:
            with pytest.raises(Unavailable):
                await bench.engine.run(write, f"{n:02}")
        else:
            await bench.engine.run(write, f"{n:02}")

    assert await written(bench) == [f"{n:02}" for n in range(1, 20, 2)]


async def test_a_full_disk_is_told_as_such(disk: Disk, bench: Bench) -> None:
    disk.full = True
    with pytest.raises(Unavailable, match="disk is full") as refused:
        await bench.engine.run(write, "a")
    disk.full = False

    assert refused.value.retry_after_s == 5


async def test_a_full_disk_stops_no_reader(disk: Disk, bench: Bench) -> None:
    await bench.engine.run(write, "a")
    disk.full = True
    seen = await written(bench)
    disk.full = False

    assert seen == ["a"]


async def test_with_a_full_disk_nothing_is_accepted_and_nothing_granted(
    disk: Disk, bench: Bench
) -> None:
    await bench.configure(source(windows=[ONE_PER_5S]))
    await bench.submit(1)
    before = await bench.dump()
    disk.full = True
    with pytest.raises(Unavailable):
        await bench.submit(2, key="k")
    with pytest.raises(Unavailable):
        await bench.claim()
    disk.full = False

    assert await bench.dump() == before
    ingestion = await bench.submit(2, key="k")
    assert await bench.submit(2, key="k") == ingestion
    assert await bench.claimed_ids() == [1]


async def test_a_settle_that_met_a_full_disk_is_repeated_with_success(
    disk: Disk, bench: Bench
) -> None:
    await bench.configure(source())
    ingestion = await bench.submit(1)
    claimed = await bench.claim()
    disk.full = True
    with pytest.raises(Unavailable):
        await bench.settle(claimed)
    disk.full = False
    await bench.settle(claimed)

    assert (await bench.status(ingestion)).status is Status.COMPLETED


async def test_a_transaction_that_is_lost_half_way_fails_what_was_in_it_and_nothing_else(
    bench: Bench, engine: SqliteEngine
) -> None:
    """SQLite itself rolls back everything when the file may not grow: who was told of success must be stored."""
    engine._writer.pragma("max_page_count", engine._writer.pragma("page_count") + 2)

    async def writes_much(tx: Transaction, name: str) -> str:
        rows = [("x" * 3_000 + str(n),) for n in range(20)]
        await tx.many(statement("insert into ticket values (?1, 1, 1, 1)"), rows)
        return name

    got = await asyncio.gather(
        *(bench.engine.run(writes_much if n == 2 else write, str(n)) for n in range(5)),
        return_exceptions=True,
    )

    stored = await written(bench)
    assert [type(each) for each in got[2:]] == [Unavailable, str, str]
    assert stored == [each for each in got if isinstance(each, str)]
    assert bench.facts == [SourceOpened(name) for name in stored]


@pytest.fixture
def elsewhere(bench: Bench, folder: Path) -> Iterator[apsw.Connection]:
    """Another process that is in the middle of writing."""
    connection = apsw.Connection(str(folder / "headgate.db"))
    connection.execute("begin immediate")
    yield connection
    connection.close()


async def test_while_another_process_writes_commands_wait_and_readers_do_not(
    bench: Bench, elsewhere: apsw.Connection
) -> None:
    waits = asyncio.create_task(bench.engine.run(write, "a"))
    await asyncio.sleep(0)
    assert await written(bench) == []
    assert not waits.done()
    elsewhere.execute("rollback")

    assert await waits == "a"


async def test_a_writer_that_holds_on_too_long_makes_commands_unavailable_and_no_more(
    bench: Bench, elsewhere: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_engine, "BUSY_S", 0.01)
    got = await asyncio.gather(
        *(bench.engine.run(write, str(n)) for n in range(3)), return_exceptions=True
    )
    assert [type(each) for each in got] == [Unavailable] * 3
    elsewhere.execute("rollback")
    await bench.engine.run(write, "after")

    assert await written(bench) == ["after"]


# -- loops and threads ---------------------------------------------------------------------------------------


async def test_a_loop_that_stopped_during_its_command_stops_nobody(
    fragile: Callable[..., SqliteEngine],
) -> None:
    """As a request's own loop does when its client has gone (`TestClient` without `with`)."""
    reached, go_on = threading.Event(), threading.Event()

    def hold_the_commit(name: str) -> None:
        if name.startswith("before_commit"):
            reached.set()
            go_on.wait()

    engine = fragile(failpoint=hold_the_commit)
    loop = asyncio.new_event_loop()
    task = loop.create_task(engine.run(write, "first"))
    await asyncio.to_thread(_run_until, loop, reached)
    go_on.set()
    was_stuck = await stuck(engine)
    await asyncio.to_thread(loop.run_until_complete, task)
    await asyncio.to_thread(loop.close)

    assert not was_stuck


def _run_until(loop: asyncio.AbstractEventLoop, reached: threading.Event) -> None:
    while not reached.is_set():
        loop.run_until_complete(asyncio.sleep(0))


# -- reading -------------------------------------------------------------------------------------------------


async def test_another_process_that_commits_is_noticed(
    bench: Bench, engine: SqliteEngine, other: Bench
) -> None:
    before = engine.data_version()
    assert engine.data_version() == before
    await other.engine.run(write, "a")

    assert engine.data_version() != before


# -- close ---------------------------------------------------------------------------------------------------


async def test_a_closed_store_leaves_only_the_database_behind(bench: Bench, folder: Path) -> None:
    await bench.engine.run(write, "a")
    await bench.engine.close()

    assert [file.name for file in folder.iterdir()] == ["headgate.db"]


# -- several processes ---------------------------------------------------------------------------------------


async def test_a_worker_is_known_to_be_dead_only_when_it_has_closed(
    bench: Bench, engine: SqliteEngine, open_engine: OpenEngine
) -> None:
    second = open_engine()
    assert isinstance(second, SqliteEngine)
    theirs = second.presence.worker
    assert not engine.known_dead(theirs)
    assert not engine.known_dead(engine.presence.worker)
    assert engine.presence.others()
    await second.close()

    assert engine.known_dead(theirs)
    assert not engine.presence.others()


CHILD = """
import asyncio, sys
from pathlib import Path
from headgate.store.sqlite.engine import SqliteEngine
from tests.fakes import FakeClock

engine = SqliteEngine(Path(sys.argv[1]), clock=FakeClock())
print(engine.presence.worker, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.process
async def test_a_process_is_known_to_be_dead_as_soon_as_it_was_killed(
    engine: SqliteEngine, folder: Path
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder / "headgate.db")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        worker = child.stdout.readline().decode().strip()
        alive = (engine.known_dead(worker), engine.presence.others())
        child.send_signal(signal.SIGKILL)
        child.wait()

        assert worker
        assert alive == (False, True)
        assert engine.known_dead(worker)
        assert not engine.presence.others()


async def test_what_a_dead_process_left_beside_the_database_is_swept(
    engine: SqliteEngine, folder: Path
) -> None:
    left = folder / "headgate.db.0123456789abcdef0123456789abcdef.alive"
    left.touch()
    own = folder / f"headgate.db.{engine.presence.worker}.alive"

    assert not engine.presence.others()
    assert not left.exists()
    assert own.exists()


async def test_whoever_comes_by_another_name_of_the_file_is_seen(
    engine: SqliteEngine, folder: Path, clock: FakeClock
) -> None:
    """SQLite's log lies beside the file itself, and a worker that is not seen is taken for dead."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.db").symlink_to(folder / "headgate.db")
    second = SqliteEngine(elsewhere / "other.db", clock=clock)
    seen = (engine.presence.others(), second.presence.others())
    dead = (engine.known_dead(second.worker), second.known_dead(engine.worker))
    await second.close()

    assert (seen, dead) == ((True, True), (False, False))


@pytest.mark.parametrize("name", ["h[prod].db", "h*.db", "h?.db"])
async def test_whatever_the_file_is_called_others_are_seen(
    folder: Path, clock: FakeClock, name: str
) -> None:
    first, second = (SqliteEngine(folder / name, clock=clock) for _ in range(2))
    seen = (first.presence.others(), second.presence.others())
    for each in (first, second):
        await each.close()

    assert seen == (True, True)


async def test_who_has_a_file_with_a_longer_name_is_somebody_else(
    engine: SqliteEngine, folder: Path, clock: FakeClock
) -> None:
    second = SqliteEngine(folder / "headgate.db.staging", clock=clock)
    seen = engine.presence.others()
    await second.close()

    assert not seen


async def test_whoever_lost_its_sign_of_life_makes_it_again(
    engine: SqliteEngine, folder: Path, clock: FakeClock
) -> None:
    """To those who tidy up it looks like something that was left."""
    second = SqliteEngine(folder / "headgate.db", clock=clock)
    (folder / f"headgate.db.{engine.worker}.alive").unlink()
    assert second.known_dead(engine.worker)

    engine.presence.stay()

    seen, dead = second.presence.others(), second.known_dead(engine.worker)
    await second.close()
    assert (seen, dead) == (True, False)


async def test_of_another_users_sign_of_life_nobody_can_tell(
    engine: SqliteEngine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = folder / f"headgate.db.{'0' * 32}.alive"
    theirs.touch()
    real = os.open

    def may_not(path: Any, *flags: Any, **more: Any) -> int:
        if Path(path) == theirs:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *flags, **more)

    monkeypatch.setattr(os, "open", may_not)
    assert engine.presence.others()
    assert not engine.known_dead("0" * 32)


# -- the file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instead", [False, True], ids=["nothing", "a copy"])
async def test_where_another_file_has_its_name_nothing_is_promised(
    bench: Bench, folder: Path, instead: bool
) -> None:
    await bench.engine.run(write, "a")
    file, aside = folder / "headgate.db", folder / "aside.db"
    file.rename(aside)
    if instead:
        shutil.copy(aside, file)

    with pytest.raises(Unavailable, match="was removed or replaced"):
        await bench.engine.run(write, "b")
    with pytest.raises(Unavailable, match="was removed or replaced"):
        await bench.engine.read(select, "select 1")

    aside.rename(file)
    await bench.engine.run(write, "c")
    assert await written(bench) == ["a", "c"]


async def test_that_the_file_is_gone_is_said_once_and_that_it_is_back(
    bench: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_engine, "ALONE_S", 0.01)
    file, aside = folder / "headgate.db", folder / "aside.db"
    attending = asyncio.create_task(bench.engine.attend())
    async with asyncio.timeout(10):
        file.rename(aside)
        while not bench.stated(StoreLost):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # it looks again
        aside.rename(file)
        while not bench.stated(StoreBack):
            await asyncio.sleep(0.01)
    attending.cancel()
    await asyncio.gather(attending, return_exceptions=True)

    assert len(bench.stated(StoreLost)) == len(bench.stated(StoreBack)) == 1


async def test_the_files_are_for_their_owner_alone(folder: Path, clock: FakeClock) -> None:
    umask = os.umask(0)
    try:
        engine = SqliteEngine(folder / "new" / "headgate.db", clock=clock)
        await engine.run(write, "a")
    finally:
        os.umask(umask)
    modes = {
        file.name.partition(".db")[2][-6:]: stat.S_IMODE(file.stat().st_mode)
        for file in (folder / "new").iterdir()
    }
    await engine.close()

    assert modes == dict.fromkeys(["", "-wal", "-shm", ".alive"], 0o600)
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o700


async def test_a_commit_is_flushed_to_a_write_ahead_log(engine: SqliteEngine) -> None:
    assert engine._writer.pragma("journal_mode") == "wal"
    assert engine._writer.pragma("synchronous") == 2


async def migrations(engine: SqliteEngine) -> list[int]:
    return [n for (n,) in await engine.read(select, "select number from schema_version order by 1")]


async def test_migrations_are_applied_once(
    engine: SqliteEngine, open_engine: OpenEngine, folder: Path
) -> None:
    await engine.run(write, "a")
    before = await engine.read(select, "select * from schema_version")
    again = open_engine()

    assert isinstance(again, SqliteEngine)
    assert await again.read(select, "select * from schema_version") == before
    assert await again.read(select, "select source from ticket") == [("a",)]


async def test_a_process_that_starts_while_another_makes_the_file_waits_for_it(
    folder: Path, clock: FakeClock
) -> None:
    other = apsw.Connection(str(folder / "headgate.db"))
    other.execute("begin exclusive")
    starts = asyncio.create_task(
        asyncio.to_thread(lambda: SqliteEngine(folder / "headgate.db", clock=clock))
    )
    await asyncio.wait([starts], timeout=0.05)
    other.execute("commit")
    other.close()
    engine = await starts
    await engine.close()


async def test_processes_that_start_at_once_on_a_new_file_apply_them_once(
    folder: Path, clock: FakeClock
) -> None:
    engines = await asyncio.gather(
        *(
            asyncio.to_thread(lambda: SqliteEngine(folder / "headgate.db", clock=clock))
            for _ in range(6)
        )
    )
    found = [await migrations(engine) for engine in engines]
    for engine in engines:
        await engine.close()

    assert found == [found[0]] * 6
    assert found[0] == list(range(1, len(found[0]) + 1))


async def test_a_migration_that_was_cut_off_is_applied_from_its_start(
    folder: Path, clock: FakeClock
) -> None:
    def cut_off(name: str) -> None:
        raise Broken(name)

    with pytest.raises(Broken, match="migration"):
        SqliteEngine(folder / "headgate.db", clock=clock, failpoint=cut_off)
    with apsw.Connection(str(folder / "headgate.db")) as outside:
        tables = outside.execute("select name from sqlite_schema").fetchall()
    engine = SqliteEngine(folder / "headgate.db", clock=clock)
    await engine.run(write, "a")
    await engine.close()

    assert tables == []


async def test_a_database_of_a_newer_headgate_is_refused(folder: Path, clock: FakeClock) -> None:
    engine = SqliteEngine(folder / "headgate.db", clock=clock)
    await engine.run(change, "insert into schema_version values (9999, 1)")
    await engine.close()

    with pytest.raises(SourceMisconfigured, match="newer Headgate"):
        SqliteEngine(folder / "headgate.db", clock=clock)
    with apsw.Connection(str(folder / "headgate.db")) as outside:
        newest = outside.execute("select max(number) from schema_version").fetchall()
    assert newest == [(9999,)]


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as one" * 100])
async def test_a_file_that_is_no_database_is_refused_and_left_alone(
    folder: Path, clock: FakeClock, content: bytes
) -> None:
    file = folder / "headgate.db"
    file.write_bytes(content)

    with pytest.raises(SourceMisconfigured, match="cannot be opened"):
        SqliteEngine(file, clock=clock)
    assert file.read_bytes() == content


async def test_a_folder_in_the_place_of_the_file_is_refused(folder: Path, clock: FakeClock) -> None:
    (folder / "headgate.db").mkdir()

    with pytest.raises(SourceMisconfigured, match="HEADGATE_DATABASE_URL"):
        SqliteEngine(folder / "headgate.db", clock=clock)


async def test_a_database_that_was_moved_with_its_log_is_whole(
    bench: Bench, folder: Path, clock: FakeClock
) -> None:
    """What was accepted is in the log before it is in the file: a kill leaves both."""
    await bench.configure(source())
    ingestion = await bench.submit(1, 2, 3)
    moved = folder / "copy"
    moved.mkdir()
    for name in ("headgate.db", "headgate.db-wal"):
        shutil.copy(folder / name, moved / name)
    engine = SqliteEngine(moved / "headgate.db", clock=clock)
    found = await engine.read(select, "select ingestion_id from ingestion")
    await engine.close()

    assert found == [(ingestion,)]


def test_a_file_of_another_program_is_refused_in_words(folder: Path, clock: FakeClock) -> None:
    file = folder / "photos.db"
    theirs = apsw.Connection(str(file))
    theirs.execute("create table batch (photo text)")
    theirs.close()

    with pytest.raises(SourceMisconfigured, match="another program's"):
        SqliteEngine(file, clock=clock)
