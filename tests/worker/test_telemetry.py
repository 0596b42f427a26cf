"""Facts become log lines; a log that cannot be written stops nobody."""

from __future__ import annotations

import json
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


FAILS = """
from headgate.core.facts import BatchEnded, BatchReturned
from headgate.core.model import Status
from headgate.telemetry import Telemetry, configure_logging
configure_logging(json=True, level="info")
observe = Telemetry()
observe(BatchEnded("catalog", "01ab", 1, Status.COMPLETED, ""))
observe(BatchReturned("catalog", "01ab", 2, "", 1_500_000))
observe(BatchEnded("catalog", "01ab", 3, Status.FAILED, "500 Internal Server Error"))
"""


def test_a_batch_that_failed_for_good_is_a_warning_with_its_ingestion_and_its_reason() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILS], capture_output=True, text=True, timeout=30, check=True
    )
    returned, failed = map(json.loads, done.stderr.splitlines())

    assert returned["level"] == "info"
    assert returned["after_s"] == 1.5
    assert failed["level"] == "warning"
    assert (failed["ingestion_id"], failed["number"]) == ("01ab", 3)
    assert failed["reason"] == "500 Internal Server Error"
