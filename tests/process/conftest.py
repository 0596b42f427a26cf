"""What the process tests share: a source in a process of its own, a gate, a journal, and a place to say figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.client import Journal
from tests.process.gate import Gate
from tests.simulator.process import RunningServer

SAID = "said"

MakeSource = Callable[..., RunningServer]
MakeGate = Callable[..., Gate]
Say = Callable[[str], None]


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
        request.node.user_properties.append((SAID, f"{request.node.name}: {text}"))

    return tell


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Also where the tests ran in other processes (pytest-xdist)."""
    ended = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
    ]
    said = [
        str(text)
        for report in ended
        if report.when == "call"
        for name, text in report.user_properties
        if name == SAID
    ]
    if said:
        terminalreporter.section("figures of the process tests (told, not judged)")
        for each in said:
            terminalreporter.write_line(each)
