"""What the process tests share: a source in a process of its own, a gate, a journal, and a place to say figures.

A test that has a mark of engines.py runs on what it says; one that has none runs on SQLite.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SAID
from tests.postgres import create_database, postgres_server
from tests.process.client import Journal
from tests.process.gate import Gate
from tests.simulator.process import RunningServer

__all__ = ["postgres_server"]

MakeSource = Callable[..., RunningServer]
MakeGate = Callable[..., Gate]
NewDatabase = Callable[[], str]
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
def engine(request: pytest.FixtureRequest) -> str:
    """What the gates of a test store in: `sqlite`, unless it is marked with one of engines.py."""
    return str(getattr(request, "param", "sqlite"))


_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Make an empty database on the session's PostgreSQL, which is started for the first one; returns its URL."""

    def make() -> str:
        server: str = request.getfixturevalue("postgres_server")
        return create_database(server, f"process_{os.getpid()}_{next(_numbers)}")

    return make


@pytest.fixture
def make_gate(tmp_path: Path, engine: str, new_database: NewDatabase) -> Iterator[MakeGate]:
    """Make a gate; whatever was started on it ends with the test."""
    made: list[Gate] = []

    def make(
        source: RunningServer,
        *quotas: str,
        folder: Path | None = None,
        postgres: str | None = None,
        **keys: Any,
    ) -> Gate:
        if engine == "postgres" and postgres is None:
            postgres = new_database()
        folder = folder or tmp_path / "gate"
        made.append(Gate(folder, source.url, postgres=postgres, quota=list(quotas), **keys))
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
