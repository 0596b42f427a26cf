"""The demo of several machines would notice: what it judges is put before it with one thing wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scripts.demo.machines.play import Machines
from scripts.demo.machines.scene import MachinesScene, Request, WorkerCall, checked
from scripts.demo.values import DONE, Batch, Broken, Ids, Life


def s(seconds: float) -> int:
    return int(seconds * 1_000_000)


def request(ids: Ids, priority: str, at_s: float) -> Request:
    batches = tuple(Batch(ids[at : at + 3], DONE) for at in range(0, len(ids), 3))
    return Request(
        f"{priority} {ids}", ids, priority, s(at_s), DONE, batches, answered_us=s(at_s + 0.1)
    )


def call(at_s: float, ids: Ids, worker: int = 1, status: int = 200) -> WorkerCall:
    return WorkerCall(s(at_s), ids, worker, status)


GOOD = MachinesScene(
    now_us=s(20),
    ended=True,
    requests=(
        request((1, 2, 3, 4), "LOW", 0),
        request((5, 6), "HIGH", 1),
        request((7,), "LOW", 12),
    ),
    calls=(
        call(0, (1, 2, 3)),
        call(2.1, (5, 6), worker=2),
        call(6, (5, 6)),
        call(8.1, (4,)),
        call(15, (7,), worker=2),
    ),
    api=(Life(1, 0),),
    workers={1: (Life(2, 0),), 2: (Life(3, 0, killed_us=s(2.6)), Life(4, s(7)))},
    database=(Life(5, 0, killed_us=s(11)), Life(6, s(14), started_us=s(13))),
    stored=(1, 2, 3, 4, 5, 6, 7),
)


def broken(scene: MachinesScene) -> list[str]:
    return [check.promise for check in checked(scene) if not check.kept]


def with_call(number: int, other: WorkerCall) -> MachinesScene:
    return replace(GOOD, calls=(*GOOD.calls[:number], other, *GOOD.calls[number + 1 :]))


def test_what_is_as_promised_passes() -> None:
    assert broken(GOOD) == []
    Machines(2).judge(GOOD)


@pytest.mark.parametrize(
    ("wrong", "promises"),
    [
        pytest.param(with_call(3, call(7.999_999, (4,))), ["quota"], id="a call too early"),
        pytest.param(with_call(3, call(8.1, (4,), status=429)), ["quota"], id="a call refused"),
        pytest.param(
            replace(GOOD, calls=GOOD.calls[:4]), ["database dead"], id="no call after the database"
        ),
        pytest.param(
            with_call(1, call(2.1, (4,))),
            ["order", "nothing twice", "worker dead"],
            id="LOW before HIGH",
        ),
        pytest.param(
            replace(GOOD, stored=GOOD.stored[:-1]), ["nothing lost"], id="an id is not stored"
        ),
        pytest.param(
            replace(GOOD, stored=(*GOOD.stored, 7)), ["nothing lost"], id="an id is stored twice"
        ),
        pytest.param(with_call(4, call(15, (4,))), ["nothing twice"], id="asked for again"),
        pytest.param(
            with_call(2, call(6, (5, 6), worker=2)), ["worker dead"], id="by the same worker"
        ),
        pytest.param(
            with_call(4, call(12.5, (7,))), ["database dead"], id="called without a database"
        ),
    ],
)
def test_what_is_not_as_promised_is_noticed(wrong: MachinesScene, promises: list[str]) -> None:
    assert broken(wrong) == promises
    with pytest.raises(Broken, match=promises[0]):
        Machines(2).judge(wrong)


def test_a_call_that_was_granted_before_a_higher_one_was_accepted_is_explained() -> None:
    late = replace(request((8,), "HIGH", 13.5), answered_us=s(15.2))
    scene = replace(
        GOOD,
        requests=(*GOOD.requests, late),
        calls=(*GOOD.calls, call(17.2, (8,))),
        stored=(*GOOD.stored, 8),
    )

    assert broken(scene) == []
    assert "H2 was accepted after L3's grant" in checked(scene)[1].seen
    assert broken(replace(scene, requests=(*GOOD.requests, replace(late, answered_us=s(14))))) == [
        "order"
    ]
