"""A source live: its quotas with what is used of them, its line, its newest calls."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.core.model import CallRules
from headgate.core.plan import Line, median, when
from headgate.core.quota import Quota, Usage
from headgate.core.slicing import batch_id
from headgate.store.commands.entries import in_flight_asked, usages_of
from headgate.store.commands.ledger import quota_from, rules_from
from headgate.store.engine import Transaction, at_length
from headgate.store.queries.now import now_of
from headgate.store.statements import beside

SQL = beside(__file__)

UNKNOWN_LATENCY_US = 200_000
"""What a call is taken to last before one was seen."""


@dataclass(frozen=True, slots=True)
class Queue:
    """What stands in a source's line: ingestions and batches not begun, begun batches, those backing off."""

    ingestions: int
    waiting: int
    ready: int
    backing_off: int


@dataclass(frozen=True, slots=True)
class SourceView:
    """One source at an instant. `now` and other instants are ledger time; add `wall_ahead_us` for wall time."""

    name: str
    rules: CallRules
    quotas: tuple[Quota, ...]
    usages: tuple[tuple[Usage, ...], ...]
    in_flight: int
    queue: Queue
    failures: int
    closed_until: int | None
    closed_reason: str | None
    measured_us: int | None
    now: int
    wall_ahead_us: int

    @property
    def latency_us(self) -> int:
        """How long a call holds its place, as it was measured; before one was answered, as it is assumed."""
        return UNKNOWN_LATENCY_US if self.measured_us is None else self.measured_us

    def line(self, *, ids: int) -> Line:
        """What a call for so many ids waits for."""
        return Line(
            self.quotas,
            self.usages,
            self.rules.concurrency,
            self.in_flight,
            self.latency_us,
            self.rules.within_us,
            self.rules.cost(ids),
            self.closed_until or 0,
        )

    @property
    def next_slot_at(self) -> int | None:
        """The earliest instant at which a call for a whole batch can be granted, if the running ones are answered.

        None: never, since it costs more than a window holds.
        """
        return when(self.line(ids=self.rules.batch_size), 1, now=self.now)


@dataclass(frozen=True, slots=True)
class CallView:
    """One call: granted and written in ledger time; the ingestion only if it is the caller's own."""

    entry: int
    granted_at: int
    written_at: int | None
    in_flight: bool
    ingestion_id: str | None
    batch_id: str | None


@at_length
async def sources(tx: Transaction) -> list[SourceView]:
    """Every source that was ever configured."""
    return [await _view(tx, *row) for row in await tx.all(SQL.sources)]


@at_length
async def source(tx: Transaction, name: str) -> SourceView | None:
    """One source, or None."""
    for row in await tx.all(SQL.sources):
        if row[0] == name:
            return await _view(tx, *row)
    return None


async def calls(tx: Transaction, name: str, *, client: str, most: int = 50) -> list[CallView]:
    """The newest calls of a source, newest first."""
    return [
        CallView(
            entry,
            granted_at,
            written_at,
            bool(flying),
            ingestion_id,
            None if ingestion_id is None else batch_id(ingestion_id, number),
        )
        for entry, granted_at, written_at, flying, number, ingestion_id in await tx.all(
            SQL.calls, name, client, most
        )
    ]


async def _view(
    tx: Transaction,
    name: str,
    rules: str,
    failures: int,
    closed_until: int | None,
    closed_reason: str | None,
) -> SourceView:
    now, wall = await now_of(tx), (await tx.reading()).wall_us
    quotas = tuple(quota_from(*row) for row in await tx.all(SQL.quotas_of, name))
    latencies = await tx.all(SQL.latencies, name)
    in_flight = await tx.one(*in_flight_asked(name))
    assert in_flight is not None
    return SourceView(
        name,
        rules_from(rules),
        quotas,
        tuple([tuple(await usages_of(tx, quota, now)) for quota in quotas]),
        in_flight[0],
        await _queue(tx, name),
        failures,
        closed_until,
        closed_reason,
        median(max(0, latency) for (latency,) in latencies),
        now,
        wall - now,
    )


async def _queue(tx: Transaction, name: str) -> Queue:
    waiting = await tx.one(SQL.waiting, name)
    ready = await tx.one(SQL.ready, name)
    backing_off = await tx.one(SQL.backing_off, name)
    assert waiting is not None
    assert ready is not None
    assert backing_off is not None
    return Queue(waiting[0], waiting[1], ready[0], backing_off[0])
