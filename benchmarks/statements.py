"""What processes at rest ask of their databases: the statements that the server logs, the transactions it counts."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.figure import Line, note
from tests.postgres import PostgresServer, run_sql

LOGGING = {"log_line_prefix": "%d|"}
"""How the server has to be started: each line of its log names the database."""

_STATEMENT = re.compile(rb"^([^|\n]+)\|LOG:  (?:statement|execute [^:\n]*): ", re.MULTILINE)
"""What was sent as one message counts once, however many semicolons are in it."""

_TRANSACTIONS = """
select datname, xact_commit + xact_rollback from pg_stat_database where datname is not null
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What a database was asked in a minute."""

    statements: float
    transactions: float


def log_statements_of(url: str) -> None:
    """From now on, in sessions that begin from now on."""
    run_sql(url, f"alter database \"{_name(url)}\" set log_statement = 'all'")


def lines(what: str, load: Load) -> list[Line]:
    return [
        note(f"{what}: statements a minute", load.statements, ""),
        note(f"{what}: transactions a minute", load.transactions, ""),
    ]


def at_rest(server: PostgresServer, urls: Sequence[str], seconds: float) -> list[Load]:
    """Wait, and say what each of these databases was asked meanwhile."""
    offset, before, began = server.log.stat().st_size, _transactions(server), time.monotonic()
    time.sleep(seconds)
    minutes, after = (time.monotonic() - began) / 60, _transactions(server)
    with server.log.open("rb") as log:
        log.seek(offset)
        statements = Counter(match.decode() for match in _STATEMENT.findall(log.read()))
    return [
        Load(statements[name] / minutes, (after[name] - before[name]) / minutes)
        for name in map(_name, urls)
    ]


def _transactions(server: PostgresServer) -> dict[str, int]:
    """Asked in another database, so that asking does not count."""
    return {name: int(count) for name, count in run_sql(server.url, _TRANSACTIONS)}


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")
