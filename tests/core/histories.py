"""Random lives of a ledger: calls that are late, slow, throttled, given up, of unknown fate, or settled long after.

`Life` keeps the entries as the store does, asks `decide`, and waits exactly as it is told. When all is over, each
call's arrival at the source, which the ledger never saw, is put anywhere in [g, u].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from fractions import Fraction

from hypothesis import strategies as st

from headgate.core.quota import (
    Decision,
    Granted,
    Pacing,
    Quota,
    Usage,
    Wait,
    Window,
    decide,
    next_after,
    occupied_until,
    unknown_fate_until,
)
from tests.core.oracle import most_within

BEGINNING = 1_000_000_000


class Fate(Enum):
    """What becomes of a call."""

    ANSWERED = auto()
    THROTTLED = auto()
    UNKNOWN = auto()
    UNSENT = auto()


@dataclass(frozen=True)
class Call:
    """One call as fate has it: nobody asks for `pause` before it; it is written, answered, reported so long after.

    `elsewhere`: it is another source's, which shares only the last quota. `arrives` says where in [g, u] the source
    counts it, in eighths of the way.
    """

    cost: int = 1
    fate: Fate = Fate.ANSWERED
    pause: int = 0
    write_after: int = 0
    answer_after: int = 0
    report_after: int = 0
    throttled_for: int = 0
    elsewhere: bool = False
    arrives: int = 8


@dataclass(frozen=True)
class Plan:
    """A life to be lived."""

    quotas: tuple[Quota, ...]
    calls: tuple[Call, ...]
    within: int | None = None
    slack: int = 0
    grace: int = 0

    def charged(self, call: Call) -> list[int]:
        """Which quotas a call is charged to, by their places."""
        return list(range(len(self.quotas)))[-1 if call.elsewhere else 0 :]


@dataclass
class Entry:
    """A grant in the ledger. `until` is its u, None until it is reported."""

    call: Call
    granted_at: int
    reports_at: int
    until: int | None = None


@dataclass(frozen=True)
class Asked:
    """One question put to the rule and its answer."""

    quotas: Sequence[Quota]
    usages: Sequence[Sequence[Usage]]
    cost: int
    now: int
    answer: Decision

    def again(self, now: int) -> Decision:
        """What the answer would be at another instant, with nothing new in the ledger."""
        return decide(self.quotas, self.usages, cost=self.cost, now=now)


@dataclass
class Life:
    """A ledger with its clock. `asked` are all questions so far."""

    plan: Plan
    now: int = BEGINNING
    entries: list[Entry] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.quotas = [
            replace(quota, next_at=self.now, blocked_until=self.now) for quota in self.plan.quotas
        ]

    def ask(self, call: Call) -> Decision:
        """Put one question, as a claim does."""
        charged = self.plan.charged(call)
        quotas = [self.quotas[place] for place in charged]
        usages = [[self._usage(place)] * len(self.quotas[place].windows) for place in charged]
        answer = decide(quotas, usages, cost=call.cost, now=self.now)
        self.asked.append(Asked(quotas, usages, call.cost, self.now, answer))
        return answer

    def live(self) -> Life:
        """Make every call of the plan, then hear of those that are still out."""
        for call in self.plan.calls:
            self._pass(call.pause)
            self._make(call)
        while self._hear_next():
            pass
        return self

    def wait_for_grant(self, call: Call) -> int:
        """Ask and wait as told until it is granted; returns how often it was asked."""
        for times in range(1, 1_000):
            match self.ask(call):
                case Granted():
                    return times
                case Wait(None):
                    assert self._hear_next(), "it waits for an answer, and none is out"
                case Wait(int(for_us)):
                    self._pass(for_us)
        raise AssertionError("refused for ever")

    def over(self, *, rate: Fraction = Fraction(1)) -> list[Window]:
        """The windows that were exceeded at the source, by its own clock, which runs `rate` times as fast as ours."""
        return [
            window
            for place, quota in enumerate(self.plan.quotas)
            for window in quota.windows
            if most_within(self._arrivals(place, rate), window.span_us) > window.limit
        ]

    def occupied(self, place: int) -> list[tuple[int, int]]:
        """What the ledger knows of the calls charged to a quota: (u, cost)."""
        return [(e.until, e.call.cost) for e in self._charged(place) if e.until is not None]

    def _charged(self, place: int) -> list[Entry]:
        return [entry for entry in self.entries if place in self.plan.charged(entry.call)]

    def _arrivals(self, place: int, rate: Fraction) -> list[tuple[Fraction, int]]:
        return [
            (_arrival(entry, entry.until) * rate, entry.call.cost)
            for entry in self._charged(place)
            if entry.until is not None and entry.call.fate is not Fate.UNSENT
        ]

    def _make(self, call: Call) -> None:
        self.wait_for_grant(call)
        over = self.now + call.write_after + call.answer_after + call.report_after
        self.entries.append(Entry(call, self.now, reports_at=over))
        for place in self.plan.charged(call):
            quota = self.quotas[place]
            paced = next_after(quota, cost=call.cost, now=self.now)
            self.quotas[place] = replace(quota, next_at=paced)

    def _usage(self, place: int) -> Usage:
        out = sum(entry.call.cost for entry in self._charged(place) if entry.until is None)
        return Usage(out, self.occupied(place))

    def _pass(self, us: int) -> None:
        """Let time go by, and hear of the calls that are over meanwhile at the instant that they are reported."""
        end = self.now + us
        while self._out() and min(entry.reports_at for entry in self._out()) <= end:
            self._hear_next()
        self.now = end

    def _out(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.until is None]

    def _hear_next(self) -> bool:
        """Hear of the next call that is over; False if none is out."""
        if not self._out():
            return False
        entry = min(self._out(), key=lambda entry: entry.reports_at)
        self.now = max(self.now, entry.reports_at)
        entry.until = self._until(entry)
        if entry.call.fate is Fate.THROTTLED:
            place = self.plan.charged(entry.call)[0]
            paused = max(self.quotas[place].blocked_until, self.now + entry.call.throttled_for)
            self.quotas[place] = replace(self.quotas[place], blocked_until=paused)
        return True

    def _until(self, entry: Entry) -> int:
        match entry.call.fate:
            case Fate.UNSENT:
                return max(entry.granted_at, self.now)
            case Fate.UNKNOWN:
                return unknown_fate_until(
                    granted_at=entry.granted_at,
                    slack_us=self.plan.slack,
                    grace_us=self.plan.grace,
                    given_up_at=self.now,
                )
            case Fate.ANSWERED | Fate.THROTTLED:
                written = entry.granted_at + entry.call.write_after
                known = occupied_until(
                    answered_at=written + entry.call.answer_after,
                    written_at=written,
                    within_us=self.plan.within,
                )
                assert known is not None
                return known


def _arrival(entry: Entry, until: int) -> Fraction:
    return entry.granted_at + Fraction((until - entry.granted_at) * entry.call.arrives, 8)


# -- strategies ----------------------------------------------------------------------------------------------

_LATENESS = st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 90))
_FATES = st.sampled_from([Fate.ANSWERED] * 5 + [Fate.UNKNOWN, Fate.UNKNOWN, Fate.UNSENT])
_FATES_AND_THROTTLES = st.one_of(_FATES, st.just(Fate.THROTTLED))
_ARRIVALS = st.sampled_from([0, 8, 0, 8, 0, 8, 1, 4, 7])


@st.composite
def windows(draw: st.DrawFn, *, unit: int = 1) -> Window:
    """A window of a few calls in a few units of time."""
    return Window(draw(st.integers(1, 5)), unit * draw(st.integers(1, 60)))


@st.composite
def quotas(draw: st.DrawFn, *, unit: int = 1) -> tuple[Quota, ...]:
    """One or two quotas of one to three windows."""
    shape = draw(
        st.lists(st.lists(windows(unit=unit), min_size=1, max_size=3), min_size=1, max_size=2)
    )
    return tuple(
        Quota(
            f"quota-{number}",
            tuple(own),
            pacing=draw(st.sampled_from([Pacing.BURST, Pacing.BURST, Pacing.EVEN])),
            slowdown=draw(st.sampled_from([1, 1, 2])),
        )
        for number, own in enumerate(shape)
    )


@st.composite
def plans(draw: st.DrawFn, *, unit: int = 1, lateness: st.SearchStrategy[int] = _LATENESS) -> Plan:
    """A life of up to a dozen calls, in spans of `unit` microseconds."""
    chosen = draw(quotas(unit=unit))
    dearest = min(window.limit for quota in chosen for window in quota.windows)
    late = lateness.map(lambda units: units * unit)
    call = st.builds(
        Call,
        cost=st.integers(1, dearest),
        fate=_FATES_AND_THROTTLES,
        pause=late,
        write_after=late,
        answer_after=late,
        report_after=late,
        throttled_for=late,
        elsewhere=st.booleans(),
        arrives=_ARRIVALS,
    )
    return Plan(
        chosen,
        tuple(draw(st.lists(call, min_size=2, max_size=12))),
        within=draw(st.one_of(st.none(), late)),
        slack=draw(late),
        grace=draw(late),
    )


def waits(life: Life) -> Iterator[tuple[Asked, int]]:
    """Every question that was answered with a span to wait, and the span."""
    for asked in life.asked:
        if isinstance(asked.answer, Wait) and asked.answer.for_us is not None:
            yield asked, asked.answer.for_us
