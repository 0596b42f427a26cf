"""Keep the leases of this process, and take back what lost processes held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from headgate.core.errors import Unavailable
from headgate.core.facts import Fact, LoopFailed
from headgate.core.model import Claim
from headgate.store.commands.renew import renew
from headgate.store.commands.rescue import rescue
from headgate.store.engine import Engine, WorkerId
from headgate.store.queries.neighbours import Holder

RENEW_S = 3.0


async def every(
    seconds: float,
    step: Callable[[], Awaitable[None]],
    *,
    name: str,
    observe: Callable[[Fact], None],
) -> None:
    """Take an asynchronous step for ever, with a pause after each; an error is a fact and does not end it."""
    while True:
        try:
            await step()
        except Unavailable:
            pass  # it is told by whoever asked for something; the next step tries again
        except Exception as error:
            observe(LoopFailed(name, error))
        await asyncio.sleep(seconds)


class Keeper:
    """Renews in one command, and only while something is held: at rest nothing is written."""

    def __init__(
        self, engine: Engine, *, worker: WorkerId, held: Callable[[], Sequence[Claim]]
    ) -> None:
        self._engine = engine
        self._worker = worker
        self._held = held

    async def renew(self) -> None:
        held = self._held()
        if held:
            await self._engine.run(renew, held, worker=self._worker)

    async def rescue(self, holders: Sequence[Holder]) -> None:
        """Take back the batches of workers that are dead for sure, and those whose leases ran out."""
        for holder in holders:
            dead = self._engine.known_dead(holder.worker)
            if dead or holder.lease_ran_out:
                while await self._engine.run(rescue, holder.worker, dead=dead):
                    continue
