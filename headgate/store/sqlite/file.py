"""Opening a SQLite file the way Headgate needs it, and bringing its tables up to date."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import apsw

from headgate.core.errors import SourceMisconfigured, Unavailable
from headgate.store.migrations import numbered

MIGRATIONS = Path(__file__).parent / "migrations"


def connect(path: Path, wait_for_writer: Callable[[int], bool]) -> apsw.Connection:
    """Open a connection with a write-ahead log that is flushed at every commit.

    The file is for its owner's eyes alone (0600, a new folder 0700). Raises SourceMisconfigured if it cannot be
    used.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(path)
        connection = apsw.Connection(str(path), statementcachesize=200)
        connection.set_busy_handler(wait_for_writer)
        _prepare(connection, path)
    except (OSError, apsw.Error) as error:
        raise SourceMisconfigured(
            f"the database {path} cannot be opened ({error}): name another one in HEADGATE_DATABASE_URL"
        ) from error
    return connection


def _make(path: Path) -> None:
    """Make the file if there is none, and never open one that is there: whoever closes a file gives up every POSIX
    lock that the process has on it, also SQLite's. Then the next program that looks into it and leaves takes itself
    for the last one, and removes the log that we go on writing (sqlite.org/howtocorrupt.html, 2.2).
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def identity(path: Path) -> tuple[int, int] | None:
    """Which file is there, None if none is: another one may take its name. Opens nothing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _prepare(connection: apsw.Connection, path: Path) -> None:
    if (
        connection.pragma("journal_mode") != "wal"
        and connection.pragma("journal_mode", "wal") != "wal"
    ):
        raise SourceMisconfigured(
            f"the database {path} cannot have a write-ahead log: is it on a network file system?"
            " Put it on a local disk"
        )
    # a plan that does not depend on the values bound: else statistics make SQLite compile a statement anew
    # each time that a value changes, which was half of a claim
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.pragma("synchronous", "full")
    connection.pragma("cache_size", -16_000)
    connection.pragma("temp_store", "memory")


def migrate(connection: apsw.Connection, failpoint: Callable[[str], None]) -> None:
    """Bring the tables up to date: each migration in one transaction with its own record.

    Safe with several processes starting at once. Raises Unavailable if one of them takes too long,
    SourceMisconfigured if the file is newer than this code, or its tables cannot be made.
    """
    known = numbered(MIGRATIONS)
    try:
        for number, sql in known:
            _apply(connection, number, sql, failpoint)
    except apsw.BusyError as error:
        raise Unavailable("another process holds the database; try again") from error
    except apsw.Error as error:
        raise SourceMisconfigured(
            f"the tables cannot be made in {connection.filename} ({error}): is it another program's? Name another"
            " file in HEADGATE_DATABASE_URL"
        ) from error
    rows = connection.execute("select max(number) from schema_version").fetchall()
    newest = max(int(str(number)) for (number,) in rows)
    if newest > known[-1][0]:
        raise SourceMisconfigured(
            f"the database was made by a newer Headgate (schema {newest}, this one knows {known[-1][0]}):"
            " update Headgate, or name another database in HEADGATE_DATABASE_URL"
        )


def _apply(
    connection: apsw.Connection, number: int, sql: str, failpoint: Callable[[str], None]
) -> None:
    connection.execute("begin immediate")
    try:
        connection.execute(
            "create table if not exists schema_version"
            " (number integer primary key, applied_at integer not null)"
        )
        if not connection.execute(
            "select 1 from schema_version where number = ?", (number,)
        ).fetchone():
            connection.execute(sql)
            failpoint("migration")
            connection.execute(
                "insert into schema_version values (?, cast(unixepoch('subsec') * 1e6 as integer))",
                (number,),
            )
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
