"""Duty: which of many workers ask for the work of a source.

Every worker that asks costs a claim for each slot, whether it is granted or not. So a few are on duty for a source,
and the others leave it to them: the first by highest random weight (Thaler and Ravishankar 1998, "rendezvous
hashing"). Nobody has to agree on anything: who does not know that another is gone, or has come, puts too many or too
few on duty for a moment, and the ledger alone says who may call.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from itertools import islice

AT_LEAST = 3
"""So many are on duty for a source: it stands still only if all of them are lost within MISSED signs of life."""

CALLS_EACH = 32
"""One more is on duty for each so many calls that may be under way at once."""

MISSED = 3
"""Who has missed so many signs of life is not counted: too early does no harm, it is counted again at the next."""

SETTLED_US = 5_000_000
"""Who has just come is not counted by others before so long: it has first to be trusted with the clock."""


def wanted(concurrency: int) -> int:
    """How many workers are on duty for a source that allows so many calls at once."""
    return max(AT_LEAST, 1 + -(-concurrency // CALLS_EACH))


def on_duty(source: str, me: str, others: Iterable[str], *, concurrency: int) -> bool:
    """Whether I am among the first for a source, as far as I know who else would call it."""
    mine, enough = _weight(source, me), wanted(concurrency)
    before_me = (other for other in others if _weight(source, other) > mine)
    return len(list(islice(before_me, enough))) < enough  # most are not, and know it soon


def counts(*, age_us: int, silent_us: int, heard_every_us: int | None) -> bool:
    """Whether others may rely on a worker; `heard_every_us` is None where death is noticed otherwise."""
    heard = heard_every_us is None or silent_us < MISSED * heard_every_us
    return heard and age_us >= SETTLED_US


def _weight(source: str, worker: str) -> tuple[bytes, str]:
    return blake2b(f"{worker} {source}".encode(), digest_size=8).digest(), worker
