"""What a lane does otherwise where its store is far away: a claim from there holds up those who are nearer.

docs/decisions/0021 says why. Near the store nothing of this does anything.
"""

from __future__ import annotations

from collections.abc import Callable

from headgate.core.clock import Clock
from headgate.core.facts import Fact, GrantsLate
from headgate.core.model import Claim, SourceSpec
from headgate.core.quota import Wait
from headgate.store.commands.claim import CLAIM_TRIPS
from headgate.store.engine import Engine
from headgate.store.queries.left import left

FAR_US = 20_000
"""From so long a round trip on it is looked first, without holding anybody up, whether a claim is worth it."""

FIRST_TRIPS = 4
"""So many of its round trips a worker that is far away lets the others go first."""

ASIDE_US = 1_000_000
MOST_ASIDE_US = 60_000_000
"""How long others are let go first after a claim that came too late: doubled while they do, up to a minute.

At once after the first: the source was held for as long as that claim and giving its grants back took, so slots look
left that those who are nearer only waited for.
"""


class Afar:
    """How far the store is from the lane of one source, and what follows from that."""

    def __init__(
        self, spec: SourceSpec, engine: Engine, clock: Clock, observe: Callable[[Fact], None]
    ) -> None:
        self._spec = spec
        self._engine = engine
        self._clock = clock
        self._observe = observe
        self._late = 0
        self._aside_until_us = 0

    def still_aside_us(self) -> int:
        """How long to wait before asking this again, while others are let go first. Who has come near goes on."""
        if not self._far:
            self._late = self._aside_until_us = 0
        return min(max(0, self._aside_until_us - self._clock.boot_us()), ASIDE_US)

    async def others_first(self) -> Wait | None:
        """What to wait for while those who are nearer see to the source by themselves.

        Not where a quota is shared: only a claim takes the ticket without which others would never leave room.
        """
        if not self._far or self._spec.shares:
            return None
        for_us = FIRST_TRIPS * self._engine.trip_us
        return await self._engine.read(left, self._spec.name, for_us=for_us)

    def most(self, near: int) -> int:
        """How many grants a claim may bring: from far away each costs a round trip, and half the slack is for them."""
        if not self._far:
            return near
        trips = self._spec.rules.slack_us // (2 * self._engine.trip_us)
        return 1 if self._late else min(near, max(1, trips - CLAIM_TRIPS))

    def note(self, first: Claim, got_us: int) -> None:
        """Whose grants are stale when they come, at `got_us`, holds up those who could use them, and stands aside."""
        took_us = got_us - first.looked_us
        if took_us > first.slack_us:
            self.stand_aside(took_us)
        else:
            self._late = 0

    def stand_aside(self, takes_us: int) -> None:
        """Let others go first, for longer each time: a claim takes so long from here that nothing comes of it.

        Near it was a stall, which is over.
        """
        if not self._far:
            return
        aside_us = min(ASIDE_US << min(self._late, 6), MOST_ASIDE_US)
        self._late += 1
        self._aside_until_us = self._clock.boot_us() + aside_us
        self._observe(GrantsLate(self._spec.name, takes_us, aside_us))

    @property
    def _far(self) -> bool:
        return self._engine.trip_us >= FAR_US
