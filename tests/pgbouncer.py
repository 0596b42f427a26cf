"""A real PgBouncer for tests, where one is installed: in transaction mode, on a free port, dying with the tests.

All but what is set here is as PgBouncer comes.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest

from tests.postgres import postgres_server, run_sql
from tests.processes import ENDS_WITHIN_S, Daemon, give_away, open_folder

__all__ = ["pgbouncer", "postgres_server"]

CONNECTIONS = 3
"""To each database, for everybody. They take turns, so that two transactions of a client are seldom on the same one."""


class PgBouncer(Daemon):
    """One PgBouncer in front of a server."""

    parting = signal.SIGTERM

    def __init__(self, folder: Path, server_url: str, **settings: str) -> None:
        super().__init__(folder)
        self._server = urlsplit(server_url)
        self._settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": str(folder / "users"),
            "admin_users": self._user,
            "pool_mode": "transaction",
            "default_pool_size": str(CONNECTIONS),
            "min_pool_size": str(CONNECTIONS),
            "server_round_robin": "1",
            **settings,
        }

    def url_of(self, database_url: str) -> str:
        """The way through it to a database of its server, for Headgate."""
        return self._url(urlsplit(database_url).path[1:]) + "?pooler=transaction"

    def make(self) -> None:
        """Write its configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [
            "[databases]",
            f"* = host={self._server.hostname} port={self._server.port or 5432}",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in self._settings.items()),
        ]
        self._configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
        password = unquote(self._server.password or "")
        users = self.folder / "users"
        users.write_text(f'"{self._user}" "{password}"\n', encoding="utf-8")
        give_away(self.folder, self._configuration, users)

    def start(self) -> None:
        """Start, and wait until it answers."""
        program = installed()
        assert program is not None
        self._launch(program, str(self._configuration))
        self._wait_until(self._answers)

    def kill(self) -> None:
        """Cut every connection at once, in the middle of whatever it was. It can be started again at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(ENDS_WITHIN_S)
        self._process = None

    @property
    def _user(self) -> str:
        return unquote(self._server.username or "postgres")

    @property
    def _configuration(self) -> Path:
        return self.folder / "pgbouncer.ini"

    def _url(self, database: str) -> str:
        return (
            f"postgresql://{self._server.username or 'postgres'}@127.0.0.1:{self.port}/{database}"
        )

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text(errors="replace")
        try:
            run_sql(self._url("postgres"), "select 1")
        except (OSError, asyncpg.PostgresError):
            return False
        return True


def installed() -> str | None:
    """Where the program is: Debian puts it where only root looks."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@contextmanager
def pooling(server_url: str, **settings: str) -> Iterator[PgBouncer]:
    """A PgBouncer for as long as the context lasts; where none is installed, the test is skipped."""
    if installed() is None:
        pytest.skip("no PgBouncer is installed: nothing was tried through one")
    with open_folder("headgate-pgbouncer-") as folder:
        pooler = PgBouncer(folder / "pooler", server_url, **settings)
        try:
            pooler.make()
            pooler.start()
            yield pooler
        finally:
            pooler.stop()


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: str) -> Iterator[PgBouncer]:
    """One in front of the server of the session."""
    with pooling(postgres_server) as pooler:
        yield pooler
