"""What a database holds, read with the standard library's SQLite from a copy: the tests' own reading of the rows."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stored:
    """What is there. `held`: batches in the hands of a worker, as (ingestion id, number); `granted`: calls ever;
    `callers`: workers that made the calls still known, in the order of their last; `wrong`: rows that contradict
    each other.
    """

    ingestions: tuple[str, ...]
    held: tuple[tuple[str, int], ...]
    in_flight: int
    granted: int
    callers: tuple[str, ...]
    records: int
    wrong: tuple[str, ...]


CALLERS = "select worker from ledger group by worker order by max(entry)"
CONTRADICTIONS = {
    "counts are not the rows": """
        select i.ingestion_id from ingestion i where
          i.fetched <> (select count(*) from record r where r.seq = i.seq and r.ending = 'fetched')
          or i.missing <> (select count(*) from record r where r.seq = i.seq and r.ending = 'missing')
          or i.failed <> (select count(*) from record r where r.seq = i.seq and r.ending = 'failed')
          or i.fetched + i.missing + i.failed + i.cancelled > i.distinct_count""",
    "begun is not the batches": """
        select i.ingestion_id from ingestion i where i.cancelled_at is null and i.next_batch <>
          (select count(*) from batch b where b.seq = i.seq)""",
    "ended and not ended": """
        select ingestion_id from ingestion where (ended_at is not null) <>
          (fetched + missing + failed + cancelled = distinct_count)""",
    "an ended batch has something to do, or is held": """
        select seq || '/' || number from batch where status <> 'triggered'
          and (left_count <> 0 or worker is not null or ready <> 0 or not_before is not null)""",
    "a batch is neither held nor in the line": """
        select seq || '/' || number from batch where status = 'triggered'
          and (worker is not null) + (ready = 1) + (not_before is not null) <> 1""",
    "a charge has another u than its entry": """
        select l.entry from ledger l join ledger_charge c on c.entry = l.entry
          where c.occupied_until is not l.occupied_until or c.cost <> l.cost""",
    "ids without their ingestion": """
        select seq from id_chunk where seq not in (select seq from ingestion)
        union select seq from batch where seq not in (select seq from ingestion)
        union select seq from record where seq not in (select seq from ingestion)""",
}


def stored(database: Path) -> Stored:
    """Read all of it. A database without tables holds nothing."""
    with closing(sqlite3.connect(database)) as connection:
        wrong = [row[0] for row in connection.execute("pragma integrity_check") if row[0] != "ok"]
        if not connection.execute("select 1 from sqlite_master where name = 'batch'").fetchone():
            return Stored((), (), 0, 0, (), 0, tuple(wrong))
        for words, query in CONTRADICTIONS.items():
            wrong += [f"{words}: {row[0]}" for row in connection.execute(query)]
        wrong += _lost_ids(connection)
        held = connection.execute(
            "select i.ingestion_id, b.number from batch b join ingestion i on i.seq = b.seq"
            " where b.worker is not null"
        ).fetchall()
        return Stored(
            tuple(row[0] for row in connection.execute("select ingestion_id from ingestion")),
            tuple(held),
            _one(connection, "select count(*) from ledger where in_flight = 1"),
            _one(connection, "select coalesce(max(entry), 0) from ledger"),
            tuple(row[0] for row in connection.execute(CALLERS)),
            _one(connection, "select count(*) from record"),
            tuple(wrong),
        )


def _lost_ids(connection: sqlite3.Connection) -> list[str]:
    """Ingestions whose chunks do not hold as many ids as were accepted."""
    counts: Counter[int] = Counter()
    for seq, ids in connection.execute("select seq, ids from id_chunk"):
        counts[seq] += len(json.loads(ids))
    rows = connection.execute("select seq, ingestion_id, id_count from ingestion")
    return [f"ids are lost: {name}" for seq, name, count in rows if counts[seq] != count]


def _one(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
