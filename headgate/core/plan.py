"""The forecast: when will the n-th call from now be granted? By the same rules that the dispatcher obeys.

A grant needs room in every window, the pace, and a free place among the concurrent calls. Ahead of time only one
thing is assumed: that a call is answered `latency_us` after its grant. The n-th grant is found by granting n times;
beyond EXACT of them each limit goes on at its own period, which is exact once the slowest has set in.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headgate.core.quota import Quota, Usage, Window, slot_us

EXACT = 2_000
"""So many calls ahead are planned one by one."""


@dataclass(frozen=True, slots=True)
class Line:
    """What the calls of one source wait for: its quotas with their usage, its concurrency, its state now."""

    quotas: Sequence[Quota]
    usages: Sequence[Sequence[Usage]]
    concurrency: int
    in_flight: int
    latency_us: int
    within_us: int | None = None
    cost: int = 1
    not_before: int = 0
    """The source is closed until then."""

    @property
    def occupies_us(self) -> int:
        """How long after its grant a call is taken to occupy: min(answer, written + within)."""
        return self.latency_us if self.within_us is None else min(self.latency_us, self.within_us)


def when(line: Line, n: int, *, now: int) -> int | None:
    """The earliest instant at which the n-th call from now (from 1) can be granted, if nothing changes.

    None: never, since one call costs more than a window holds.
    """
    if any(line.cost > window.limit for quota in line.quotas for window in quota.windows):
        return None
    limits = _limits(line, now)
    at = now
    for _ in range(min(n, EXACT)):
        at = max(at, *(limit.earliest() for limit in limits))
        for limit in limits:
            limit.granted(at)
    beyond = n - EXACT
    if beyond <= 0:
        return at
    return max(limit.after(beyond, at) for limit in limits)


def _limits(line: Line, now: int) -> list[_Limit]:
    limits: list[_Limit] = [
        _Concurrency(line, now),
        *(_Pace(quota, line.cost) for quota in line.quotas),
    ]
    for quota, usages in zip(line.quotas, line.usages, strict=True):
        for window, usage in zip(quota.windows, usages, strict=True):
            limits.append(_Room(window, usage, line, now))
    start = max([now, line.not_before, *(quota.blocked_until for quota in line.quotas)])
    limits.append(_Start(start))
    return limits


class _Limit(ABC):
    """One thing that a grant needs."""

    @abstractmethod
    def earliest(self) -> int:
        """The earliest instant at which this limit lets the next call be granted."""

    def granted(self, at: int) -> None:  # noqa: B027 - not every limit takes note
        """Take note of a grant."""

    def after(self, calls: int, at: int) -> int:
        """When so many more calls will have been granted, if this limit alone held them back."""
        return at


class _Start(_Limit):
    """Nothing before an instant: paused or closed until then."""

    def __init__(self, at: int) -> None:
        self._at = at

    def earliest(self) -> int:
        return self._at


class _Pace(_Limit):
    def __init__(self, quota: Quota, cost: int) -> None:
        self._next = quota.next_at
        self._slot = slot_us(quota, cost=cost)
        self._catch_up = self._slot // (4 * cost)

    def earliest(self) -> int:
        return self._next

    def granted(self, at: int) -> None:
        if self._slot:
            self._next = max(self._next, at - self._catch_up) + self._slot

    def after(self, calls: int, at: int) -> int:
        return at + calls * self._slot


class _Room(_Limit):
    """Room in a window: what occupies it leaves in the order of its u."""

    def __init__(self, window: Window, usage: Usage, line: Line, now: int) -> None:
        self._cost = line.cost
        self._limit = window.limit
        self._holds_us = line.occupies_us + window.held_us
        held = [(until + window.held_us, cost) for until, cost in usage.occupied]
        held = [entry for entry in held if entry[0] > now]
        if usage.out:
            held.append((now + self._holds_us, usage.out))
        self._leaving = sorted(held)
        self._free = window.limit - sum(cost for _, cost in held)
        self._granted: deque[int] = deque()
        self._since = now

    def earliest(self) -> int:
        while self._free < self._cost:
            self._since, cost = self._next_to_leave()
            self._free += cost
        return self._since

    def granted(self, at: int) -> None:
        self._free -= self._cost
        self._granted.append(at + self._holds_us)

    def after(self, calls: int, at: int) -> int:
        """Once all that occupies it now has left, a window lets its limit through in each of its periods."""
        for _ in range(min(calls, len(self._leaving) + len(self._granted))):
            at = max(at, self.earliest())
            self._free -= self._cost
            calls -= 1
        per_window = max(1, self._limit // self._cost)
        return at + calls * self._holds_us // per_window

    def _next_to_leave(self) -> tuple[int, int]:
        if self._leaving and (not self._granted or self._leaving[0][0] <= self._granted[0]):
            return self._leaving.pop(0)
        return self._granted.popleft(), self._cost


class _Concurrency(_Limit):
    def __init__(self, line: Line, now: int) -> None:
        self._latency_us = line.latency_us
        self._places = line.concurrency
        self._free_at = [now + line.latency_us] * min(line.in_flight, line.concurrency)
        heapq.heapify(self._free_at)

    def earliest(self) -> int:
        return self._free_at[0] if len(self._free_at) >= self._places else 0

    def granted(self, at: int) -> None:
        if len(self._free_at) >= self._places:
            heapq.heappop(self._free_at)
        heapq.heappush(self._free_at, at + self._latency_us)

    def after(self, calls: int, at: int) -> int:
        return at + calls * self._latency_us // self._places


def usable_share(line: Line) -> float:
    """How much of a window's limit the rule lets through: W / (W(1 + rho) + what a call occupies)."""
    return min(
        (
            window.span_us / (window.held_us + line.occupies_us)
            for quota in line.quotas
            for window in quota.windows
        ),
        default=1.0,
    )


@dataclass(frozen=True, slots=True)
class Forecast:
    """Where an ingestion stands: batches ahead of its next one, when that starts and when its last one ends.

    None: never, as things are.
    """

    position: int
    starts_at: int | None
    finishes_at: int | None


def forecast(line: Line, *, ahead: int, left: int, now: int) -> Forecast:
    """Forecast an ingestion with `left` calls still to begin behind `ahead` others."""
    ends_at = when(line, ahead + left, now=now)
    return Forecast(
        ahead,
        when(line, ahead + 1, now=now),
        None if ends_at is None else ends_at + line.latency_us,
    )


def median(values: Iterable[int]) -> int | None:
    """The middle of some values; None of none."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None
