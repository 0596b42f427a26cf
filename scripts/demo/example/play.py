"""The worked example against a real server that is killed in the middle: what is done, and when."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import RenderableType

from scripts.demo.example.gate import Gate
from scripts.demo.example.scene import ExampleScene, checked
from scripts.demo.example.screen import HEIGHT, draw
from scripts.demo.example.words import news
from scripts.demo.processes import closed
from scripts.demo.show import See, Show
from scripts.demo.stage import Patience, Stage
from scripts.demo.values import CALLED, Batch, Check, Ids, Ingestion, Life

# no step takes longer than two slots; the look that is running at the end then takes some seconds at most
PATIENCE = Patience(step_s=14.0, whole_s=34.0)

HIGH_AT_US = 4_000_000
KILL_AT_US = 6_250_000  # between two calls, with the next slot still to come
SOON_US = 1_000_000
DEAD_FOR_US = 2_100_000  # less on a slow machine:
WAITS_US = 900_000  # it shall be up again so long before that slot, so that one sees it wait


class Example(Show[ExampleScene]):
    """`make demo`."""

    first = ExampleScene()
    height = HEIGHT
    subject = (
        "Four calls, 5 s apart, HIGH before the rest of MEDIUM,"
        " while the server is killed and started again"
    )

    def play(self, folder: Path, see: See[ExampleScene]) -> ExampleScene:
        with closed(Gate(folder)) as gate:
            return play(OneServer(gate, see))

    def checked(self, scene: ExampleScene) -> tuple[Check, ...]:
        return checked(scene)

    def draw(self, scene: ExampleScene) -> RenderableType:
        return draw(scene)

    def news(self, before: ExampleScene, after: ExampleScene) -> Iterator[str]:
        return news(before, after)


class OneServer(Stage[ExampleScene]):
    """A server that is started, killed and started again."""

    def __init__(self, gate: Gate, see: See[ExampleScene]) -> None:
        super().__init__(Example.first, see, PATIENCE)
        self._gate = gate
        self._boot_us = 0

    def start(self) -> None:
        """Start a server and wait until it would do its work."""
        began_us = self.clock_us()
        self._gate.start()
        self.watch(self._came_up, what="the server is ready")
        self._boot_us = self.clock_us() - began_us
        life = Life(self._gate.pid, ready_us=self.now_us)
        self.show(replace(self.scene, lives=(*self.scene.lives, life)))

    def submit(self, ids: Ids, priority: str) -> None:
        self.begin()  # before the request: a call may leave before the answer to it is here
        at_us = self.now_us
        submitted = Ingestion(self._gate.submit(ids, priority), ids, priority, at_us)
        self.show(replace(self.scene, ingestions=(*self.scene.ingestions, submitted)))

    def kill(self) -> None:
        at_us = self.now_us
        self._gate.kill()
        *before, last = self.scene.lives
        self.show(replace(self.scene, lives=(*before, replace(last, killed_us=at_us))))

    def leave_dead(self) -> None:
        """Wait for a while, but not so long that a new server would miss the next slot."""
        now_us = self.scene.now_us
        slot_us = self.scene.next_slot_us or now_us
        until_us = min(now_us + DEAD_FOR_US, slot_us - WAITS_US - self._boot_us)
        self.watch(self.reached(until_us), what="it is time to start again")

    def clock_us(self) -> int:
        """The wall clock, since that is what the journal has."""
        return time.time_ns() // 1_000

    def looked(self) -> ExampleScene:
        calls = tuple(
            replace(call, at_us=call.at_us - self.origin_us) for call in self._gate.calls()
        )
        ingestions = self.scene.ingestions
        if self.scene.lives and not self.scene.dead:
            self._gate.assert_alive()
            ingestions = tuple(map(self._as_it_stands, ingestions))
        return replace(self.scene, calls=calls, ingestions=ingestions)

    def last_words(self) -> str:
        return self._gate.last_words()

    def _came_up(self) -> bool:
        self._gate.assert_alive()
        return self._gate.ready()

    def _as_it_stands(self, ingestion: Ingestion) -> Ingestion:
        said = self._gate.status(ingestion.ingestion_id)
        if said is None:
            return ingestion
        batches = tuple(Batch(tuple(each["ids"]), each["status"]) for each in said["batches"])
        return replace(ingestion, status=said["status"], batches=batches)


def play(stage: OneServer) -> ExampleScene:
    """The worked example, with a kill in the middle."""
    stage.start()
    stage.submit((1, 2, 3, 4, 5), "MEDIUM")
    stage.watch(stage.reached(HIGH_AT_US), what="it is time for HIGH")
    stage.submit((6, 7, 8, 9), "HIGH")
    stage.watch(
        lambda: stage.reached(KILL_AT_US)() and _between_calls(stage.scene),
        what="the second call is answered and the third not near",
    )
    stage.kill()
    stage.leave_dead()
    stage.start()
    stage.watch(
        lambda: all(each.ended for each in stage.scene.ingestions), what="everything is fetched"
    )
    stage.end()
    return stage.scene


def _between_calls(scene: ExampleScene) -> bool:
    """A call that is out when its process is killed has an unknown fate; the demo shows the plain case."""
    out = any(b.status == CALLED for i in scene.ingestions for b in i.batches)
    soon = scene.next_slot_us is not None and scene.next_slot_us - scene.now_us < SOON_US
    return len(scene.calls) >= 2 and not out and not soon
