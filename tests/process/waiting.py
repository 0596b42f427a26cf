"""Wait for events with a deadline: the only way in which these tests let time pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.simulator.server import boottime_us

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long anything may take that should come at once: machines are busy."""


def now_us() -> int:
    """This host's boot-time clock, which the source's log and the journals have in common."""
    return boottime_us()


def eventually(
    look: Callable[[], T], what: str, *, within_s: float = PATIENCE_S, every_s: float = 0.005
) -> T:
    """Look again and again until there is something to see; returns it."""
    until = time.monotonic() + within_s
    while True:
        if seen := look():
            return seen
        if time.monotonic() > until:
            raise AssertionError(f"not within {within_s:g} s: {what}")
        time.sleep(every_s)
