"""
Every counter and every column that says something twice, worked out anew from the rows and compared.

Deliberately slow and simple, and it shares nothing with the commands: it reads all tables and counts in Python.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headgate.store.engine import Engine, Transaction
from tests.contract.store.bench import select

_TABLES = ("ingestion", "id_chunk", "batch", "record", "ledger", "ledger_charge")
_COLUMNS = {
    "ingestion": "seq size id_count distinct_count batch_count next_batch waiting begun fetched missing failed"
    " cancelled ended_at cancelled_at",
    "id_chunk": "seq start distinct_count repeats ids",
    "batch": "seq number source status ready not_before fence worker lease_until todo left_count failed ended_at",
    "record": "seq position ending",
    "ledger": "entry source seq number fence occupied_until in_flight",
    "ledger_charge": "entry quota occupied_until",
}


async def assert_rows_agree(engine: Engine) -> None:
    """Counts equal rows (I4), each id ended at most once, and what is in flight is what is held."""
    wrong = await engine.read(disagreements)

    assert not wrong, "\n".join(wrong)


async def disagreements(tx: Transaction) -> list[str]:
    """Everything that does not fit, in words."""
    tables = {table: await _table(tx, table) for table in _TABLES}
    found: list[str] = []
    by_seq = {table: _by_seq(tables[table]) for table in ("id_chunk", "batch", "record")}
    for row in tables["ingestion"]:
        found += _Listed.of(row, **{name: rows[row.seq] for name, rows in by_seq.items()}).wrong()
    return [*found, *_wrong_ledger(tables)]


class _Row(dict[str, Any]):
    def __getattr__(self, name: str) -> Any:
        return self[name]


async def _table(tx: Transaction, table: str) -> list[_Row]:
    names = _COLUMNS[table].split()
    rows = await select(tx, f"select {', '.join(names)} from {table}")
    return [_Row(zip(names, row, strict=True)) for row in rows]


def _by_seq(rows: list[_Row]) -> dict[int, list[_Row]]:
    grouped: dict[int, list[_Row]] = defaultdict(list)
    for row in rows:
        grouped[row.seq].append(row)
    return grouped


@dataclass
class _Listed:
    """One ingestion with the positions at which an id stands for the first time, by batch."""

    row: _Row
    batches: dict[int, _Row]
    endings: dict[int, str]
    ids: list[Any]
    chunks: list[_Row]
    firsts: dict[int, set[int]]

    @classmethod
    def of(
        cls, row: _Row, *, id_chunk: list[_Row], batch: list[_Row], record: list[_Row]
    ) -> _Listed:
        chunks = sorted(id_chunk, key=lambda chunk: chunk.start)
        ids = [value for chunk in chunks for value in json.loads(chunk.ids)]
        firsts: dict[int, set[int]] = defaultdict(set)
        seen = set()
        for position, value in enumerate(ids):
            if value not in seen:
                firsts[position // row.size].add(position)
                seen.add(value)
        endings = {each.position: each.ending for each in record}
        return cls(row, {each.number: each for each in batch}, endings, ids, chunks, firsts)

    def wrong(self) -> Iterator[str]:
        for what, said, counted in (*self._list(), *self._counts(), *self._cursor()):
            if said != counted:
                yield f"ingestion {self.row.seq}: {what} says {said}, its rows say {counted}"
        for number, batch in self.batches.items():
            for what, said, counted in self._batch(batch, self.firsts[number]):
                if said != counted:
                    yield f"batch {self.row.seq}.{number}: {what} says {said}, its rows say {counted}"

    def _list(self) -> Iterator[tuple[str, Any, Any]]:
        yield "id_count", self.row.id_count, len(self.ids)
        yield "distinct_count", self.row.distinct_count, len(set(self.ids))
        yield (
            "batch_count",
            self.row.batch_count,
            (len(self.ids) + self.row.size - 1) // self.row.size,
        )
        first: dict[Any, int] = {}
        for position, value in enumerate(self.ids):
            first.setdefault(value, position)
        for chunk in self.chunks:
            repeats = {int(k): v for k, v in json.loads(chunk.repeats or "{}").items()}
            here = range(chunk.start, chunk.start + len(json.loads(chunk.ids)))
            known = {p - chunk.start: first[self.ids[p]] for p in here if first[self.ids[p]] != p}
            yield f"repeats of chunk {chunk.start}", repeats, known
            yield "distinct_count of a chunk", chunk.distinct_count, len(here) - len(known)

    def _all(self) -> set[int]:
        return set().union(*self.firsts.values())

    def _counts(self) -> Iterator[tuple[str, Any, Any]]:
        row, endings = self.row, list(self.endings.values())
        for ending in ("fetched", "missing", "failed"):
            yield ending, row[ending], endings.count(ending)
        yield "records of first positions", set(self.endings) <= self._all(), True
        yield "endings of records", set(endings) <= {"fetched", "missing", "failed"}, True
        open_ids = sum(len(_todo(batch)) for batch in self.batches.values())
        unbegun = sum(len(firsts) for n, firsts in self.firsts.items() if n not in self.batches)
        cancelled = row.cancelled_at is not None
        dropped = row.distinct_count - len(endings) - open_ids - (0 if cancelled else unbegun)
        yield "cancelled", row.cancelled, dropped
        yield "cancelled without being asked", bool(row.cancelled) and not cancelled, False
        yield "begun", row.begun, row.distinct_count - (0 if cancelled else unbegun)
        ended = len(endings) + row.cancelled == row.distinct_count
        yield "ended_at", row.ended_at is not None, ended

    def _cursor(self) -> Iterator[tuple[str, Any, Any]]:
        row = self.row
        unbegun = [n for n, firsts in self.firsts.items() if firsts and n not in self.batches]
        yield "waiting", row.waiting, int(bool(unbegun) and row.cancelled_at is None)
        yield "next_batch", row.next_batch, min(unbegun, default=row.batch_count)
        in_line = [b for b in self.batches.values() if b.status == "triggered" and not b.worker]
        yield "nothing in line once cancelled", bool(in_line and row.cancelled_at), False

    def _batch(self, batch: _Row, firsts: set[int]) -> Iterator[tuple[str, Any, Any]]:
        todo = _todo(batch)
        done = {p: ending for p, ending in self.endings.items() if p in firsts}
        yield "left_count", batch.left_count, len(todo)
        yield "todo without repeats", len(todo), len(set(todo))
        yield "failed", batch.failed, list(done.values()).count("failed")
        yield "lease_until", batch.lease_until is not None, batch.worker is not None
        places = [batch.ready == 1, batch.not_before is not None, batch.worker is not None]
        if batch.status == "triggered":
            yield "todo", sorted(todo), sorted(firsts - set(done))
            yield "ready, waiting or held", sum(places), 1
            yield "ended_at", batch.ended_at, None
            yield "something left", bool(todo), True
            return
        yield "ready, waiting or held", sum(places), 0
        yield "ended_at", batch.ended_at is not None, True
        yield "todo", todo, []
        ended = "cancelled" if set(done) != firsts else "completed"
        yield "status", batch.status, "failed" if batch.failed and ended == "completed" else ended


def _todo(batch: _Row) -> list[int]:
    return [position for group in json.loads(batch.todo or "[]") for position in group]


def _wrong_ledger(tables: dict[str, list[_Row]]) -> Iterator[str]:
    flying = [entry for entry in tables["ledger"] if entry.in_flight]
    calls = sorted((e.source, e.seq, e.number, e.fence) for e in flying)
    held = sorted((b.source, b.seq, b.number, b.fence) for b in tables["batch"] if b.worker)
    if calls != held:
        yield f"in flight are {calls}, held are {held}"
    until = {entry.entry: entry.occupied_until for entry in tables["ledger"]}
    for entry in tables["ledger"]:
        if entry.occupied_until is None and not entry.in_flight:
            yield f"entry {entry.entry} is over, and has no u"
    for charge in tables["ledger_charge"]:
        if (charge.occupied_until is None) != (until.get(charge.entry, 0) is None):
            yield f"the charge of entry {charge.entry} to {charge.quota} has u {charge.occupied_until}"
