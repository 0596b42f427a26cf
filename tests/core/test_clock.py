"""Ledger time never runs ahead of real time, and never back: over reboots, and wall clocks that are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.clock import (
    UNWATCHED_ERROR_US,
    Offset,
    Reading,
    believed,
    first_offset,
    ledger_time,
    rejoined,
)
from tests.core.steady import steady

SECOND = 1_000_000
MINUTE = 60 * SECOND
FIVE_MINUTES = 5 * MINUTE
WALL = 1_700_000_000 * SECOND


@dataclass(frozen=True)
class Look:
    """One look at the clocks: so long after the last, perhaps after a reboot, with the wall clock so wrong."""

    after: int
    rebooted: bool
    wall_error: int
    written: bool = True
    """Whether the ledger's row was written then: where it was not, the next boot knows only an older instant."""


@dataclass
class Host:
    """A machine whose real time we know. Its reference begins anew, anywhere, with each boot."""

    real: int = 0
    boot: int = 0
    booted_at: int = 0

    def read(self, look: Look) -> Reading:
        self.real += look.after
        if look.rebooted:
            self.boot += 1
            self.booted_at = self.real - self.boot * 7 % 3
        return Reading(
            self.real - self.booted_at, f"boot-{self.boot}", WALL + self.real + look.wall_error
        )


@dataclass
class Ledger:
    """What the store keeps of time, and does with it."""

    offset: Offset | None = None
    last: int = 0
    wall_at_last: int = 0

    def now(self, reading: Reading) -> int:
        if self.offset is None:
            self.offset = first_offset(reading)
            self.write(self.offset.offset_us + reading.reference_us, reading)
        if self.offset.epoch != reading.epoch:
            believed_us = believed(reading, wall_at_last=self.wall_at_last)
            self.offset = rejoined(
                reading, before=self.offset.epoch, last=self.last, believed_us=believed_us
            )
        return ledger_time(self.offset, reading, self.last)

    def write(self, now: int, reading: Reading) -> None:
        self.last, self.wall_at_last = now, reading.wall_us


SPANS = st.one_of(st.integers(0, 2 * SECOND), st.integers(0, 30 * MINUTE))
ERRORS = st.sampled_from([-FIVE_MINUTES // 2, 0, FIVE_MINUTES // 2]) | st.integers(
    -FIVE_MINUTES // 2, FIVE_MINUTES // 2
)
"""Of two looks, each as wrong in its own direction: five minutes between them."""

LOOKS = st.lists(
    st.builds(Look, after=SPANS, rebooted=st.booleans(), wall_error=ERRORS, written=st.booleans()),
    min_size=2,
    max_size=12,
)
WRITTEN_LOOKS = LOOKS.map(lambda looks: [Look(x.after, x.rebooted, x.wall_error) for x in looks])


@dataclass(frozen=True)
class Seen:
    """Real time and ledger time at one look."""

    real: int
    ledger: int
    written: bool


def seen(looks: list[Look]) -> list[Seen]:
    """What a ledger showed at each look."""
    host, ledger = Host(), Ledger()
    instants = []
    for look in looks:
        reading = host.read(look)
        now = ledger.now(reading)
        if look.written:
            ledger.write(now, reading)
        instants.append(Seen(host.real, now, look.written))
    return instants


@pytest.mark.slow
@given(LOOKS)
@steady(200)
def test_from_what_was_written_down_ledger_time_never_runs_ahead_of_real_time(
    looks: list[Look],
) -> None:
    for before, after in combinations(seen(looks), 2):
        if before.written:
            assert after.ledger - before.ledger <= after.real - before.real


@pytest.mark.slow
@given(WRITTEN_LOOKS)
@steady(200)
def test_ledger_time_never_goes_back(looks: list[Look]) -> None:
    for before, after in pairwise(seen(looks)):
        assert after.ledger >= before.ledger


@pytest.mark.slow
@given(LOOKS)
@steady(100)
def test_within_a_boot_ledger_time_is_real_time_whatever_the_wall_clock_does(
    looks: list[Look],
) -> None:
    for (before, after), look in zip(pairwise(seen(looks)), looks[1:], strict=True):
        if not look.rebooted:
            assert after.ledger - before.ledger == after.real - before.real


@pytest.mark.slow
@given(WRITTEN_LOOKS)
@steady(100)
def test_a_reboot_costs_at_most_twice_five_minutes(looks: list[Look]) -> None:
    for before, after in pairwise(seen(looks)):
        assert after.ledger - before.ledger >= after.real - before.real - 2 * FIVE_MINUTES


def test_a_new_ledger_begins_at_wall_time() -> None:
    reading = Reading(5 * SECOND, "boot-1", WALL)

    assert ledger_time(first_offset(reading), reading, last=0) == WALL


def test_ledger_time_stands_still_where_its_reference_is_behind_what_was_shown() -> None:
    offset = Offset("boot-1", 1_000)

    assert ledger_time(offset, Reading(500, "boot-1", WALL), last=2_000) == 2_000
    assert ledger_time(offset, Reading(1_500, "boot-1", WALL), last=2_000) == 2_500


@pytest.mark.parametrize(
    ("wall_passed", "expected"),
    [
        (-90 * MINUTE, 0),
        (0, 0),
        (FIVE_MINUTES, 0),
        (FIVE_MINUTES + 1, 1),
        (90 * MINUTE, 85 * MINUTE),
    ],
)
def test_of_unwatched_time_the_wall_clock_is_believed_less_five_minutes(
    wall_passed: int, expected: int
) -> None:
    reading = Reading(0, "boot-2", WALL + wall_passed)

    assert believed(reading, wall_at_last=WALL) == expected


def test_five_minutes_are_what_the_wall_clock_may_be_wrong() -> None:
    assert UNWATCHED_ERROR_US == FIVE_MINUTES


def test_after_a_reboot_the_ledger_goes_on_from_its_last_instant_and_what_is_believed() -> None:
    reading = Reading(3 * SECOND, "boot-2", WALL)
    offset = rejoined(reading, before="boot-1", last=10 * MINUTE, believed_us=2 * MINUTE)

    assert offset.epoch == "boot-2"
    assert ledger_time(offset, reading, last=10 * MINUTE) == 12 * MINUTE
