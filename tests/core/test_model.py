"""The words and sums that everybody builds on."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest

from headgate.core import facts, outcome, retry
from headgate.core.facts import Fact
from headgate.core.model import CallRules, Claim, Counts, Priority, Status
from headgate.core.outcome import Outcome
from headgate.core.retry import Step


def test_the_statuses_are_the_public_words() -> None:
    assert [status.value for status in Status] == [
        "yet_to_start",
        "triggered",
        "completed",
        "failed",
        "cancelled",
    ]


def test_high_goes_before_medium_goes_before_low_with_room_between() -> None:
    assert Priority.HIGH < Priority.MEDIUM < Priority.LOW
    assert Priority.MEDIUM - Priority.HIGH > 1
    assert Priority.LOW - Priority.MEDIUM > 1


@pytest.mark.parametrize(
    ("rules", "ids", "cost"),
    [
        (CallRules(), 50, 1),
        (CallRules(call_cost=0, id_cost=2), 3, 6),
        (CallRules(call_cost=5, id_cost=1), 3, 8),
    ],
)
def test_a_call_costs_by_the_call_and_by_the_id(rules: CallRules, ids: int, cost: int) -> None:
    assert rules.cost(ids) == cost


def test_of_a_new_ingestion_everything_is_left() -> None:
    assert Counts(5).left == 5
    assert Counts(5).ended == 0


@pytest.mark.parametrize(
    "kind",
    [*get_args(Outcome), *get_args(Step), *get_args(Fact), Claim, Counts],
    ids=lambda t: t.__name__,
)
def test_what_is_handed_around_cannot_be_changed(kind: type) -> None:
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]  # no public way to ask
    assert "__slots__" in vars(kind)


@pytest.mark.parametrize(
    ("module", "union"),
    [(outcome, Outcome), (retry, Step), (facts, Fact)],
    ids=["outcome", "step", "fact"],
)
def test_no_value_is_left_out_of_its_union(module: object, union: object) -> None:
    own = {
        value
        for value in vars(module).values()
        if dataclasses.is_dataclass(value) and value.__module__ == module.__name__  # type: ignore[attr-defined]
    }

    assert own - {retry.RetryPolicy} == set(get_args(union))
