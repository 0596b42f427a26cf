"""From the exec of `python -m headgate serve` to a 200 of /readyz."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from benchmarks import rig
from benchmarks.figure import Line, below, note


def measure(quick: bool) -> list[Line]:
    times = 3 if quick else 5
    with rig.folder() as place:
        _ready_s(place)  # brings the code into memory
        again = [_ready_s(place) for _ in range(times)]
    return [
        below("on a new file, median", median(_on_a_new_file() for _ in range(times)), 1, "s"),
        note("on a file that is there, median", median(again), "s"),
    ]


def _on_a_new_file() -> float:
    with rig.folder() as place:
        return _ready_s(place)


def _ready_s(place: Path) -> float:
    port = rig.free_port()
    arguments = ["-m", "headgate", "serve", "--port", str(port)]
    began = time.perf_counter()
    with rig.started(arguments, port, place, rig.environment_of(place)) as server:
        rig.wait_for(server, "/readyz", pause_s=0.002)
        return time.perf_counter() - began
