"""A source that needs nothing: constant latency, a record for each id, and misbehaviour on request."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from headgate.core.ids import Id
from headgate.core.outcome import Failed, Fetched, Outcome, Refused, Rejected, Throttled
from headgate.sources.base import Wire


@dataclass(frozen=True, slots=True)
class SimulatedOptions:
    """How the simulated source behaves. Rates are shares of calls (of ids, for `missing_rate`) in [0, 1].

    `missing`, `failing`, `rejected`: ids that do not exist, that fail every call they are in, that make the source
    reject a call. `journal` names a file that gets a line for each call: an instant of the wall clock, the ids.
    """

    latency_us: int = 100_000
    missing: frozenset[Id] = frozenset()
    failing: frozenset[Id] = frozenset()
    rejected: frozenset[Id] = frozenset()
    missing_rate: float = 0.0
    failure_rate: float = 0.0
    throttle_rate: float = 0.0
    refuse: bool = False
    retry_after_us: int | None = 5_000_000
    seed: int = 0
    journal: Path | None = field(default=None)


class SimulatedSource:
    """Answers every call after the same latency."""

    def __init__(self, options: SimulatedOptions) -> None:
        self._options = options
        self._chance = random.Random(options.seed)

    async def fetch(self, ids: Sequence[tuple[int, Id]], wire: Wire) -> Outcome:
        async with wire.call() as call:
            call.check()
            self._note(ids)
            call.written()
            if self._options.latency_us:
                await asyncio.sleep(self._options.latency_us / 1_000_000)
            call.answered()
            return self._outcome(ids)

    async def close(self) -> None:
        """There is nothing to let go of."""

    def _outcome(self, ids: Sequence[tuple[int, Id]]) -> Outcome:
        options, values = self._options, {value for _, value in ids}
        if options.refuse:
            return Refused("401: the simulated source was told to refuse")
        if self._by_chance(options.throttle_rate):
            return Throttled(
                options.retry_after_us, "429: the simulated source was told to throttle"
            )
        if values & options.failing or self._by_chance(options.failure_rate):
            return Failed("500: the simulated source was told to fail")
        if values & options.rejected:
            return Rejected("400: the simulated source was told to reject an id of this call")
        return self._answer(ids)

    def _answer(self, ids: Sequence[tuple[int, Id]]) -> Fetched:
        missing = frozenset(
            position
            for position, value in ids
            if value in self._options.missing or self._by_chance(self._options.missing_rate)
        )
        records = {
            position: msgspec.json.encode({"id": value, "simulated": True})
            for position, value in ids
            if position not in missing
        }
        return Fetched(records, missing)

    def _by_chance(self, rate: float) -> bool:
        return rate > 0 and self._chance.random() < rate

    def _note(self, ids: Sequence[tuple[int, Id]]) -> None:
        """One line a call, in one write, so that lines of several processes do not mix."""
        if self._options.journal is None:
            return
        line = msgspec.json.encode({"at_us": time.time_ns() // 1_000, "ids": [v for _, v in ids]})
        descriptor = os.open(self._options.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line + b"\n")
        finally:
            os.close(descriptor)
