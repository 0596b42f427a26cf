"""Move a file to PostgreSQL: copy, compare, put in place. Cut off anywhere, it is run again and goes on.

A table is copied in one transaction: it is there as a whole, or empty. Whether one that is there is still what the
file has, is not remembered but looked at. At the end every table is read again on both sides and compared: the number
of its rows, and the sum of their hashes, so that no order has to be agreed on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from headgate.core.clock import Clock
from headgate.store.engine import Failpoint
from headgate.store.move.database import SCHEMA, Database, connected
from headgate.store.move.file import MovedFile, opened
from headgate.store.move.handover import handed_over
from headgate.store.move.tables import NotMoved, Table, Tally, in_both
from headgate.store.postgres.url import PostgresUrl

Say = Callable[[str], None]


async def move(
    path: Path, url: PostgresUrl, *, clock: Clock, say: Say, failpoint: Failpoint = lambda _: None
) -> None:
    """Move a file that nobody uses to a database that is empty; `clock`: this host's.

    Raises NotMoved, or Unavailable where the database is lost on the way: then the database shows nothing of it.
    """
    with opened(path) as file:
        async with connected(url) as database:
            done_at = await database.done_at(str(file.path))
            if done_at is not None:
                say(
                    f"{file.path} was moved at {done_at:%Y-%m-%d %H:%M:%S %Z}: there is nothing to do"
                )
                return
            await database.prepare(str(file.path))
            tables = in_both(file.tables(), await database.tables())
            for table in tables:
                say(await _copied(file, database, table, failpoint))
                failpoint("move.copied")
            await _compare(file, database, tables)
            say(f"compared: {len(tables)} tables are the same on both sides")
            file.refuse_if_in_use()
            await _put_in_place(file, database, clock, failpoint)
            failpoint("move.done")


async def _copied(file: MovedFile, database: Database, table: Table, failpoint: Failpoint) -> str:
    """Copy a table that is not there yet, and say how many rows it has."""
    if not await database.is_empty(table):
        ours, theirs = await _tallies(file, database, table)
        if ours.agrees_with(theirs):
            return f"  {table.name:<13} {ours.rows:>12,} rows, there already"
    rows = await database.copy(table, file.rows(table), failpoint)
    return f"  {table.name:<13} {rows:>12,} rows"


async def _compare(file: MovedFile, database: Database, tables: Sequence[Table]) -> None:
    """Raise NotMoved for the first table that is not the same on both sides."""
    for table in tables:
        ours, theirs = await _tallies(file, database, table)
        if not ours.agrees_with(theirs):
            raise NotMoved(
                f"the table {table.name} is not the same on both sides: the file has {ours.rows:,} rows with"
                f" checksum {ours.checksum:032x}, the database {theirs.rows:,} with {theirs.checksum:032x}."
                f" Nothing was moved, and the file is as it was. Run it again; what is there of the copy is"
                f" in the schema {SCHEMA}"
            )


async def _tallies(file: MovedFile, database: Database, table: Table) -> tuple[Tally, Tally]:
    ours = file.tally(table)
    return ours, await database.tally(table, largest=ours.largest)


async def _put_in_place(
    file: MovedFile, database: Database, clock: Clock, failpoint: Failpoint
) -> None:
    ledger, reading = file.ledger(), clock.read()
    database_us = await database.now_us()  # after this host's: rather less time is believed later
    handover = handed_over(ledger, reading, database_us=database_us) if ledger else None
    await database.put_in_place(file.numbers(), handover, failpoint)
