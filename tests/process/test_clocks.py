"""Clocks that do what clocks do: a reboot, a wall clock that is set. The quota is the source's, by its own clock."""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.process.client import Journal
from tests.process.conftest import MakeGate
from tests.process.faults import needs_root
from tests.process.judge import arrivals, assert_kept
from tests.process.waiting import eventually, now_us
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.process, pytest.mark.slow]

BOOT_ID = "/proc/sys/kernel/random/boot_id"
W_S = 2
QUOTA = f"2/{W_S}s"


def as_if_rebooted(folder: Path, *, boot_clock_s: int) -> list[str]:
    """The command that becomes another in a new boot, whose boot-time clock shows this; skips where it cannot."""
    boot_id = folder / "boot_id"
    boot_id.write_text("11111111-2222-4333-8444-555555555555\n")
    return [*at_boot_clock(boot_clock_s, "-m"), *bound(boot_id, BOOT_ID)]


def at_boot_clock(boot_clock_s: int, *more: str) -> list[str]:
    """The command that becomes another, whose boot-time clock shows this."""
    offset = boot_clock_s - now_us() // 1_000_000
    command = ["unshare", *more, "-T", "--boottime", str(offset)]
    tried = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"this machine lets nobody shift a process's clock: {tried.stderr.strip()}")
    return command


def bound(file: Path, over: str) -> list[str]:
    return ["sh", "-c", f'mount --bind {file} {over} && exec "$@"', "sh"]


@needs_root
@pytest.mark.parametrize(
    "boot_clock_s",
    [
        pytest.param(30, id="that starts at zero"),
        pytest.param(10**7, id="that shows more than before", marks=pytest.mark.long),
    ],
)
def test_a_reboot_forgets_no_call(
    boot_clock_s: int,
    source: RunningServer,
    make_gate: MakeGate,
    journal: Journal,
    tmp_path: Path,
) -> None:
    """Nobody watched the time: for a short window none has passed."""
    gate = make_gate(source, QUOTA, pacing="burst")
    before = gate.serve()
    journal.must_submit(before.port, 12)
    eventually(lambda: len(arrivals(source)) == 2, "the window is full")
    eventually(lambda: gate.stored().in_flight == 0, "both calls are settled")
    before.kill()

    rebooted_us = now_us()
    after = gate.serve(under=as_if_rebooted(tmp_path, boot_clock_s=boot_clock_s))
    assert len(after.facts("nobody watched the time")) == 1
    assert_kept(gate, after, source, journal, QUOTA)
    assert arrivals(source)[2].at_us >= rebooted_us + W_S * 1_000_000


@needs_root
@pytest.mark.long
def test_another_boot_clock_within_one_boot_forgets_no_call(
    source: RunningServer, make_gate: MakeGate, journal: Journal
) -> None:
    """A container may be given a boot-time clock of its own (a time namespace); the boot id is the host's."""
    gate = make_gate(source, QUOTA, pacing="burst")
    before = gate.serve()
    journal.must_submit(before.port, 12)
    eventually(lambda: len(arrivals(source)) == 2, "the window is full")
    eventually(lambda: gate.stored().in_flight == 0, "both calls are settled")
    before.kill()

    after = gate.serve(under=at_boot_clock(10**7))
    assert_kept(gate, after, source, journal, QUOTA)


def faketime() -> Path | None:
    places = [Path(p) for p in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")]
    found = ctypes.util.find_library("faketime")
    return places[0] if places else Path(found) if found else None


@pytest.fixture
def wall_clock(tmp_path: Path) -> Path:
    """A file that says what the wall clock is off by."""
    file = tmp_path / "wall"
    file.write_text("+0\n")
    return file


def wait_for_calls(source: RunningServer, more_than: int) -> None:
    eventually(lambda: len(arrivals(source)) > more_than, "calls go on")


@pytest.mark.long
@pytest.mark.skipif(faketime() is None, reason="needs libfaketime, to set a process's wall clock")
def test_steps_of_the_wall_clock_change_nothing(
    source: RunningServer, make_gate: MakeGate, journal: Journal, wall_clock: Path
) -> None:
    gate = make_gate(source, "5/s", "8/2s")
    server = gate.serve(
        LD_PRELOAD=str(faketime()),
        FAKETIME_TIMESTAMP_FILE=str(wall_clock),
        FAKETIME_NO_CACHE="1",
        DONT_FAKE_MONOTONIC="1",
    )
    journal.must_submit(server.port, 60)
    for step in ("+1d", "-2d", "+30d", "-1y"):
        called = len(arrivals(source))
        wall_clock.write_text(f"{step}\n")
        wait_for_calls(source, called + 2)
        journal.must_submit(server.port, 2, "HIGH")
    day = server.get(f"/v1/ingestions/{journal.accepted()[-1].ingestion_id}")["accepted_at"]
    assert int(day[:4]) < time.gmtime().tm_year, "the wall clock was not set at all"

    assert_kept(gate, server, source, journal, "5/s", "8/2s")
    assert os.environ.get("LD_PRELOAD") is None
