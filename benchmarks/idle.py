"""What a server costs that has nothing to do and is alone on its file: utime + stime."""

from __future__ import annotations

import time

from benchmarks import rig
from benchmarks.figure import Line, below

SETTLE_S = 3.0


def measure(quick: bool) -> list[Line]:
    seconds = 10.0 if quick else 30.0
    with rig.folder() as place, rig.headgate(place) as server:
        time.sleep(SETTLE_S)
        before, began = server.cpu_s(), time.monotonic()
        time.sleep(seconds)
        share = (server.cpu_s() - before) / (time.monotonic() - began)
    return [below("share of one processor, idle and alone on the file", 100 * share, 0.5, "%")]
