"""A database whose clock steps, and processes that watch it: what the store does around core/watch.py, in true time.

Every leg of a round trip is an event of its own, so that a step of the clock, a stall or a death may come between
any two of them. A call is granted at the true instant at which the database's clock was read for it, the earliest
that the theorem of docs/quota.md allows, and is over at the true instant of its answer.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import TypeVar

from headgate.core.clock import (
    Newcomer,
    Offset,
    Reading,
    Unwatched,
    believed,
    ledger_time,
    rejoined,
)
from headgate.core.quota import (
    Granted,
    Pacing,
    Quota,
    Usage,
    Wait,
    Window,
    decide,
    shortened,
    stretched,
    unknown_fate_until,
)
from headgate.core.watch import DatabaseWatch

MS = 1_000
SECOND = 1_000_000
MILLION = 1_000_000
MINUTE = 60 * SECOND
BEGINNING = 1_700_000_000 * SECOND

BEAT_US = SECOND
POLL_US = 50 * MS
AGAIN_US = 20 * MS
NEWCOMERS_BEAT_US = SECOND // 4
IDLE_US = SECOND
"""idle_in_transaction_session_timeout: so long may a transaction wait for its process."""
LOCK_US = SECOND
"""So long a lock is waited for, which stands for the database's search for deadlocks too."""
SHORT_WINDOW_US = 600 * SECOND
GIVEN_UP_US = SECOND
"""How long after its grant a call of a dead process may still be on its way: slack and grace."""


# -- what fate has in store ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trips:
    """The legs of a process's round trips: there and back again, each between two bounds."""

    there: tuple[int, int]
    back: tuple[int, int]
    slow_ppm: int = 0
    """How many of a million legs take up to `slow_us` instead."""
    slow_us: int = 0


@dataclass(frozen=True)
class Life:
    """A process from its start to its end: how it is connected, and when it stands still."""

    start: int
    end: int
    trips: Trips
    ppm: int = 0
    stalls: tuple[tuple[int, int], ...] = ()
    lanes: int = 1
    call_us: tuple[int, int] = (MS, 50 * MS)
    cut_ppm: int = 0
    """How many of a million answers to a commit are lost."""
    asks_us: int = SECOND
    """How long it waits at most before it asks again."""

    def awake(self, instant: int) -> int:
        """The first instant from this one on at which the process runs."""
        for since, until in self.stalls:
            if since <= instant < until:
                return until
        return instant

    def boot(self, instant: int) -> int:
        """The process's own clock, which never steps."""
        return 10 * SECOND + instant + instant * self.ppm // MILLION


@dataclass(frozen=True)
class Plan:
    """All that happens to a database's clock and to those who watch it."""

    windows: tuple[Window, ...]
    lives: tuple[Life, ...]
    until: int
    steps: tuple[tuple[int, int], ...] = ()
    """(true instant, by how much): the database's clock steps."""
    slews: tuple[tuple[int, int], ...] = ()
    """(true instant, ppm): from then on it runs so much too fast."""
    sources: int = 1
    seed: int = 0


# -- the database --------------------------------------------------------------------------------------------


class DatabaseClock:
    """A clock that steps and slews."""

    def __init__(self, plan: Plan) -> None:
        changes: list[tuple[int, int, int | None]] = [(at, by, None) for at, by in plan.steps]
        changes += [(at, 0, ppm) for at, ppm in plan.slews]
        self._changes = deque(sorted(changes, key=lambda change: change[0]))
        self._at, self._shows, self._ppm = 0, BEGINNING, 0

    def read(self, instant: int) -> int:
        """What it shows at a true instant, which is none before the last one asked about."""
        while self._changes and self._changes[0][0] <= instant:
            at, by, ppm = self._changes.popleft()
            self._shows, self._at = self._value(at) + by, at
            self._ppm = self._ppm if ppm is None else ppm
        return self._value(instant)

    def _value(self, instant: int) -> int:
        passed = instant - self._at
        return self._shows + passed + passed * self._ppm // MILLION


@dataclass(eq=False)
class Entry:
    """A call: in the ledger, and in truth."""

    granted_at: int
    read: int
    """The true instant of the reading that it was granted by."""
    owner: Process
    until: int | None = None
    sent: int | None = None
    """The true instant from which on it may have been sent."""
    over: int | None = None
    """The true instant of its answer, or of the death of whoever made it."""
    lost: bool = False
    """Its process does not know that it was granted, or knows it too late: it is never sent."""

    def dead(self, instant: int) -> bool:
        return self.lost or self.owner.life.end <= instant


class Lock:
    """A row's lock: whoever comes first has it first."""

    def __init__(self) -> None:
        self.holder: Transaction | None = None
        self.waiting: deque[tuple[Transaction, Task]] = deque()


class Ledger:
    """A source with its one quota."""

    def __init__(self, plan: Plan) -> None:
        self.lock = Lock()
        self.windows = plan.windows
        self.last_at = self.last_wall = BEGINNING
        self.shown = [BEGINNING]
        self.entries: list[Entry] = []
        self._counted: list[Entry] = []

    def decide(self, now: int, margin_us: Callable[[int], int]) -> Granted | Wait:
        """What the rule of §5.1 says, with windows taken longer by what the watch says."""
        longer = tuple(replace(w, margin_us=margin_us(w.span_us)) for w in self.windows)
        since = now - max(window.held_us for window in longer)
        self._counted = [e for e in self._counted if e.until is None or e.until > since - MINUTE]
        out = sum(entry.until is None for entry in self._counted)
        usage = Usage(out, [(e.until, 1) for e in self._counted if e.until is not None])
        quota = Quota("own", longer, Pacing.BURST)
        return decide([quota], [[usage] * len(longer)], cost=1, now=now)

    def grant(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._counted.append(entry)

    def rescue(self, now: int, truly: int) -> None:
        """End the calls of the dead, whose fate nobody knows."""
        for entry in self._counted:
            if entry.until is None and entry.dead(truly) and now >= entry.granted_at + GIVEN_UP_US:
                entry.until = unknown_fate_until(
                    granted_at=entry.granted_at, slack_us=GIVEN_UP_US, grace_us=0, given_up_at=now
                )

    def carry(self, believed_us: int, since: int) -> None:
        for entry in self._counted:
            if entry.until is not None and entry.until > since:
                entry.until += believed_us

    def write(self, now: int, wall: int) -> None:
        self.last_at, self.last_wall = now, wall
        self.shown.append(now)


class Store:
    """What the database keeps."""

    def __init__(self, plan: Plan) -> None:
        self.clock = DatabaseClock(plan)
        self.row = Lock()
        self.known = Offset("1", 0)
        self.touches = 0
        self.ledgers = [Ledger(plan) for _ in range(plan.sources)]

    def newest(self) -> tuple[int, int]:
        return max((ledger.last_at, ledger.last_wall) for ledger in self.ledgers)


# -- events --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class At:
    """Go on at a true instant, at the database; nobody there knows whether the process still lives."""

    instant: int


@dataclass(frozen=True, slots=True)
class Home:
    """Go on at a true instant, in the process: if it still lives, and as soon as it runs."""

    instant: int


@dataclass(frozen=True, slots=True)
class Locked:
    """Go on when the lock is had (True), or has been waited for too long (False)."""

    lock: Lock
    transaction: Transaction


T = TypeVar("T")
Steps = Generator[At | Home | Locked, bool, T]


class Aborted(Exception):
    """The transaction was rolled back, or its process cannot tell."""


class Task:
    """Something that is done step by step."""

    def __init__(self, steps: Steps[None], life: Life) -> None:
        self.steps, self.life = steps, life
        self.begun = False
        self.due = 0


class World:
    """True time, and what happens in it."""

    def __init__(
        self, plan: Plan, watch: type[DatabaseWatch] = DatabaseWatch, **rules: bool
    ) -> None:
        self.plan, self.random, self.now = plan, Random(plan.seed), 0
        self.rules = Rules(**rules)
        self.store = Store(plan)
        self.moves: list[tuple[int, int]] = []
        self.epochs: list[int] = []
        self._events: list[tuple[int, int, Task, bool]] = []
        self._numbers = count(1)
        self.processes = [Process(self, life, watch()) for life in plan.lives]

    def live(self) -> World:
        """Let everything happen."""
        for process in self.processes:
            process.begin()
        while self._events and self._events[0][0] <= self.plan.until:
            self.now, number, task, value = heapq.heappop(self._events)
            if task.due == number:
                self._go_on(task, value)
        return self

    def begin(self, steps: Steps[None], life: Life) -> None:
        self.resume(life.start, Task(steps, life))

    def resume(self, instant: int, task: Task, *, value: bool = True) -> None:
        """Go on with a task at an instant, and at no other that was planned before."""
        task.due = next(self._numbers)
        heapq.heappush(self._events, (instant, task.due, task, value))

    def _go_on(self, task: Task, value: bool) -> None:
        try:
            asked = task.steps.send(value) if task.begun else next(task.steps)
        except StopIteration:
            return
        task.begun = True
        match asked:
            case At(instant):
                self.resume(instant, task)
            case Home(instant):
                runs = task.life.awake(max(instant, self.now))
                if runs < task.life.end:
                    self.resume(runs, task)
            case Locked(lock, transaction):
                self._lock(task, lock, transaction)

    def _lock(self, task: Task, lock: Lock, transaction: Transaction) -> None:
        if lock.holder is None:
            lock.holder = transaction
            self.resume(self.now, task)
            return
        lock.waiting.append((transaction, task))
        self.resume(self.now + LOCK_US, task, value=False)

    def release(self, lock: Lock) -> None:
        """Whoever has waited longest has it now."""
        lock.holder = None
        while lock.waiting and lock.holder is None:
            waiter, task = lock.waiting.popleft()
            if not waiter.over:
                lock.holder = waiter
                self.resume(self.now, task)


# -- transactions --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rules:
    """How the store goes about it: as it does, or otherwise."""

    believes_what_is_rolled_back: bool = False
    looks_again_when_nobody_watched: bool = True


@dataclass(frozen=True, slots=True)
class Row:
    """The clock's row as a transaction has read it."""

    known: Offset
    touches: int


@dataclass(frozen=True, slots=True)
class Looked:
    """A reading, with its true instant, and what the watch said of it."""

    row: Row
    reading: Reading
    truly: int
    judged: Offset | Unwatched | Newcomer


class Transaction:
    """One transaction of a process; every method is a part of a task."""

    def __init__(self, process: Process) -> None:
        self.process, self.world, self.store = process, process.world, process.world.store
        self.over = False
        self._locks: list[Lock] = []
        self._idle_since: int | None = None

    def arrive(self) -> Steps[None]:
        """Go to the database. Where it has waited for us too long, all is rolled back."""
        arrives = self.world.now + self.process.leg(self.process.life.trips.there)
        if self._idle_since is not None and arrives > self._idle_since + IDLE_US:
            yield At(max(self.world.now, self._idle_since + IDLE_US))
            self.end()
            yield Home(arrives)
            raise Aborted
        yield At(arrives)

    def back(self) -> Steps[None]:
        """Come back. Where the process does not run in time, or never again, all is rolled back."""
        self._idle_since = self.world.now
        life = self.process.life
        arrives = self.world.now + self.process.leg(life.trips.back)
        runs, idle_until = life.awake(arrives), self._idle_since + IDLE_US
        if runs > idle_until or runs >= life.end:
            yield At(idle_until)
            self.end()
        yield Home(arrives)
        if self.over:
            raise Aborted

    def lock(self, lock: Lock) -> Steps[None]:
        """Lock a row. Raises Aborted where that takes too long."""
        if lock in self._locks:
            return
        had = yield Locked(lock, self)
        if not had:
            yield from self.give_up()
        self._locks.append(lock)

    def give_up(self) -> Steps[None]:
        """Roll back at the database, and tell the process."""
        self.end()
        yield Home(self.world.now + self.process.leg(self.process.life.trips.back))
        raise Aborted

    def look(self) -> Steps[Looked]:
        """Read the clock's row, then the clock, and have it judged. The row's locks are held by now."""
        row = Row(self.store.known, self.store.touches)
        yield from self.back()
        asked = self.process.boot()
        yield from self.arrive()
        truly, shows = self.world.now, self.store.clock.read(self.world.now)
        yield from self.back()
        reading = Reading(shows, None, shows, asked, self.process.boot())
        judged = self.process.judge(reading, row)
        if isinstance(judged, Offset):
            self.believe_early(reading, judged)
        return Looked(row, reading, truly, judged)

    def move(self, looked: Looked, offset: Offset) -> Steps[None]:
        """Write the offset down, if it is another one; somebody else may have been faster."""
        if offset == looked.row.known:
            return
        yield from self.lock(self.store.row)
        if self.store.known != looked.row.known:
            yield from self.give_up()
        self.store.known = offset
        self.world.moves.append((self.world.now, offset.offset_us - looked.row.known.offset_us))

    def rejoin(self, looked: Looked) -> Steps[None]:
        """Nobody watched: a new epoch, as headgate/store/commands/ledger.py begins it."""
        yield from self.arrive()
        for ledger in self.store.ledgers:
            yield from self.lock(ledger.lock)
        reading = looked.reading
        if self.world.rules.looks_again_when_nobody_watched:
            reading = (yield from self.look()).reading
            yield from self.arrive()
        last, wall_at_last = self.store.newest()
        believed_us = believed(reading, wall_at_last=wall_at_last)
        before = looked.row.known.epoch
        offset = rejoined(reading, before=before, last=last, believed_us=believed_us)
        yield from self.lock(self.store.row)
        if self.store.known.epoch != before:
            yield from self.give_up()
        self.believe_early(reading, offset)
        yield from self.back()
        yield from self.arrive()
        self.store.known = offset
        self.store.touches += 1
        for ledger in self.store.ledgers:
            ledger.carry(believed_us, last - stretched(SHORT_WINDOW_US))
            ledger.write(last + believed_us, reading.wall_us)
        self.world.epochs.append(self.world.now)
        yield from self.commit(reading, offset)

    def commit(self, reading: Reading, offset: Offset) -> Steps[None]:
        """Commit, and let the process believe what it saw, if it hears of it."""
        self.end()
        life = self.process.life
        yield Home(self.world.now + self.process.leg(life.trips.back))
        if self.world.random.randrange(MILLION) < life.cut_ppm:
            raise Aborted
        self.process.watch.believe(reading, offset)

    def believe_early(self, reading: Reading, offset: Offset) -> None:
        if self.world.rules.believes_what_is_rolled_back:
            self.process.watch.believe(reading, offset)

    def end(self) -> None:
        """Whatever becomes of it, it holds no lock any more."""
        self.over = True
        for lock in self._locks:
            self.world.release(lock)
        self._locks.clear()


# -- processes -----------------------------------------------------------------------------------------------


class Process:
    """A process: it beats, and its lanes claim, call and settle."""

    def __init__(self, world: World, life: Life, watch: DatabaseWatch) -> None:
        self.world, self.life, self.watch = world, life, watch
        self.store = world.store
        self.trusted_at: int | None = None
        self._newcomer = True

    def begin(self) -> None:
        self.world.begin(self._beats(), self.life)
        for ledger in self.store.ledgers:
            for _ in range(self.life.lanes):
                self.world.begin(self._lane(ledger), self.life)

    def boot(self) -> int:
        return self.life.boot(self.world.now)

    def leg(self, bounds: tuple[int, int]) -> int:
        """How long the next leg takes."""
        trips, chance = self.life.trips, self.world.random
        if trips.slow_ppm and chance.randrange(MILLION) < trips.slow_ppm:
            return chance.randint(0, trips.slow_us)
        return chance.randint(*bounds)

    def judge(self, reading: Reading, row: Row) -> Offset | Unwatched | Newcomer:
        judged = self.watch.judge(reading, row.known, row.touches)
        self._newcomer = not isinstance(judged, Offset)
        if self.trusted_at is None and not self._newcomer:
            self.trusted_at = self.world.now
        return judged

    def _beats(self) -> Steps[None]:
        while True:
            began = self.world.now
            yield from self._attempt(self._beat)
            yield Home(began + (NEWCOMERS_BEAT_US if self._newcomer else BEAT_US))

    def _attempt(self, body: Callable[[Transaction], Steps[T]]) -> Steps[T | None]:
        """Run a transaction; None if it was rolled back."""
        transaction = Transaction(self)
        try:
            return (yield from body(transaction))
        except Aborted:
            return None
        finally:
            transaction.end()

    def _beat(self, tx: Transaction) -> Steps[None]:
        yield from tx.arrive()
        yield from tx.lock(self.store.row)
        looked = yield from tx.look()
        match looked.judged:
            case Offset() as offset:
                yield from tx.arrive()
                yield from tx.move(looked, offset)
                self.store.touches += 1
                yield from tx.commit(looked.reading, offset)
            case Unwatched():
                yield from tx.rejoin(looked)

    def _locked(self, tx: Transaction, ledger: Ledger) -> Steps[tuple[Looked, Offset]]:
        """Lock a source and look at the clock. Raises Aborted for whoever is not to be trusted."""
        yield from tx.arrive()
        yield from tx.lock(ledger.lock)
        looked = yield from tx.look()
        match looked.judged:
            case Offset() as offset:
                yield from tx.arrive()
                return looked, offset
            case Unwatched():
                yield from tx.rejoin(looked)
        raise Aborted

    # -- calls

    def _lane(self, ledger: Ledger) -> Steps[None]:
        while True:
            answer = yield from self._attempt(lambda tx: self._claim(tx, ledger))
            match answer:
                case Entry() as entry:
                    yield from self._call(ledger, entry)
                case Wait(for_us):
                    yield Home(self.world.now + min(for_us or POLL_US, self.life.asks_us))
                case _:
                    yield Home(self.world.now + AGAIN_US)

    def _call(self, ledger: Ledger, entry: Entry) -> Steps[None]:
        entry.sent = self.world.now
        yield Home(self.world.now + self.world.random.randint(*self.life.call_us))
        entry.over = self.world.now
        answered = self.boot()
        while entry.until is None:
            yield from self._attempt(lambda tx: self._settle(tx, ledger, entry, answered))
            if entry.until is None:
                yield Home(self.world.now + AGAIN_US)

    def _claim(self, tx: Transaction, ledger: Ledger) -> Steps[Entry | Wait]:
        asked = self.boot()
        looked, offset = yield from self._locked(tx, ledger)
        yield from tx.move(looked, offset)
        now = ledger_time(offset, looked.reading, ledger.last_at)
        ledger.rescue(now, looked.truly)
        answer = ledger.decide(now, self.watch.margin_us)
        ledger.write(now, looked.reading.wall_us)
        if isinstance(answer, Wait):
            yield from tx.commit(looked.reading, offset)
            return answer
        entry = Entry(now, looked.truly, self)
        ledger.grant(entry)
        try:
            yield from tx.commit(looked.reading, offset)
        except Aborted:
            entry.lost = True
        if self.boot() - asked > GIVEN_UP_US:
            entry.lost = True
        return Wait(0) if entry.lost else entry

    def _settle(self, tx: Transaction, ledger: Ledger, entry: Entry, answered: int) -> Steps[None]:
        age = shortened(self.boot() - answered)
        looked, offset = yield from self._locked(tx, ledger)
        now = ledger_time(offset, looked.reading, ledger.last_at)
        yield from tx.move(looked, offset)
        entry.until = max(entry.granted_at, now - age)
        ledger.write(now, looked.reading.wall_us)
        yield from tx.commit(looked.reading, offset)


# -- what is promised ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Over:
    """A call that was one too many: its true instant, and how many were not over, a window ago."""

    at: int
    window: Window
    held: int


def over(world: World, *, sent: bool = False) -> Iterator[Over]:
    """The grants that had no room in true time; `sent`: at the instant at which the call may first be sent."""
    for ledger in world.store.ledgers:
        for window in ledger.windows:
            for place, entry in enumerate(ledger.entries):
                at = entry.sent if sent else entry.read
                if at is None:
                    continue
                before = ledger.entries[max(0, place - 500) : place]
                held = sum(_ended(each, world) > at - window.span_us for each in before)
                if held >= window.limit:
                    yield Over(at, window, held)


def _ended(entry: Entry, world: World) -> int:
    """The last true instant at which the source may have counted a call."""
    if entry.over is not None:
        return entry.over
    if entry.lost:
        return entry.read
    return min(entry.owner.life.end, world.plan.until)


# -- plans ---------------------------------------------------------------------------------------------------

WINDOWS = (
    (Window(1, 500 * MS),),
    (Window(3, 2 * SECOND),),
    (Window(5, 10 * SECOND),),
    (Window(1, 500 * MS), Window(5, 10 * SECOND)),
)
NEAR = Trips((100, MS), (100, MS))
FAR = Trips((MS, 60 * MS), (MS, 60 * MS))
SLOW_THERE = Trips((100, 900 * MS), (100, 2 * MS))
SLOW_BACK = Trips((100, 2 * MS), (100, 900 * MS))
SLOW = Trips((100 * MS, 450 * MS), (100 * MS, 450 * MS))
UNSTEADY = Trips((100, MS), (100, MS), slow_ppm=150_000, slow_us=SECOND)


def plan(seed: int, trips: tuple[Trips, ...] = (NEAR,), *, alike: bool = True) -> Plan:
    """A plan by chance; `alike`: all processes are connected in the same way."""
    chance = Random(seed)
    until = chance.choice([20, 30, 45]) * SECOND
    same = chance.choice(trips)
    steps = _steps(chance, until)
    lives: list[Life] = []
    for _ in range(chance.randint(1, 4)):
        lives += _lives(chance, until, steps, same if alike else chance.choice(trips))
    return Plan(
        chance.choice(WINDOWS),
        tuple(lives),
        until,
        tuple(steps),
        tuple((chance.randrange(until), chance.choice([-300, 0, 300])) for _ in range(2)),
        sources=chance.choice([1, 1, 2]),
        seed=seed,
    )


def _steps(chance: Random, until: int) -> list[tuple[int, int]]:
    steps: list[tuple[int, int]] = []
    for _ in range(chance.randint(1, 6)):
        at, by = chance.randrange(until), _size(chance)
        match chance.randrange(4):
            case 0:  # out and back again
                steps += [(at, by), (at + chance.randrange(5 * SECOND), -by)]
            case 1:  # several in a row
                steps += [(at + chance.randrange(2 * SECOND), by) for _ in range(8)]
            case _:
                steps.append((at, by))
    return sorted(steps)


def _size(chance: Random) -> int:
    """Between a millisecond and an hour, all magnitudes alike, forwards or back."""
    size = int(MS * 3.6e6 ** chance.random())
    return chance.choice([-1, 1]) * size


def _lives(
    chance: Random, until: int, steps: list[tuple[int, int]], trips: Trips
) -> Iterator[Life]:
    """A process and what it is started again as, often just when the clock steps."""
    ppm = chance.choice([-300, 0, 300])
    start = chance.choice([0, 0, chance.randrange(until)])
    while start < until:
        end = until + 1
        if chance.random() < 0.5:
            end = start + chance.randrange(SECOND, 20 * SECOND)
        yield Life(
            start,
            end,
            trips,
            ppm,
            tuple(_stalls(chance, until, steps)),
            lanes=chance.choice([1, 2]),
            call_us=chance.choice([(MS, 5 * MS), (MS, 200 * MS), (MS, 3 * SECOND)]),
            cut_ppm=chance.choice([0, 0, 20_000]),
        )
        start = end + chance.choice([100 * MS, SECOND, chance.randrange(10 * SECOND)])


def _stalls(chance: Random, until: int, steps: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for _ in range(chance.choice([0, 0, 1, 3])):
        since = chance.choice([chance.randrange(until), chance.choice(steps)[0] - 100 * MS])
        yield since, since + chance.choice([100 * MS, 900 * MS, 4 * SECOND, 31 * SECOND])
