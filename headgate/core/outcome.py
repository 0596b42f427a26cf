"""What one call came to, as values. A source returns one of these; it never raises for what the other side does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: each record's own bytes by position; ids known to be missing; ids that failed, with the reason.

    Positions asked for and mentioned nowhere are still to do.
    """

    records: Mapping[int, bytes] = field(default_factory=dict)
    missing: frozenset[int] = frozenset()
    failed: Mapping[int, str] = field(default_factory=dict)
    nothing_left_us: int | None = None
    """The source's own hint: its limit is used up for so long."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """The source said *not now*; `after_us` None: it did not say for how long."""

    after_us: int | None = None
    reason: str = "throttled"


@dataclass(frozen=True, slots=True)
class Failed:
    """Network, time-out, server error or an answer that makes no sense: worth another try."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The source will not answer this request: some id in it is bad, or there is no such thing (`missing`)."""

    reason: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The source does not let us in: nothing about the ids."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unsent:
    """The call was given up before a byte left: too late, or the process is stopping."""

    reason: str = "given up before it was sent"


Outcome = Fetched | Throttled | Failed | Rejected | Refused | Unsent
