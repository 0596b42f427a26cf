"""What one call says of its source: it answers, it wants a pause, it keeps failing, it does not let us in."""

from __future__ import annotations

from typing import assert_never

from headgate.core.facts import SourceClosed, SourceOpened, SourcePaused
from headgate.core.lifecycle import ASIDE
from headgate.core.model import Claim
from headgate.core.quota import Quota, slot_us
from headgate.core.retry import (
    MAX_PAUSE_US,
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
from headgate.store.commands.ledger import LockedSource
from headgate.store.engine import Transaction
from headgate.store.statements import beside

SQL = beside(__file__)

CLIMB_US = 10_000_000
"""How long a source must not have throttled us before its pace is doubled again."""


async def tell_source(
    tx: Transaction,
    locked: LockedSource,
    claim: Claim,
    step: Step,
    policy: RetryPolicy,
    *,
    asked: bool,
) -> None:
    """Write down what a step says of its source. `asked`: a call went out; what was none says nothing good of it."""
    match step:
        case Postpone(after_us, reason, hinted):
            more = 1 if hinted else _own(locked).slowdown
            await _pause(tx, locked, after_us * more, reason)
        case Close(reason):
            await _close(tx, locked, claim, reason, policy)
        case Retry(_, reason, None) | Bury(reason, fetched=None, answered=False):
            await _failed(tx, locked, claim, reason, policy)
        case Complete() | Split() | Retry() | Bury() if asked:
            await _answers(tx, locked)
            await _heed(tx, locked, step)
        case Complete() | Split() | Retry() | Bury() | Release():
            return
        case _:
            assert_never(step)


async def _pause(tx: Transaction, locked: LockedSource, for_us: int, reason: str) -> None:
    for_us = min(for_us, MAX_PAUSE_US)
    await tx.later(SQL.pause, locked.name, locked.now + for_us, locked.now)
    tx.state(SourcePaused(locked.name, for_us, reason))


async def _heed(tx: Transaction, locked: LockedSource, step: Step) -> None:
    """What the source says only ever tightens; without a refusal for a while its pace climbs back."""
    own = _own(locked)
    if own.slowdown > 1:
        await tx.later(SQL.speed_up, locked.name, locked.now, max(CLIMB_US, slot_us(own, cost=1)))
    if isinstance(step, Complete) and step.fetched.nothing_left_us:
        until = locked.now + min(step.fetched.nothing_left_us, MAX_PAUSE_US)
        await tx.later(SQL.hold_back, locked.name, until)


def _own(locked: LockedSource) -> Quota:
    return next(quota for quota in locked.quotas if quota.name == locked.name)


async def _failed(
    tx: Transaction, locked: LockedSource, claim: Claim, reason: str, policy: RetryPolicy
) -> None:
    if claim.probe or locked.failures + 1 >= policy.circuit_after:
        await _close(tx, locked, claim, reason, policy)
    else:
        await tx.later(SQL.failed_again, locked.name, locked.closed_until, reason)


async def _close(
    tx: Transaction, locked: LockedSource, claim: Claim, reason: str, policy: RetryPolicy
) -> None:
    """Leave the source alone for a while. Of the calls under way when it was closed, none makes that longer."""
    if locked.closed_until is not None and not claim.probe:
        return
    for_us = policy.probe_delay_us(locked.failures + 1)
    await tx.later(SQL.failed_again, locked.name, locked.now + for_us, reason)
    tx.state(SourceClosed(locked.name, for_us, reason))


async def _answers(tx: Transaction, locked: LockedSource) -> None:
    if locked.failures == 0 and locked.closed_until is None:
        return
    await tx.later(SQL.answers, locked.name)
    if locked.closed_until is not None:
        await tx.later(SQL.call_back, locked.name, ASIDE, locked.now)
        tx.state(SourceOpened(locked.name))
