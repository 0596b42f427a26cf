"""The only way out to a source: one permitted call of a claim, checked and stamped.

Durations are counted from before the ledger's clock was looked at for the claim, by the boot-time clock, so that
lateness anywhere between (a commit, a pause of the process) only ever makes the call more stale, never less.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from headgate.core.clock import Clock
from headgate.core.model import CallReport, Claim
from headgate.core.quota import stretched
from headgate.sources.base import NoGrant, TooLate


class GrantedWire:
    """The wire of one claim. `got_us`: the boot-time clock after the store's answer."""

    def __init__(
        self,
        claim: Claim,
        *,
        clock: Clock,
        got_us: int,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._clock = clock
        self._opens_us = got_us + stretched(claim.not_before_us)  # our clock may run fast by rho
        self._stale_us = claim.looked_us + claim.not_before_us + claim.slack_us
        self._stopping = stopping
        self._taken = False
        self._checked = False
        self._written_us: int | None = None
        self._answered_us: int | None = None

    @asynccontextmanager
    async def call(self) -> AsyncIterator[GrantedWire]:
        """Take the grant, and wait for its instant. Raises NoGrant the second time."""
        if self._taken:
            raise NoGrant
        self._taken = True
        early_us = self._opens_us - self._clock.boot_us()
        if early_us > 0:
            await asyncio.sleep(early_us / 1_000_000)
        yield self

    def check(self) -> None:
        """Let the bytes leave, once. Raises TooLate when the grant is stale or the process is stopping."""
        if self._checked:
            raise NoGrant
        if self._stopping() or self._clock.boot_us() > self._stale_us:
            raise TooLate
        self._checked = True

    def written(self) -> None:
        self._written_us = self._clock.boot_us()

    def answered(self) -> None:
        if self._answered_us is None:
            self._answered_us = self._clock.boot_us()

    @property
    def is_written(self) -> bool:
        return self._written_us is not None

    def report(self) -> CallReport:
        """What was seen of the call, as ages from now on."""
        now = self._clock.boot_us()
        return CallReport(
            sent=self._checked,
            written_ago_us=None if self._written_us is None else now - self._written_us,
            answered_ago_us=None if self._answered_us is None else now - self._answered_us,
        )
