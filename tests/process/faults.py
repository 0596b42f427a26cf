"""What goes wrong with a machine, as far as plain Linux lets a test do it: each says why it cannot be done here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.process.waiting import eventually

FLUSHES = "fdatasync,fsync"
ROOT = "needs root: this machine lets nobody mount, or enter a namespace"

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="needs strace, to inject faults into system calls"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason=ROOT)


@contextmanager
def traced(pid: int, flags: Sequence[str], log: Path) -> Iterator[None]:
    """Trace a running process while the `with` lasts."""
    with subprocess.Popen(
        ["strace", "-f", "-p", str(pid), "-o", str(log), *flags],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        try:
            said = process.stderr.readline()
            if b"not permitted" in said:
                pytest.skip("this machine lets nobody trace a process")
            assert b"attached" in said, said
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.stderr.read()
            process.wait(20)


def injected(pid: int, fault: str, log: Path) -> AbstractContextManager[None]:
    """Put a fault into the system calls of a running process (see `strace -e inject=`): `fsync:error=EIO`."""
    calls = fault.partition(":")[0]
    return traced(pid, ["-tt", "-e", f"inject={fault}", "-e", f"trace={calls}"], log)


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal (T), not merely traced (t)."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] in {"T", "t"}


def wait_until_stopped(pid: int) -> None:
    eventually(lambda: is_stopped(pid), "the process is stopped")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own, so small that it can be filled."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "headgate-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"needs to mount a disk of its own: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free on a disk; returns the file that takes it all."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for step in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(b"\0" * step)
            except OSError:
                continue
    return filler
