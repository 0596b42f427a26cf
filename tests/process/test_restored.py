"""A backup is put back under a running process, which knows of calls that the database has forgotten."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.postgres import PostgresServer, create_database, served
from tests.process.client import Journal
from tests.process.conftest import MakeGate
from tests.process.gate import Gate, Server
from tests.process.judge import FORGOT, arrivals, assert_windows, drained
from tests.process.waiting import eventually
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow]

QUOTA = "6/6s"
FORGETTING_S = 7.006
"""The window and a thousandth of it, and half a second each for slack and grace."""

Restore = Callable[[], None]


def copy_file(original: Path, copy: Path) -> None:
    """As `sqlite3 file '.backup copy'` does, beside whoever uses them."""
    with closing(sqlite3.connect(original)) as of, closing(sqlite3.connect(copy)) as to:
        of.backup(to)


def forgetful(gate: Gate, server: Server, journal: Journal, back_up: Callable[[], Restore]) -> None:
    """One call is made, a backup, four more calls; the backup is put back."""
    journal.must_submit(server.port, 3)
    drained(server)
    put_back = back_up()
    journal.must_submit(server.port, 12)
    drained(server)
    put_back()
    journal.must_submit(server.port, 30)
    eventually(lambda: server.facts(FORGOT), "it is noticed")


def in_the_file(gate: Gate) -> Callable[[], Restore]:
    saved = gate.folder / "backup.db"

    def back_up() -> Restore:
        copy_file(gate.database, saved)
        return lambda: copy_file(saved, gate.database)

    return back_up


def test_a_file_that_is_put_back_is_noticed_and_no_window_is_over(
    source: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    gate = make_gate(source, QUOTA, pacing="burst")
    server = gate.serve()
    forgetful(gate, server, journal, in_the_file(gate))

    assert [each["state"] for each in server.get("/v1/sources")["sources"]] == ["paused"]
    eventually(lambda: len(arrivals(source)) > 10, "it goes on", within_s=FORGETTING_S + 10)
    assert_windows(source, QUOTA)


def test_whoever_knows_better_releases_it(
    source: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    gate = make_gate(source, "6/h", pacing="burst")
    server = gate.serve()
    forgetful(gate, server, journal, in_the_file(gate))
    called = len(arrivals(source))

    assert gate.run("release", "catalog").stdout == "released: catalog\n"

    eventually(lambda: len(arrivals(source)) > called, "it is called again")


def test_a_source_that_is_not_there_cannot_be_released(
    source: RunningServer, make_gate: MakeGate
) -> None:
    gate = make_gate(source, QUOTA)
    gate.serve()
    refused = gate.run("release", "nowhere")

    assert refused.returncode == 1
    assert refused.stderr == "headgate: the source 'nowhere' is not configured\n"


@pytest.fixture
def server_of_its_own() -> Iterator[PostgresServer]:
    with served() as server:
        yield server


def test_a_database_that_is_put_back_is_noticed_and_no_window_is_over(
    server_of_its_own: PostgresServer,
    source: RunningServer,
    make_gate: MakeGate,
    journal: Journal,
) -> None:
    """As one whose standby was behind when it took over: what it lacks was promised."""
    database = server_of_its_own
    data, saved = database.folder / "data", database.folder / "saved"

    def back_up() -> Restore:
        database.stop()
        subprocess.run(["cp", "-rp", data, saved], check=True)
        database.start()
        return put_back

    def put_back() -> None:
        database.kill()
        shutil.rmtree(data)
        saved.rename(data)
        database.start()

    gate = make_gate(
        source, QUOTA, pacing="burst", postgres=create_database(database.url, "restored")
    )
    server = gate.serve()
    forgetful(gate, server, journal, back_up)

    eventually(lambda: len(arrivals(source)) > 10, "it goes on", within_s=FORGETTING_S + 20)
    assert_windows(source, QUOTA)
