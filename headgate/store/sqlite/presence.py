"""Who is alive on this host: each process holds a lock on a file of its own beside the database.

Whoever can take the lock of another knows that its owner is dead. `flock` belongs to the open file: the kernel
drops it when the process ends in whatever way. It is taken after any fork, since a child would keep it alive.
"""

from __future__ import annotations

import fcntl
import glob
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headgate.store.engine import WorkerId

_ANY_WORKER = "[0-9a-f]" * 32


class Presence:
    """This process among those that have the same database file open."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self.worker, self._held = self._join()

    def known_dead(self, worker: WorkerId) -> bool:
        """Whether a process is dead for sure: its file is gone, or its lock can be taken."""
        if worker == self.worker:
            return False
        with _taken(self._file_of(worker)) as free:
            return free

    def stay(self) -> None:
        """Make our file again if somebody removed it: without one we would be taken for dead."""
        if not os.fstat(self._held).st_nlink:
            held, self._held = self._held, self._made(self.worker)
            _lock(self._held)
            os.close(held)

    def others(self) -> bool:
        """Whether another live process has the database open; sweeps away the files of the dead."""
        alive = False
        name = glob.escape(self._database.name)
        for file in self._database.parent.glob(f"{name}.{_ANY_WORKER}.alive"):
            if file == self._file_of(self.worker):
                continue
            with _taken(
                file
            ) as free:  # unlinked under its lock, so that a starting owner sees that it lost it
                if free:
                    file.unlink(missing_ok=True)
                else:
                    alive = True
        return alive

    def leave(self) -> None:
        self._file_of(self.worker).unlink(missing_ok=True)
        os.close(self._held)

    def _join(self) -> tuple[WorkerId, int]:
        while True:
            worker = uuid.uuid4().hex
            descriptor = self._made(worker)
            if _lock(descriptor) and os.fstat(descriptor).st_nlink:
                return worker, descriptor
            os.close(descriptor)  # a sweep came between creating and locking: take another name

    def _made(self, worker: WorkerId) -> int:
        return os.open(self._file_of(worker), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _file_of(self, worker: WorkerId) -> Path:
        return self._database.with_name(f"{self._database.name}.{worker}.alive")


@contextmanager
def _taken(file: Path) -> Iterator[bool]:
    """Hold a file's lock if its owner does not; a file that is gone has no owner, of another user's nobody can tell."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError) as error:
        yield isinstance(error, FileNotFoundError)
        return
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
