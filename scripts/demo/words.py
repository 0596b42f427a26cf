"""A line of what happened, for where there is no screen."""

from __future__ import annotations

from scripts.demo.values import tenths


def line(at_us: int, what: str, words: str) -> str:
    return f"{tenths(at_us):>5} s  {what:<10} {words}".rstrip()
