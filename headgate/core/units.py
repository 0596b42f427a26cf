"""Durations, rates and sizes as people write them: text in, whole numbers out, and back."""

from __future__ import annotations

import re
from fractions import Fraction

from headgate.core.quota import MAX_SPAN_US, Window

LONGEST_US = 366 * 86_400_000_000
"""The longest duration that is taken: a year."""

_UNITS_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "min": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
_ALSO = {"sec": "s", "second": "s", "m": "min", "minute": "min", "hour": "h", "day": "d"}
"""Other names of units; each may have an s at its end."""
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

# At most 15 digits: far beyond any meaning, far below what a database's integer holds.
_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,6})?)"
_DURATION = re.compile(rf"\s*{_NUMBER}\s*([a-z]*)\s*")
_WINDOW = re.compile(rf"\s*([0-9][0-9_]{{0,14}})\s*/\s*{_NUMBER}?\s*([a-z]+)\s*")
_SIZE = re.compile(rf"\s*{_NUMBER}\s*([A-Za-z]+)\s*")


def duration_us(text: str) -> int:
    """Read "5s", "1.5 h" or "100ms" as microseconds. Raises ValueError, which says what to write instead."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f'{_quoted(text)} is not a duration: write one such as "5s" or "100ms"')
    if not found[2]:
        raise ValueError(
            f'{_quoted(text)} has no unit: write "{found[1]}s", or ms, min, h, d instead of s'
        )
    span = _whole_us(text, found[1], found[2])
    if span > LONGEST_US:
        raise ValueError(f"{_quoted(text)} is longer than {spoken(LONGEST_US)}")
    return span


def window(text: str) -> Window:
    """Read "10/s", "1/20ms" or "100000/day" as a window. Raises ValueError, which says what to write instead."""
    found = _WINDOW.fullmatch(text)
    if found is None:
        raise ValueError(
            f'{_quoted(text)} is not a rate: write one such as "10/s", "1/5s" or "100000/day"'
        )
    limit = int(found[1])
    _refuse_calendar(text, limit, found[3])
    span = _whole_us(text, found[2] or "1", found[3])
    if limit < 1:
        raise ValueError(f"{_quoted(text)} allows no call at all: write at least 1")
    if not 0 < span <= MAX_SPAN_US:
        raise ValueError(f"the span of {_quoted(text)} must be over 0, and at most 31d")
    return Window(limit, span)


def size_bytes(text: str) -> int:
    """Read "32MiB" or "500 kB" as bytes. Raises ValueError, which says what to write instead."""
    found = _SIZE.fullmatch(text)
    if found is None or found[2] not in _BYTES:
        raise ValueError(
            f'{_quoted(text)} is not a size: write one such as "32MiB", with {", ".join(_BYTES)}'
        )
    return int(Fraction(found[1]) * _BYTES[found[2]])


def spoken(span_us: int) -> str:
    """Say a duration in the largest unit that leaves a whole number: "5s", "90s", "25h"."""
    if span_us == 0:
        return "0s"
    unit = next(unit for unit in reversed(_UNITS_US) if span_us % _UNITS_US[unit] == 0)
    return f"{span_us // _UNITS_US[unit]}{unit}"


def spoken_window(window: Window) -> str:
    """Say a window as it is written in a configuration: "1/5s", "10/s", "100000/day"."""
    span = spoken(window.span_us)
    unit = span.removeprefix("1")
    if not unit.isalpha():
        return f"{window.limit}/{span}"
    return f"{window.limit}/{'day' if unit == 'd' else unit}"


def _whole_us(text: str, number: str, unit: str) -> int:
    span = Fraction(number) * _unit_us(text, unit)
    if span.denominator != 1:
        raise ValueError(f"{_quoted(text)} is not a whole number of microseconds")
    return int(span)


def _unit_us(text: str, unit: str) -> int:
    known = _UNITS_US.get(unit) or _UNITS_US.get(_ALSO.get(unit.removesuffix("s"), ""))
    if known is None:
        raise ValueError(
            f'{_quoted(text)} has an unknown unit "{unit[:20]}": write {", ".join(_UNITS_US)}'
        )
    return known


def _refuse_calendar(text: str, limit: int, unit: str) -> None:
    if unit.removesuffix("s") in {"month", "mo", "year"}:
        raise ValueError(
            f"{_quoted(text)} has no fixed length: a window is a length of time, at most 31 days;"
            f' write "{limit}/31d", which holds in every month'
        )


def _quoted(text: str) -> str:
    return f'"{text}"' if len(text) <= 40 else f'"{text[:40]}…"'
