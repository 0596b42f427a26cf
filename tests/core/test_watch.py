"""The watch over a database's clock that steps: never over quota in true time, and no longer waits than it takes.

tests/core/watchers.py is the world that it is put into. What does not hold yet stands here as a failure that is
expected, with the smallest plan that shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.clock import Newcomer, Offset, Reading, Unwatched
from headgate.core.quota import Window, stretched
from headgate.core.watch import DRIFT_PPM, KEPT_US, SLOW_US, DatabaseWatch
from tests.core.steady import steady
from tests.core.watchers import (
    BEGINNING,
    FAR,
    MS,
    NEAR,
    SECOND,
    SLOW,
    SLOW_BACK,
    SLOW_THERE,
    UNSTEADY,
    Life,
    Plan,
    Trips,
    World,
    over,
    plan,
)

HOUR = 3_600 * SECOND
ALL = (NEAR, FAR, SLOW, SLOW_THERE, SLOW_BACK, UNSTEADY)


def exactly(there: int, back: int | None = None) -> Trips:
    """Legs that always take the same time."""
    return Trips((there, there), ((back or there),) * 2)


def life(start: int = 0, end: int = HOUR, trips: Trips = NEAR, **more: object) -> Life:
    """A process whose calls take a millisecond."""
    return replace(Life(start, end, trips, call_us=(MS, MS)), **more)  # type: ignore[arg-type]


# -- never over quota, in true time --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trips", "plans"),
    [
        pytest.param((NEAR,), 25, id="near"),
        pytest.param((FAR,), 40, id="far"),
        pytest.param((SLOW,), 50, id="slow"),
        pytest.param((SLOW_THERE,), 30, id="slow there"),
        pytest.param((SLOW_BACK,), 30, id="slow back"),
        pytest.param((UNSTEADY,), 40, id="unsteady"),
        pytest.param(ALL, 65, id="of every kind"),
    ],
)
@pytest.mark.parametrize(
    "times", [1, pytest.param(20, marks=pytest.mark.long)], ids=["once", "twenty times"]
)
def test_no_interval_of_a_window_holds_more_calls_than_its_limit(
    trips: tuple[Trips, ...], plans: int, times: int
) -> None:
    for seed in range(plans * times):
        world = World(plan(seed, trips, alike=len(trips) == 1)).live()

        assert list(over(world)) == [], f"seed {seed}"
        assert_never_back(world)


def assert_never_back(world: World) -> None:
    for ledger in world.store.ledgers:
        assert all(before <= after for before, after in pairwise(ledger.shown))


def broken(plans: Iterable[Plan], watch: type[DatabaseWatch] = DatabaseWatch, **rules: bool) -> int:
    """How many plans go over, at the instants at which the calls may first be sent: no doubt about those."""
    return sum(any(over(World(each, watch, **rules).live(), sent=True)) for each in plans)


# -- what does not hold yet ----------------------------------------------------------------------------------


def a_newcomer_after_a_slow_watcher() -> Plan:
    """A step that a far process cannot tell from its round trips; the near one that could is gone, and a near one
    comes, to whom the far one answers for ledger time that is 95 ms ahead."""
    at = 20 * SECOND
    return Plan(
        (Window(5, 10 * SECOND),),
        (
            life(0, at, exactly(MS // 2)),
            life(0, HOUR, exactly(50 * MS)),
            life(at, HOUR, exactly(MS // 2)),
        ),
        until=30 * SECOND,
        steps=((at - MS, 95 * MS),),
    )


def a_sleeper_and_a_small_step(seed: int) -> Plan:
    """A process that stood still for 29 s takes 20 ms for drift; the other one, whose looks are of this second, does
    not, and each puts right what the other one has put right."""
    wakes = 39 * SECOND + seed * 17 * MS
    return Plan(
        (Window(1, 500 * MS),),
        (life(stalls=((wakes - 29 * SECOND, wakes),)), life()),
        until=45 * SECOND,
        steps=((wakes - seed * 7 * MS, 14 * MS),),
        seed=seed,
    )


def two_sources_and_a_rejoin(seed: int) -> Plan:
    """No step at all: a newcomer sees that nobody watches, waits for the locks of one that has just woken up, and
    goes on from what that one has shown meanwhile, with a reading from before."""
    stalls = ((4_700 * MS, 8_700 * MS),)
    return Plan(
        (Window(5, 10 * SECOND),),
        (
            life(0, HOUR, FAR, stalls=stalls),
            life(0, HOUR, FAR, lanes=2),
            life(0, HOUR, FAR),
        ),
        until=20 * SECOND,
        sources=2,
        seed=seed,
    )


def test_a_newcomer_is_not_ahead_although_it_comes_after_a_slow_watcher() -> None:
    assert broken([a_newcomer_after_a_slow_watcher()]) == 0


@pytest.mark.slow
def test_whoever_stood_still_is_not_ahead_when_it_goes_on() -> None:
    assert broken(map(a_sleeper_and_a_small_step, range(20))) == 0


def test_two_watchers_agree_soon() -> None:
    world = World(a_sleeper_and_a_small_step(1)).live()

    assert len(world.moves) < 10


def test_a_new_epoch_looks_again_under_its_locks() -> None:
    assert broken([two_sources_and_a_rejoin(1459)]) == 0


def test_a_new_epoch_from_a_reading_of_before_its_locks_is_ahead() -> None:
    assert broken([two_sources_and_a_rejoin(1459)], looks_again_when_nobody_watched=False) == 1


# -- it goes on ----------------------------------------------------------------------------------------------


def granted(world: World, since: int = 0, until: int = HOUR) -> list[int]:
    """The true instants at which calls were granted."""
    return [
        entry.read
        for ledger in world.store.ledgers
        for entry in ledger.entries
        if since <= entry.read < until
    ]


@pytest.mark.parametrize("start", [10 * SECOND + 130 * MS * number for number in range(8)])
def test_a_newcomer_is_trusted_within_three_and_a_half_seconds(start: int) -> None:
    world = World(Plan((Window(3, 2 * SECOND),), (life(), life(start)), 20 * SECOND)).live()

    trusted_at = world.processes[1].trusted_at

    assert trusted_at is not None
    assert trusted_at - start < 3_500 * MS


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize(
    "window", [Window(1, 500 * MS), Window(3, 2 * SECOND), Window(5, 10 * SECOND)]
)
def test_nine_tenths_of_what_the_rule_allows_are_granted(window: Window, processes: int) -> None:
    lives = tuple(life(trips=exactly(MS // 2)) for _ in range(processes))
    world = World(Plan((window,), lives, 60 * SECOND)).live()

    allowed = 50 * SECOND * window.limit // (stretched(window.span_us))

    assert len(granted(world, 10 * SECOND)) >= allowed * 9 // 10


@pytest.mark.parametrize("by", [-HOUR, -SECOND, -50 * MS, 50 * MS, SECOND, HOUR])
@pytest.mark.parametrize("processes", [1, 3])
def test_after_a_step_grants_go_on_at_once(by: int, processes: int) -> None:
    at, window = 20_250 * MS, Window(1, 500 * MS)
    lives = tuple(life(trips=exactly(MS // 2)) for _ in range(processes))
    world = World(Plan((window,), lives, 40 * SECOND, steps=((at, by),))).live()

    assert granted(world, at, at + 700 * MS)
    assert len(granted(world, at, at + 10 * SECOND)) >= 17


def test_all_started_again_at_once_are_granted_calls_within_five_seconds() -> None:
    at = 20 * SECOND
    lives = tuple(life(0, at) for _ in range(3)) + tuple(life(at) for _ in range(3))
    world = World(Plan((Window(1, 500 * MS),), lives, 30 * SECOND)).live()

    assert granted(world, at, at + 5 * SECOND)


def test_a_step_while_nobody_watches_costs_no_more() -> None:
    died, back = 20 * SECOND, 40 * SECOND
    lives = (life(0, died), life(back), life(back))
    for by in (-HOUR, HOUR):
        plan_ = Plan((Window(1, 500 * MS),), lives, 50 * SECOND, steps=((30 * SECOND, by),))
        world = World(plan_).live()

        assert granted(world, back, back + 5 * SECOND)
        assert list(over(world)) == []


# -- the same as a literal reading ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """One look: so long after the last one, on its way for so long, in eighths of it there; the clock then steps."""

    after: int
    trip: int
    there: int
    step: int


class Literal:
    """The rule word for word: every own look of the last 30 s, in exact fractions."""

    def __init__(self) -> None:
        self.looks: list[tuple[Reading, int]] = []

    def bounds(self, reading: Reading) -> tuple[Fraction, Fraction]:
        """The least and the most that ledger time may be."""
        fast, slow = 1 + Fraction(DRIFT_PPM, 10**6), 1 - Fraction(DRIFT_PPM, 10**6)
        kept = [each for each in self.looks if each[0].came_us >= reading.asked_us - KEPT_US]
        return (
            max(shown + (reading.asked_us - old.came_us) * slow for old, shown in kept),
            min(shown + (reading.came_us - old.asked_us) * fast for old, shown in kept),
        )


SPANS = st.one_of(st.integers(0, 2 * SECOND), st.integers(0, 29 * SECOND))
STEPS = st.one_of(st.just(0), st.integers(-100 * MS, 100 * MS), st.integers(-HOUR, HOUR))
LOOKS = st.lists(
    st.builds(
        Look,
        after=SPANS,
        trip=st.one_of(st.integers(200, 2 * MS), st.integers(200, SLOW_US)),
        there=st.integers(0, 8),
        step=STEPS,
    ),
    min_size=1,
    max_size=25,
)


def readings(looks: list[Look]) -> Iterable[Reading]:
    """What a process reads of a clock that steps between its looks."""
    boot, stepped = 5 * SECOND, 0
    for look in looks:
        asked = boot + look.after
        boot = asked + look.trip
        stepped += look.step
        shows = BEGINNING + asked + look.trip * look.there // 8 + stepped
        yield Reading(shows, None, shows, asked, boot)


@given(LOOKS)
@steady(300)
def test_a_trusted_watch_judges_as_every_look_of_the_last_30_s_says(looks: list[Look]) -> None:
    watch, literal = DatabaseWatch(), Literal()
    first, *later = readings([Look(0, MS, 4, 0), *looks])
    known = Offset("2", 0)
    watch.believe(first, known)
    literal.looks.append((first, first.reference_us))
    for reading in later:
        judged = watch.judge(reading, known, 0)
        assert isinstance(judged, Offset)
        ledger = reading.reference_us + known.offset_us
        least, most = literal.bounds(reading)
        shown = reading.reference_us + judged.offset_us
        if least <= ledger <= most:
            assert shown == ledger
        elif ledger > most:
            assert most - 2 <= shown < most + 1
        else:
            assert least - 2 <= shown <= least
        known = judged
        watch.believe(reading, known)
        literal.looks.append((reading, shown))


def test_a_bound_is_rounded_down() -> None:
    watch, known = DatabaseWatch(), Offset("2", 0)
    watch.believe(Reading(0, None, 0, 0, 0), known)

    judged = watch.judge(Reading(SECOND, None, SECOND, 1_001, 1_001), known, 0)

    assert judged == Offset("2", 1_001 - SECOND)


def test_who_begins_an_epoch_is_trusted_though_another_look_met_it_first() -> None:
    """Between a commit and the news of it, another transaction of the same process may read the new epoch."""
    watch, before, after = DatabaseWatch(), Offset("1", 0), Offset("2", 0)
    for second in range(5):
        at = second * SECOND
        judged = watch.judge(Reading(at, None, at, at, at + 1), before, 0)
    assert judged == Unwatched()
    begun = Reading(5 * SECOND, None, 0, 5 * SECOND, 5 * SECOND + 1)
    other = Reading(5 * SECOND + 2, None, 0, 5 * SECOND + 2, 5 * SECOND + 3)

    assert watch.judge(other, after, 1) == Newcomer()
    watch.believe(begun, after)
    assert watch.judge(other, after, 1) == after


def test_the_order_in_which_looks_are_believed_does_not_matter() -> None:
    known = Offset("2", 0)
    tight, loose = Reading(0, None, 0, 0, 0), Reading(2 * SECOND, None, 0, SECOND, 2 * SECOND)
    latest = Reading(32 * SECOND, None, 0, 31 * SECOND, 31 * SECOND + 1)
    judged = []
    for order in ((tight, loose), (loose, tight)):
        watch = DatabaseWatch()
        watch.believe(Reading(-SECOND, None, 0, -SECOND, -SECOND), known)
        for reading in order:
            watch.believe(reading, known)
        judged.append(watch.judge(latest, known, 0))

    assert judged[0] == judged[1]


# -- what would not do ---------------------------------------------------------------------------------------


class ComparesWithTheLastLook(DatabaseWatch):
    def believe(self, reading: Reading, offset: Offset) -> None:
        self._looks.clear()
        super().believe(reading, offset)


class Tolerates250Ms(DatabaseWatch):
    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched | Newcomer:
        judged = super().judge(reading, known, touches)
        small = isinstance(judged, Offset) and abs(judged.offset_us - known.offset_us) <= 250 * MS
        return known if small else judged


class TrustsWhatItFirstSees(DatabaseWatch):
    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched | Newcomer:
        judged = super().judge(reading, known, touches)
        if not isinstance(judged, Newcomer):
            return judged
        self._trusted = True
        return known


class TakesNoMargin(DatabaseWatch):
    def margin_us(self, span_us: int) -> int:
        return 0


class TrustsTheFirstTouch(DatabaseWatch):
    def _grown(
        self, reading: Reading, known: Offset, touches: int
    ) -> Offset | Unwatched | Newcomer:
        grown = super()._grown(reading, known, touches)
        touched = self._touches_at_first is not None and touches > self._touches_at_first
        if not isinstance(grown, Newcomer) or not touched:
            return grown
        self._trusted = True
        return known


class BelievesStepsForwardsOnly(DatabaseWatch):
    def judge(self, reading: Reading, known: Offset, touches: int) -> Offset | Unwatched | Newcomer:
        judged = super().judge(reading, known, touches)
        back = isinstance(judged, Offset) and judged.offset_us > known.offset_us
        return known if back else judged


def creeping(seed: int) -> Plan:
    """Steps that are each smaller than a round trip."""
    steps = tuple((8 * SECOND + (each * SECOND) + seed * 40 * MS, 95 * MS) for each in range(30))
    return Plan((Window(5, 10 * SECOND),), (life(trips=exactly(50 * MS)),), 40 * SECOND, steps)


def small(seed: int) -> Plan:
    """Steps of 200 ms, just before a call."""
    steps = tuple((each * 1_900 * MS, 200 * MS) for each in range(3, 10))
    lives = (life(asks_us=50 * MS), life(asks_us=50 * MS))
    return Plan((Window(1, 500 * MS),), lives, 20 * SECOND, steps, seed=seed)


def started_after_a_step(seed: int) -> Plan:
    """A process that comes just after a step, which the other one has not seen yet."""
    at = 10 * SECOND + seed * 90 * MS
    lives = (life(), life(at + MS))
    return Plan((Window(1, 500 * MS),), lives, 15 * SECOND, ((at, HOUR),), seed=seed)


def out_and_back(seed: int) -> Plan:
    """The clock is an hour back for three seconds; who slept over it wakes up as that is over."""
    wakes = 25 * SECOND + seed * 13 * MS
    lives = (
        life(stalls=((wakes - 12 * SECOND, wakes),)),
        life(call_us=(MS, 6 * SECOND)),
    )
    steps = ((wakes - 3 * SECOND, -HOUR), (wakes - seed % 10 * MS, HOUR))
    return Plan((Window(1, 2 * SECOND),), lives, 30 * SECOND, steps, seed=seed)


def a_rejoin_that_is_rolled_back(seed: int) -> Plan:
    """A process stands still as it begins an epoch; another one begins it, long after."""
    since = 3 * SECOND + seed * 10 * MS
    sleeper = life(trips=exactly(20 * MS), stalls=((since, since + 25 * SECOND),))
    lives = (sleeper, life(since + 18 * SECOND))
    return Plan((Window(1, 500 * MS),), lives, since + 35 * SECOND, seed=seed)


def touched_after_a_step(seed: int) -> Plan:
    """A far process looks, the clock steps, a near one comes and looks twice, and only then the far one commits."""
    at = 20 * SECOND + seed * 37 * MS
    lives = (life(trips=exactly(100 * MS)), life(0, at), life(at + MS, asks_us=20 * MS))
    return Plan((Window(1, 2 * SECOND),), lives, 30 * SECOND, ((at, HOUR),), seed=seed)


@dataclass(frozen=True)
class Variant:
    """A watch that would not do, and plans of which some show it."""

    watch: type[DatabaseWatch]
    plans: Callable[[int], Plan]
    seeds: range
    early: bool = False


VARIANTS = [
    Variant(ComparesWithTheLastLook, creeping, range(5)),
    Variant(Tolerates250Ms, small, range(10)),
    Variant(TrustsWhatItFirstSees, started_after_a_step, range(20)),
    Variant(TrustsTheFirstTouch, touched_after_a_step, range(10)),
    Variant(BelievesStepsForwardsOnly, out_and_back, range(30)),
    Variant(DatabaseWatch, a_rejoin_that_is_rolled_back, range(60), early=True),
]


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.plans.__name__)
def test_what_would_not_do_goes_over_where_the_watch_does_not(variant: Variant) -> None:
    plans = [variant.plans(seed) for seed in variant.seeds]

    assert broken(plans, variant.watch, believes_what_is_rolled_back=variant.early) > 0
    assert broken(plans) == 0


def slow_and_alone(seed: int) -> Plan:
    """A near process dies, the clock steps by less than the other one's round trip, and that one goes on."""
    dies = 12 * SECOND + seed * 50 * MS
    stalls = ((dies - 3 * SECOND, dies),)
    far = life(trips=exactly(100 * MS, MS), stalls=stalls, asks_us=20 * MS, lanes=3)
    return Plan((Window(1, 2 * SECOND),), (life(0, dies), far), 20 * SECOND, ((dies, 95 * MS),))


@pytest.mark.slow
def test_without_a_margin_it_is_over_at_the_instant_of_the_reading() -> None:
    plans = [slow_and_alone(seed) for seed in range(60)]

    assert any(list(over(World(each, TakesNoMargin).live())) for each in plans)
    assert not any(list(over(World(each).live())) for each in plans)
