"""Call sources again that are held: by their own word, or since their ledger has forgotten calls."""

from __future__ import annotations

from collections.abc import Sequence

from headgate.core.errors import NotFound
from headgate.core.facts import SourceReleased
from headgate.store.commands import turns
from headgate.store.commands.ledger import hold_all_sources
from headgate.store.engine import Transaction
from headgate.store.statements import beside

SQL = beside(__file__)


async def release(tx: Transaction, sources: Sequence[str]) -> None:
    """End what holds the quotas of sources: somebody knows that they may be called. Windows go on counting.

    Raises NotFound if one of them was never configured.
    """
    await hold_all_sources(tx)
    for source in sources:
        if not await tx.do(SQL.release, source):
            raise NotFound(f"the source {source!r} is not configured")
        tx.wake(source)
        await turns.wake_sharers(tx, source)
        tx.state(SourceReleased(source))
