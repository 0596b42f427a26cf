"""The records of an ingestion, in the order of its list, a page at a time: also while it runs."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from headgate.core.ids import Id
from headgate.core.model import Ending
from headgate.core.slicing import chunk_length
from headgate.store.engine import Row, Transaction, at_length
from headgate.store.queries.status import IngestionView
from headgate.store.statements import beside

SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class RecordView:
    """What came of one distinct id; `body` is the record's own bytes, `ended_at` wall time."""

    position: int
    id: Id
    ending: Ending
    body: bytes | None
    reason: str | None
    ended_at: int


@at_length
async def records(
    tx: Transaction,
    of: IngestionView,
    *,
    first: int = 0,
    most: int = 1_000,
    ending: Ending | None = None,
) -> list[RecordView]:
    """Records from position `first` on, or those with one ending; ids that were cancelled have none."""
    rows = await _rows(tx, (of.seq, first, most), ending)
    if not rows:
        return []
    ids = await _ids(tx, of, rows[0][0], rows[-1][0])
    return [
        RecordView(position, ids[position], Ending(ending), body, reason, ended_at)
        for position, ending, body, reason, ended_at in rows
    ]


async def _rows(tx: Transaction, where: tuple[int, int, int], ending: Ending | None) -> list[Row]:
    match ending:
        case None:
            return await tx.all(SQL.records, *where)
        case Ending.FETCHED:
            return await tx.all(SQL.fetched, *where)
        case _:
            return await tx.all(SQL.not_fetched, *where, ending)


async def _ids(tx: Transaction, of: IngestionView, first: int, last: int) -> dict[int, Id]:
    length = chunk_length(of.size)
    found: dict[int, Id] = {}
    for start, ids in await tx.all(SQL.chunks, of.seq, first // length * length, last):
        found.update(enumerate(msgspec.json.decode(ids), start))
    return found
