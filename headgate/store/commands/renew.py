"""Lengthen the leases that a worker knows. What it does not name expires: an answer that was lost on the way
must not hold a slot for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

from headgate.core.model import Claim
from headgate.store.commands.ledger import ledger_now
from headgate.store.engine import Door, Transaction, WorkerId, through
from headgate.store.statements import beside

SQL = beside(__file__)


@through(Door.LEASES)
async def renew(tx: Transaction, claims: Sequence[Claim], *, worker: WorkerId) -> list[Claim]:
    """Renew every lease of these claims; returns those that were lost."""
    now = await ledger_now(tx)
    in_order = sorted(claims, key=lambda each: (each.seq, each.number))  # as a rescue locks them
    leases = [(each.seq, each.number, each.fence, now + each.lease_us, worker) for each in in_order]
    kept = set(await tx.each(SQL.renew, leases))
    return [each for each in claims if (each.seq, each.number, each.fence) not in kept]
