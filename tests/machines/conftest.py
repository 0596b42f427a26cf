"""What these tests share with those of processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.postgres import PostgresServer, served
from tests.process.conftest import (
    engine,
    journal,
    make_gate,
    new_database,
    postgres_server,
    say,
    source,
    start_source,
)

__all__ = [
    "engine",
    "journal",
    "make_gate",
    "new_database",
    "postgres_server",
    "say",
    "source",
    "start_source",
]


@pytest.fixture
def durable() -> Iterator[PostgresServer]:
    """A server of the test's own that flushes what it commits."""
    with served(fsync="on", synchronous_commit="on") as server:
        yield server
