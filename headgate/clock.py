"""This host's clocks. The reference is the boot-time clock: it never steps, and it goes on while the machine sleeps."""

from __future__ import annotations

import subprocess
import time
import uuid
from pathlib import Path

from headgate.core.clock import Reading

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class HostClock:
    """The clocks of the host that this process runs on."""

    def __init__(self) -> None:
        self._epoch = _boot_id()

    def read(self) -> Reading:
        boot_us = self.boot_us()
        return Reading(boot_us, self._epoch, time.time_ns() // 1_000, boot_us, boot_us)

    def boot_us(self) -> int:
        return time.clock_gettime_ns(_CLOCK) // 1_000


def _shifted() -> str:
    """By how much this process's boot-time clock is not the host's (a time namespace); nothing where it is."""
    try:
        lines = Path("/proc/self/timens_offsets").read_text(encoding="ascii").splitlines()
    except OSError:
        return ""
    boot = next((line.split()[1:] for line in lines if line.startswith("boottime")), ["0", "0"])
    return "" if boot == ["0", "0"] else f"+{boot[0]}.{boot[1]}"


def _boot_id() -> str:
    """What tells this boot of the host from every other; where there is nothing, each process is one of its own."""
    if _BOOT_ID.exists():
        return _BOOT_ID.read_text(encoding="ascii").strip() + _shifted()
    try:
        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"],  # macOS
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return uuid.uuid4().hex
    return asked.stdout.strip() or uuid.uuid4().hex
