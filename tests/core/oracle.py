"""The quota rule as docs/quota.md words it, read by brute force: exact fractions, every instant, every interval.

It shares nothing with headgate.core.quota, so that a mistake there cannot hide behind the same mistake here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

RHO = Fraction(1, 1000)
"""The rates of two clocks agree to this: one runs at most 1 + rho times as fast as the other."""


@dataclass(frozen=True)
class Charged:
    """An entry of the ledger: occupied until `until`, None while nobody knows; what it costs."""

    until: int | None
    cost: int


@dataclass(frozen=True)
class Gate:
    """One quota in plain numbers: windows as (limit, span), how far it is paced, how long it is paused."""

    windows: tuple[tuple[int, int], ...]
    next_at: int = 0
    blocked_until: int = 0


def allowed(gates: Sequence[Gate], entries: Sequence[Charged], *, cost: int, now: int) -> bool:
    """Whether the rule lets a call of `cost` be granted at `now`."""
    for gate in gates:
        if now < gate.blocked_until or now < gate.next_at:
            return False
        for limit, span in gate.windows:
            if charged(span, entries, now=now) + cost > limit:
                return False
    return True


def charged(span: int, entries: Sequence[Charged], *, now: int) -> int:
    """What a window of this span is charged with at an instant."""
    since = now - span * (1 + RHO)
    return sum(entry.cost for entry in entries if entry.until is None or entry.until > since)


def first_allowed(
    gates: Sequence[Gate], entries: Sequence[Charged], *, cost: int, now: int
) -> int | None:
    """The first instant from `now` on that the rule allows, tried one by one; None if only an answer can bring it."""
    instants = [now, *(e.until for e in entries if e.until is not None)]
    instants += [instant for gate in gates for instant in (gate.next_at, gate.blocked_until)]
    longest = max((span for gate in gates for _, span in gate.windows), default=0)
    nothing_changes_after = max(instants) + 2 * longest + 1
    for instant in range(now, nothing_changes_after + 1):
        if allowed(gates, entries, cost=cost, now=instant):
            return instant
    return None


def most_within(arrivals: Sequence[tuple[Fraction, int]], span: int) -> int:
    """The most, in cost, that any half-open interval (x, x + span] holds of (instant, cost) pairs.

    An interval that holds the most can be moved left until an arrival stands at its very end: looking at those
    that end at an arrival is looking at all of them.
    """
    return max(
        (
            sum(cost for instant, cost in arrivals if end - span < instant <= end)
            for end, _ in arrivals
        ),
        default=0,
    )
