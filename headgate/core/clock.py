"""Ledger time: it never runs ahead of real time, and never back.

now = max(last, reference + offset). The reference is a clock, the offset belongs to an epoch, and a *watch* says
whether the offset still holds. On one host the reference is the boot-time clock, which never steps, and the epoch
is the boot id: nothing is to be watched but that (`HostWatch`). Where a database's clock is the reference, which
may step, every process watches it (core/watch.py). Where nobody watched the time between two epochs, the wall
clock is believed less five minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

FOREVER = 2**62
"""Later than any instant that the ledger can show."""

UNWATCHED_ERROR_US = 300_000_000
"""How far the wall clock may be wrong over time that nobody watched: 5 minutes."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the clocks: the reference in microseconds, the epoch that it belongs to, and the wall clock.

    `epoch` None: the reference is good for every epoch. `asked_us` and `came_us`: the boot-time clock of whoever
    looked, before asking and after the answer.
    """

    reference_us: int
    epoch: str | None
    wall_us: int
    asked_us: int = 0
    came_us: int = 0


class Clock(Protocol):
    """A host's clocks."""

    def read(self) -> Reading:
        """Look at the clocks now."""

    def boot_us(self) -> int:
        """The reference alone: microseconds that never step and go on while the machine sleeps."""


@dataclass(frozen=True, slots=True)
class Offset:
    """What turns a reference into ledger time, for one epoch."""

    epoch: str
    offset_us: int


@dataclass(frozen=True, slots=True)
class Unwatched:
    """Nobody has watched the time up to now: a new epoch has to begin."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Whoever looked cannot tell yet whether the reference has stepped."""


class Watch(Protocol):
    """Says whether an offset still holds."""

    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched | Newcomer:
        """The offset that turns this reading into ledger time, perhaps another than the known one.

        `touches`: how often anybody who is no newcomer has touched the clock.
        """

    def believe(self, reading: Reading, offset: Offset) -> None:
        """This reading was taken with this offset, and that is committed."""

    def margin_us(self, span_us: int) -> int:
        """How much longer a window of this span has to be taken, since looking takes time."""


class HostWatch:
    """The watch over a reference that never steps within its epoch."""

    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched | Newcomer:
        return known if reading.epoch == known.epoch else Unwatched()

    def believe(self, reading: Reading, offset: Offset) -> None:
        """Nothing is to be remembered."""

    def margin_us(self, span_us: int) -> int:
        return 0


def first_offset(reading: Reading) -> Offset:
    """A new ledger begins at wall time, so that its instants look familiar to people."""
    return Offset(reading.epoch or "1", reading.wall_us - reading.reference_us)


def ledger_time(offset: Offset, reading: Reading, last: int) -> int:
    """The ledger's now. The reading must be of the offset's epoch."""
    return max(last, reading.reference_us + offset.offset_us)


def believed(reading: Reading, *, wall_at_last: int) -> int:
    """How much of the time that nobody watched (a reboot, a moved file) counts: the wall clock's, less 5 min."""
    return max(0, reading.wall_us - wall_at_last - UNWATCHED_ERROR_US)


def rejoined(reading: Reading, *, before: str, last: int, believed_us: int) -> Offset:
    """The offset of the epoch after `before`, in which the ledger goes on from `last` and what is believed."""
    epoch = reading.epoch or str(int(before) + 1)
    return Offset(epoch, last + believed_us - reading.reference_us)
