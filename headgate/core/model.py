"""The things Headgate speaks of, as values: ingestion, batch, record, source, claim."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from headgate.core.ids import Id, IdRule
from headgate.core.quota import Pacing, Window
from headgate.core.retry import RetryPolicy


class Priority(IntEnum):
    """Smaller goes first; the room between is for priorities to come."""

    HIGH = 10
    MEDIUM = 20
    LOW = 30


class Status(StrEnum):
    """Of an ingestion and of a batch: stored, shown and searched for in these words."""

    YET_TO_START = "yet_to_start"
    TRIGGERED = "triggered"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Ending(StrEnum):
    """How one id ended."""

    FETCHED = "fetched"
    MISSING = "missing"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one ingestion's distinct ids: how many there are, have begun, and ended in which way."""

    distinct: int
    begun: int = 0
    fetched: int = 0
    missing: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def ended(self) -> int:
        return self.fetched + self.missing + self.failed + self.cancelled

    @property
    def left(self) -> int:
        return self.distinct - self.ended


@dataclass(frozen=True, slots=True)
class QuotaSpec:
    """What the configuration says of one quota."""

    name: str
    windows: tuple[Window, ...] = ()
    pacing: Pacing = Pacing.EVEN


@dataclass(frozen=True, slots=True)
class CallRules:
    """What every process obeys when it calls a source; stored in the source's row."""

    concurrency: int = 1
    call_cost: int = 1
    id_cost: int = 0
    batch_size: int = 3
    within_us: int | None = None
    slack_us: int = 1_000_000
    grace_us: int = 5_000_000
    lease_us: int = 15_000_000

    def cost(self, ids: int) -> int:
        """What a call for so many ids is charged with: an upper bound."""
        return self.call_cost + self.id_cost * ids


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source as configured: its own quota, the ones it shares, the rules of its calls, the ids that it takes."""

    name: str
    quota: QuotaSpec
    shares: tuple[str, ...] = ()
    rules: CallRules = field(default_factory=CallRules)
    ids: IdRule = field(default_factory=IdRule)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    was: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A batch taken for a limited time with the grant of one call.

    `ids` are (position, id) pairs still to do in this call. The call may leave `not_before_us` after the store's
    answer, and is useless `slack_us` after `looked_us`: the boot-time clock of the process before it looked at the
    ledger's, by which the grant was dated.
    """

    seq: int
    number: int
    fence: int
    entry: int
    source: str
    ids: tuple[tuple[int, Id], ...]
    attempt: int
    slack_us: int
    lease_us: int
    looked_us: int
    not_before_us: int = 0
    report_after_us: int | None = None
    """After so long without an answer, report that the call was written: that tells when it was counted."""
    probe: bool = False
    """The source is closed, and this call tries whether it answers again."""
    failures: int = 0
    """How many calls of the source in a row had failed or been refused."""


@dataclass(frozen=True, slots=True)
class WorkerCard:
    """A process that calls sources, as it introduces itself."""

    worker: str
    host: str
    pid: int
    version: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordDraft:
    """What a call came to for one id: its position in the list, how it ended, and the record's own bytes."""

    position: int
    ending: Ending
    body: bytes | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CallReport:
    """What the worker saw of a call, as ages in microseconds when it reports.

    `sent` False: nothing left the process. `written_ago_us`: since the write returned. `answered_ago_us`: since
    the first byte of the answer.
    """

    sent: bool
    written_ago_us: int | None = None
    answered_ago_us: int | None = None
