"""Says in words what is to be seen: a caption for each scene, and what happened between two of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.demo.example.scene import ExampleScene, checked
from scripts.demo.values import DONE, gaps, listed, seconds, tenths
from scripts.demo.words import line


def caption(scene: ExampleScene) -> str:
    """Say in one line what the onlooker is looking at."""
    if scene.ended:
        return _summary(scene)
    if not scene.lives:
        return "Starting a real server: one process, one SQLite file."
    if scene.dead:
        return "kill -9: no warning, no clean-up. What it knew is in its file."
    if scene.restarted:
        return _caption_after_restart(scene)
    return _caption_before_kill(scene)


def _caption_before_kill(scene: ExampleScene) -> str:
    match len(scene.ingestions), len(scene.calls):
        case _, 0:
            return "Handed in over HTTP: ids and a priority."
        case 1, _:
            return "The first call left at once. The next one has to wait for its slot."
        case _, 1:
            return "HIGH came later, and goes before what MEDIUM still waits for."
        case _:
            return "HIGH went first. In a moment this server is killed."


def _caption_after_restart(scene: ExampleScene) -> str:
    match sum(call.at_us > scene.lives[-1].ready_us for call in scene.calls):
        case 0:
            return "Started on the same file. The next call still waits for its slot."
        case 1:
            return "In its slot, and the right one: the line is as it was."
        case _:
            return "And last what MEDIUM was waiting for."


def _summary(scene: ExampleScene) -> str:
    if not all(check.kept for check in checked(scene)):
        return "Not as promised."
    killed, back = scene.lives[0].killed_us or 0, scene.lives[-1].ready_us
    return (
        f"Killed at {tenths(killed)} s, back at {tenths(back)} s:"
        " nothing lost, and no call too early."
    )


def news(before: ExampleScene, after: ExampleScene) -> Iterator[str]:
    """Say what happened between two scenes, an event a line."""
    for life in after.lives[len(before.lives) :]:
        again = " again, on the same file" if before.lives else ""
        yield line(life.ready_us, "server", f"ready{again} (pid {life.pid})")
    if after.dead and not before.dead:
        life = after.lives[-1]
        yield line(life.killed_us or 0, "server", f"kill -9 {life.pid}: connection refused")
    for ingestion in after.ingestions[len(before.ingestions) :]:
        words = f"{ingestion.priority} [{listed(ingestion.ids)}]"
        yield line(ingestion.at_us, "submitted", words)
    for number in range(len(before.calls), len(after.calls)):
        since = (
            f"{seconds(gaps(after.calls)[number - 1])} s after the call before" if number else ""
        )
        call = after.calls[number]
        yield line(call.at_us, "called", f"{listed(call.ids):<8}{since}")
    done = {b.ids for i in before.ingestions for b in i.batches if b.status == DONE}
    for batch in (b for i in after.ingestions for b in i.batches):
        if batch.status == DONE and batch.ids not in done:
            yield line(after.now_us, "done", listed(batch.ids))
