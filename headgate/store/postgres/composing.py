"""Several statements as one, where a round trip costs more than what is asked.

Reads become arrays of rows, changes become common table expressions. All parts of one statement see the database as it
was before: parts that touch a table which another one changes are kept apart (PostgreSQL, "Data-Modifying Statements
in WITH").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

_PLACEHOLDER = re.compile(r"\$(\d+)")
_TABLE = re.compile(r"\b(?:from|join|into|update) (\w+)")
_PLAIN_INSERT = re.compile(r"insert into (\w+) \(([\w, ]+)\) values \(([$\d, ]+)\)")
_CHANGE = re.compile(r"(?:insert into|update|delete from) (\w+)")


@lru_cache(maxsize=1024)
def changed_table(sql: str) -> str | None:
    """The table that a statement changes; None for one that only reads."""
    match = _CHANGE.match(sql)
    return match[1] if match else None


@lru_cache(maxsize=1024)
def independent(one: str, other: str) -> bool:
    """Whether neither of two changes touches what the other one changes. Rows that are added do not meet."""
    if _only_adds(one) and _only_adds(other):
        return True
    return changed_table(one) not in _tables(other) and changed_table(other) not in _tables(one)


@lru_cache(maxsize=256)
def adds(sql: str) -> tuple[str, tuple[str, ...]] | None:
    """Table and columns of a plain insert of $1 ... $n in their order; None for any other statement."""
    match = _PLAIN_INSERT.fullmatch(sql)
    if match is None:
        return None
    columns = tuple(column.strip() for column in match[2].split(","))
    in_order = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
    return (match[1], columns) if match[3] == in_order else None


@lru_cache(maxsize=256)
def adding_rows(table: str, columns: tuple[str, ...], rows: int) -> str:
    """An insert of so many rows."""
    wide = len(columns)
    each = (
        ", ".join(f"${nth * wide + place}" for place in range(1, wide + 1)) for nth in range(rows)
    )
    return f"insert into {table} ({', '.join(columns)}) values ({'), ('.join(each)})"


@lru_cache(maxsize=1024)
def one_look(parts: tuple[tuple[str, int], ...]) -> str:
    """Reads as one statement. `parts`: each with its number of values; one row comes, with an array for each."""
    return "select " + ", ".join(f"array(select part from ({sql}) part)" for sql in _placed(parts))


@lru_cache(maxsize=1024)
def one_change(parts: tuple[tuple[str, int], ...]) -> str:
    """Changes as one statement: one row comes, with an array for each of what it returned, or of nulls."""
    named = ", ".join(f"part{nth} as ({_telling(sql)})" for nth, sql in enumerate(_placed(parts)))
    arrays = (f"array(select part from part{nth} part)" for nth in range(len(parts)))
    return f"with {named} select {', '.join(arrays)}"


def _placed(parts: tuple[tuple[str, int], ...]) -> Iterator[str]:
    """Each part with its placeholders after those of the parts before."""
    before = 0
    for sql, values in parts:
        yield _moved(sql, before)
        before += values


def _moved(sql: str, by: int) -> str:
    return _PLACEHOLDER.sub(lambda place: f"${by + int(place[1])}", sql)


def _telling(sql: str) -> str:
    return sql if " returning " in sql else f"{sql} returning null"


def _only_adds(sql: str) -> bool:
    return sql.startswith("insert into") and " values (" in sql and " on conflict" not in sql


def _tables(sql: str) -> frozenset[str]:
    return frozenset(_TABLE.findall(sql))
