"""What those who are nearer to the store have left of a source's work, seen without holding anybody up.

A claim holds its source for some round trips. From far away that is long, and for most slots in vain: somebody
nearer was faster. So who is far looks first, and claims only what has been there for a while.
"""

from __future__ import annotations

from headgate.core.quota import Hold, Wait
from headgate.store.commands.claim import refusal
from headgate.store.commands.entries import charges_asked, in_flight_asked, usages_from
from headgate.store.commands.heads import Line, next_due
from headgate.store.commands.ledger import see_source
from headgate.store.engine import Door, Transaction, through


@through(Door.DISPATCH)
async def left(tx: Transaction, source: str, *, for_us: int) -> Wait | None:
    """None if it is worth a claim: a call might have been granted for so long already; else how long to wait.

    What only a claim can tell is worth one, too: a closed source, a call that is too dear, a ledger that is new.
    """
    seen = await see_source(tx, source)
    if seen is None or seen.closed_until is not None:
        return None
    seen.now = at = seen.now - for_us  # what occupied a window then has to be read
    line = Line(tx, source, most=seen.rules.batch_size)
    due, begun, waiting, in_flight, *charges = await tx.reads(
        *line.asked(at), in_flight_asked(source), *charges_asked(seen)
    )
    if due:
        return None
    if not begun and not waiting:
        until = await next_due(tx, source)
        return Wait(None if until is None else max(0, until - at))
    usages = usages_from(seen, charges)
    refused = refusal(seen, usages, busy=in_flight[0][0], ids=1, at=at)  # rather once in vain
    return None if refused is not None and refused.why is Hold.COST else refused
