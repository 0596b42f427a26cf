"""Every place that has a name, and what becomes of a server that dies there: the cases are in failpoints.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.process.conftest import NewDatabase
from tests.process.failpoints import CASES, ON_POSTGRES_ONLY, Place
from tests.process.gate import REPOSITORY

pytestmark = [pytest.mark.process, pytest.mark.slow]

AT_ONCE = 2

IN_THE_LONG_RUN = {
    "before_commit.configure",
    "before_commit.claim",
    "after_commit.claim",
    "before_commit.settle",
    "before_commit.report",
    "after_commit.report",
    "before_commit.renew",
    "after_commit.renew",
    "after_commit.rescue",
    "before_commit.cancel",
    "before_commit.sign_in",
    "before_commit.sign_off",
    "after_commit.release",
}
"""Close relatives of those that are tried in every run, and two commands whose loss costs time and nothing else."""

IN_EVERY_RUN_ON_POSTGRES = {"migration", "after_commit.accept", "after_commit.claim", "settle.half"}
"""A lone process that was killed is trusted with the clock only after seconds, on which each of these waits."""

CASES_BY_ENGINE = {"sqlite": CASES, "postgres": {**CASES, **ON_POSTGRES_ONLY}}


def is_long(engine: str, name: str) -> bool:
    if engine == "postgres":
        return name not in IN_EVERY_RUN_ON_POSTGRES
    return name in IN_THE_LONG_RUN


@pytest.fixture(scope="module")
def deaths(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    new_database: NewDatabase,
) -> Iterator[Mapping[tuple[str, str], Future[None]]]:
    """Every chosen case, begun with the first that is asked for: most of a case is waiting, so several run at once."""
    folder = tmp_path_factory.mktemp("deaths")
    wanted = f"{test_what_was_accepted_survives_a_death_at.__name__}["
    chosen = [
        (str(item.callspec.params["engine"]), str(item.callspec.params["name"]))
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.name.startswith(wanted)
    ]
    places = {
        (engine, name): Place(
            folder / f"{engine}-{name}", new_database() if engine == "postgres" else None
        )
        for engine, name in chosen
    }
    pool = ThreadPoolExecutor(AT_ONCE)
    yield {
        (engine, name): pool.submit(CASES_BY_ENGINE[engine][name], place, name)
        for (engine, name), place in places.items()
    }
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        pytest.param(engine, name, marks=[pytest.mark.long] if is_long(engine, name) else [])
        for engine, cases in CASES_BY_ENGINE.items()
        for name in cases
    ],
)
def test_what_was_accepted_survives_a_death_at(
    engine: str, name: str, deaths: Mapping[tuple[str, str], Future[None]]
) -> None:
    deaths[engine, name].result(timeout=240)


def test_every_failpoint_has_its_case() -> None:
    code = "\n".join(
        file.read_text(encoding="utf-8") for file in (REPOSITORY / "headgate").rglob("*.py")
    )
    found = set(re.findall(r'failpoint\("([a-z_.]+)"\)', code))
    named = {name for name in found if not name.startswith("move.")}  # tests/store/test_move.py
    run = set(re.findall(r"engine\.run\(\s*(\w+),", code)) - {"command"}
    run_by_engines = set(re.findall(r"self\.run\((\w+)[,)]", code))
    commands = {f"{when}_commit.{name}" for when in ("before", "after") for name in run}
    own = {f"{when}_commit.{name}" for when in ("before", "after") for name in run_by_engines}

    assert named | commands == set(CASES)
    assert own == set(ON_POSTGRES_ONLY)
