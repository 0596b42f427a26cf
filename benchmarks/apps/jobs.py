"""What the peers' jobs do, as the environment says: note in a journal when they begin, and take a while."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence

DATABASE = os.environ.get("BENCH_DATABASE", "")
CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "16"))
AT_ONCE = int(os.environ.get("BENCH_AT_ONCE", "0"))
BATCH_SIZE = int(os.environ.get("BENCH_BATCH_SIZE", "10"))
JOB_S = float(os.environ.get("BENCH_JOB_S", "0"))
JOURNAL = os.environ.get("BENCH_JOURNAL")

BATCH = 3
PRIORITY = {"LOW": 0, "MEDIUM": 1, "HIGH": 2}
"""For both peers the greater goes first."""


async def work(ids: Sequence[int]) -> None:
    """One job: in place of a call to a source."""
    if JOURNAL is not None:
        _note(JOURNAL, ids)
    if JOB_S:
        await asyncio.sleep(JOB_S)


def batches(ids: Sequence[int]) -> list[list[int]]:
    return [list(ids[first : first + BATCH]) for first in range(0, len(ids), BATCH)]


def _note(journal: str, ids: Sequence[int]) -> None:
    """The same line that Headgate's simulated source writes (benchmarks/journal.py), and written like it."""
    line = json.dumps({"at_us": time.time_ns() // 1_000, "ids": ids}).encode()
    descriptor = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line + b"\n")
    finally:
        os.close(descriptor)
