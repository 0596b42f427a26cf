"""The database that a file is moved to. The copy stands in a schema of its own until it is verified.

So nobody who starts meanwhile can call anything by half a ledger, and one transaction puts the copy in its place. The
schema stays behind with one row, which says what was moved.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from headgate.store.engine import Failpoint, Row
from headgate.store.migrations import numbered
from headgate.store.move.handover import Handover
from headgate.store.move.tables import NotMoved, Table, Tally
from headgate.store.postgres.errors import for_caller
from headgate.store.postgres.pools import Pools
from headgate.store.postgres.schema import MIGRATIONS, check, migrate
from headgate.store.postgres.url import PostgresUrl

SCHEMA = "headgate_move"

COPY_S = 7 * 86_400.0
"""How long one table may take."""

PAGE_BYTES = 8_000_000
PAGE_ROWS = 1_000
"""How much is read back at once, at most."""

_BEGIN = "set local statement_timeout = 0; set local lock_timeout = '10s'; set local synchronous_commit = on"

_MARK = f"""
create schema if not exists {SCHEMA};
create table if not exists {SCHEMA}.move (file text primary key, begun_at timestamptz not null, done_at timestamptz)
"""

_COLUMNS = """
select c.relname, a.attname, format_type(a.atttypid, null), coalesce(array_position(i.indkey::int2[], a.attnum), -1)
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_index i on i.indrelid = c.oid and i.indisprimary
where c.relnamespace = to_regnamespace($1) and c.relkind = 'r' order by c.relname, a.attnum
"""

_KINDS = {"bigint": "integer", "bytea": "blob"}

_NOT_OURS_ALONE = """
select relname from pg_class where relnamespace = to_regnamespace($1) and relname = any($2)
and (relacl is not null or not pg_has_role(relowner, 'usage'))
"""

_NUMBERED = """
select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = to_regnamespace($1) and c.relkind = 'r' and a.attidentity <> ''
"""


@asynccontextmanager
async def connected(url: PostgresUrl) -> AsyncIterator[Database]:
    """The database, for as long as the context lasts. What goes wrong with it is raised in words."""
    try:
        connection = await Pools(url.dsn, prepared_statements=url.prepared_statements).connect()
    except ValueError:  # it may show a piece of the URL, and that may be of the password
        raise NotMoved(
            "the URL of the database cannot be read: write %2F for / and so on"
        ) from None
    except Exception as error:
        raise for_caller(error) from None
    try:
        await check(connection, pooler=url.pooler)
        yield Database(connection, await _home(connection))
    except Exception as error:
        told = for_caller(error)
        if told is error:
            raise
        raise told from error
    finally:
        await connection.close(timeout=5)


class Database:
    """The copy as it grows, and the place that it is put in."""

    def __init__(self, connection: Any, home: str) -> None:
        """`home`: the schema in which Headgate has its tables, quoted."""
        self._connection = connection
        self._home = home

    async def done_at(self, file: str) -> datetime | None:
        """When the file was moved here. Raises NotMoved if another one was, or is being moved."""
        if await self._connection.fetchval("select to_regclass($1)", f"{SCHEMA}.move") is None:
            return None
        row = await self._connection.fetchrow(f"select file, done_at from {SCHEMA}.move")
        if row is None:
            return None
        if row[0] != file:
            raise NotMoved(
                f"the database holds a move of {row[0]}: take an empty database, or say"
                f" `drop schema {SCHEMA} cascade` there to forget that move"
            )
        done_at: datetime | None = row[1]
        return done_at

    async def prepare(self, file: str) -> None:
        """Make the tables that are copied into. Raises NotMoved if the database is not free for them."""
        async with self._transaction():
            await self._connection.execute(_MARK)
            await self._connection.execute(
                f"insert into {SCHEMA}.move values ($1, now(), null) on conflict do nothing", file
            )
            await self._connection.execute(f"set local search_path to {SCHEMA}")
            await migrate(self._connection, lambda _: None)
        async with self._transaction():
            await self._refuse_what_is_there()

    async def tables(self) -> dict[str, Table]:
        """Every table of the copy, by name."""
        found = await self._tables(SCHEMA)
        del found["move"]
        return found

    async def copy(self, table: Table, rows: Iterator[Row], failpoint: Failpoint) -> int:
        """Fill a table anew, all of it or nothing; returns how many rows it has."""
        async with self._transaction():
            await self._connection.execute(f"truncate {_name(SCHEMA, table.name)}")
            status = await self._connection.copy_records_to_table(
                table.name,
                schema_name=SCHEMA,
                columns=list(table.columns),
                records=rows,
                timeout=COPY_S,
            )
            failpoint("move.copying")
            await self._connection.execute(f"analyze {_name(SCHEMA, table.name)}", timeout=COPY_S)
        return int(status.rpartition(" ")[2])

    async def is_empty(self, table: Table) -> bool:
        return not await self._has_rows(SCHEMA, table.name)

    async def tally(self, table: Table, *, largest: int) -> Tally:
        """What a table is compared by, read back; `largest`: the size that a row may well have."""
        columns = ", ".join(f'"{column}"' for column in table.columns)
        tally = Tally()
        async with self._transaction():
            found = self._connection.cursor(
                f"select {columns} from {_name(SCHEMA, table.name)}",
                prefetch=max(1, min(PAGE_ROWS, PAGE_BYTES // max(1, largest))),
            )
            async for row in found:
                tally.add(tuple(row))
        return tally

    async def now_us(self) -> int:
        """The database's clock."""
        now: int = await self._connection.fetchval(
            "select cast(extract(epoch from clock_timestamp()) * 1000000 as bigint)"
        )
        return now

    async def put_in_place(
        self, numbers: Mapping[str, int], handover: Handover | None, failpoint: Failpoint
    ) -> None:
        """Make the copy the database's own, with its clock, in one transaction. Raises NotMoved as prepare does."""
        async with self._transaction():
            there = await self._refuse_what_is_there(lock=True)
            for name in there:
                await self._connection.execute(f"drop table {_name(self._home, name)}")
            await self._set_numbers(numbers)
            if handover is not None:
                await self._hand_over(handover)
            for name in await self.tables():
                await self._connection.execute(
                    f"alter table {_name(SCHEMA, name)} set schema {self._home}"
                )
            await self._connection.execute(f"update {SCHEMA}.move set done_at = now()")
            failpoint("move.before_commit")

    async def _refuse_what_is_there(self, *, lock: bool = False) -> list[str]:
        """The tables that are in the copy's place, all of them empty and ours. Raises NotMoved for any other."""
        ours, theirs = await self.tables(), await self._tables(self._home)
        there = [name for name in ours if name in theirs]
        if not await self._connection.fetchval(
            "select has_schema_privilege(to_regnamespace($1), 'create')", self._home
        ):
            raise NotMoved(f"the role may not make tables in the schema {self._home}")
        if lock and there:
            names = ", ".join(_name(self._home, name) for name in there)
            await self._connection.execute(f"lock table {names} in access exclusive mode")
        for name in there:
            if ours[name] != theirs[name]:
                raise NotMoved(f"the database has a table {name} that is not of this Headgate")
            if name != "schema_version" and await self._has_rows(self._home, name):
                raise NotMoved(
                    f"the database is not empty: {name} has rows. Take one that nothing has been started on"
                )
        await self._refuse_rights(there)
        if "schema_version" in there:
            await self._refuse_newer()
        return there

    async def _refuse_rights(self, names: Sequence[str]) -> None:
        found = await self._connection.fetch(_NOT_OURS_ALONE, self._home, names)
        if found:
            raise NotMoved(
                f"the empty tables that are there ({found[0][0]} is one) belong to another role, or have rights"
                " of their own, which would be lost: drop them, and grant rights after the move"
            )

    async def _refuse_newer(self) -> None:
        newest = await self._connection.fetchval(
            f"select max(number) from {_name(self._home, 'schema_version')}"
        )
        if (newest or 0) > numbered(MIGRATIONS)[-1][0]:
            raise NotMoved("the database was made by a newer Headgate: update this one")

    async def _set_numbers(self, numbers: Mapping[str, int]) -> None:
        """The next number is larger than any that the file has ever given."""
        for table, column in await self._connection.fetch(_NUMBERED, SCHEMA):
            if number := numbers.get(table):
                await self._connection.execute(
                    "select setval(pg_get_serial_sequence($1, $2), $3)",
                    _name(SCHEMA, table),
                    column,
                    number,
                )

    async def _hand_over(self, handover: Handover) -> None:
        quota = f"{SCHEMA}.quota"
        await self._connection.execute(
            f"insert into {SCHEMA}.clock (single, epoch, offset_us) values (1, $1, $2)",
            handover.offset.epoch,
            handover.offset.offset_us,
        )
        if handover.shown_at is None:
            await self._connection.execute(
                f"update {quota} set last_wall = last_wall + $1", handover.ahead_us
            )
        else:
            await self._connection.execute(
                f"update {quota} set last_at = $1, last_wall = $2",
                handover.shown_at,
                handover.database_us,
            )

    async def _tables(self, schema: str) -> dict[str, Table]:
        columns: dict[str, dict[str, str]] = {}
        keys: dict[str, list[tuple[int, str]]] = {}
        for table, column, kind, place in await self._connection.fetch(_COLUMNS, schema):
            columns.setdefault(table, {})[column] = _KINDS.get(kind, kind)
            keys.setdefault(table, [])
            if place >= 0:
                keys[table].append((place, column))
        return {
            name: Table(name, found, [column for _, column in sorted(keys[name])])
            for name, found in columns.items()
        }

    async def _has_rows(self, schema: str, table: str) -> bool:
        found: bool = await self._connection.fetchval(
            f"select exists (select 1 from {_name(schema, table)})"
        )
        return found

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        async with self._connection.transaction():
            await self._connection.execute(_BEGIN)
            yield


async def _home(connection: Any) -> str:
    home: str | None = await connection.fetchval("select quote_ident(current_schema())")
    if home is None:
        raise NotMoved("the database has no schema to make tables in: see its search_path")
    return home


def _name(schema: str, table: str) -> str:
    return f'{schema}."{table}"'
