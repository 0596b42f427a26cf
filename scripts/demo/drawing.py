"""Draws what both demos show, for a terminal of 80 columns: lanes over time, marks in them, checks. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.text import Text

from scripts.demo.values import CALLED, DONE, WAITING, Check, Ids, Life, Scene, tenths

WIDTH = 80
LABEL = 10
LANE = WIDTH - LABEL - 1

KILLED = (" ✗ kill -9 ", "✗ kill -9", "✗ kill", "✗")
"""The longest that there is room for."""

# Names of the terminal's own colours, so that it looks right on light and on dark; what they say is also in words.
PRIORITY = {"HIGH": "magenta", "MEDIUM": "cyan", "LOW": "blue"}
STATUS = {
    WAITING: ("○", "waiting", "dim"),
    CALLED: ("◐", "called", "bold yellow"),
    DONE: ("●", "done", "green"),
}
OTHERWISE = "✗", "bold red"


def head(left: Text, right: Text) -> list[Text]:
    """The title, and a rule below it."""
    gap = WIDTH - 2 - left.cell_len - right.cell_len
    return [Text.assemble(left, " " * gap, right), Text(f" {'─' * (WIDTH - 3)}", "dim")]


def caption(scene: Scene, words: str, checks: Sequence[Check]) -> Text:
    """What the onlooker is looking at, in a line; `checks` are heeded once it has ended."""
    if not scene.ended:
        return Text.assemble((f" {tenths(scene.now_us):>4} s  ", "dim"), (words, "bold"))
    kept = all(each.kept for each in checks)
    return Text(f" {'✓' if kept else '✗'} {words}", "bold green" if kept else "bold red")


def checklist(checks: Iterable[Check]) -> list[Text]:
    return [_check(each) for each in checks]


def _check(check: Check) -> Text:
    sign, style = {None: ("·", "dim"), True: ("✓", "bold green"), False: ("✗", "bold red")}[
        check.kept
    ]
    words = (check.seen, "dim" if check.kept is None else "")
    promise = (f" {sign} ", style), (f"{check.promise:<15}", style)
    return Text.assemble(*promise, words, no_wrap=True, overflow="ellipsis")


def spaced(ids: Ids) -> str:
    return " ".join(map(str, ids))


# --- lanes ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that stands in a lane; a later one covers an earlier one."""

    column: int
    text: str
    style: str = ""


def lane(name: str, marks: Iterable[Mark]) -> Text:
    cells = [(" ", "")] * LANE
    for mark in marks:
        # what is late on a slow machine still has to be seen: at the edge
        first = max(0, min(mark.column, LANE - len(mark.text)))
        cells[first : first + len(mark.text)] = [(sign, mark.style) for sign in mark.text]
    runs = [
        ("".join(sign for sign, _ in run), style)
        for style, run in groupby(cells, key=lambda cell: cell[1])
    ]
    if runs[-1][1] == "":
        runs.pop()  # what is empty up to the edge
    return Text.assemble((f" {name:<{LABEL - 1}}", "dim"), *runs)


@dataclass(frozen=True, slots=True)
class Axis:
    """Where an instant stands in a lane."""

    column_us: int

    def column(self, at_us: int) -> int:
        return min(LANE - 1, max(0, at_us // self.column_us))

    def span(self, from_us: int, until_us: int) -> int:
        return max(1, self.column(until_us) - self.column(from_us))

    def ticks(self) -> Text:
        until_s = LANE * self.column_us // 1_000_000
        every = (self.column(s * 1_000_000) for s in range(0, until_s, 5))
        return lane("", (Mark(at, f"{5 * n} s", "dim") for n, at in enumerate(every)))

    def lives(self, lives: Sequence[Life], now_us: int, *, covered: int = 0) -> Iterable[Mark]:
        """A bar while a process lives, and a block while it is dead, so much of which will be covered."""
        for number, life in enumerate(lives):
            until_us = now_us if life.killed_us is None else life.killed_us
            bar = "━" * self.span(life.ready_us, until_us)
            yield Mark(self.column(life.ready_us), bar, "green")
            if life.killed_us is not None:
                back_us = next((later.ready_us for later in lives[number + 1 :]), now_us)
                span = self.span(life.killed_us, back_us)
                seen = max(0, span - covered)
                words = next((each for each in KILLED if len(each) <= seen), "").center(seen)
                yield Mark(self.column(life.killed_us), words.rjust(span), "bold white on red")
