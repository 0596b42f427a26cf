"""Bring the tables of a database up to date: numbered migrations, forward only, each in one transaction."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from headgate.core.errors import SourceMisconfigured
from headgate.store.engine import Failpoint
from headgate.store.migrations import numbered

OLDEST = 14

ENCODINGS = ("UTF8", "SQL_ASCII")
"""Those that take every text; the second because it takes anything at all."""

MIGRATIONS = Path(__file__).parent / "migrations"

_VERSIONS = "create table if not exists schema_version (number bigint primary key, applied_at bigint not null)"
MADE_BY_ANOTHER = (
    asyncpg.UniqueViolationError,
    asyncpg.DuplicateObjectError,
    asyncpg.DuplicateTableError,
)
"""Two make the table at the same instant: the later one meets its row, its type or itself, and is content with it."""

_APPLIED = """
insert into schema_version values ($1, (extract(epoch from clock_timestamp()) * 1000000)::bigint)
on conflict (number) do nothing
"""


async def migrate(connection: asyncpg.Connection, failpoint: Failpoint) -> list[int]:
    """Apply what is missing; returns the numbers of what was applied.

    Safe with several processes starting at once: the row of a migration is inserted first, so that whoever comes
    second waits for it. Raises SourceMisconfigured if the database is newer than this code.
    """
    known = numbered(MIGRATIONS)
    applied = await _applied(connection)
    newest = max(applied, default=0)
    if newest > known[-1][0]:
        raise SourceMisconfigured(
            f"the database was made by a newer Headgate (schema {newest}, this one knows {known[-1][0]}):"
            " update Headgate, or name another database in HEADGATE_DATABASE_URL"
        )
    return [
        number
        for number, sql in known
        if number not in applied and await _apply(connection, number, sql, failpoint)
    ]


async def check(connection: asyncpg.Connection, *, pooler: str) -> None:
    """Raises SourceMisconfigured for a database on which the promises cannot be kept.

    `pooler`: what the URL says of one. Behind one of which it says nothing, sessions may be shared with others.
    """
    if not pooler and not await _talks_to_the_server_itself(connection):
        raise SourceMisconfigured(
            "a pooler stands before the database: add pooler=transaction (as PgBouncer's pool_mode says) or"
            " pooler=session to the parameters of its URL, as in postgresql://user@host/name?pooler=transaction"
        )
    if connection.get_server_version().major < OLDEST:
        raise SourceMisconfigured(
            f"PostgreSQL {connection.get_server_version().major} is too old: {OLDEST} or newer is needed"
        )
    if await connection.fetchval("show synchronous_commit") == "off":
        raise SourceMisconfigured(
            "synchronous_commit is off: what was accepted could be lost, and a quota exceeded; turn it on for this"
            " role (alter role ... set synchronous_commit = on)"
        )
    if (encoding := await connection.fetchval("show server_encoding")) not in ENCODINGS:
        raise SourceMisconfigured(
            f"the database's encoding is {encoding}, which cannot hold every id: make one with"
            " create database ... encoding 'UTF8' template template0"
        )


async def _talks_to_the_server_itself(connection: asyncpg.Connection) -> bool:
    """A pooler makes up a process of its own for its clients, and may lend what others have prepared."""
    try:
        pid = await connection.fetchval("select pg_backend_pid()")
    except (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError):
        return False
    return bool(pid == connection.get_server_pid())


async def _applied(connection: asyncpg.Connection) -> set[int]:
    if await connection.fetchval("select to_regclass('schema_version')") is None:
        try:
            await connection.execute(_VERSIONS)
        except MADE_BY_ANOTHER:
            await connection.execute(_VERSIONS)
    return {row[0] for row in await connection.fetch("select number from schema_version")}


async def _apply(
    connection: asyncpg.Connection, number: int, sql: str, failpoint: Failpoint
) -> bool:
    async with connection.transaction():
        if await connection.execute(_APPLIED, number) == "INSERT 0 0":
            return False
        await connection.execute(sql)
        failpoint("migration")
        return True
