"""What an onlooker of either demo sees, as values. Pure.

Instants are microseconds since the first submission.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Ids = tuple[int, ...]

WAITING, CALLED, DONE = "yet_to_start", "triggered", "completed"


class Broken(Exception):
    """The run cannot go on, or was not as promised; the message says why."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as GET /status says."""

    ids: Ids
    status: str


@dataclass(frozen=True, slots=True)
class Ingestion:
    """What was handed in, and how GET /status last said that it stands."""

    ingestion_id: str
    ids: Ids
    priority: str
    at_us: int
    status: str = WAITING
    batches: tuple[Batch, ...] = ()

    @property
    def ended(self) -> bool:
        return self.status not in (WAITING, CALLED)


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the source's own journal says: when it came, and what it asked for."""

    at_us: int
    ids: Ids


@dataclass(frozen=True, slots=True)
class Life:
    """One process, from when it was ready until it was killed. `started_us`: before then nobody had any of it."""

    pid: int
    ready_us: int
    killed_us: int | None = None
    started_us: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """A promise, what was seen of it, and whether it was kept; None: that is not known before the end."""

    promise: str
    seen: str
    kept: bool | None = None


@dataclass(frozen=True)
class Scene:
    """All that can be seen at an instant; each demo sees more."""

    now_us: int = 0
    ended: bool = False


def gaps(calls: Sequence[Call]) -> list[int]:
    """From each call to the next."""
    return [later.at_us - sooner.at_us for sooner, later in pairwise(calls)]


def listed(ids: Ids) -> str:
    return ",".join(map(str, ids))


def seconds(span_us: int) -> str:
    """To the millisecond, never rounded up: 4.9999 s must not look like 5."""
    return f"{span_us // 1_000 / 1_000:.3f}"


def tenths(span_us: int) -> str:
    return f"{span_us / 1_000_000:.1f}"
