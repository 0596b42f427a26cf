"""What an onlooker knows of the worked example's run, and whether it is as promised. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from scripts.demo.values import (
    DONE,
    Call,
    Check,
    Ids,
    Ingestion,
    Life,
    Scene,
    gaps,
    listed,
    seconds,
)

SLOT_US = 5_000_000
"""What the default source's quota, one call per 5 s, promises between any two calls."""

PROMISED: tuple[Ids, ...] = ((1, 2, 3), (6, 7, 8), (9,), (4, 5))
"""The worked example's calls in their order: HIGH goes before what MEDIUM still waits for."""


@dataclass(frozen=True)
class ExampleScene(Scene):
    """All that can be seen at an instant."""

    ingestions: tuple[Ingestion, ...] = ()
    calls: tuple[Call, ...] = ()
    lives: tuple[Life, ...] = ()

    @property
    def dead(self) -> bool:
        return bool(self.lives) and self.lives[-1].killed_us is not None

    @property
    def restarted(self) -> bool:
        return len(self.lives) > 1

    @property
    def next_slot_us(self) -> int | None:
        """The instant before which no call may leave; None once nothing is left to call."""
        called = {call.ids for call in self.calls}
        left = [b for i in self.ingestions for b in i.batches if b.ids not in called]
        return self.calls[-1].at_us + SLOT_US if self.calls and left else None

    def priority_of(self, ids: Ids) -> str:
        return next((i.priority for i in self.ingestions if set(ids) <= set(i.ids)), "")


# --- what was promised ----------------------------------------------------------------------------


def promises() -> tuple[Check, ...]:
    """What will be checked, while it cannot be judged yet."""
    return (
        Check("order", "HIGH goes before what MEDIUM still waits for"),
        Check("quota", "never two calls within 5 s, not even over a restart"),
        Check("nothing lost", "every id that was accepted is fetched"),
        Check("nothing twice", "no id is asked for again"),
    )


def checked(scene: ExampleScene) -> tuple[Check, ...]:
    """Judge a run that has ended."""
    return (_order(scene), _quota(scene), _nothing_lost(scene), _nothing_twice(scene))


def _order(scene: ExampleScene) -> Check:
    sent = tuple(call.ids for call in scene.calls)
    seen = " · ".join(map(listed, sent)) or "no call"
    kept = sent == PROMISED
    return Check("order", f"{seen}   HIGH before the rest of MEDIUM" if kept else seen, kept)


def _quota(scene: ExampleScene) -> Check:
    found = gaps(scene.calls)
    seen = f"{' · '.join(map(seconds, found)) or 'no'} s between calls, none under 5.000 s"
    if found and min(found) < SLOT_US:
        seen = f"{seconds(min(found))} s between two calls; {seconds(SLOT_US)} s were promised"
    return Check("quota", seen, bool(found) and min(found) >= SLOT_US)


def _nothing_lost(scene: ExampleScene) -> Check:
    wanted = [id_ for ingestion in scene.ingestions for id_ in ingestion.ids]
    fetched = [
        id_ for i in scene.ingestions for b in i.batches if b.status == DONE for id_ in b.ids
    ]
    kept = fetched == wanted and all(i.status == DONE for i in scene.ingestions)
    return Check("nothing lost", f"{len(fetched)} of {len(wanted)} ids fetched", kept)


def _nothing_twice(scene: ExampleScene) -> Check:
    asked = [id_ for call in scene.calls for id_ in call.ids]
    again = sorted({id_ for id_ in asked if asked.count(id_) > 1})
    seen = f"asked for again: {listed(tuple(again))}" if again else "every id was asked for once"
    return Check("nothing twice", f"{len(scene.calls)} calls, {seen}", not again)
