"""Sign in, and know who else calls the same sources: it tells each lane whether it is on duty."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.core.duty import counts, on_duty
from headgate.core.model import WorkerCard
from headgate.store.commands.workers import sign_in, sign_off
from headgate.store.engine import Engine, WorkerId
from headgate.store.queries.neighbours import Present, neighbours
from headgate.store.queries.workers import sources_of
from headgate.worker.dispatcher import Lane


class Roster:
    """The list of workers, as one of them sees it."""

    def __init__(self, engine: Engine, card: WorkerCard, lanes: Sequence[Lane]) -> None:
        self._engine = engine
        self._card = card
        self._lanes = lanes
        self._called: dict[WorkerId, frozenset[str]] = {}  # what each of those that count calls

    async def sign_in(self) -> None:
        """Be listed among the workers; those that are known to be dead are no longer."""
        there = (await self._engine.read(neighbours)).present
        dead = [each.worker for each in there if self._engine.known_dead(each.worker)]
        await self._engine.run(sign_in, self._card, dead=dead)

    async def sign_off(self) -> None:
        """Be listed no longer."""
        await self._engine.run(sign_off, self._card.worker)

    async def see(self, listed: Sequence[Present]) -> None:
        """Put the lanes on duty or relieve them, by who is there."""
        if all(each.worker != self._card.worker for each in listed):
            await self.sign_in()  # it was taken for lost
        counted = {each.worker for each in listed if self._is_counted(each)}
        if counted == self._called.keys():
            return
        self._called = {worker: await self._sources_of(worker) for worker in counted}
        for lane in self._lanes:
            lane.put_on_duty(self._on_duty(lane))

    def _is_counted(self, other: Present) -> bool:
        return (
            other.worker != self._card.worker
            and not self._engine.known_dead(other.worker)
            and counts(
                age_us=other.age_us,
                silent_us=other.silent_us,
                heard_every_us=self._engine.heard_every_us,
            )
        )

    async def _sources_of(self, worker: WorkerId) -> frozenset[str]:
        """What a worker calls never changes; the list is too long to be read every second."""
        known = self._called.get(worker)
        return await self._engine.read(sources_of, worker) if known is None else known

    def _on_duty(self, lane: Lane) -> bool:
        others = [worker for worker, called in self._called.items() if lane.name in called]
        return on_duty(lane.name, self._card.worker, others, concurrency=lane.concurrency)
