"""Shows a run to whoever looks on: live where there is a terminal that is large enough for it, else line by line."""

from __future__ import annotations

import io
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live

from scripts.demo.drawing import WIDTH
from scripts.demo.values import Broken, Check, Scene

S = TypeVar("S", bound=Scene)
See = Callable[[S], None]


class Show(ABC, Generic[S]):
    """What a demo brings along: what happens, and how it is judged, drawn and told."""

    first: S
    height: int
    subject: str
    """What its picture shows, for who cannot see it."""

    @abstractmethod
    def play(self, folder: Path, see: See[S]) -> S:
        """Run it in an empty folder; returns the last scene. Raises Broken, and leaves no process behind."""

    @abstractmethod
    def checked(self, scene: S) -> tuple[Check, ...]:
        """Judge a run that has ended."""

    @abstractmethod
    def draw(self, scene: S) -> RenderableType:
        """The whole screen."""

    @abstractmethod
    def news(self, before: S, after: S) -> Iterator[str]:
        """Say what happened between two scenes, an event a line."""

    def judge(self, scene: S) -> None:
        """Raise Broken with every promise that was not kept."""
        broken = [f"{each.promise}: {each.seen}" for each in self.checked(scene) if not each.kept]
        if broken:
            raise Broken("broken: " + "; ".join(broken))


def standard_output() -> Console:
    """As wide as the terminal, or as the screen where there is none."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a terminal without these signs shows question marks
        sys.stdout.reconfigure(errors="replace")
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def shown(show: Show[S], to: Console) -> AbstractContextManager[See[S]]:
    """What takes scenes, for as long as the context lasts."""
    large = to.width >= WIDTH and to.height >= show.height
    live = sys.stdout.isatty() and not to.is_dumb_terminal and large
    return _live(show, to) if live else _lines(show, to)


@contextmanager
def _live(show: Show[S], to: Console) -> Iterator[See[S]]:
    with Live(console=to, auto_refresh=False) as live:
        yield lambda scene: live.update(show.draw(scene), refresh=True)


@contextmanager
def _lines(show: Show[S], to: Console) -> Iterator[See[S]]:
    seen = show.first

    def see(scene: S) -> None:
        nonlocal seen
        for line in show.news(seen, scene):
            to.print(line, markup=False, highlight=False)
        seen = scene
        if scene.ended:
            to.print("", show.draw(scene), no_wrap=True, overflow="crop")

    yield see
