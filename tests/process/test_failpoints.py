"""Every place that has a name, and what becomes of a server that dies there: the cases are in failpoints.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import Future

import pytest

from tests.process.failpoints import CASES
from tests.process.gate import REPOSITORY

pytestmark = [pytest.mark.process, pytest.mark.slow]

IN_THE_LONG_RUN = {
    "before_commit.configure",
    "before_commit.claim",
    "after_commit.claim",
    "before_commit.settle",
    "after_commit.report",
    "after_commit.renew",
    "after_commit.rescue",
    "before_commit.cancel",
}
"""Close relatives of those that are tried in every run."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.long] if name in IN_THE_LONG_RUN else [])
        for name in CASES
    ],
)
def test_what_was_accepted_survives_a_death_at(
    name: str, deaths: Mapping[str, Future[None]]
) -> None:
    deaths[name].result(timeout=240)


def test_every_failpoint_has_its_case() -> None:
    code = "\n".join(
        file.read_text(encoding="utf-8") for file in (REPOSITORY / "headgate").rglob("*.py")
    )
    named = set(re.findall(r'failpoint\("([a-z_.]+)"\)', code))
    run = set(re.findall(r"engine\.run\(\s*(\w+),", code)) - {"command"}
    commands = {f"{when}_commit.{name}" for when in ("before", "after") for name in run}

    assert named | commands == set(CASES)
