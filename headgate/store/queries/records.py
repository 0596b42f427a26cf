"""The records of an ingestion, in the order of its list, a page at a time: also while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import msgspec

from headgate.core.ids import Id
from headgate.core.model import Ending
from headgate.core.slicing import chunk_length
from headgate.store.engine import Row, Transaction, at_length
from headgate.store.queries.status import IngestionView
from headgate.store.statements import beside

SQL = beside(__file__)

PAGE_BYTES = 8_388_608
"""A page ends with the record that brings its bodies to so many bytes, however few records it has: 8 MiB."""


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
    """Records from position `first` on, or those with one ending; ids that were cancelled have none.

    At most so many, and no more than bring a page to PAGE_BYTES: one that `is_full` is perhaps not the last.
    """
    rows = await _rows(tx, (of.seq, first, most), ending)
    if not rows:
        return []
    ids = await _ids(tx, of, rows[0][0], rows[-1][0])
    return [
        RecordView(position, ids[position], Ending(ending), body, reason, ended_at)
        for position, ending, body, reason, ended_at in rows
    ]


def is_full(page: Sequence[RecordView], most: int) -> bool:
    """Whether there may be more after this page."""
    return len(page) == most or sum(len(each.body or b"") for each in page) >= PAGE_BYTES


async def _rows(tx: Transaction, where: tuple[int, int, int], ending: Ending | None) -> list[Row]:
    seq, first, most = where
    match ending:
        case None:
            fit = _fitting(await tx.all(SQL.lengths, *where))
            return await tx.all(SQL.records, seq, first, fit)
        case Ending.FETCHED:
            fit = _fitting(await tx.all(SQL.lengths_fetched, *where))
            return await tx.all(SQL.fetched, seq, first, fit)
        case _:  # without bodies
            return await tx.all(SQL.not_fetched, seq, first, most, ending)


def _fitting(lengths: Sequence[Row]) -> int:
    """How many of the records with bodies of these lengths make a page."""
    reached = accumulate(length for (length,) in lengths)
    return next((n for n, total in enumerate(reached, 1) if total >= PAGE_BYTES), len(lengths))


async def _ids(tx: Transaction, of: IngestionView, first: int, last: int) -> dict[int, Id]:
    length = chunk_length(of.size)
    found: dict[int, Id] = {}
    for start, ids in await tx.all(SQL.chunks, of.seq, first // length * length, last):
        found.update(enumerate(msgspec.json.decode(ids), start))
    return found
