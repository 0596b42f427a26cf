"""The capacity model: what a load needs of one PostgreSQL and of its workers. Pure arithmetic, no clock, no chance."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.core.duty import wanted
from headgate.store.postgres.engine import BEAT_S
from headgate.store.postgres.pools import CONNECTIONS
from headgate.worker.dispatcher import POLL_US
from headgate.worker.runner import LOOK_S

LOOKS_PER_S = 1 / BEAT_S + 1 / LOOK_S
"""Transactions a second of a worker at rest: a beat, and a look at who is there."""

POLL_S = POLL_US / 1e6
"""How often a lane on duty asks although it was told nothing."""

MOST_CONNECTIONS = sum(CONNECTIONS.values()) + 1
"""What a process opens at most, with the one that listens."""


@dataclass(frozen=True)
class Costs:
    """What one of each costs, in microseconds of a processor; bytes are heap and indexes together."""

    accept_us: float
    id_us: float
    granted_us: float
    refused_us: float
    settle_us: float
    record_us: float
    look_us: float
    ingestion_bytes: float
    id_bytes: float
    batch_bytes: float
    record_bytes: float


@dataclass(frozen=True)
class Load:
    """What is asked: calls of all sources together, and how the ids come in."""

    sources: int
    workers: int
    calls_per_s: float
    ids_per_call: float
    ids_per_ingestion: float
    concurrency: int = 4


@dataclass(frozen=True)
class Needs:
    """What it takes. `transactions` and `processors` are the database's, a second."""

    transactions_per_call: float
    transactions: float
    processors: float
    bytes_per_id: float
    connections: int


def transactions_per_call(load: Load) -> float:
    """A grant and its settle, and a look after each of them by the same lane and by each other lane on duty."""
    return 4.0 + 2 * (on_duty(load) - 1)


def on_duty(load: Load) -> int:
    return min(load.workers, wanted(load.concurrency))


def needs(load: Load, costs: Costs) -> Needs:
    """What a load needs while every source has work."""
    refused = transactions_per_call(load) - 2
    call_us = (
        costs.granted_us
        + costs.settle_us
        + refused * costs.refused_us
        + load.ids_per_call * (costs.record_us + costs.id_us)
        + costs.accept_us * load.ids_per_call / load.ids_per_ingestion
    )
    looks = load.workers * LOOKS_PER_S
    return Needs(
        transactions_per_call=transactions_per_call(load),
        transactions=load.calls_per_s * transactions_per_call(load) + looks,
        processors=(load.calls_per_s * call_us + looks * costs.look_us) / 1e6,
        bytes_per_id=bytes_per_id(load, costs),
        connections=load.workers * MOST_CONNECTIONS,
    )


def at_rest(load: Load, costs: Costs) -> float:
    """Processors of the database that a fleet needs while no source has work."""
    polls = load.sources * on_duty(load) / POLL_S
    return (polls * costs.refused_us + load.workers * LOOKS_PER_S * costs.look_us) / 1e6


def bytes_per_id(load: Load, costs: Costs) -> float:
    """On the database's disk, once an id has its record (whose own length comes on top)."""
    return (
        costs.id_bytes
        + costs.record_bytes
        + costs.batch_bytes / load.ids_per_call
        + costs.ingestion_bytes / load.ids_per_ingestion
    )
