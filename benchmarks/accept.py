"""
Accepting 5 ids, durably, on 32 connections: beside a constant app, bare group commit and an in-memory version.

All four servers run at once and are loaded in turns, round after round, so that whatever else the machine does
falls on all of them. What was answered is counted in the database afterwards.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import load, rig
from benchmarks.figure import Line, at_least, below, none_of, note, quantile

CONNECTIONS = 32
BODY = b'{"ids": [1, 2, 3, 4, 5], "priority": "HIGH"}'
FAST_DISK_MS = 0.2
CONSTANT, HEADGATE, BARE, IN_MEMORY = "constant app", "Headgate", "bare group commit", "in memory"


@dataclass(slots=True)
class Contestant:
    """A server and what its rounds came to."""

    name: str
    server: rig.Server
    path: str = "/ingest"
    rounds: list[load.Load] = field(default_factory=list)

    async def run(self, seconds: float) -> None:
        request = load.post(self.path, BODY, self.server.port)
        self.rounds.append(
            await load.run(self.server.port, request, connections=CONNECTIONS, seconds=seconds)
        )

    @property
    def rates(self) -> list[float]:
        return [each.per_second for each in self.rounds[1:]]  # the first one warms up

    @property
    def latencies_ms(self) -> list[float]:
        return [latency for each in self.rounds[1:] for latency in each.latencies_ms]

    @property
    def answers(self) -> int:
        return sum(len(each.latencies_ms) - each.failures for each in self.rounds)

    @property
    def failures(self) -> int:
        return sum(each.failures for each in self.rounds)


def measure(quick: bool) -> list[Line]:
    rounds, seconds = (4, 1.0) if quick else (10, 2.0)
    with rig.folder() as place, ExitStack() as stack:
        contestants = _start(stack, place)
        flushes = asyncio.run(_run(contestants, place, rounds, seconds))
        by_name = {each.name: each for each in contestants}
        lost = abs(by_name[HEADGATE].answers - _stored(place / HEADGATE / "headgate.db"))
    return [*_lines(by_name, median(flushes)), none_of("answered and not stored", lost)]


def _start(stack: ExitStack, place: Path) -> list[Contestant]:
    for name in (CONSTANT, HEADGATE, BARE, IN_MEMORY):
        (place / name).mkdir()
    bare_in = {"BENCH_DATABASE": str(place / BARE / "bare.db")}
    apps = "benchmarks.apps"
    servers = [
        (CONSTANT, rig.uvicorn(f"{apps}.constant:app", place / CONSTANT, {})),
        (HEADGATE, rig.headgate(place / HEADGATE)),
        (BARE, rig.uvicorn(f"{apps}.bare:app", place / BARE, bare_in)),
        (IN_MEMORY, rig.uvicorn(f"{apps}.in_memory:app", place / IN_MEMORY, {})),
    ]
    return [Contestant(name, stack.enter_context(server)) for name, server in servers]


async def _run(
    contestants: Sequence[Contestant], place: Path, rounds: int, seconds: float
) -> list[float]:
    """Load everybody in turns; returns how long the disk took to flush, looked at between the rounds."""
    flushes: list[float] = []
    for _ in range(rounds):
        flushes += rig.fdatasync_ms(place)
        for contestant in contestants:
            await contestant.run(seconds)
    return flushes


def _stored(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        (count,) = connection.execute("select count(*) from ingestion").fetchone()
        return int(count)


def _lines(by_name: dict[str, Contestant], flush_ms: float) -> list[Line]:
    ours = by_name[HEADGATE]
    return [
        note("fdatasync of this disk, p50", flush_ms, "ms"),
        *(note(f"{name}: accepted", median(each.rates), "/s") for name, each in by_name.items()),
        at_least(
            "Headgate / constant app (stretch: 0.8)",
            _ratio(ours, by_name[CONSTANT]),
            0.7,
            "x",
            applies=flush_ms < FAST_DISK_MS,
        ),
        at_least("Headgate / bare group commit", _ratio(ours, by_name[BARE]), 0.8, "x"),
        note("Headgate / in memory", _ratio(ours, by_name[IN_MEMORY]), "x"),
        *(
            note(f"{name}: p99", quantile(each.latencies_ms, 0.99), "ms")
            for name, each in by_name.items()
            if name != HEADGATE
        ),
        below("Headgate: p99", quantile(ours.latencies_ms, 0.99), 25, "ms"),
        none_of("failed requests", sum(each.failures for each in by_name.values())),
    ]


def _ratio(one: Contestant, other: Contestant) -> float:
    """The median of the rounds' ratios: two that were measured right after each other are compared."""
    return median(a / b for a, b in zip(one.rates, other.rates, strict=True))
