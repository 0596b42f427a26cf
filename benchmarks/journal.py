"""What the simulated source wrote down: the instant of each call and its ids. Shares no code with the product."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RHO = 0.001


@dataclass(frozen=True, slots=True)
class Call:
    at_us: int
    ids: tuple[int, ...]


def read(file: Path) -> list[Call]:
    """Every call so far; a line that is just being written is left for later."""
    if not file.exists():
        return []
    whole = file.read_text(encoding="ascii").rpartition("\n")[0]
    entries = [json.loads(line) for line in whole.splitlines()]
    return [Call(entry["at_us"], tuple(entry["ids"])) for entry in entries]


def follow(file: Path, *, timeout_s: float = 30.0) -> Iterator[Call]:
    """Every call from now on, as it comes. Raises TimeoutError when none comes for so long."""
    seen = len(read(file))
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        fresh = read(file)[seen:]
        for call in fresh:
            yield call
            until = time.monotonic() + timeout_s
        seen += len(fresh)
        time.sleep(0.002)
    raise TimeoutError(f"no call within {timeout_s} s")


def opens_us(previous: Call, span_us: int) -> float:
    """When the slot after a call opens under `1 per span`: a span after it was written, by the slower of two clocks."""
    return previous.at_us + span_us * (1 + RHO)
