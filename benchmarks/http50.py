"""
50 per s over HTTP at a latency of 5 ms: how much of what the rule allows is used, by the source's own log.

The source is another process with its own clock, its own strict limiter and its own log. What the rule allows is
computed from that log by the independent checker, which shares no code with the product.
"""

from __future__ import annotations

import time

from benchmarks import rig
from benchmarks.figure import Line, at_least, none_of, note
from tests.simulator import checker
from tests.simulator.process import RunningServer

QUOTA = "50/s"
LATENCY_MS = 5
CALLS_A_SECOND = 50
BATCH_SIZE = 3


def measure(quick: bool) -> list[Line]:
    seconds = 8.0 if quick else 30.0
    with rig.folder() as place:
        flags = ("--quota", QUOTA, "--latency-ms", str(LATENCY_MS))
        with RunningServer(place / "log", *flags) as source:
            with rig.headgate(place, _configuration(source.url)) as server:
                server.submit(rig.distinct_ids(int(BATCH_SIZE * CALLS_A_SECOND * (seconds + 5))))
                time.sleep(seconds)
            refused = sum(request["status"] == 429 for request in source.requests())
        return [
            *_lines(checker.load_arrivals(place / "log")),
            none_of("refused by the source", refused),
        ]


def _configuration(url: str) -> str:
    return f"""
[sources.api]
type = "http"
url = "{url}/items{{?ids}}"
batch_size = {BATCH_SIZE}
quota = ["{QUOTA}"]
concurrency = 8
records = "items"
record_id = "id"
"""


def _lines(arrivals: list[checker.Arrival]) -> list[Line]:
    window = checker.parse_window(QUOTA)
    by_first_byte = [each.at_us for each in arrivals]
    by_headers = [each.headers_us for each in arrivals if each.headers_us is not None]
    over = checker.windows_over(by_first_byte, window) + checker.windows_over(by_headers, window)
    latency_us = checker.mean_latency_us(arrivals)
    allowed = checker.share_of_rule(by_first_byte, [window], latency_us=latency_us) or 0.0
    rate = checker.share_of_rate(by_first_byte, [window]) or 0.0
    return [
        note("calls", len(arrivals), ""),
        at_least("used of what the rule allows", 100 * allowed, 98, "%"),
        note("used of 50 per s", 100 * rate, "%"),
        none_of("windows over", len(over)),
    ]
