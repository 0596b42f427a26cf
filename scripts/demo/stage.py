"""A run: does things to processes, and keeps looking at what comes of them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from scripts.demo.values import Broken, Scene

TICK_S = 0.05

S = TypeVar("S", bound=Scene)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long any one step may take, and all of them together."""

    step_s: float
    whole_s: float


class Stage(ABC, Generic[S]):
    """Whoever looks on is shown each scene."""

    def __init__(self, first: S, see: Callable[[S], None], patience: Patience) -> None:
        self.scene = first
        self._see = see
        self._patience = patience
        self._began_at = time.monotonic()
        self._origin_us: int | None = None

    @abstractmethod
    def clock_us(self) -> int:
        """The clock of the source's journal."""

    @abstractmethod
    def looked(self) -> S:
        """The scene as it is now. Raises Broken if something is there that must never be."""

    @abstractmethod
    def last_words(self) -> str:
        """What the processes said last, for whoever has to find out what broke."""

    def watch(self, until: Callable[[], bool], *, what: str) -> None:
        """Look again and again until something is so. Raises Broken if it does not come about in time."""
        now = time.monotonic()
        give_up_at = min(now + self._patience.step_s, self._began_at + self._patience.whole_s)
        while not until():
            if time.monotonic() > give_up_at:
                raise Broken(f"waited in vain until {what}\n{self.last_words()}")
            time.sleep(TICK_S)
            self.show(self.looked())

    def reached(self, at_us: int) -> Callable[[], bool]:
        return lambda: self.now_us >= at_us

    def begin(self) -> None:
        """Let time count from here, if it does not yet."""
        if self._origin_us is None:
            self._origin_us = self.clock_us()

    @property
    def origin_us(self) -> int:
        return self.clock_us() if self._origin_us is None else self._origin_us

    @property
    def now_us(self) -> int:
        return 0 if self._origin_us is None else self.clock_us() - self._origin_us

    def show(self, scene: S) -> None:
        self.scene = replace(scene, now_us=self.now_us)
        self._see(self.scene)

    def end(self) -> None:
        """Look a last time, and let it be judged."""
        self.show(self.looked())
        self.show(replace(self.scene, ended=True))
