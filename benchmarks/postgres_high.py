"""HIGH behind 100,000 LOW ingestions on PostgreSQL: measured as on SQLite, over a queue that was filled by SQL."""

from __future__ import annotations

from benchmarks import high, rig
from benchmarks.figure import Line
from benchmarks.product import Headgate
from tests.postgres import create_database


def measure(server_url: str, samples: int, whose: str = "") -> list[Line]:
    url, headgate = create_database(server_url, "high"), Headgate()
    headgate.prepare(url)
    headgate.fill(url, high.QUEUED)
    with rig.folder() as place:
        file = place / "journal"
        with rig.headgate(place, high.configuration(file), url=url) as server:
            found = high.measured(server, file, samples, high.after_the_slot)
    return high.lines(found, whose)
