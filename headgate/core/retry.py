"""What becomes of a batch after a call: outcome in, step out. Chance and counts are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from headgate.core.outcome import (
    Failed,
    Fetched,
    Outcome,
    Refused,
    Rejected,
    Throttled,
    Unsent,
)

MAX_PAUSE_US = 86_400_000_000
"""The longest pause that a source's word can bring about: a day."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a failed call is tried again, and when a source that keeps failing is left alone."""

    max_attempts: int = 5
    base_us: int = 1_000_000
    max_us: int = 300_000_000
    absent: bool = False
    """Whether an id that the answer does not mention is fetched again rather than known to be missing."""
    circuit_after: int = 5
    probe_us: int = 10_000_000
    probe_max_us: int = 300_000_000

    def delay_us(self, attempt: int, jitter: float) -> int:
        """Wait anything up to base * 2^(attempt-1), at most max: full jitter, `jitter` in [0, 1)."""
        return int(jitter * min(self.max_us, self.base_us << min(attempt - 1, 40)))

    def spares(self, failures: int) -> bool:
        """Whether a probe that fails uses up no attempt: only until probes are as far apart as they get.

        An outage must not bury a queue; what is left when nothing else is there to be probed must end all the same.
        """
        return self.probe_delay_us(failures) < self.probe_max_us

    def probe_delay_us(self, failures: int) -> int:
        """How long a closed or broken source is left alone after so many failures in a row."""
        beyond = max(0, failures - self.circuit_after)
        return min(self.probe_max_us, self.probe_us << min(beyond, 40))


@dataclass(frozen=True, slots=True)
class Complete:
    """Store what came; what the answer left open is to be done at once, or ends as missing."""

    fetched: Fetched


@dataclass(frozen=True, slots=True)
class Retry:
    """Try the same ids again after a while; an attempt is used up."""

    after_us: int
    reason: str
    fetched: Fetched | None = None


@dataclass(frozen=True, slots=True)
class Postpone:
    """Give the batch back with its attempt unburnt and pause the source's quota."""

    after_us: int
    reason: str
    hinted: bool = True
    """Whether the source said for how long; if not, each further time in a row waits longer."""


@dataclass(frozen=True, slots=True)
class Split:
    """Fetch the two halves by calls of their own; no attempt is used up."""

    reason: str


@dataclass(frozen=True, slots=True)
class Bury:
    """The ids of this call end: failed, or missing where the source says that there is no such thing."""

    reason: str
    missing: bool = False
    fetched: Fetched | None = None
    answered: bool = False
    """The source did answer: it is the ids that are wrong."""


@dataclass(frozen=True, slots=True)
class Close:
    """Give the batch back with its attempt unburnt and close the source but for one probe at a time."""

    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """Give the batch back at once, as if it had not been claimed; the grant is spent."""

    reason: str


Step = Complete | Retry | Postpone | Split | Bury | Close | Release


def next_step(
    outcome: Outcome,
    *,
    asked: int,
    attempt: int,
    policy: RetryPolicy,
    jitter: float,
    probe: bool = False,
    failures: int = 0,
) -> Step:
    """Say what becomes of a batch after one call for `asked` ids, the `attempt`-th from 1.

    A `probe` was made while its source was closed after so many `failures` in a row; it may burn no attempt.
    """
    match outcome:
        case Fetched():
            return _after_answer(
                outcome, asked=asked, attempt=attempt, policy=policy, jitter=jitter
            )
        case Throttled(after_us, reason):
            pause = policy.delay_us(attempt, jitter) if after_us is None else after_us
            return Postpone(min(pause, MAX_PAUSE_US), reason, hinted=after_us is not None)
        case Rejected(reason) if asked > 1:
            return Split(reason)
        case Rejected(reason, missing):
            return Bury(reason, missing, answered=True)
        case Refused(reason) if attempt >= policy.max_attempts and not probe:
            return Bury(reason)  # so often refused while others are let in: it is the ids
        case Refused(reason):
            return Close(reason)
        case Failed(reason) if attempt >= policy.max_attempts and not (
            probe and policy.spares(failures)
        ):
            return Bury(reason)
        case Failed(reason):
            return Retry(policy.delay_us(attempt, jitter), reason)
        case Unsent(reason):
            return Release(reason)
        case _:
            assert_never(outcome)


def _after_answer(
    fetched: Fetched, *, asked: int, attempt: int, policy: RetryPolicy, jitter: float
) -> Step:
    mentioned = len(fetched.records.keys() | fetched.missing | fetched.failed.keys())
    if mentioned >= asked or not policy.absent:
        return Complete(fetched)
    reason = f"{asked - mentioned} of {asked} ids were not in the answer"
    if attempt >= policy.max_attempts:
        return Bury(reason, missing=True, fetched=fetched, answered=True)
    return Retry(policy.delay_us(attempt, jitter), reason, fetched)
