"""What the process tests share: a source in a process of its own, a gate, a journal, and a place to say figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.process.client import Journal
from tests.process.failpoints import CASES
from tests.process.gate import Gate
from tests.simulator.process import RunningServer

_said: list[str] = []
_DEATHS = "test_what_was_accepted_survives_a_death_at"
_AT_ONCE = 2

MakeSource = Callable[..., RunningServer]
MakeGate = Callable[..., Gate]
Say = Callable[[str], None]


@pytest.fixture(scope="session", autouse=True)
def deaths(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[None]]]:
    """The chosen cases of failpoints.py, run beside the other tests of this folder from its first one on.

    Most of a case is waiting, and so is most of the others: both at once take the time of one.
    """
    folder = tmp_path_factory.mktemp("deaths")
    chosen = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == _DEATHS
    ]
    pool = ThreadPoolExecutor(_AT_ONCE)
    yield {name: pool.submit(CASES[name], folder / name, name) for name in chosen}
    pool.shutdown(cancel_futures=True)


@pytest.fixture
def start_source(tmp_path: Path) -> Iterator[MakeSource]:
    """Start an external API; its log lies in the test's folder."""
    started: list[RunningServer] = []

    def start(*flags: str) -> RunningServer:
        started.append(RunningServer(tmp_path / f"source-{len(started) + 1}.log", *flags))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def source(start_source: MakeSource) -> RunningServer:
    return start_source("--latency-ms", "5")


@pytest.fixture
def make_gate(tmp_path: Path) -> Iterator[MakeGate]:
    """Make a gate; whatever was started on it ends with the test."""
    made: list[Gate] = []

    def make(source: RunningServer, *quotas: str, folder: Path | None = None, **keys: Any) -> Gate:
        made.append(Gate(folder or tmp_path / "gate", source.url, quota=list(quotas), **keys))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Say:
    """Tell a figure that is no promise: shown at the end of the run."""

    def tell(text: str) -> None:
        _said.append(f"{request.node.name}: {text}")

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _said:
        terminalreporter.section("figures of the process tests (told, not judged)")
        for each in _said:
            terminalreporter.write_line(each)
