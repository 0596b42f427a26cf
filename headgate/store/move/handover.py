"""How ledger time goes on when a file becomes a database: no quota may be exceeded through the move.

The ledger goes on from the latest instant that it has shown, and what happens until somebody watches the database's
clock is time that nobody watched (core/clock.py): the first process there has to be alone for 3 s, then it believes
the wall clock less five minutes, and for short windows only watched time counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from headgate.core.clock import Offset, Reading, ledger_time

EPOCH = "0"
"""The epoch before the first of a database: nobody has watched in it, so nobody is trusted in it."""

BEHIND_US = 32 * 86_400_000_000
"""How far behind the ledger a newcomer's estimate is until somebody has begun the first epoch.

A newcomer that configures writes its estimate down. It must not be later than what the ledger has shown, or the time
until then would be taken for watched, however the database's clock has stepped meanwhile.
"""


@dataclass(frozen=True, slots=True)
class Ledger:
    """The file's clock, and the latest instant that any of its quotas has shown."""

    known: Offset
    last: int


@dataclass(frozen=True, slots=True)
class Handover:
    """What is written on the database."""

    offset: Offset
    shown_at: int | None
    """What the ledger's time is now, where that is known; else its quotas stay at what they have shown."""
    database_us: int
    """The database's clock at that time: its wall clock is the one to be believed from now on."""
    ahead_us: int
    """By how much it is ahead of this host's."""


def handed_over(ledger: Ledger, reading: Reading, *, database_us: int) -> Handover:
    """The handover of a ledger at a reading of this host's clocks; the database's was read after it.

    Within the boot in which the file was last used its clock has gone on: that time was watched.
    """
    watched = reading.epoch == ledger.known.epoch
    last = ledger_time(ledger.known, reading, ledger.last) if watched else ledger.last
    return Handover(
        Offset(EPOCH, last - database_us - BEHIND_US),
        last if watched else None,
        database_us,
        database_us - reading.wall_us,
    )
