"""Where a batch may go, and what an ingestion is called: the table whole, and every small count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import pytest

from headgate.core.errors import Conflict
from headgate.core.lifecycle import MOVES, ended_as, moved, status_of
from headgate.core.model import Counts, Status

LEGAL = {
    ("yet_to_start", "triggered"),
    ("yet_to_start", "cancelled"),
    ("triggered", "completed"),
    ("triggered", "failed"),
    ("triggered", "cancelled"),
}
EVERY_MOVE = list(product(Status, Status))
ILLEGAL_MOVES = [move for move in EVERY_MOVE if move not in LEGAL]
MOST = 4
"""Counts are tried exhaustively up to so many ids."""


@pytest.mark.parametrize(("before", "after"), sorted(LEGAL))
def test_a_legal_move_leads_where_it_says(before: str, after: str) -> None:
    assert moved(Status(before), Status(after)) is Status(after)


@pytest.mark.parametrize(("before", "after"), ILLEGAL_MOVES)
def test_an_illegal_move_raises_and_changes_nothing(before: Status, after: Status) -> None:
    table = dict(MOVES)

    with pytest.raises(Conflict, match=f"{before} cannot become {after}"):
        moved(before, after)
    assert table == MOVES


def test_the_table_speaks_of_every_status() -> None:
    assert set(MOVES) == set(Status)


def test_what_has_ended_goes_nowhere() -> None:
    ended = {status for status, onward in MOVES.items() if not onward}
    assert ended == {"completed", "failed", "cancelled"}


def test_every_status_can_be_reached_and_every_batch_can_end() -> None:
    reached = {Status.YET_TO_START}
    for _ in Status:
        reached |= {after for before in reached for after in MOVES[before]}

    assert reached == set(Status)


@pytest.mark.parametrize(
    ("cancelled", "failed", "expected"),
    [
        (0, 0, Status.COMPLETED),
        (0, 1, Status.FAILED),
        (1, 0, Status.CANCELLED),
        (1, 1, Status.CANCELLED),
    ],
)
def test_cancelled_goes_before_failed_before_completed(
    cancelled: int, failed: int, expected: Status
) -> None:
    assert ended_as(cancelled=cancelled, failed=failed) is expected


# -- an ingestion --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """All that an ingestion's status depends on."""

    counts: Counts
    cancel_asked: bool = False

    @property
    def status(self) -> Status:
        return status_of(self.counts, cancel_asked=self.cancel_asked)


def states() -> Iterator[State]:
    """Every state of an ingestion of up to four ids in which what ended had begun, or was cancelled with the rest."""
    for distinct in range(1, MOST + 1):
        for begun, *endings in product(range(distinct + 1), repeat=5):
            if sum(endings) > begun:
                continue
            yield State(Counts(distinct, begun, *endings))
            if begun == distinct:
                yield State(Counts(distinct, begun, *endings), cancel_asked=True)


def steps(state: State) -> Iterator[State]:
    """Every state that one event leads to: an id begins, an id ends, a person cancels."""
    counts = state.counts
    if counts.begun < counts.distinct:
        yield replace(state, counts=replace(counts, begun=counts.begun + 1))
    if counts.begun > counts.ended:
        for ending in ("fetched", "missing", "failed", "cancelled"):
            ended = replace(counts, **{ending: getattr(counts, ending) + 1})
            yield replace(state, counts=ended)
    if counts.left and not state.cancel_asked:
        cancelled = counts.cancelled + counts.distinct - counts.begun
        yield State(replace(counts, begun=counts.distinct, cancelled=cancelled), cancel_asked=True)


EVERY_STATE = list(states())


def test_an_ingestion_of_which_nothing_has_begun_is_yet_to_start() -> None:
    assert {s.status for s in EVERY_STATE if s.counts.begun == 0} == {Status.YET_TO_START}


def test_an_ingestion_is_triggered_from_its_first_id_to_its_last() -> None:
    open_ones = {s.status for s in EVERY_STATE if s.counts.begun and s.counts.left}

    assert open_ones == {Status.TRIGGERED}


def test_an_ingestion_is_completed_when_every_id_was_fetched_or_is_known_to_be_missing() -> None:
    for state in EVERY_STATE:
        counts = state.counts
        good = counts.fetched + counts.missing == counts.distinct and not state.cancel_asked
        assert (state.status is Status.COMPLETED) == good


def test_an_ingestion_is_failed_when_it_ended_and_some_ids_failed_and_nobody_cancelled() -> None:
    for state in EVERY_STATE:
        counts = state.counts
        cancelled = state.cancel_asked or counts.cancelled
        failed = counts.left == 0 and counts.failed > 0 and not cancelled
        assert (state.status is Status.FAILED) == failed


def test_an_ingestion_is_cancelled_once_nothing_of_it_is_in_flight() -> None:
    for state in EVERY_STATE:
        cancelled = state.cancel_asked or state.counts.cancelled > 0
        assert (state.status is Status.CANCELLED) == (cancelled and state.counts.left == 0)


def test_an_ingestion_only_goes_forward() -> None:
    for state in EVERY_STATE:
        for after in steps(state):
            assert after.status is state.status or after.status in _onward(state.status)


def _onward(status: Status) -> set[Status]:
    """What may be seen after a status: one step of the table, or all of it where several ids move at once."""
    seen = set(MOVES[status])
    return seen | {after for step in seen for after in MOVES[step]}


@pytest.mark.parametrize("counts", [Counts(6, 5, 1, 1, 1, 1), Counts(6, 6, 3)])
def test_ended_and_left_make_up_the_whole(counts: Counts) -> None:
    endings = counts.fetched + counts.missing + counts.failed + counts.cancelled

    assert counts.ended == endings
    assert counts.left == counts.distinct - endings
