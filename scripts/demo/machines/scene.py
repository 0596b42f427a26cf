"""What an onlooker knows of a run with several machines, and whether it is as promised. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from scripts.demo.values import (
    CALLED,
    DONE,
    WAITING,
    Batch,
    Call,
    Check,
    Ids,
    Ingestion,
    Life,
    Scene,
    gaps,
    listed,
    seconds,
    tenths,
)

FEWEST, MOST = 2, 5

BATCH_SIZE = 3
SLOT_US = 2_000_000
"""What the source's quota, one call per 2 s, promises between any two calls."""
LATENCY_US = 800_000
LEASE_US = 3_000_000
LATE_US = 500_000
"""How long after its grant a call may still leave: `slack`."""

URGENCY = ("HIGH", "MEDIUM", "LOW")


@dataclass(frozen=True, slots=True)
class WorkerCall(Call):
    """A call with the worker that made it, and with what the source answered."""

    worker: int
    status: int


@dataclass(frozen=True, slots=True)
class Request(Ingestion):
    """An ingestion that may still be without an answer: its id is empty then."""

    answered_us: int | None = None

    @property
    def slices(self) -> tuple[Batch, ...]:
        """Its batches, also before anybody told them."""
        told = {batch.ids: batch.status for batch in self.batches}
        starts = range(0, len(self.ids), BATCH_SIZE)
        cut = (self.ids[start : start + BATCH_SIZE] for start in starts)
        return tuple(Batch(ids, told.get(ids, WAITING)) for ids in cut)


@dataclass(frozen=True)
class MachinesScene(Scene):
    """All that can be seen at an instant. `stored`: the ids of every record that the API has, at the end."""

    requests: tuple[Request, ...] = ()
    calls: tuple[WorkerCall, ...] = ()
    api: tuple[Life, ...] = ()
    workers: Mapping[int, tuple[Life, ...]] = field(default_factory=dict)
    database: tuple[Life, ...] = ()
    stored: Ids = ()

    @property
    def database_dead(self) -> bool:
        return bool(self.database) and self.database[-1].killed_us is not None

    @property
    def all_ready(self) -> bool:
        return bool(self.workers) and all(self.workers.values()) and bool(self.api)

    @property
    def waiting(self) -> tuple[Ids, ...]:
        """Batches that nobody has called yet."""
        called = {call.ids for call in self.calls}
        return tuple(b.ids for r in self.requests for b in r.slices if b.ids not in called)

    @property
    def names(self) -> Mapping[Ids, str]:
        """Short names: M1 is the first batch of MEDIUM."""
        numbers = {priority: count(1) for priority in URGENCY}
        return {
            batch.ids: f"{each.priority[0]}{next(numbers[each.priority])}"
            for each in self.requests
            for batch in each.slices
        }

    @property
    def killed_worker(self) -> tuple[int, int] | None:
        """Which was killed, and when."""
        found = (
            (number, life.killed_us)
            for number, lives in self.workers.items()
            for life in lives
            if life.killed_us is not None
        )
        return next(found, None)

    @property
    def in_hand(self) -> WorkerCall | None:
        """The call of the killed worker that was not answered when it was killed."""
        if self.killed_worker is None:
            return None
        worker, killed_us = self.killed_worker
        out = (
            call
            for call in self.calls
            if call.worker == worker and 0 <= killed_us - call.at_us < LATENCY_US
        )
        return next(out, None)

    @property
    def rescued(self) -> WorkerCall | None:
        """The call with which another worker did what the killed one had begun."""
        lost = self.in_hand
        again = (
            call for call in self.calls if lost and call.ids == lost.ids and call.at_us > lost.at_us
        )
        return next(again, None)

    @property
    def database_down(self) -> tuple[int, int] | None:
        """From when until when it was dead: until it was seen to be ready, or until now."""
        if not self.database or self.database[0].killed_us is None:
            return None
        return self.database[0].killed_us, self.database[-1].ready_us if self.database[
            1:
        ] else self.now_us

    @property
    def resumed(self) -> WorkerCall | None:
        """The first call after the database was killed."""
        down = self.database_down
        return next((call for call in self.calls if down and call.at_us > down[0] + LATE_US), None)

    def priority_of(self, ids: Ids) -> str:
        return next((each.priority for each in self.requests if set(ids) <= set(each.ids)), "")

    def name_of(self, ids: Ids) -> str:
        return self.names.get(ids, listed(ids))


# --- what was promised ----------------------------------------------------------------------------


def promises() -> tuple[Check, ...]:
    """What will be checked, while it cannot be judged yet."""
    return (
        Check("quota", "never two calls within 2 s, whoever makes them"),
        Check("order", "HIGH before MEDIUM before LOW, whoever calls"),
        Check("nothing lost", "every id that was accepted is stored once"),
        Check("nothing twice", "no id again, but what a dead worker had in hand"),
        Check("worker dead", "another finishes what it had in hand, once its lease is over"),
        Check("database dead", "no call meanwhile, and everything goes on by itself after"),
    )


def checked(scene: MachinesScene) -> tuple[Check, ...]:
    """Judge a run that has ended."""
    judges = (_quota, _order, _nothing_lost, _nothing_twice, _worker, _database)
    return tuple(judge(scene) for judge in judges)


def _quota(scene: MachinesScene) -> Check:
    found = gaps(scene.calls)
    refused = sum(call.status != 200 for call in scene.calls)
    kept = bool(found) and min(found) >= SLOT_US and not refused
    closest = seconds(min(found)) if found else "no"
    seen = f"{len(scene.calls)} calls, {closest} s and more apart: never two within 2 s"
    if not kept:
        seen = f"closest calls {closest} s apart, {refused} refused by the source"
    return Check("quota", seen, kept)


def _order(scene: MachinesScene) -> Check:
    made = " ".join(scene.name_of(call.ids) for call in scene.calls)
    early = next(filter(None, (_overtaken(scene, call) for call in scene.calls)), None)
    seen = f"{made}   {_just_before(scene) or 'HIGH before LOW'}"
    return Check("order", seen if early is None else early, early is None)


def _overtaken(scene: MachinesScene, call: WorkerCall) -> str | None:
    """Who should have gone before a call: whoever was accepted in time for it, and has never been called yet."""
    line = _line(scene)
    begun = {each.ids for each in scene.calls if each.at_us <= call.at_us}
    place = next((place for place, (_, ids) in enumerate(line) if ids == call.ids), None)
    if place is None:
        return f"nobody asked for {listed(call.ids)}"
    for since_us, ids in line[:place]:
        if ids not in begun and since_us + LATE_US <= call.at_us:
            return f"{scene.name_of(call.ids)} went before {scene.name_of(ids)}"
    return None


def _just_before(scene: MachinesScene) -> str | None:
    """What looks as if it had overtaken, and had been granted when what goes before it was accepted."""
    for each in scene.requests:
        begun_us = next((c.at_us for c in scene.calls if set(c.ids) <= set(each.ids)), scene.now_us)
        for call in scene.calls:
            lower = URGENCY.index(scene.priority_of(call.ids)) > URGENCY.index(each.priority)
            if lower and each.at_us < call.at_us < begun_us:
                first = scene.name_of(each.slices[0].ids)
                return f"{first} was accepted after {scene.name_of(call.ids)}'s grant"
    return None


def _line(scene: MachinesScene) -> list[tuple[int, Ids]]:
    """Every batch in the order of the line, with when it was accepted for sure."""
    placed = [
        (URGENCY.index(each.priority), at, each.answered_us or scene.now_us, batch.ids)
        for at, each in enumerate(scene.requests)
        for batch in each.slices
    ]
    return [(since_us, ids) for _, _, since_us, ids in sorted(placed)]


def _nothing_lost(scene: MachinesScene) -> Check:
    wanted = sorted(id_ for each in scene.requests for id_ in each.ids)
    ended = all(each.status == DONE for each in scene.requests)
    most = max(Counter(scene.stored).values(), default=0)
    times = "once" if most <= 1 else f"one of them {most} times"
    down = scene.database_down or (0, 0)
    late = [id_ for r in scene.requests if down[0] < r.at_us < down[1] for id_ in r.ids]
    seen = f"{len(set(scene.stored))} of {len(wanted)} ids stored {times};"
    seen += f" {len(late)} came while the database was dead"
    return Check("nothing lost", seen, sorted(scene.stored) == wanted and ended)


def _nothing_twice(scene: MachinesScene) -> Check:
    times = Counter(call.ids for call in scene.calls)
    held = {scene.in_hand.ids} if scene.in_hand else set()
    again = [ids for ids, calls in times.items() if calls > (2 if ids in held else 1)]
    but = "".join(f"; {scene.name_of(ids)} twice: its worker died" for ids in held)
    seen = f"every id was asked for once{but}"
    if again:
        seen = "asked for again: " + " ".join(map(scene.name_of, again))
    return Check("nothing twice", seen, not again)


def _worker(scene: MachinesScene) -> Check:
    killed, lost, again = scene.killed_worker, scene.in_hand, scene.rescued
    if killed is None or lost is None or again is None:
        return Check("worker dead", "what it had in hand was not called again", False)
    name, at = scene.name_of(lost.ids), tenths(killed[1])
    seen = f"worker {killed[0]} at {at} s, {name} in hand; worker {again.worker} made"
    done = any(batch == Batch(lost.ids, DONE) for each in scene.requests for batch in each.batches)
    kept = again.worker != killed[0] and done
    return Check("worker dead", f"{seen} it at {tenths(again.at_us)} s", kept)


def _database(scene: MachinesScene) -> Check:
    down, next_call = scene.database_down, scene.resumed
    if down is None or next_call is None:
        return Check("database dead", "no call came after it", False)
    span = f"{tenths(down[0])} s to {tenths(down[1])} s"
    if next_call.at_us < scene.database[-1].started_us:
        return Check("database dead", f"{span}: a call at {tenths(next_call.at_us)} s", False)
    after = tenths(max(0, next_call.at_us - down[1]))  # it is seen to be ready a little late
    return Check("database dead", f"{span}: no call meanwhile, the next {after} s after", True)


def out(scene: MachinesScene) -> bool:
    """Whether a batch is called right now, as far as anybody was told."""
    return any(batch.status == CALLED for each in scene.requests for batch in each.batches)
