"""Draws a scene of the worked example for a terminal of 80 columns and 24 rows. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.text import Text

from scripts.demo import drawing
from scripts.demo.drawing import OTHERWISE, PRIORITY, STATUS, Axis, Mark, lane, spaced
from scripts.demo.example.scene import SLOT_US, ExampleScene, checked, promises
from scripts.demo.example.words import caption
from scripts.demo.values import Batch, Ingestion, seconds, tenths

HEIGHT = 20
AXIS = Axis(column_us=250_000)

LANDED_US = 200_000
"""A call is an arrow so long, then a block: it is seen to drop. Its place is exact from the start."""


def draw(scene: ExampleScene) -> RenderableType:
    """The whole screen."""
    checks = checked(scene) if scene.ended else promises()
    return Group(
        *drawing.head(
            Text.assemble((" Headgate", "bold"), ("  1 call per 5 s · 3 ids a call", "dim")),
            _server(scene),
        ),
        drawing.caption(scene, caption(scene), checks),
        Text(),
        *_ingestions(scene),
        Text(),
        *_time_line(scene),
        Text(),
        *drawing.checklist(checks),
    )


def _server(scene: ExampleScene) -> Text:
    if not scene.lives:
        return Text("○ starting", "dim")
    pid = scene.lives[-1].pid
    if scene.dead:
        return Text(f"✗ pid {pid} dead: connection refused", "bold red")
    return Text.assemble(("●", "green"), f" server up, pid {pid}")


# --- what was handed in, and how it stands --------------------------------------------------------


def _ingestions(scene: ExampleScene) -> list[Text]:
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
        (f" {spaced(ingestion.ids)}", "bold"),
        (f"  submitted at {tenths(ingestion.at_us)} s", "dim"),
    )
    return [head, *(_batch(batch, colour, stale=stale) for batch in ingestion.batches)]


def _batch(batch: Batch, colour: str, *, stale: bool) -> Text:
    """A dead server says nothing: what it said last is shown faintly."""
    sign, words, style = STATUS.get(batch.status, (OTHERWISE[0], batch.status, OTHERWISE[1]))
    ids = (f" {spaced(batch.ids):<8}", f"dim {colour}" if stale else colour)
    return Text.assemble(ids, (f"{sign} {words}", "dim" if stale else style))


# --- the time line --------------------------------------------------------------------------------


def _time_line(scene: ExampleScene) -> list[Text]:
    return [
        AXIS.ticks(),
        lane("clients", _submissions(scene)),
        lane("server", AXIS.lives(scene.lives, scene.now_us)),
        lane("", (Mark(AXIS.column(call.at_us), "▼", "bold") for call in scene.calls)),
        lane("calls", _calls(scene)),
        lane("gaps", [*_gaps(scene), *_countdown(scene)]),
    ]


def _submissions(scene: ExampleScene) -> Iterable[Mark]:
    for each in scene.ingestions:
        words = f"▼ {each.priority} {each.ids[0]}–{each.ids[-1]}"
        yield Mark(AXIS.column(each.at_us), words, PRIORITY[each.priority])


def _calls(scene: ExampleScene) -> Iterable[Mark]:
    for call in scene.calls:
        if scene.ended or scene.now_us - call.at_us >= LANDED_US:
            colour = PRIORITY.get(scene.priority_of(call.ids), "white")
            yield Mark(AXIS.column(call.at_us), f" {spaced(call.ids)} ", f"bold reverse {colour}")


def _gaps(scene: ExampleScene) -> Iterable[Mark]:
    """As in a technical drawing: from each call to the next, with its measure."""
    for number, call in enumerate(scene.calls):
        first = AXIS.column(call.at_us)
        if number:
            before = scene.calls[number - 1].at_us
            kept = call.at_us - before >= SLOT_US
            style = "green" if kept else "bold red"
            yield from _measured(
                AXIS.column(before), first, f" {seconds(call.at_us - before)} s ", style
            )
        yield Mark(first, _joint(number, last=call is scene.calls[-1] and scene.ended), "dim")


def _joint(number: int, *, last: bool) -> str:
    return "┤" if last else "┼" if number else "├"


def _measured(first: int, last: int, label: str, style: str) -> Iterable[Mark]:
    span = last - first - 1
    yield Mark(first + 1, "─" * span, "dim")
    yield Mark(first + 1 + (span - len(label)) // 2, label, style)


def _countdown(scene: ExampleScene) -> Iterable[Mark]:
    """From the last call to the next slot, filled as far as it has passed."""
    slot_us = scene.next_slot_us
    if slot_us is None:
        return
    first, last, now = (AXIS.column(at) for at in (slot_us - SLOT_US, slot_us, scene.now_us))
    left_us = max(0, slot_us - scene.now_us)
    words = f"next in {tenths(left_us)} s" if left_us else "now"
    for column, sign in enumerate(words.center(last - first - 1), first + 1):
        yield Mark(column, sign, "bold reverse yellow" if column < now else "yellow")
    yield Mark(last, "┤", "yellow")
