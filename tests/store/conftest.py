"""A file with every kind of row, and an empty database beside it."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.store.conftest import folder
from tests.fakes import FakeClock
from tests.postgres import create_database, postgres_server, run_sql

__all__ = ["folder", "postgres_server"]

_NTH = itertools.count()


@pytest.fixture
def clock() -> FakeClock:
    """The wall clock is right when a test begins: the database's is, too."""
    return FakeClock(wall_us=time.time_ns() // 1_000)


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "headgate.db"


@pytest.fixture
def database(postgres_server: str) -> Iterator[str]:
    """The URL of a database that nothing was ever started on."""
    name = f"move_{os.getpid()}_{next(_NTH)}"
    yield create_database(postgres_server, name)
    run_sql(postgres_server, f'drop database "{name}" with (force)')
