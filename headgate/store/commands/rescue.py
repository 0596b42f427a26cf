"""Take back the batches of a lost worker. The fate of its calls is unknown, and the ledger says so."""

from __future__ import annotations

from headgate.core.clock import FOREVER
from headgate.core.facts import BatchRescued
from headgate.core.model import Ending, RecordDraft
from headgate.store.commands import turns
from headgate.store.commands.batches import After, Held, apply, held_from, without
from headgate.store.commands.entries import close_entry, entry_asked, entry_from
from headgate.store.commands.ledger import LockedSource, lock_source
from headgate.store.engine import Door, Row, Transaction, WorkerId, through
from headgate.store.statements import beside

SQL = beside(__file__)

RESCUES = 20
"""A batch that takes its worker down with it so often ends as failed: it must not do so for ever."""


@through(Door.LEASES)
async def rescue(tx: Transaction, worker: WorkerId, *, dead: bool) -> int:
    """Give batches of a worker back to the line; returns how many: call again until there are none.

    `dead`: it is known to be dead, and its leases need not run out. An attempt is not used up: nobody knows
    whether there was one. At most 100 at once and of one source, so that no two sources are locked together.
    """
    first = await tx.one(SQL.first_source, worker)
    if first is None:
        return 0
    # before the clock, which whoever has a source may wait for
    locked = await lock_source(tx, first[0])
    before = FOREVER if dead else locked.now
    rows = await tx.lock(SQL.held_by, worker, before, locked.name)
    for row in rows:
        await _give_back(tx, locked, worker, row)
    if rows:
        tx.wake(locked.name)
    if rows and len(locked.quotas) > 1:
        await turns.wake_sharers(tx, locked.name)
    return len(rows)


async def _give_back(tx: Transaction, locked: LockedSource, worker: WorkerId, row: Row) -> None:
    seq, number, fence, *found, rescues, entry = row
    if entry is not None:
        known = entry_from(await tx.all(*entry_asked(entry)))
        await close_entry(tx, locked, known, None)
    held = held_from(locked.name, seq, number, fence, found)
    await apply(tx, held, _after(held, rescues + 1), wall=locked.wall)
    tx.state(BatchRescued(locked.name, held.ingestion_id, number, worker))


def _after(held: Held, rescues: int) -> After:
    reason = "lost with its worker"
    if rescues < RESCUES:
        return After(todo=held.todo, attempt=held.attempt, reason=reason, rescued=True)
    reason = f"lost with its worker {rescues} times"
    drafts = [RecordDraft(p, Ending.FAILED, reason=reason) for group in held.todo for p in group]
    return After(drafts, without(held.todo, drafts), reason=reason, rescued=True)
