"""Every place that has a name, and what becomes of a server that dies there: the cases are in failpoints.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.process.failpoints import CASES
from tests.process.gate import REPOSITORY

pytestmark = [pytest.mark.process, pytest.mark.slow]

AT_ONCE = 2

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


@pytest.fixture(scope="module")
def deaths(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[None]]]:
    """Every chosen case, begun with the first that is asked for: most of a case is waiting, so several run at once."""
    folder = tmp_path_factory.mktemp("deaths")
    wanted = f"{test_what_was_accepted_survives_a_death_at.__name__}["
    chosen = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.name.startswith(wanted)
    ]
    pool = ThreadPoolExecutor(AT_ONCE)
    yield {name: pool.submit(CASES[name], folder / name, name) for name in chosen}
    pool.shutdown(cancel_futures=True)


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
