"""Owns every task of the worker: starts them, stops them at SIGTERM or at the end of the lifespan."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine, Mapping, Sequence
from types import FrameType
from typing import Any

from headgate.core.errors import Unavailable
from headgate.core.facts import LoopFailed
from headgate.core.model import Claim, SourceSpec, WorkerCard
from headgate.sources.base import Source
from headgate.store.queries.neighbours import neighbours
from headgate.worker.dispatcher import AGAIN_S, Lane, Tools
from headgate.worker.keeper import RENEW_S, Keeper, every
from headgate.worker.roster import Roster

LOOK_S = 1.0
"""How often it is looked who is there, and who is gone with batches in his hands."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Worker:
    """Everything that happens in the background of one process."""

    def __init__(
        self,
        sources: Sequence[tuple[SourceSpec, Source]],
        tools: Tools,
        card: WorkerCard,
    ) -> None:
        self._tools = tools
        quarters = [
            spec.rules.lease_us / 4_000_000 for spec, _ in sources
        ]  # a short lease is renewed in time
        self._renew_s = min([RENEW_S, *quarters])
        self._sources = [source for _, source in sources]
        self._lanes = [Lane(spec, source, tools) for spec, source in sources]
        self._keeper = Keeper(tools.engine, worker=tools.worker, held=self._held)
        self._roster = Roster(tools.engine, card, self._lanes)
        self._dispatching: list[asyncio.Task[None]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._found_handlers: Mapping[signal.Signals, Any] = {}

    async def start(self) -> None:
        """Sign in and begin to dispatch, in the running loop. Raises Unavailable."""
        await self._roster.sign_in()
        self._wrap_signals()
        observe = self._tools.observe
        loops: list[Coroutine[Any, Any, None]] = [
            every(self._renew_s, self._keeper.renew, name="renewal of leases", observe=observe),
            every(LOOK_S, self._look_around, name="look at other workers", observe=observe),
            every(AGAIN_S, self._tools.engine.attend, name="clock and hints", observe=observe),
        ]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        self._dispatching = [asyncio.create_task(lane.run()) for lane in self._lanes]

    async def stop(self) -> None:
        """Begin no new call, let the running ones finish and settle, then end every task and sign off."""
        self._stop_dispatching()
        self._unwrap_signals()
        await asyncio.gather(
            *self._dispatching, return_exceptions=True
        )  # a claim is not left alone
        for lane in self._lanes:
            await lane.finished()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            await self._sign_off()
        for source in self._sources:
            await source.close()

    async def _sign_off(self) -> None:
        try:
            await self._roster.sign_off()
        except Unavailable:
            pass  # its signs of life end, and that is noticed
        except Exception as error:
            self._tools.observe(LoopFailed("signing off", error))

    async def _look_around(self) -> None:
        there = await self._tools.engine.read(neighbours)
        await self._keeper.rescue(there.holders)
        await self._roster.see(there.present)

    def _held(self) -> list[Claim]:
        return [claim for lane in self._lanes for claim in lane.held]

    def _stop_dispatching(self) -> None:
        for lane in self._lanes:
            lane.stop()

    # -- signals -------------------------------------------------------------------------------------------

    def _wrap_signals(self) -> None:
        """Dispatching stops at the signal itself: under uvicorn the lifespan ends only after the last slow request."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._found_handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop_dispatching()
        found = self._found_handlers.get(signal.Signals(number))
        if callable(found):
            found(number, frame)
        elif found == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _unwrap_signals(self) -> None:
        for number, found in self._found_handlers.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, found)
        self._found_handlers = {}
