"""Says in words what is to be seen of several machines: a caption for a scene, and what happened between two. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.demo.machines.scene import LEASE_US, MachinesScene, Request, checked
from scripts.demo.values import DONE, Life, gaps, listed, seconds
from scripts.demo.words import line

LEASE = f"{LEASE_US / 1e6:g} s"


def caption(scene: MachinesScene) -> str:
    """Say in one line what the onlooker is looking at."""
    if scene.ended:
        return _summary(scene)
    if not scene.requests:
        return _caption_of_the_start(scene)
    if scene.database_down is not None:
        return _caption_after_database(scene)
    if scene.killed_worker is not None:
        return _caption_after_worker(scene, scene.killed_worker[0])
    return _caption_of_the_work(scene)


def _caption_of_the_start(scene: MachinesScene) -> str:
    if not scene.database:
        return "Making the files of a PostgreSQL, and starting it."
    if not scene.all_ready:
        return f"Starting the source, the API and {len(scene.workers)} workers: all real processes."
    return "Before they call, they watch the database's clock for 3 s."


def _caption_of_the_work(scene: MachinesScene) -> str:
    match len(scene.requests), len(scene.calls):
        case _, 0:
            return "Handed in at the API, with a priority. Any worker may make the call."
        case 1 | 2, _:
            return "One call in 2 s, whoever makes it: they share one line and one quota."
        case _, 1:
            return "HIGH came last, and goes before what MEDIUM and LOW still wait for."
        case _:
            return "In a moment one worker is killed, with a call in its hands."


def _caption_after_worker(scene: MachinesScene, worker: int) -> str:
    lost, again = scene.in_hand, scene.rescued
    name = scene.name_of(lost.ids) if lost else "a batch"
    if again is None:
        return f"kill -9 with {name} in hand: its lease is {LEASE} here, 15 s unless set."
    if len(scene.workers[worker]) == 1:
        return f"The lease was over: worker {again.worker} calls {name}. The dead one is started again."
    return "All are at work again. In a moment the database is killed."


def _caption_after_database(scene: MachinesScene) -> str:
    if scene.database_dead:
        if not _unanswered(scene):
            return "kill -9, every process of PostgreSQL. Without it nobody may call."
        return "A client hands in HIGH all the same, and the API lets it wait."
    if scene.resumed is None:
        return "The database is back, and has what it had flushed to the disk."
    return "The line is as it was, and HIGH goes before what is left of LOW."


def _summary(scene: MachinesScene) -> str:
    if not all(check.kept for check in checked(scene)):
        return "Not as promised."
    return "A worker died, then the database: nothing lost, and no call too early."


def _unanswered(scene: MachinesScene) -> bool:
    return any(each.answered_us is None for each in scene.requests)


# --- line by line ---------------------------------------------------------------------------------


def news(before: MachinesScene, after: MachinesScene) -> Iterator[str]:
    """Say what happened between two scenes, an event a line."""
    yield from _lives("database", before.database, after.database)
    yield from _lives("api", before.api, after.api)
    for number, lives in after.workers.items():
        yield from _lives(f"worker {number}", before.workers.get(number, ()), lives)
    yield from _submitted(before.requests, after.requests)
    yield from _called(before, after)
    done = {b.ids for each in before.requests for b in each.batches if b.status == DONE}
    for batch in (b for each in after.requests for b in each.batches):
        if batch.status == DONE and batch.ids not in done:
            yield line(after.now_us, "done", f"{after.name_of(batch.ids):<3} {listed(batch.ids)}")


def _lives(name: str, before: tuple[Life, ...], after: tuple[Life, ...]) -> Iterator[str]:
    if before and before[-1].killed_us is None:
        killed = after[len(before) - 1]
        if killed.killed_us is not None:
            yield line(killed.killed_us, name, f"kill -9 {killed.pid}")
    for life in after[len(before) :]:
        again = " again" if before else ""
        yield line(life.ready_us, name, f"ready{again} (pid {life.pid})")


def _submitted(before: tuple[Request, ...], after: tuple[Request, ...]) -> Iterator[str]:
    for number, each in enumerate(after):
        words = f"{each.priority} [{listed(each.ids)}]"
        was = before[number] if number < len(before) else None
        if was is None:
            yield line(each.at_us, "submitted", words)
        elif was.answered_us is None and each.answered_us is not None:
            yield line(each.answered_us, "accepted", words)


def _called(before: MachinesScene, after: MachinesScene) -> Iterator[str]:
    since = ["", *(f"  {seconds(gap)} s after the call before" for gap in gaps(after.calls))]
    for number in range(len(before.calls), len(after.calls)):
        call = after.calls[number]
        what = f"{after.name_of(call.ids):<3} {listed(call.ids):<9} by worker {call.worker}"
        yield line(call.at_us, "called", what + since[number])
