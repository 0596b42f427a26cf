"""What a database holds: the tests' own reading of the rows, one text for both engines.

SQLite is read with the standard library from a copy, PostgreSQL in one snapshot.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.postgres import read_at_once


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
          and case when worker is not null then 1 else 0 end + ready
            + case when not_before is not null then 1 else 0 end <> 1""",
    "a charge has another u than its entry": """
        select l.entry from ledger l join ledger_charge c on c.entry = l.entry
          where c.occupied_until is distinct from l.occupied_until or c.cost <> l.cost""",
    "ids without their ingestion": """
        select seq from id_chunk where seq not in (select seq from ingestion)
        union select seq from batch where seq not in (select seq from ingestion)
        union select seq from record where seq not in (select seq from ingestion)""",
}


HELD = """
    select i.ingestion_id, b.number from batch b join ingestion i on i.seq = b.seq
    where b.worker is not null order by b.seq, b.number"""
INGESTIONS = "select seq, ingestion_id, id_count from ingestion order by seq"
IDS = "select seq, ids from id_chunk"
IN_FLIGHT = "select count(*) from ledger where in_flight = 1"
GRANTED = "select coalesce(max(entry), 0) from ledger"
RECORDS = "select count(*) from record"
QUERIES = (*CONTRADICTIONS.values(), CALLERS, HELD, INGESTIONS, IDS, IN_FLIGHT, GRANTED, RECORDS)

Rows = list[tuple[Any, ...]]


def stored(database: Path) -> Stored:
    """Read all of a file. A database without tables holds nothing."""
    with closing(sqlite3.connect(database)) as connection:
        broken = [row[0] for row in connection.execute("pragma integrity_check") if row[0] != "ok"]
        there = connection.execute("select 1 from sqlite_master where name = 'batch'").fetchone()
        return _read(
            lambda queries: [connection.execute(each).fetchall() for each in queries],
            queries=QUERIES if there else (),
            broken=broken,
        )


def stored_in(url: str) -> Stored:
    """Read all of a PostgreSQL database. One without tables holds nothing."""
    [[(there,)]] = read_at_once(url, "select to_regclass('batch') is not null")
    return _read(
        lambda queries: read_at_once(url, *queries), queries=QUERIES if there else (), broken=[]
    )


def _read(
    all_of: Callable[[Sequence[str]], list[Rows]], *, queries: Sequence[str], broken: list[str]
) -> Stored:
    rows = dict(zip(queries, all_of(queries), strict=True))
    if not rows:
        return Stored((), (), 0, 0, (), 0, tuple(broken))
    found = [f"{words}: {row[0]}" for words, query in CONTRADICTIONS.items() for row in rows[query]]
    return Stored(
        ingestions=tuple(name for _, name, _ in rows[INGESTIONS]),
        held=tuple((name, number) for name, number in rows[HELD]),
        in_flight=_one(rows[IN_FLIGHT]),
        granted=_one(rows[GRANTED]),
        callers=tuple(name for (name,) in rows[CALLERS]),
        records=_one(rows[RECORDS]),
        wrong=(*broken, *found, *_lost_ids(rows)),
    )


def _lost_ids(rows: dict[str, Rows]) -> list[str]:
    """Ingestions whose chunks do not hold as many ids as were accepted."""
    counts: Counter[int] = Counter()
    for seq, ids in rows[IDS]:
        counts[seq] += len(json.loads(ids))
    return [
        f"ids are lost: {name}" for seq, name, count in rows[INGESTIONS] if counts[seq] != count
    ]


def _one(rows: Rows) -> int:
    return int(rows[0][0])
