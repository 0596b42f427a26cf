"""What happened, as values. Code states facts; telemetry.py alone turns them into words and numbers."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.core.model import Status


@dataclass(frozen=True, slots=True)
class IngestionAccepted:
    ingestion_id: str
    source: str
    ids: int


@dataclass(frozen=True, slots=True)
class BatchClaimed:
    source: str
    seq: int
    number: int
    attempt: int


@dataclass(frozen=True, slots=True)
class BatchEnded:
    """Every id of a batch has ended; `reason`: of what failed last."""

    source: str
    ingestion_id: str
    number: int
    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class BatchReturned:
    """A batch went back to its place in the line."""

    source: str
    ingestion_id: str
    number: int
    reason: str
    after_us: int


@dataclass(frozen=True, slots=True)
class LeaseLost:
    source: str
    ingestion_id: str
    number: int


@dataclass(frozen=True, slots=True)
class BatchRescued:
    source: str
    ingestion_id: str
    number: int
    worker: str


@dataclass(frozen=True, slots=True)
class SourcePaused:
    source: str
    for_us: int
    reason: str


@dataclass(frozen=True, slots=True)
class SourceClosed:
    source: str
    for_us: int
    reason: str


@dataclass(frozen=True, slots=True)
class SourceOpened:
    source: str


@dataclass(frozen=True, slots=True)
class IngestionCancelled:
    ingestion_id: str
    in_flight: int


@dataclass(frozen=True, slots=True)
class QuotaChanged:
    """A starting process wrote other windows into a quota's row."""

    quota: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RulesChanged:
    """A starting process wrote other rules (cost, concurrency, slack, ...) into a source's row."""

    source: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class TimeUnwatched:
    """The ledger's clock went over to a new epoch, believing the wall clock for this long."""

    believed_us: int


@dataclass(frozen=True, slots=True)
class ClockStepped:
    """The database's clock has stepped by this much; ledger time has not."""

    by_us: int


@dataclass(frozen=True, slots=True)
class LedgerWentBack:
    """A quota's ledger is older than what this process knows to have been committed; every quota is held."""

    quota: str
    by_us: int
    held_us: int
    """For how long the longest one is held."""


@dataclass(frozen=True, slots=True)
class SourceReleased:
    """A person ended what held a source."""

    source: str


@dataclass(frozen=True, slots=True)
class StoreLost:
    """The database has not answered for some seconds; it is asked again and again."""

    reason: str


@dataclass(frozen=True, slots=True)
class StoreBack:
    """The database answers again."""


@dataclass(frozen=True, slots=True)
class GrantsLate:
    """A claim takes so long from here that no call may be made of what it grants; others are let go first."""

    source: str
    took_us: int
    aside_us: int


@dataclass(frozen=True, slots=True)
class LoopFailed:
    """One of our own loops met an error; it goes on."""

    loop: str
    error: BaseException


Fact = (
    IngestionAccepted
    | BatchClaimed
    | BatchEnded
    | BatchReturned
    | LeaseLost
    | BatchRescued
    | SourcePaused
    | SourceClosed
    | SourceOpened
    | IngestionCancelled
    | QuotaChanged
    | RulesChanged
    | TimeUnwatched
    | ClockStepped
    | LedgerWentBack
    | SourceReleased
    | StoreLost
    | StoreBack
    | GrantsLate
    | LoopFailed
)
