"""Record what a call came to and end the lease. Safe to repeat: without the lease it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from headgate.core.facts import LeaseLost
from headgate.core.lifecycle import ASIDE
from headgate.core.model import CallReport, Claim, Ending, RecordDraft, Status
from headgate.core.outcome import Fetched
from headgate.core.retry import (
    Bury,
    Close,
    Complete,
    Postpone,
    Release,
    Retry,
    RetryPolicy,
    Split,
    Step,
)
from headgate.core.slicing import split
from headgate.store.commands import turns
from headgate.store.commands.batches import After, Held, apply, held_from, without
from headgate.store.commands.entries import (
    Entry,
    close_entry,
    entry_asked,
    entry_from,
    report_written,
)
from headgate.store.commands.ledger import LockedSource, lock_source
from headgate.store.commands.standing import tell_source
from headgate.store.engine import Door, Transaction, through
from headgate.store.statements import beside

SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class Settled:
    """The step was taken; where the batch stands now."""

    status: Status


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease was lost: somebody else has the batch, or had it. Nothing was changed."""


@through(Door.DISPATCH)
async def settle(
    tx: Transaction, claim: Claim, step: Step, report: CallReport, *, policy: RetryPolicy
) -> Settled | Lost:
    """Take the step for a claimed batch, close its entry in the ledger, and tell the source's state.

    Under a stale fence nothing is changed, the ledger neither: the fate of that call is unknown to it.
    """
    locked = await lock_source(tx, claim.source)
    held, entry = await _look(tx, claim)
    if held is None:
        await _tell_lost(tx, claim)
        return Lost()
    await close_entry(tx, locked, entry, report)
    await tell_source(tx, locked, claim, step, policy, asked=report.sent)
    after = _after(locked, held, claim, step, policy)
    status = await apply(tx, held, after, wall=locked.wall)
    await _wake(tx, locked)
    return Settled(status)


@through(Door.DISPATCH)
async def report(tx: Transaction, claim: Claim, seen: CallReport) -> None:
    """The call was written and is not answered yet: where the source counts early for sure, that tells its u."""
    locked = await lock_source(tx, claim.source)
    held, entry = await _look(tx, claim)
    if held is not None:
        await report_written(tx, locked, entry, seen)
        await _wake(tx, locked)


async def _wake(tx: Transaction, locked: LockedSource) -> None:
    tx.wake(locked.name)
    if len(locked.quotas) > 1:
        await turns.wake_sharers(tx, locked.name)


async def _tell_lost(tx: Transaction, claim: Claim) -> None:
    row = await tx.one(SQL.whose, claim.seq)
    assert row is not None, "an ingestion is never deleted"
    tx.state(LeaseLost(claim.source, row[0], claim.number))


async def _look(tx: Transaction, claim: Claim) -> tuple[Held | None, Entry | None]:
    """The batch, if it is still held under the claim's fence, and the entry of its call, if it is still there."""
    held, entry = await tx.reads(
        (SQL.held_batch, claim.seq, claim.number, claim.fence), entry_asked(claim.entry)
    )
    return (
        held_from(claim.source, claim.seq, claim.number, claim.fence, held[0]) if held else None,
        entry_from(entry),
    )


def _after(
    locked: LockedSource, held: Held, claim: Claim, step: Step, policy: RetryPolicy
) -> After:
    """What a step makes of the batch. `attempt` belongs to the first group to do, and starts again with the next.

    What a closed source does not answer is set aside, so that others are probed before it.
    """
    match step:
        case Complete(fetched):
            drafts = _drafts(fetched, claim, absent=Ending.MISSING)
            return After(drafts, without(held.todo, drafts), reason=_first_reason(fetched))
        case Retry(after_us, reason, fetched):
            drafts = _drafts(fetched, claim) if fetched else []
            spared = claim.probe and policy.spares(claim.failures)
            not_before = (
                ASIDE + locked.now if claim.probe and not fetched else locked.now + after_us
            )
            attempt = held.attempt if spared else held.attempt + 1
            return After(drafts, without(held.todo, drafts), attempt, not_before, after_us, reason)
        case Bury(reason, missing, fetched, _):
            drafts = _drafts(
                fetched or Fetched(),
                claim,
                absent=Ending.MISSING if missing else Ending.FAILED,
                reason=reason,
            )
            return After(drafts, without(held.todo, drafts), reason=reason)
        case Split(reason):
            called = [position for position, _ in claim.ids]
            return After(todo=split(held.todo, called), reason=reason)
        case Close(reason):
            return After(
                todo=held.todo,
                attempt=held.attempt,
                not_before=ASIDE + locked.now,
                reason=reason,
            )
        case Postpone(_, reason) | Release(reason):
            return After(todo=held.todo, attempt=held.attempt, reason=reason)
        case _:
            assert_never(step)


def _drafts(
    fetched: Fetched, claim: Claim, *, absent: Ending | None = None, reason: str | None = None
) -> list[RecordDraft]:
    """The records of a call, in the order asked; ids that were not mentioned end as `absent`, or are left to do."""
    drafts = []
    for position, _ in claim.ids:
        if position in fetched.records:
            drafts.append(RecordDraft(position, Ending.FETCHED, fetched.records[position]))
        elif position in fetched.failed:
            drafts.append(RecordDraft(position, Ending.FAILED, reason=fetched.failed[position]))
        elif position in fetched.missing:
            drafts.append(RecordDraft(position, Ending.MISSING))
        elif absent is not None:
            drafts.append(RecordDraft(position, absent, reason=reason))
    return drafts


def _first_reason(fetched: Fetched) -> str | None:
    return next(iter(fetched.failed.values()), None)
