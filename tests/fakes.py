"""Stand-ins for what is outside: clocks. There is no stand-in for our own code, and none for the store."""

from __future__ import annotations

from dataclasses import dataclass

from headgate.core.clock import Reading

SECOND = 1_000_000


@dataclass
class FakeClock:
    """Time that moves when it is told to."""

    reference_us: int = 1_000 * SECOND
    epoch: str = "boot-1"
    wall_us: int = 1_700_000_000 * SECOND
    look_us: int = 0
    """How long a look at it takes, as if it were far away."""

    def read(self) -> Reading:
        now_us = self.reference_us
        came_us = now_us + self.look_us
        return Reading(now_us, self.epoch, self.wall_us, asked_us=now_us, came_us=came_us)

    def boot_us(self) -> int:
        return self.reference_us

    def advance(self, us: int) -> None:
        self.reference_us += us
        self.wall_us += us

    def reboot(self, *, away_us: int) -> None:
        """A new boot, so long after by the wall clock."""
        self.epoch += "+"
        self.reference_us = 10 * SECOND
        self.wall_us += away_us
