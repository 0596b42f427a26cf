"""The contract between what is done (commands, queries) and where it is stored (`sqlite/`, `postgres/`).

A **command** is a coroutine function `async def verb(tx, ...)`. `Engine.run` gives it a transaction of its own:
all of it is committed, durably, before `run` returns, or none of it. It may run again from its start where an
engine has to (a deadlock), so it has no effect but through its transaction, and it awaits nothing else.
A **query** is the same over a read-only snapshot.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from headgate.core.clock import Newcomer, Offset, Reading, Unwatched
from headgate.core.facts import Fact
from headgate.store.statements import Statement

P = ParamSpec("P")
T = TypeVar("T")
Q = TypeVar("Q", bound=Callable[..., Any])
Value = int | str | bytes | float | None
Row = tuple[Any, ...]
Asked = tuple[Statement, *tuple[Value, ...]]
"""A statement with its values."""

WorkerId = str
Failpoint = Callable[[str], None]


class Transaction(Protocol):
    """What a command or a query may do. Values are numbered: ?1 ... ?n."""

    @property
    def holds_all(self) -> bool:
        """Whether every source has been held from the start."""

    async def one(self, statement: Statement, *values: Value) -> Row | None:
        """The first row, or None."""

    async def all(self, statement: Statement, *values: Value) -> list[Row]:
        """Every row: a statement is bounded by its limit."""

    async def reads(self, *asked: Asked) -> list[list[Row]]:
        """Every row of each of several statements, which only read: one round trip, where those are dear."""

    async def do(self, statement: Statement, *values: Value) -> int:
        """Change rows, and say how many. A conditional change must look at this number."""

    async def later(self, statement: Statement, *values: Value, rows: int | None = None) -> None:
        """Change rows in their turn: before anything that is asked after this, and before the commit.

        Where round trips are dear, it goes along with what comes next. `rows`: how many have to be changed; another
        number is a bug of ours, and fails the command.
        """

    async def many(self, statement: Statement, rows: Iterable[Sequence[Value]]) -> None:
        """Change rows once for each tuple of values."""

    async def each(self, statement: Statement, rows: Sequence[Sequence[Value]]) -> list[Row]:
        """The same, and every row that was returned, in order."""

    async def lock(self, statement: Statement, *values: Value) -> list[Row]:
        """Rows that nobody else can change or lock until the transaction ends, read after they were locked."""

    async def reading(self) -> Reading:
        """The clocks, read now, under the locks that are held."""

    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched | Newcomer:
        """What the watch of this process says of a reading: core/clock.py."""

    def believe(self, reading: Reading, offset: Offset) -> None:
        """Remember a reading and its offset, once this is committed."""

    def margin_us(self, span_us: int) -> int:
        """How much longer a window of this span has to be taken."""

    def latest(self, quota: str, epoch: str | None) -> int:
        """The latest instant of a quota's ledger time that this process knows to be committed; 0 for none.

        In an epoch, or None: in whichever the process saw last.
        """

    def show(self, quota: str, epoch: str, at: int) -> None:
        """Remember such an instant, once this is committed."""

    def state(self, fact: Fact) -> None:
        """Say that something happened; it is told to observers after the commit."""

    def wake(self, source: str) -> None:
        """Hint, after the commit, that there may be something to do for a source."""

    def failpoint(self, name: str) -> None:
        """A place where a test may end the process."""


def expect_rows(statement: Statement, rows: int | None, changed: int) -> None:
    """Raises AssertionError if a change that was kept for later did not change so many rows."""
    if rows is not None and changed != rows:
        raise AssertionError(f"{statement.name} changed {changed} rows instead of {rows}")


class RunAgain(Exception):
    """Somebody else was faster: the command is to run once more from its start."""


class HoldAllFirst(RunAgain):
    """The command is to run once more from its start, with every source held from there on."""


Command = Callable[Concatenate[Transaction, P], Awaitable[T]]


class Door(StrEnum):
    """Where a command comes in: where connections are few, a rush on one door does not close the others."""

    API = "api"
    DISPATCH = "dispatch"
    LEASES = "leases"


def through(door: Door) -> Callable[[Q], Q]:
    """Mark a command with its door; without a mark it is the API's."""

    def mark(command: Q) -> Q:
        command.door = door  # type: ignore[attr-defined]
        return command

    return mark


def door_of(command: Callable[..., Any]) -> Door:
    return getattr(command, "door", Door.API)


@dataclass(frozen=True, slots=True)
class Together:
    """How calls of one command that arrive together run as one: all their arguments in, all their results out."""

    command: Callable[[Transaction, Sequence[Any]], Awaitable[Sequence[Any]]]
    unless: Callable[[Any], bool]


def together(
    command: Callable[[Transaction, Sequence[Any]], Awaitable[Sequence[Any]]],
    *,
    unless: Callable[[Any], bool],
) -> Callable[[Q], Q]:
    """Mark a command of one argument: an engine whose round trips are dear may run several calls as one."""

    def mark(single: Q) -> Q:
        single.together = Together(command, unless)  # type: ignore[attr-defined]
        return single

    return mark


def together_of(command: Callable[..., Any]) -> Together | None:
    return getattr(command, "together", None)


def at_length(query: Q) -> Q:
    """Mark a query that may take longer than a blink: an engine runs it where it holds nobody up."""
    query.at_length = True  # type: ignore[attr-defined]
    return query


class Wakes(Protocol):
    """Hints that there may be something to do. Losing every one of them costs delay and nothing else."""

    async def next(self, source: str, *, timeout_us: int) -> None:
        """Return at the next hint for a source, at once if one came since the last call, or after the time-out."""

    def wake(self, source: str) -> None:
        """Give the hint by hand; from any thread."""


class Engine(Protocol):
    """A store, opened."""

    @property
    def wakes(self) -> Wakes: ...

    @property
    def worker(self) -> WorkerId:
        """What this process is called as a worker."""

    @property
    def trip_us(self) -> int:
        """How long a round trip to the store takes at present; 0 where there is none."""

    async def open(self) -> None:
        """Be at home in the running event loop, and bring the tables up to date; it works without, but slower.

        Raises Unavailable, or SourceMisconfigured for a store that this code cannot use.
        """

    async def run(self, command: Command[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a command and return its result once it is durable.

        Raises Unavailable if it cannot be committed (nothing of it is stored), StoreMisused for a command that
        waits for something else, and whatever the command itself raised.
        """

    async def read(self, query: Command[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a query on a snapshot that holds at least everything committed before the call."""

    async def attend(self) -> None:
        """Watch what is outside, until cancelled: other processes' commits become hints, a shared clock is watched."""

    @property
    def heard_every_us(self) -> int | None:
        """How often a live worker gives a sign of life; None where it is known without."""

    def known_dead(self, worker: WorkerId) -> bool:
        """Whether a worker is dead for sure; False where that cannot be told, and its lease has to run out."""

    async def close(self) -> None:
        """Finish what was begun, and let go of the store. Commands after it are refused."""
