"""The legal moves of a batch, and an ingestion's status from its counts. Everything about statuses is here.

A batch once begun stays `triggered` until it ends: that it waits for a retry, or that a worker holds it, are
columns of its row and not statuses. An ingestion's status is computed and never stored.
"""

from __future__ import annotations

from headgate.core.errors import Conflict
from headgate.core.model import Counts, Status

MOVES: dict[Status, frozenset[Status]] = {
    Status.YET_TO_START: frozenset({Status.TRIGGERED, Status.CANCELLED}),
    Status.TRIGGERED: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}

ASIDE = 2**61
"""Added to the instant at which a batch was set aside: it waits until its source answers, or until its turn to be
the probe comes, the longest aside first. Later than any instant of the ledger, earlier than FOREVER."""


def moved(before: Status, after: Status) -> Status:
    """Return `after` if a batch may go there from `before`.

    Raises Conflict otherwise.
    """
    if after not in MOVES[before]:
        raise Conflict(f"a batch that is {before} cannot become {after}")
    return after


def ended_as(*, cancelled: int, failed: int) -> Status:
    """How a batch or an ingestion of which nothing is left ended: cancelled before failed before completed."""
    if cancelled:
        return Status.CANCELLED
    return Status.FAILED if failed else Status.COMPLETED


def status_of(counts: Counts, *, cancel_asked: bool) -> Status:
    """The status of an ingestion with these counts."""
    if counts.left:
        return Status.TRIGGERED if counts.begun else Status.YET_TO_START
    return ended_as(cancelled=cancel_asked or counts.cancelled, failed=counts.failed)
