"""Draws a scene of the demo for a terminal of 80 columns and 24 rows. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from demo_scene import (
    CALLED,
    DONE,
    SLOT_US,
    WAITING,
    Batch,
    Check,
    Ids,
    Ingestion,
    Scene,
    checked,
    promises,
    seconds,
    tenths,
)
from demo_words import caption
from rich.console import Group, RenderableType
from rich.text import Text

WIDTH = 80
HEIGHT = 20

LABEL = 10
LANE = WIDTH - LABEL - 1
COLUMNS_PER_S = 4

KILLED = " ✗ kill -9 "

LANDED_US = 200_000
"""A call is an arrow so long, then a block: it is seen to drop. Its place is exact from the start."""

# Names of the terminal's own colours, so that it looks right on light and on dark; what they say is also in words.
PRIORITY = {"HIGH": "magenta", "MEDIUM": "cyan", "LOW": "blue"}
STATUS = {
    WAITING: ("○", "waiting", "dim"),
    CALLED: ("◐", "called", "bold yellow"),
    DONE: ("●", "done", "green"),
}


def draw(scene: Scene) -> RenderableType:
    """The whole screen."""
    return Group(
        _title(scene),
        Text(f" {'─' * (WIDTH - 3)}", "dim"),
        _caption(scene),
        Text(),
        *_ingestions(scene),
        Text(),
        *_time_line(scene),
        Text(),
        *map(_check, checked(scene) if scene.ended else promises()),
    )


def _title(scene: Scene) -> Text:
    left = Text.assemble((" Headgate", "bold"), ("  1 call per 5 s · 3 ids a call", "dim"))
    right = _server(scene)
    gap = WIDTH - 2 - left.cell_len - right.cell_len
    return Text.assemble(left, " " * gap, right)


def _server(scene: Scene) -> Text:
    if not scene.lives:
        return Text("○ starting", "dim")
    pid = scene.lives[-1].pid
    if scene.dead:
        return Text(f"✗ pid {pid} dead: connection refused", "bold red")
    return Text.assemble(("●", "green"), f" server up, pid {pid}")


def _caption(scene: Scene) -> Text:
    if not scene.ended:
        return Text.assemble((f" {tenths(scene.now_us):>4} s  ", "dim"), (caption(scene), "bold"))
    kept = all(check.kept for check in checked(scene))
    return Text(f" {'✓' if kept else '✗'} {caption(scene)}", "bold green" if kept else "bold red")


# --- what was handed in, and how it stands --------------------------------------------------------


def _ingestions(scene: Scene) -> list[Text]:
    """Two columns, always as many rows: the screen must not jump."""
    columns = [_ingestion(ingestion, stale=scene.dead) for ingestion in scene.ingestions]
    columns += [[]] * (2 - len(columns))
    rows = []
    for at in range(3):
        left, right = (column[at] if at < len(column) else Text() for column in columns)
        left.pad_right(42 - left.cell_len)
        rows.append(Text.assemble(" ", left, right))
    return rows


def _ingestion(ingestion: Ingestion, *, stale: bool) -> list[Text]:
    colour = PRIORITY[ingestion.priority]
    head = Text.assemble(
        (f" {ingestion.priority} ", f"bold reverse {colour}"),
        (f" {_spaced(ingestion.ids)}", "bold"),
        (f"  submitted at {tenths(ingestion.at_us)} s", "dim"),
    )
    return [head, *(_batch(batch, colour, stale=stale) for batch in ingestion.batches)]


def _batch(batch: Batch, colour: str, *, stale: bool) -> Text:
    """A dead server says nothing: what it said last is shown faintly."""
    sign, words, style = STATUS.get(batch.status, ("✗", batch.status, "bold red"))
    ids = (f" {_spaced(batch.ids):<8}", f"dim {colour}" if stale else colour)
    return Text.assemble(ids, (f"{sign} {words}", "dim" if stale else style))


# --- the time line --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that stands in a lane; a later one covers an earlier one."""

    column: int
    text: str
    style: str = ""


def _time_line(scene: Scene) -> list[Text]:
    return [
        _lane("", (Mark(_column(s * 1_000_000), f"{s} s", "dim") for s in range(0, 20, 5))),
        _lane("clients", _submissions(scene)),
        _lane("server", _lives(scene)),
        _lane("", (Mark(_column(call.at_us), "▼", "bold") for call in scene.calls)),
        _lane("calls", _calls(scene)),
        _lane("gaps", [*_gaps(scene), *_countdown(scene)]),
    ]


def _lane(name: str, marks: Iterable[Mark]) -> Text:
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


def _column(at_us: int) -> int:
    return min(LANE - 1, max(0, at_us * COLUMNS_PER_S // 1_000_000))


def _submissions(scene: Scene) -> Iterable[Mark]:
    for each in scene.ingestions:
        words = f"▼ {each.priority} {each.ids[0]}–{each.ids[-1]}"
        yield Mark(_column(each.at_us), words, PRIORITY[each.priority])


def _lives(scene: Scene) -> Iterable[Mark]:
    """A bar while a server lives, and a block while it is dead."""
    for number, life in enumerate(scene.lives):
        first = _column(life.ready_us)
        yield Mark(first, "━" * _span(life.ready_us, life.killed_us or scene.now_us), "green")
        if life.killed_us is not None:
            back_us = next((later.ready_us for later in scene.lives[number + 1 :]), scene.now_us)
            block = KILLED.center(_span(life.killed_us, back_us))
            yield Mark(_column(life.killed_us), block, "bold white on red")


def _span(from_us: int, until_us: int) -> int:
    return max(1, _column(until_us) - _column(from_us))


def _calls(scene: Scene) -> Iterable[Mark]:
    for call in scene.calls:
        if scene.ended or scene.now_us - call.at_us >= LANDED_US:
            colour = PRIORITY.get(scene.priority_of(call.ids), "white")
            yield Mark(_column(call.at_us), f" {_spaced(call.ids)} ", f"bold reverse {colour}")


def _gaps(scene: Scene) -> Iterable[Mark]:
    """As in a technical drawing: from each call to the next, with its measure."""
    for number, call in enumerate(scene.calls):
        first = _column(call.at_us)
        if number:
            before = scene.calls[number - 1].at_us
            kept = call.at_us - before >= SLOT_US
            style = "green" if kept else "bold red"
            yield from _measured(
                _column(before), first, f" {seconds(call.at_us - before)} s ", style
            )
        yield Mark(first, _joint(number, last=call is scene.calls[-1] and scene.ended), "dim")


def _joint(number: int, *, last: bool) -> str:
    return "┤" if last else "┼" if number else "├"


def _measured(first: int, last: int, label: str, style: str) -> Iterable[Mark]:
    span = last - first - 1
    yield Mark(first + 1, "─" * span, "dim")
    yield Mark(first + 1 + (span - len(label)) // 2, label, style)


def _countdown(scene: Scene) -> Iterable[Mark]:
    """From the last call to the next slot, filled as far as it has passed."""
    slot_us = scene.next_slot_us
    if slot_us is None:
        return
    first, last, now = (_column(at) for at in (slot_us - SLOT_US, slot_us, scene.now_us))
    left_us = max(0, slot_us - scene.now_us)
    words = f"next in {tenths(left_us)} s" if left_us else "now"
    for column, sign in enumerate(words.center(last - first - 1), first + 1):
        yield Mark(column, sign, "bold reverse yellow" if column < now else "yellow")
    yield Mark(last, "┤", "yellow")


# --- the promises ---------------------------------------------------------------------------------


def _check(check: Check) -> Text:
    sign, style = {None: ("·", "dim"), True: ("✓", "bold green"), False: ("✗", "bold red")}[
        check.kept
    ]
    words = (check.seen, "dim" if check.kept is None else "")
    return Text.assemble((f" {sign} ", style), (f"{check.promise:<15}", style), words)


def _spaced(ids: Ids) -> str:
    return " ".join(map(str, ids))
