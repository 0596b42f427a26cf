"""Facts become log lines; a log that cannot be written stops nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")

TELL = """
from headgate.core.facts import LeaseLost
from headgate.telemetry import Telemetry, configure_logging
configure_logging(json=True, level="info")
observe = Telemetry()
observe(LeaseLost("catalog", 1, 0))
observe.say("a line about the process")
print("went on", flush=True)
"""


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_a_log_whose_disk_is_full_stops_nobody() -> None:
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", TELL],
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=30,
            check=False,
        )

    assert done.stdout == b"went on\n"
