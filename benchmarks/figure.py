"""What a figure comes to: lines of a table, each with its target and whether that was reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One number, or some words. `reached` None: it has no target here, and stands beside the others to be compared."""

    what: str
    value: float | str
    unit: str
    target: str = ""
    reached: bool | None = None

    @property
    def measured(self) -> str:
        return f"{_short(self.value)} {self.unit}".rstrip()

    @property
    def verdict(self) -> str:
        return {True: "reached", False: "NOT reached", None: ""}[self.reached]


Figure = Callable[[bool], list[Line]]
"""Measures, quickly if told so, and says what it came to."""


def at_most(what: str, value: float, limit: float, unit: str) -> Line:
    return Line(what, value, unit, f"<= {_short(limit)} {unit}".rstrip(), value <= limit)


def below(what: str, value: float, limit: float, unit: str) -> Line:
    return Line(what, value, unit, f"< {_short(limit)} {unit}".rstrip(), value < limit)


def at_least(what: str, value: float, limit: float, unit: str, *, applies: bool = True) -> Line:
    target = f">= {_short(limit)} {unit}".rstrip()
    return Line(what, value, unit, target, value >= limit if applies else None)


def none_of(what: str, count: int) -> Line:
    """Something that must not happen."""
    return Line(what, count, "", "0", count == 0)


def note(what: str, value: float, unit: str) -> Line:
    return Line(what, value, unit)


def told(what: str, words: str) -> Line:
    """What has to be known to read the others."""
    return Line(what, words, "")


def quantile(values: Sequence[float], share: float) -> float:
    """The value that a share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _short(value: float | str) -> str:
    if isinstance(value, str):
        return value
    if float(value).is_integer() or abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
