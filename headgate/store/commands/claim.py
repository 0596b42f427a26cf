"""Take the next batches of a source, each with the grant of one call: the heart of Headgate.

One transaction: lock the quotas, read the time, find the first eligible batch, ask the pure rule, and only if it
says yes spend the grant and take the lease. Nothing that is due is passed over, and no quota is spent on an
empty queue.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from headgate.core.facts import BatchClaimed
from headgate.core.ids import Id
from headgate.core.model import Claim
from headgate.core.quota import Granted, Hold, Usage, Wait
from headgate.core.slicing import Todo, batch_positions, chunk_length, next_call
from headgate.store.commands.ledger import (
    LockedSource,
    ask,
    in_flight,
    lock_source,
    prune,
    read_usages,
    spend,
    write_quotas,
    write_time,
)
from headgate.store.engine import Transaction, WorkerId
from headgate.store.statements import beside

SQL = beside(__file__)

MOVED_AT_ONCE = 1_000
"""How many batches whose instant has come one claim makes eligible."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Batches taken, in order."""

    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is queued."""


@dataclass(frozen=True, slots=True)
class _Head:
    """The batch that is next: `positions` and `ids` of its next call. `begun` False: it has no row yet."""

    priority: int
    seq: int
    number: int
    attempt: int
    fence: int
    begun: bool
    todo: Todo
    ids: tuple[tuple[int, Id], ...]
    advance_to: int = 0
    last: bool = False


async def claim(
    tx: Transaction, source: str, *, worker: WorkerId, most: int = 1
) -> Claims | Wait | Idle:
    """Take up to `most` next batches with their grants, or say how long to wait.

    No grant is spent and no batch begun unless granted; housekeeping may be written. Raises NotFound for a source
    that was never configured.
    """
    locked = await lock_source(tx, source)
    if await _move_due(tx, source, locked.now) == MOVED_AT_ONCE:
        return Wait(for_us=0)  # more may be due: nobody is passed over
    head = await _first_eligible(tx, locked)
    if head is None:
        return await _nothing_eligible(tx, locked)
    return await _claim_eligible(tx, locked, head, worker, most)


async def _claim_eligible(
    tx: Transaction, locked: LockedSource, first: _Head, worker: WorkerId, most: int
) -> Claims | Wait:
    busy = await in_flight(tx, locked.name)
    usages = await read_usages(tx, locked)
    claims: list[Claim] = []
    head: _Head | None = first
    while head is not None:
        refused = _refusal(locked, usages, busy + len(claims), len(head.ids))
        if refused and not claims:
            await write_time(tx, locked)
            return refused
        if refused:
            break
        claims.append(await _take(tx, locked, usages, head, worker))
        head = await _first_eligible(tx, locked) if len(claims) < most else None
    await write_quotas(tx, locked)
    await prune(tx, locked, newest=claims[-1].entry)
    return Claims(tuple(claims))


def _refusal(locked: LockedSource, usages: list[list[Usage]], busy: int, ids: int) -> Wait | None:
    """Why the next call may not be granted now, or None."""
    if locked.closed_until is not None:
        if locked.now < locked.closed_until:
            return Wait(locked.closed_until - locked.now, Hold.CLOSED)
        if busy:
            return Wait(None, Hold.CLOSED)  # one probe at a time
    if busy >= locked.rules.concurrency:
        return Wait(None, Hold.CONCURRENCY)
    match ask(locked, usages, locked.rules.cost(ids)):
        case Wait() as wait:
            return wait
        case Granted():
            return None


async def _take(
    tx: Transaction,
    locked: LockedSource,
    usages: list[list[Usage]],
    head: _Head,
    worker: WorkerId,
) -> Claim:
    rules = locked.rules
    entry = await spend(
        tx,
        locked,
        usages,
        worker=worker,
        seq=head.seq,
        number=head.number,
        fence=head.fence,
        cost=rules.cost(len(head.ids)),
    )
    await _hold(tx, locked, head, worker)
    tx.state(BatchClaimed(locked.name, head.seq, head.number, head.attempt))
    return Claim(
        seq=head.seq,
        number=head.number,
        fence=head.fence,
        entry=entry,
        source=locked.name,
        ids=head.ids,
        attempt=head.attempt,
        slack_us=rules.slack_us,
        lease_us=rules.lease_us,
    )


async def _hold(tx: Transaction, locked: LockedSource, head: _Head, worker: WorkerId) -> None:
    lease_until = locked.now + locked.rules.lease_us
    if head.begun:
        taken = await tx.do(
            SQL.take_batch, head.seq, head.number, head.fence - 1, head.fence, worker, lease_until
        )
        assert taken == 1, "the batch was ready under this very transaction"
        return
    left = sum(map(len, head.todo))
    moved = await tx.do(
        SQL.advance, head.seq, head.advance_to, int(not head.last), left, head.number
    )
    assert moved == 1, "the cursor stood here under this very transaction"
    await tx.do(
        SQL.begin_batch,
        head.seq,
        head.number,
        locked.name,
        head.priority,
        worker,
        lease_until,
        msgspec.json.encode(head.todo).decode(),
        left,
        locked.wall,
    )


# -- what is next --------------------------------------------------------------------------------------------


async def _move_due(tx: Transaction, source: str, now: int) -> int:
    """Make eligible what waited for an instant that has come; returns how many, at most MOVED_AT_ONCE."""
    due = await tx.all(SQL.due, source, now, MOVED_AT_ONCE)
    if due:
        await tx.many(SQL.make_ready, due)
    return len(due)


async def _nothing_eligible(tx: Transaction, locked: LockedSource) -> Wait | Idle:
    row = await tx.one(SQL.next_due, locked.name)
    if row is None or row[0] is None:
        return Idle()
    return Wait(row[0] - locked.now, Hold.BACKOFF)


async def _first_eligible(tx: Transaction, locked: LockedSource) -> _Head | None:
    """The first by (priority, acceptance, number) of what has begun and is ready and what may begin."""
    begun = await tx.one(SQL.first_begun, locked.name)
    waiting = await tx.one(SQL.first_waiting, locked.name)
    most = locked.rules.batch_size
    if begun and (waiting is None or begun[:3] < waiting[:3]):
        return await _begun_head(tx, *begun, most=most)
    return await _waiting_head(tx, *waiting, most=most) if waiting else None


async def _begun_head(
    tx: Transaction,
    priority: int,
    seq: int,
    number: int,
    attempt: int,
    fence: int,
    todo_json: str,
    size: int,
    id_count: int,
    *,
    most: int,
) -> _Head:
    todo = msgspec.json.decode(todo_json, type=Todo)
    start, ids, _ = await _chunk_of(tx, seq, number, size)
    called = tuple((position, ids[position - start]) for position in next_call(todo, most))
    return _Head(priority, seq, number, attempt, fence + 1, True, todo, called)


async def _waiting_head(
    tx: Transaction,
    priority: int,
    seq: int,
    number: int,
    size: int,
    id_count: int,
    batch_count: int,
    *,
    most: int,
) -> _Head:
    start, ids, repeats = await _chunk_of(tx, seq, number, size)
    positions = tuple(
        position
        for position in batch_positions(number, size, id_count)
        if position - start not in repeats
    )
    called = tuple((position, ids[position - start]) for position in positions[:most])
    following = await _next_distinct(tx, seq, number, size, (start, ids, repeats))
    return _Head(
        priority,
        seq,
        number,
        attempt=1,
        fence=1,
        begun=False,
        todo=(positions,),
        ids=called,
        advance_to=batch_count if following is None else following,
        last=following is None,
    )


_Chunk = tuple[int, list[Id], dict[int, int]]


async def _chunk_of(tx: Transaction, seq: int, number: int, size: int) -> _Chunk:
    length = chunk_length(size)
    start = number * size // length * length
    row = await tx.one(SQL.chunk, seq, start)
    assert row is not None
    return _decoded(start, *row)


def _decoded(start: int, ids: str, repeats: str | None) -> _Chunk:
    decoded = {} if repeats is None else msgspec.json.decode(repeats, type=dict[int, int])
    return start, msgspec.json.decode(ids), decoded


async def _next_distinct(
    tx: Transaction, seq: int, number: int, size: int, chunk: _Chunk
) -> int | None:
    """The next batch that has an id which stands there for the first time; None if none follows.

    Batches of nothing but repeats are stepped over: they never have a row, and end with their first occurrences.
    """
    found = _distinct_in(chunk, (number + 1) * size, size)
    if found is not None:
        return found
    row = await tx.one(SQL.next_distinct, seq, chunk[0] + chunk_length(size))
    if row is None:
        return None
    following = _decoded(*row)
    return _distinct_in(following, following[0], size)


def _distinct_in(chunk: _Chunk, position: int, size: int) -> int | None:
    """The first batch from a position on, within a chunk, that holds more than repeats."""
    start, ids, repeats = chunk
    for offset in range(position - start, len(ids)):
        if offset not in repeats:
            return (start + offset) // size
    return None
