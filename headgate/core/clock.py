"""Ledger time: it never runs ahead of real time, and never back.

now = max(last, reference + offset). The reference is a clock that never steps within one epoch (on one host:
the boot-time clock, the epoch being the boot id); the offset belongs to the epoch. Where nobody watched the time
between two epochs, the wall clock is believed less five minutes.
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
    """One look at the clocks: the reference in microseconds, the epoch that it belongs to, and the wall clock."""

    reference_us: int
    epoch: str
    wall_us: int


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


def first_offset(reading: Reading) -> Offset:
    """A new ledger begins at wall time, so that its instants look familiar to people."""
    return Offset(reading.epoch, reading.wall_us - reading.reference_us)


def ledger_time(offset: Offset, reading: Reading, last: int) -> int:
    """The ledger's now. The reading must be of the offset's epoch."""
    return max(last, reading.reference_us + offset.offset_us)


def believed(reading: Reading, *, wall_at_last: int) -> int:
    """How much of the time that nobody watched (a reboot, a moved file) counts: the wall clock's, less 5 min."""
    return max(0, reading.wall_us - wall_at_last - UNWATCHED_ERROR_US)


def rejoined(reading: Reading, *, last: int, believed_us: int) -> Offset:
    """The offset of a new epoch, in which the ledger goes on from `last` and what is believed."""
    return Offset(reading.epoch, last + believed_us - reading.reference_us)
