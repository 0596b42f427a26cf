"""The contract of a source: `fetch(ids, wire) -> Outcome`, and the wire as its only way out.

One request to the other side is one `async with wire.call() as call`. Entering it takes the grant and waits for
its instant. Then the source opens its connection and, as the last thing before the bytes leave, calls
`call.check()`, which raises TooLate when the grant has gone stale: nothing is sent then. `call.written()` is said
when the write has returned, `call.answered()` at the first byte of the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from headgate.core.ids import Id
from headgate.core.outcome import Outcome


class TooLate(Exception):
    """The grant may not be used any more: nothing was sent, and nothing may be."""


class NoGrant(Exception):
    """A second request was begun under one grant: a bug of the source."""


class Call(Protocol):
    """One permitted request. Each method is said at most once, in this order; the last two may never come."""

    def check(self) -> None:
        """The last thing before the bytes leave. Raises TooLate if they must not."""

    def written(self) -> None:
        """The whole request was handed to the operating system."""

    def answered(self) -> None:
        """The first byte of the answer is here."""


class Wire(Protocol):
    """The only way out to a source."""

    def call(self) -> AbstractAsyncContextManager[Call]:
        """Take the grant for one request. Raises NoGrant if it was taken already."""


class Source(Protocol):
    """An external API that gives records by id."""

    async def fetch(self, ids: Sequence[tuple[int, Id]], wire: Wire) -> Outcome:
        """Ask for some ids, given as (position, id), with one call; records come back by position.

        No call is made where the ids cannot be asked for at all: Rejected then. Returns an outcome for whatever the
        other side does. Lets TooLate and NoGrant pass through.
        """

    async def close(self) -> None:
        """Let go of connections."""
