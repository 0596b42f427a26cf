"""`make demo`: the worked example against a real server that is killed in the middle, drawn live.

Exit code: 0 everything was as promised; 1 it was not, and what broke is said; 2 usage; 130 interrupted.
Ends by itself within 40 s, and leaves no process and no file behind.
"""

from __future__ import annotations

import argparse
import io
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from demo_gate import Broken, Gate
from demo_picture import picture
from demo_scene import CALLED, Batch, Call, Ids, Ingestion, Life, Scene, checked
from demo_screen import HEIGHT, WIDTH, draw
from demo_words import news
from rich.console import Console
from rich.live import Live

DEADLINE_S = 34.0  # of the whole; the look that is running then takes some seconds at most
PATIENCE_S = 14.0  # with any step of it: none takes longer than two slots
TICK_S = 0.05

HIGH_AT_US = 4_000_000
KILL_AT_US = 6_250_000  # between two calls, with the next slot still to come
SOON_US = 1_000_000
DEAD_FOR_US = 2_100_000  # less on a slow machine:
WAITS_US = 900_000  # it shall be up again so long before that slot, so that one sees it wait

See = Callable[[Scene], None]


class Stage:
    """A run: does things to the server, and keeps looking at what comes of them."""

    def __init__(self, gate: Gate, see: See) -> None:
        self.scene = Scene()
        self._gate = gate
        self._see = see
        self._began_at = time.monotonic()
        self._origin_us: int | None = None
        self._boot_us = 0

    def start(self) -> None:
        """Start a server and wait until it would do its work."""
        began_us = _wall_us()
        self._gate.start()
        self.watch(self._came_up, what="the server is ready")
        self._boot_us = _wall_us() - began_us
        life = Life(self._gate.pid, ready_us=self._now_us())
        self._show(replace(self.scene, lives=(*self.scene.lives, life)))

    def submit(self, ids: Ids, priority: str) -> None:
        if self._origin_us is None:
            # before the request: a call may leave before the answer to it is here
            self._origin_us = _wall_us()
        at_us = self._now_us()
        submitted = Ingestion(self._gate.submit(ids, priority), ids, priority, at_us)
        self._show(replace(self.scene, ingestions=(*self.scene.ingestions, submitted)))

    def kill(self) -> None:
        at_us = self._now_us()
        self._gate.kill()
        *before, last = self.scene.lives
        self._show(replace(self.scene, lives=(*before, replace(last, killed_us=at_us))))

    def leave_dead(self) -> None:
        """Wait for a while, but not so long that a new server would miss the next slot."""
        now_us = self.scene.now_us
        slot_us = self.scene.next_slot_us or now_us
        until_us = min(now_us + DEAD_FOR_US, slot_us - WAITS_US - self._boot_us)
        self.watch(self.reached(until_us), what="it is time to start again")

    def end(self) -> None:
        self._look()
        self._show(replace(self.scene, ended=True))

    def watch(self, until: Callable[[], bool], *, what: str) -> None:
        """Look again and again until something is so. Raises Broken if it does not come about in time."""
        give_up_at = min(time.monotonic() + PATIENCE_S, self._began_at + DEADLINE_S)
        while not until():
            if time.monotonic() > give_up_at:
                raise Broken(f"waited in vain until {what}\n{self._gate.last_words()}")
            time.sleep(TICK_S)
            self._look()

    def reached(self, at_us: int) -> Callable[[], bool]:
        return lambda: self._now_us() >= at_us

    def _look(self) -> None:
        origin_us = self._origin_us or _wall_us()
        calls = tuple(Call(at_us - origin_us, ids) for at_us, ids in self._gate.calls())
        ingestions = self.scene.ingestions
        if self.scene.lives and not self.scene.dead:
            self._gate.assert_alive()
            ingestions = tuple(map(self._as_it_stands, ingestions))
        self._show(replace(self.scene, calls=calls, ingestions=ingestions))

    def _as_it_stands(self, ingestion: Ingestion) -> Ingestion:
        said = self._gate.status(ingestion.ingestion_id)
        if said is None:
            return ingestion
        batches = tuple(Batch(tuple(each["ids"]), each["status"]) for each in said["batches"])
        return replace(ingestion, status=said["status"], batches=batches)

    def _show(self, scene: Scene) -> None:
        self.scene = replace(scene, now_us=self._now_us())
        self._see(self.scene)

    def _came_up(self) -> bool:
        self._gate.assert_alive()
        return self._gate.ready()

    def _now_us(self) -> int:
        """By the wall clock, since that is what the journal has."""
        return 0 if self._origin_us is None else _wall_us() - self._origin_us


def play(stage: Stage) -> Scene:
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


def _between_calls(scene: Scene) -> bool:
    """A call that is out when its process is killed has an unknown fate; the demo shows the plain case."""
    out = any(b.status == CALLED for i in scene.ingestions for b in i.batches)
    soon = scene.next_slot_us is not None and scene.next_slot_us - scene.now_us < SOON_US
    return len(scene.calls) >= 2 and not out and not soon


def _wall_us() -> int:
    return time.time_ns() // 1_000


# --- the onlooker ---------------------------------------------------------------------------------


def on(console: Console) -> AbstractContextManager[See]:
    """Live where there is a terminal that is large enough for it, else line by line."""
    large = console.width >= WIDTH and console.height >= HEIGHT
    live = sys.stdout.isatty() and not console.is_dumb_terminal and large
    return _live(console) if live else _lines(console)


@contextmanager
def _live(console: Console) -> Iterator[See]:
    with Live(console=console, auto_refresh=False) as live:
        yield lambda scene: live.update(draw(scene), refresh=True)


@contextmanager
def _lines(console: Console) -> Iterator[See]:
    seen = Scene()

    def see(scene: Scene) -> None:
        nonlocal seen
        for line in news(seen, scene):
            console.print(line, markup=False, highlight=False)
        seen = scene
        if scene.ended:
            console.print("", draw(scene), no_wrap=True, overflow="crop")

    yield see


# --- from outside ---------------------------------------------------------------------------------


def main() -> int:
    svg = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="replace"
        )  # a terminal without these signs shows question marks
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    try:
        scene = _run(console)
        _judge(scene)
    except Broken as broken:
        console.print(
            f"\n✗ {broken}", style="bold red", markup=False, highlight=False, soft_wrap=True
        )
        return 1
    except KeyboardInterrupt:
        return 130
    if svg is not None:
        svg.write_text(picture(scene), encoding="utf-8")
    return 0


def _arguments() -> Path | None:
    parser = argparse.ArgumentParser(
        description="Watch a run of the worked example, with a kill -9."
    )
    parser.add_argument("--svg", metavar="FILE", type=Path, help="write the last screen there")
    svg: Path | None = parser.parse_args().svg
    if svg is not None and not svg.absolute().parent.is_dir():
        parser.error(f"there is no folder {svg.parent}")
    return svg


def _leave(number: int, _: FrameType | None) -> None:
    """End as by an exception, so that nothing is left behind."""
    sys.exit(128 + number)


def _run(console: Console) -> Scene:
    # the outermost is cleaned up last: the folder only when no process writes into it any more
    with (
        tempfile.TemporaryDirectory(prefix="headgate-demo-") as folder,
        closing(Gate(Path(folder))) as gate,
        on(console) as see,
    ):
        return play(Stage(gate, see))


def _judge(scene: Scene) -> None:
    broken = [f"{check.promise}: {check.seen}" for check in checked(scene) if not check.kept]
    if broken:
        raise Broken("broken: " + "; ".join(broken))


if __name__ == "__main__":
    sys.exit(main())
