"""One lane per source: claim what is next, call, settle; between two claims sleep exactly as long as told.

A slow or closed source never holds up another: lanes share nothing but the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from headgate.core.clock import Clock
from headgate.core.errors import Unavailable
from headgate.core.facts import Fact, LoopFailed
from headgate.core.model import Claim, SourceSpec
from headgate.core.outcome import Failed, Outcome, Unsent
from headgate.core.quota import Hold, Wait
from headgate.core.retry import next_step
from headgate.sources.base import Source, TooLate
from headgate.store.commands.claim import Claims, Idle, TooFar, claim
from headgate.store.commands.settle import report, settle
from headgate.store.engine import Engine, Failpoint, WorkerId
from headgate.worker.afar import Afar
from headgate.worker.wire import GrantedWire

POLL_US = 5_000_000
"""How long a lane sleeps when it was told nothing: a lost hint costs this much."""

CALM_US = 20_000
"""While a slot is waited for, hints are looked into once in so long: new work does not make the slot come sooner."""

AGAIN_S = 1.0
"""How soon the store is asked again after it could not answer."""

LEAVES_US = 10_000_000
"""For so long after it was told to stop a worker tries to settle what it has: without an end it would be killed."""

MOST_AT_ONCE = 64

SLOTS = frozenset({Hold.WINDOW, Hold.PACE, Hold.PAUSED})


@dataclass(frozen=True, slots=True)
class Tools:
    """What every lane works with; chance and time come from outside."""

    engine: Engine
    clock: Clock
    worker: WorkerId
    observe: Callable[[Fact], None]
    jitter: Callable[[], float]
    failpoint: Failpoint


class Lane:
    """The work on one source."""

    def __init__(self, spec: SourceSpec, source: Source, tools: Tools) -> None:
        self._spec = spec
        self._source = source
        self._tools = tools
        self._leaves_at_us: int | None = None
        self._on_duty = True
        self._waits_for_slot = False
        self._afar = Afar(spec, tools.engine, tools.clock, tools.observe)
        self._calls: dict[asyncio.Task[None], Claim] = {}

    @property
    def name(self) -> str:
        return self._spec.name

    @property
    def concurrency(self) -> int:
        return self._spec.rules.concurrency

    @property
    def held(self) -> list[Claim]:
        """The claims that this lane works on: their leases have to be kept."""
        return list(self._calls.values())

    def put_on_duty(self, on_duty: bool) -> None:
        """Ask for work, or leave it to others until told otherwise; what is on the wire goes on."""
        if on_duty != self._on_duty:
            self._on_duty = on_duty
            self._tools.engine.wakes.wake(self._spec.name)

    def stop(self) -> None:
        """Begin no new call; what is on the wire goes on. From any thread or signal handler of this process."""
        if not self._stopping:
            self._leaves_at_us = self._tools.clock.boot_us() + LEAVES_US
        self._tools.engine.wakes.wake(self._spec.name)

    async def finished(self) -> None:
        """Return when no call is running any more."""
        while self._calls:
            await asyncio.wait(self._calls)

    async def run(self) -> None:
        """Dispatch until told to stop."""
        while not self._stopping:
            sleep_us = await self._ask()
            if sleep_us and not self._stopping:
                await self._sleep(sleep_us)

    async def _ask(self) -> int:
        """Dispatch if it is on duty; returns how long to sleep."""
        if not self._on_duty:
            return POLL_US
        if (aside_us := self._afar.still_aside_us()) > 0:
            return aside_us
        try:
            return await self._dispatch()
        except Unavailable:
            return int(AGAIN_S * 1_000_000)
        except Exception as error:
            self._tools.observe(LoopFailed(f"dispatcher of {self._spec.name}", error))
            return int(AGAIN_S * 1_000_000)

    async def _sleep(self, sleep_us: int) -> None:
        """Sleep as long as told, or until the next hint."""
        if self._waits_for_slot and sleep_us > CALM_US:
            await asyncio.sleep(CALM_US / 1_000_000)
            sleep_us -= CALM_US
        if not self._stopping:
            await self._tools.engine.wakes.next(self._spec.name, timeout_us=sleep_us)

    async def _dispatch(self) -> int:
        """Claim once and begin what was granted; returns how long to sleep before the next claim."""
        self._waits_for_slot = False
        if (wait := await self._afar.others_first()) is not None:
            return self._told(wait)
        most = self._afar.most(MOST_AT_ONCE)
        match await self._tools.engine.run(
            claim, self._spec.name, worker=self._tools.worker, most=most
        ):
            case Idle():
                return POLL_US
            case Wait() as wait:
                return self._told(wait)
            case Claims(claims):
                got_us = self._tools.clock.boot_us()
                self._tools.failpoint("claimed")
                for each in claims:
                    self._begin(each, got_us)
                self._afar.note(claims[0], got_us)
                return 0
            case TooFar(takes_us):
                self._afar.stand_aside(takes_us)
                return CALM_US
            case _ as never:
                assert_never(never)

    def _told(self, wait: Wait) -> int:
        self._waits_for_slot = wait.for_us is not None and wait.why in SLOTS
        return POLL_US if wait.for_us is None else min(wait.for_us, POLL_US)

    def _begin(self, claimed: Claim, got_us: int) -> None:
        wire = GrantedWire(
            claimed,
            clock=self._tools.clock,
            got_us=got_us,
            stopping=lambda: self._stopping,
        )
        task = asyncio.create_task(self._work_on(claimed, wire))
        self._calls[task] = claimed
        task.add_done_callback(self._calls.pop)

    async def _work_on(self, claimed: Claim, wire: GrantedWire) -> None:
        """Fetch what is to do in one batch and record what it came to."""
        outcome = await self._fetch_reporting(claimed, wire)
        self._tools.failpoint("called")
        step = next_step(
            outcome,
            asked=len(claimed.ids),
            attempt=claimed.attempt,
            policy=self._spec.retry,
            jitter=self._tools.jitter(),
            probe=claimed.probe,
            failures=claimed.failures,
        )
        while True:
            try:
                await self._tools.engine.run(
                    settle, claimed, step, wire.report(), policy=self._spec.retry
                )
            except Exception as error:
                if not isinstance(error, Unavailable) or self._has_to_leave:
                    self._tools.observe(LoopFailed(f"settling a batch of {self._spec.name}", error))
                    return  # its lease runs out, and it is rescued
                await asyncio.sleep(AGAIN_S)
            else:
                return

    @property
    def _stopping(self) -> bool:
        return self._leaves_at_us is not None

    @property
    def _has_to_leave(self) -> bool:
        return self._leaves_at_us is not None and self._tools.clock.boot_us() > self._leaves_at_us

    async def _fetch_reporting(self, claimed: Claim, wire: GrantedWire) -> Outcome:
        """Fetch; a call that is long in being answered reports meanwhile that it was written."""
        if claimed.report_after_us is None:
            return await self._fetch(claimed, wire)
        fetching = asyncio.create_task(self._fetch(claimed, wire))
        while not fetching.done():
            await asyncio.wait({fetching}, timeout=claimed.report_after_us / 1_000_000)
            if wire.is_written and not fetching.done():
                await self._report(claimed, wire)
                break
        return await fetching

    async def _report(self, claimed: Claim, wire: GrantedWire) -> None:
        """Tell the ledger early; if that cannot be done, settling tells it all the same."""
        try:
            await self._tools.engine.run(report, claimed, wire.report())
        except Unavailable:
            pass
        except Exception as error:
            self._tools.observe(LoopFailed(f"early report of {self._spec.name}", error))

    async def _fetch(self, claimed: Claim, wire: GrantedWire) -> Outcome:
        try:
            return await self._source.fetch(claimed.ids, wire)
        except TooLate:
            return Unsent()
        except Exception as error:
            self._tools.observe(LoopFailed(f"source {self._spec.name}", error))
            return Failed(f"the source's code raised {type(error).__name__}")
