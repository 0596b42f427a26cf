"""Record what a call came to and end the lease. Safe to repeat: without the lease it changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import msgspec

from headgate.core.facts import LeaseLost, SourceClosed, SourceOpened, SourcePaused
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
from headgate.core.slicing import Todo, split
from headgate.store.commands.batches import After, Held, apply, without
from headgate.store.commands.ledger import SQL as LEDGER
from headgate.store.commands.ledger import LockedSource, close_entry, lock_source
from headgate.store.engine import Transaction
from headgate.store.statements import beside

SQL = beside(__file__)


@dataclass(frozen=True, slots=True)
class Settled:
    """The step was taken; where the batch stands now."""

    status: Status


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease was lost: somebody else has the batch, or had it. Nothing was changed."""


async def settle(
    tx: Transaction, claim: Claim, step: Step, report: CallReport, *, policy: RetryPolicy
) -> Settled | Lost:
    """Take the step for a claimed batch, close its entry in the ledger, and tell the source's state.

    Under a stale fence nothing is changed, the ledger neither: the fate of that call is unknown to it.
    """
    locked = await lock_source(tx, claim.source)
    held = await _held(tx, claim)
    if held is None:
        tx.state(LeaseLost(claim.source, claim.seq, claim.number))
        return Lost()
    await close_entry(tx, locked, claim.entry, report)
    await _tell_source(tx, locked, step, policy)
    status = await apply(tx, held, _after(locked, held, claim, step), wall=locked.wall)
    tx.wake(claim.source)
    return Settled(status)


async def _held(tx: Transaction, claim: Claim) -> Held | None:
    row = await tx.one(SQL.held_batch, claim.seq, claim.number, claim.fence)
    if row is None:
        return None
    todo = msgspec.json.decode(row[0], type=Todo)
    return Held(
        claim.source, claim.seq, claim.number, claim.fence, todo, row[1], row[2], bool(row[3])
    )


def _after(locked: LockedSource, held: Held, claim: Claim, step: Step) -> After:
    """What a step makes of the batch. `attempt` belongs to the first group to do, and starts again with the next."""
    match step:
        case Complete(fetched):
            drafts = _drafts(fetched, claim, absent=Ending.MISSING)
            return After(drafts, without(held.todo, drafts), reason=_first_reason(fetched))
        case Retry(after_us, reason, fetched):
            drafts = _drafts(fetched, claim) if fetched else []
            attempt = held.attempt if locked.closed_until is not None else held.attempt + 1
            return After(
                drafts, without(held.todo, drafts), attempt, locked.now + after_us, after_us, reason
            )
        case Bury(reason, missing, fetched):
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
        case Postpone(_, reason) | Close(reason) | Release(reason):
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


# -- what a call says of its source --------------------------------------------------------------------------


async def _tell_source(
    tx: Transaction, locked: LockedSource, step: Step, policy: RetryPolicy
) -> None:
    match step:
        case Postpone(after_us, reason):
            await tx.do(LEDGER.pause, locked.name, locked.now + after_us)
            tx.state(SourcePaused(locked.name, after_us, reason))
        case Close(reason):
            await _close(tx, locked, reason, policy.probe_delay_us(locked.failures + 1))
        case Retry(_, reason, None) | Bury(reason, False, None):
            await _failed(tx, locked, reason, policy)
        case Complete() | Split() | Retry() | Bury():
            await _answers(tx, locked)
        case Release():
            return
        case _:
            assert_never(step)


async def _failed(tx: Transaction, locked: LockedSource, reason: str, policy: RetryPolicy) -> None:
    failures = locked.failures + 1
    if failures >= policy.circuit_after:
        await _close(tx, locked, reason, policy.probe_delay_us(failures))
    else:
        await tx.do(SQL.failed_again, locked.name, locked.closed_until, reason)


async def _close(tx: Transaction, locked: LockedSource, reason: str, for_us: int) -> None:
    await tx.do(SQL.failed_again, locked.name, locked.now + for_us, reason)
    tx.state(SourceClosed(locked.name, for_us, reason))


async def _answers(tx: Transaction, locked: LockedSource) -> None:
    if locked.failures == 0 and locked.closed_until is None:
        return
    await tx.do(SQL.answers, locked.name)
    if locked.closed_until is not None:
        tx.state(SourceOpened(locked.name))
