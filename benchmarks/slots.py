"""1 per 5 s: the gaps between calls as they were written, and how many of the slots were used."""

from __future__ import annotations

import time
from itertools import pairwise

from benchmarks import journal, rig
from benchmarks.figure import Line, at_least, note

SPAN_S = 5.0


def measure(quick: bool) -> list[Line]:
    seconds = 22.0 if quick else 72.0
    with rig.folder() as place:
        file = place / "journal"
        configuration = f'[sources.simulated]\njournal = "{file}"\n'  # the built-in source as it is
        with rig.headgate(place, configuration) as server:
            server.submit(rig.distinct_ids(3 * int(2 + seconds / SPAN_S)))
            time.sleep(seconds)
        calls = journal.read(file)
    gaps = [(after.at_us - before.at_us) / 1e6 for before, after in pairwise(calls)]
    used = len(gaps) * SPAN_S / sum(gaps)
    return [
        note("calls", len(calls), ""),
        at_least("closest two calls", min(gaps), SPAN_S, "s"),
        at_least("slots used", 100 * used, 98, "%"),
    ]
