"""A disk that can be full or broken: SQLite's own writes and flushes of the log fail, nothing of ours is replaced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw


class Disk(apsw.VFS):
    """What SQLite opens files on while it is the default: counts the flushes of the log, and fails when told to."""

    def __init__(self) -> None:
        self.full = False
        self.broken = False
        self.flushes = 0
        super().__init__("headgate-test-disk", "unix", makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> _File:  # noqa: N802 - the name that apsw calls
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if self._log and self._disk.full:
            raise apsw.FullError("the disk of this test is full")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._log and self._disk.broken:
            raise apsw.IOError("the disk of this test is broken")
        self._disk.flushes += self._log
        super().xSync(flags)


@contextmanager
def inserted() -> Iterator[Disk]:
    """Everything that is opened meanwhile lies on this disk."""
    disk = Disk()
    try:
        yield disk
    finally:
        disk.unregister()
