"""Every source, each behind the same small face."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest

from headgate.sources.base import Source
from headgate.sources.http import HttpSource
from headgate.sources.http_options import HttpOptions
from headgate.sources.simulated import SimulatedOptions, SimulatedSource
from tests.simulator.process import RunningServer

MISSING, FAILING, REJECTED = 404, 500, 400
"""Ids with a fate, for every source of the suite."""


@dataclass(frozen=True)
class Provided:
    """A source, and what its other side saw: the ids of each request, as text."""

    source: Source
    asked: Callable[[], list[list[str]]]


class Provide(Protocol):
    """Make a source that is in good health or in the trouble that is named."""

    def __call__(self, trouble: str = "none") -> Provided: ...


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    log = tmp_path_factory.mktemp("api") / "log"
    ids = f"--id={FAILING}=500", f"--id={REJECTED}=400"
    with RunningServer(log, "--missing", str(MISSING), *ids) as server:
        yield server


def simulated(request: pytest.FixtureRequest, trouble: str) -> Provided:
    journal: Path = request.getfixturevalue("tmp_path") / "journal"
    options = SimulatedOptions(
        latency_us=200_000 if trouble == "slow" else 1_000,
        throttle_rate=1.0 if trouble == "throttled" else 0.0,
        refuse=trouble == "refused",
        journal=journal,
        missing=frozenset({MISSING}),
        failing=frozenset({FAILING}),
        rejected=frozenset({REJECTED}),
    )

    def asked() -> list[list[str]]:
        lines = journal.read_text().splitlines() if journal.exists() else []
        return [[str(each) for each in json.loads(line)["ids"]] for line in lines]

    return Provided(SimulatedSource(options), asked)


def http(request: pytest.FixtureRequest, trouble: str) -> Provided:
    api: RunningServer = request.getfixturevalue("api")
    tag = uuid4().hex
    query = {
        "throttled": "&mode=429&retry_after=5",
        "refused": "&mode=401",
        "slow": "&latency_ms=200",
    }.get(trouble, "")
    options = HttpOptions(
        url=f"{api.url}/items?tag={tag}{query}{{&ids}}", records="items", record_id="id"
    )

    def asked() -> list[list[str]]:
        return [each["ids"] for each in api.requests_for(tag)]

    return Provided(HttpSource(options), asked)


@pytest.fixture(params=[simulated, pytest.param(http, marks=pytest.mark.process)])
async def provide(request: pytest.FixtureRequest) -> AsyncIterator[Provide]:
    made: list[Provided] = []

    def make(trouble: str = "none") -> Provided:
        made.append(request.param(request, trouble))
        return made[-1]

    yield make
    for each in made:
        await each.source.close()
