"""The file that is moved: nobody else has it open, and nobody can write to it until it is closed again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headgate.core.clock import Offset
from headgate.store.engine import Row
from headgate.store.migrations import numbered
from headgate.store.move.handover import Ledger
from headgate.store.move.tables import NotMoved, Table, Tally
from headgate.store.postgres.texts import plain
from headgate.store.sqlite.file import MIGRATIONS, connect
from headgate.store.sqlite.presence import Presence

PATIENCE = 2_000
"""For so many milliseconds somebody else's write is waited for."""


@contextmanager
def opened(path: Path) -> Iterator[MovedFile]:
    """The file, for as long as the context lasts. Raises NotMoved if it is in use, or is none of Headgate's.

    A presence of our own shows who else is alive; the right to write, held for the whole copy, keeps out whoever
    does not ask: what is copied first and what is compared last is of one instant. Nothing is ever written.
    """
    path = path.resolve()
    _look_at(path)
    with contextlib.ExitStack() as held:
        presence = Presence(path)
        held.callback(presence.leave)
        _refuse_others(path, presence)
        connection = connect(path, _wait_for_writer)
        held.callback(connection.close)
        with _in_words(path):
            connection.execute("begin immediate")
            held.callback(connection.execute, "rollback")
        file = MovedFile(path, connection, presence)
        file.check_version()
        yield file


class MovedFile:
    """Tables, rows and clock of the file."""

    def __init__(self, path: Path, connection: Any, presence: Presence) -> None:
        self.path = path
        self._connection = connection
        self._presence = presence

    def check_version(self) -> None:
        """Raise NotMoved if this code does not know the tables as they are: bringing them up to date is a change."""
        ours = numbered(MIGRATIONS)[-1][0]
        known = self._all("select 1 from sqlite_schema where name = 'schema_version'")
        found = self._all("select max(number) from schema_version")[0][0] if known else None
        if found is None:
            raise NotMoved(f"{self.path} is not a database of Headgate")
        if found != ours:
            what = "update Headgate" if found > ours else "run `headgate migrate` on it once"
            raise NotMoved(f"{self.path} has schema {found}, this Headgate has {ours}: {what}")

    def refuse_if_in_use(self) -> None:
        """Raise NotMoved if somebody has come since: it would go on with the file after the move."""
        _refuse_others(self.path, self._presence)

    def tables(self) -> dict[str, Table]:
        """Every table, by name."""
        names = self._all(
            "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%'"
        )
        return {name: self._table(name) for (name,) in names}

    def rows(self, table: Table) -> Iterator[Row]:
        """The rows of a table by key, one at a time."""
        columns, key = (", ".join(f'"{c}"' for c in each) for each in (table.columns, table.key))
        with _in_words(self.path):
            found = self._connection.execute(f'select {columns} from "{table.name}" order by {key}')
            yield from (tuple(map(plain, row)) for row in found)

    def tally(self, table: Table) -> Tally:
        """What a table is compared by, read anew."""
        tally = Tally()
        for row in self.rows(table):
            tally.add(row)
        return tally

    def numbers(self) -> Mapping[str, int]:
        """The largest number that a table has ever given, for those that give numbers."""
        return dict(self._all("select name, seq from sqlite_sequence"))

    def ledger(self) -> Ledger | None:
        """The ledger's clock; None if it has not begun."""
        clock = self._all("select epoch, offset_us from clock")
        if not clock:
            return None
        last = self._all("select coalesce(max(last_at), 0) from quota")[0][0]
        return Ledger(Offset(*clock[0]), last)

    def _table(self, name: str) -> Table:
        found = self._all(
            "select name, lower(type), pk from pragma_table_info(?) order by cid", name
        )
        key = sorted((place, column) for column, _, place in found if place)
        return Table(name, {column: kind for column, kind, _ in found}, [c for _, c in key])

    def _all(self, sql: str, *values: str) -> list[Any]:
        with _in_words(self.path):
            return list(self._connection.execute(sql, values))


def _look_at(path: Path) -> None:
    """Before it is opened, which would make it, or make a database of another kind into one with a log."""
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError as error:
        raise NotMoved(f"{path} cannot be read ({error.strerror})") from error
    if not head.startswith(b"SQLite format 3\0") or head[18:] != b"\2\2":
        raise NotMoved(f"{path} is not a database of Headgate")


def _refuse_others(path: Path, presence: Presence) -> None:
    if presence.others():
        raise NotMoved(f"a process has {path} open: stop every one that uses it, and move then")


def _wait_for_writer(tries: int) -> bool:
    time.sleep(0.001)
    return tries < PATIENCE


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    """Only the engine's own room knows its driver's errors; here each of them means the same."""
    try:
        yield
    except Exception as error:
        raise NotMoved(f"{path} cannot be used ({error}): is somebody writing to it?") from error
