"""The quota rule: may a call be granted now, and if not, when.

Theory (docs/quota.md has the proof). An entry i of the ledger is granted at g, counted by the source at an
instant a that we cannot see, and *occupied until* u, an instant that is certainly not before a. While the
answer is out, u is unknown and the entry occupies every window. A call of cost c is granted at `now` only if

    for every window (N per W) of every quota:   cost of {u unknown or u > now - W(1 + rho)} + c <= N

Then no interval of length W on the source's clock ever holds more than N, wherever the interval starts.
The pace spreads the grants; it promises nothing. All instants are ledger time in whole microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

RHO_PPM = 1_000
"""How far two clocks' rates may differ: 0.1 %, in parts per million."""

MAX_SPAN_US = 31 * 86_400_000_000
"""The longest window that a quota may have: 31 days."""

_FOREVER = 2**63

FORGOTTEN_SPAN_US = 86_400_000_000
"""Of a quota whose ledger has forgotten calls, windows longer than a day are held like one of a day."""

MAX_EXACT = 1_000
"""Up to this many calls a window counts entries one by one; beyond it, in buckets of a thousandth of its span."""


class Pacing(StrEnum):
    """Whether grants are spread over the shortest window or given out as soon as the windows allow."""

    EVEN = "even"
    BURST = "burst"


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` (in cost) within any interval of `span_us`."""

    limit: int
    span_us: int
    margin_us: int = 0
    """How much longer it is taken, since a step of the clock may have gone unseen for so long."""

    @property
    def held_us(self) -> int:
        """How long an entry occupies this window after its u: W(1 + rho), rounded up, and the margin."""
        return stretched(self.span_us) + self.margin_us

    @property
    def bucket_us(self) -> int:
        """The width in which this window counts; 0 means entry by entry."""
        return 0 if self.limit <= MAX_EXACT else max(1, self.span_us // 1_000)


@dataclass(frozen=True, slots=True)
class Usage:
    """What one window is charged with: cost whose u is unknown, and (u, cost) of the rest, in any order."""

    out: int = 0
    occupied: Sequence[tuple[int, int]] = ()

    def used(self, window: Window, *, now: int) -> int:
        """How much of a window's limit is taken at an instant."""
        horizon = now - window.held_us
        return self.out + sum(cost for until, cost in self.occupied if until > horizon)


@dataclass(frozen=True, slots=True)
class Quota:
    """A named quota as its row says: its windows and what holds it back beside them."""

    name: str
    windows: tuple[Window, ...] = ()
    pacing: Pacing = Pacing.EVEN
    next_at: int = 0
    blocked_until: int = 0
    slowdown: int = 1
    """By how much the pace is stretched because the source throttled us although we were within quota."""


class Hold(StrEnum):
    """Why a call has to wait."""

    WINDOW = "window"
    PACE = "pace"
    PAUSED = "paused"
    CONCURRENCY = "concurrency"
    ANSWER = "answer"
    COST = "cost"
    BACKOFF = "backoff"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Wait:
    """Not now. `for_us`: the earliest that it can be yes; None while only an answer can change it."""

    for_us: int | None
    why: Hold = Hold.WINDOW
    quota: str = ""


@dataclass(frozen=True, slots=True)
class Granted:
    """Yes: a call may be granted at the instant asked about."""


Decision = Granted | Wait


def stretched(span_us: int) -> int:
    """Lengthen a duration by rho, rounded up: no clock that agrees to rho measures it shorter than asked."""
    return span_us + -(-span_us * RHO_PPM // 1_000_000)


def shortened(age_us: int) -> int:
    """Shorten an age by rho, rounded down: at least this long ago by any clock that agrees to rho."""
    return max(0, age_us - -(-age_us * RHO_PPM // 1_000_000))


def forgotten_us(windows: Sequence[Window], *, out_us: int) -> int:
    """For how long calls of before now that nobody remembers may occupy windows.

    `out_us`: how long after its grant such a call may still be on its way. Windows longer than a day are taken for
    one of a day: some of the calls before that may be made again.
    """
    if not windows:
        return 0
    longest = max(windows, key=lambda window: window.held_us)
    at_most = replace(longest, span_us=min(longest.span_us, FORGOTTEN_SPAN_US))
    return at_most.held_us + stretched(out_us)


def decide(
    quotas: Sequence[Quota], usages: Sequence[Sequence[Usage]], *, cost: int, now: int
) -> Decision:
    """Say whether a call of `cost` may be granted at `now`, or how long to wait.

    `usages[i][j]` is what window j of quota i is charged with. A wait is the least that can be enough: asking
    again after it, with nothing new in the ledger, is granted.
    """
    return longest(refusals(quotas, usages, cost=cost, now=now)) or Granted()


def refusals(
    quotas: Sequence[Quota], usages: Sequence[Sequence[Usage]], *, cost: int, now: int
) -> list[Wait]:
    """Everything that refuses a call at `now`, each with how long; nothing if it may be granted."""
    waits: list[Wait] = []
    for quota, usage in zip(quotas, usages, strict=True):
        waits += [
            Wait(quota.blocked_until - now, Hold.PAUSED, quota.name),
            Wait(quota.next_at - now, Hold.PACE, quota.name),
        ]
        waits += [
            _wait(quota.name, window, used, cost=cost, now=now)
            for window, used in zip(quota.windows, usage, strict=True)
        ]
    return [wait for wait in waits if wait.for_us is None or wait.for_us > 0]


def _wait(name: str, window: Window, used: Usage, *, cost: int, now: int) -> Wait:
    if cost > window.limit:
        return Wait(None, Hold.COST, name)
    free_at = free_from(window, used, cost=cost, now=now)
    if free_at is None:
        return Wait(None, Hold.ANSWER, name)
    return Wait(free_at - now, Hold.WINDOW, name)


def longest(waits: Sequence[Wait]) -> Wait | None:
    """The wait that is enough for all of them; None if there is none."""
    return max(
        waits, key=lambda wait: _FOREVER if wait.for_us is None else wait.for_us, default=None
    )


def free_from(window: Window, usage: Usage, *, cost: int, now: int) -> int | None:
    """The earliest instant from `now` on at which the window has room for `cost`; None: only an answer can tell."""
    room = window.limit - cost - usage.out
    horizon = now - window.held_us
    held = [entry for entry in usage.occupied if entry[0] > horizon]
    excess = sum(entry[1] for entry in held) - room
    if excess <= 0:
        return now
    for until, freed in sorted(held):
        excess -= freed
        if excess <= 0:
            return until + window.held_us
    return None


def slot_us(quota: Quota, *, cost: int) -> int:
    """How far the pace spreads a call of `cost`: cost * W / N of the shortest window, rounded up; 0 for a burst."""
    if quota.pacing is Pacing.BURST or not quota.windows:
        return 0
    shortest = min(quota.windows, key=lambda window: window.span_us)
    return -(-cost * shortest.span_us * quota.slowdown // shortest.limit)


def next_after(quota: Quota, *, cost: int, now: int) -> int:
    """Where the pace stands after a grant at `now`: lateness of up to a quarter of a slot is caught up."""
    slot = slot_us(quota, cost=cost)
    if slot == 0:
        return quota.next_at
    return max(quota.next_at, now - slot // (4 * cost)) + slot


def next_reshaped(quota: Quota, *, cost: int, now: int) -> int:
    """Where the pace stands after the quota's windows changed: never later than one new slot from now."""
    return min(quota.next_at, now + slot_us(quota, cost=cost))


def occupied_until(
    *, answered_at: int | None, written_at: int | None, within_us: int | None
) -> int | None:
    """U of a call whose fate is known: min(answer seen, w + within); None while neither is known."""
    known = [] if answered_at is None else [answered_at]
    if written_at is not None and within_us is not None:
        known.append(written_at + within_us)
    return min(known, default=None)


def unknown_fate_until(*, granted_at: int, slack_us: int, grace_us: int, given_up_at: int) -> int:
    """U of a call that may have been sent: g + (slack + grace)(1 + rho), or when it was given up, if later."""
    return max(granted_at + stretched(slack_us + grace_us), given_up_at)
