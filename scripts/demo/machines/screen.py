"""Draws a scene of several machines for a terminal of 80 columns and 24 rows. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.text import Text

from scripts.demo import drawing
from scripts.demo.drawing import LANE, OTHERWISE, PRIORITY, STATUS, Axis, Mark, lane, spaced
from scripts.demo.machines.scene import (
    LEASE_US,
    SLOT_US,
    MachinesScene,
    Request,
    WorkerCall,
    checked,
    promises,
)
from scripts.demo.machines.words import caption
from scripts.demo.values import Batch, gaps, seconds, tenths

REQUESTS = 4
AIRY = 3
"""With more workers there are no blank rows: it has to fit on 24."""

STATUS_AT = 64

CALL = 4
"""How many columns a call takes, with its name: so long that it can be read, whatever it took."""

NEAR, FAR = Axis(column_us=400_000), Axis(column_us=500_000)
"""The second one where a slow machine takes longer."""


def height(workers: int) -> int:
    return 3 + REQUESTS + 4 + workers + len(promises()) + (3 if workers <= AIRY else 0)


def draw(scene: MachinesScene) -> RenderableType:
    """The whole screen."""
    checks = checked(scene) if scene.ended else promises()
    blank = [Text()] if len(scene.workers) <= AIRY else []
    return Group(
        *drawing.head(_title(), _state(scene)),
        drawing.caption(scene, caption(scene), checks),
        *blank,
        *_requests(scene),
        *blank,
        *_time_line(scene),
        *blank,
        *drawing.checklist(checks),
    )


def _title() -> Text:
    rules = f"  1 call per {SLOT_US / 1e6:g} s · 3 ids a call · lease {LEASE_US / 1e6:g} s"
    return Text.assemble((" Headgate", "bold"), (rules, "dim"))


def _state(scene: MachinesScene) -> Text:
    if not scene.all_ready:
        return Text("○ starting", "dim")
    if scene.database_dead:
        return Text("✗ the database is dead", "bold red")
    up = sum(lives[-1].killed_us is None for lives in scene.workers.values())
    if up < len(scene.workers):
        return Text(f"✗ {up} of {len(scene.workers)} workers", "bold red")
    return Text.assemble(("●", "green"), f" {up} workers up")


# --- what was handed in, and how it stands --------------------------------------------------------


def _requests(scene: MachinesScene) -> list[Text]:
    """Always as many rows: the screen must not jump."""
    rows = [_request(scene, each) for each in scene.requests]
    return [*rows, *[Text()] * (REQUESTS - len(rows))]


def _request(scene: MachinesScene, request: Request) -> Text:
    colour = PRIORITY[request.priority]
    row = Text.assemble(
        " ",
        (f" {request.priority:<6} ", f"bold reverse {colour}"),
        (f"{tenths(request.at_us):>5} s  ", "dim"),
        *(_batch(scene, request, batch) for batch in request.slices),
    )
    row.pad_right(STATUS_AT - row.cell_len)
    if request.answered_us is None:
        return row.append("no answer yet", "bold yellow")
    return row.append(request.status, "dim" if scene.database_dead else _status_style(request))


def _status_style(request: Request) -> str:
    return STATUS.get(request.status, (*OTHERWISE, OTHERWISE[1]))[2]


def _batch(scene: MachinesScene, request: Request, batch: Batch) -> Text:
    """What is not answered yet, or was told by a database that is dead now, is shown faintly."""
    sign, _, style = STATUS.get(batch.status, (OTHERWISE[0], "", OTHERWISE[1]))
    colour = PRIORITY[request.priority]
    faint = scene.database_dead or request.answered_us is None
    words = f" {scene.name_of(batch.ids)} {spaced(batch.ids):<8}  "
    return Text.assemble(
        (f"{sign}", "dim" if faint else style), (words, f"dim {colour}" if faint else colour)
    )


# --- the time line --------------------------------------------------------------------------------


def _time_line(scene: MachinesScene) -> list[Text]:
    axis = NEAR if NEAR.column(scene.now_us) < LANE - 1 else FAR
    workers = [_worker(scene, axis, number) for number in scene.workers]
    return [
        axis.ticks(),
        lane("api", [*axis.lives(scene.api, scene.now_us), *_submissions(scene, axis)]),
        *workers,
        lane("database", axis.lives(scene.database, scene.now_us)),
        lane("source", [*_gaps(scene, axis), *_next_slot(scene, axis)]),
    ]


def _worker(scene: MachinesScene, axis: Axis, number: int) -> Text:
    covered = 0
    if scene.in_hand and scene.killed_worker:
        until = axis.column(scene.in_hand.at_us) + CALL
        covered = max(0, until - axis.column(scene.killed_worker[1]))
    lives = axis.lives(scene.workers[number], scene.now_us, covered=covered)
    return lane(f"worker {number}", [*lives, *_calls(scene, axis, number)])


def _submissions(scene: MachinesScene, axis: Axis) -> Iterable[Mark]:
    for each in scene.requests:
        first, colour = axis.column(each.at_us), PRIORITY[each.priority]
        waited = axis.column(each.answered_us or scene.now_us) - first
        yield Mark(first, "·" * waited, f"bold {colour}")
        yield Mark(first, f"▼{each.priority[0]}", f"bold {colour}")


def _calls(scene: MachinesScene, axis: Axis, worker: int) -> Iterable[Mark]:
    for call in scene.calls:
        if call.worker == worker:
            yield Mark(axis.column(call.at_us), f" {scene.name_of(call.ids)} ", _style(scene, call))


def _style(scene: MachinesScene, call: WorkerCall) -> str:
    return f"bold reverse {PRIORITY.get(scene.priority_of(call.ids), 'white')}"


def _gaps(scene: MachinesScene, axis: Axis) -> Iterable[Mark]:
    """As in a technical drawing: from each call to the next as the source saw them, with its measure."""
    for (sooner, later), gap in zip(pairwise(scene.calls), gaps(scene.calls), strict=True):
        first, last = axis.column(sooner.at_us), axis.column(later.at_us)
        room = last - first - 1
        label = seconds(gap)[: 4 if room >= 4 else 3]
        yield Mark(first + 1, "─" * room, "dim")
        style = "green" if gap >= SLOT_US else "bold red"
        yield Mark(first + 1 + (room - len(label)) // 2, label, style)
    for number, call in enumerate(scene.calls):
        last = number == len(scene.calls) - 1 and scene.ended
        yield Mark(axis.column(call.at_us), "┤" if last else "┼" if number else "├")


def _next_slot(scene: MachinesScene, axis: Axis) -> Iterable[Mark]:
    """From the last call to the instant before which nobody may call, filled as far as it has passed."""
    if not scene.calls or not scene.waiting or scene.ended:
        return
    called_us = scene.calls[-1].at_us
    first, last = axis.column(called_us), axis.column(called_us + SLOT_US)
    for column in range(first + 1, last):
        passed = column < axis.column(scene.now_us)
        yield Mark(column, " ", "reverse yellow" if passed else "")
    yield Mark(last, "┤", "yellow")
