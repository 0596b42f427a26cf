"""What everybody shares who starts programs for tests: ports, folders, users, and an end that comes in any case."""

from __future__ import annotations

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

HOST = "127.0.0.1"
PLACES, PORTS_EACH = 16, 1_250
STARTS_WITHIN_S = 20.0
ENDS_WITHIN_S = 30.0
_PR_SET_PDEATHSIG = 1
_given: set[int] = set()
_giving = threading.Lock()


def free_port() -> int:
    """A port on which nobody listens, below those that the kernel gives to outgoing connections.

    None is given twice, and each process of pytest-xdist has ports of its own: what is free is not taken at once, and
    a test that talked to the server of another would judge the wrong one.
    """
    place = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PLACES
    while True:
        port = 12_000 + place * PORTS_EACH + secrets.randbelow(PORTS_EACH)
        with _giving, socket.socket() as probe, suppress(OSError):
            if port not in _given:
                probe.bind((HOST, port))
                _given.add(port)
                return port


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that are still there."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, file.read_text().split())
    return found


@contextmanager
def frozen(pids: Sequence[int]) -> Iterator[None]:
    """Processes that stand still, for as long as the context lasts: who asks them hears nothing."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """A folder into which every user may look, for as long as the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Piped:
    """A script of ours in a process of its own, which ends with its standard input: however this process ends."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Daemon:
    """Another's server, on a folder and a port of its own, as an unprivileged user: such refuse to be root."""

    parting: ClassVar[signal.Signals]
    """By what it stops in order, cutting every connection."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Cut every connection, and stop in order."""
        if self._process is not None and self.alive:
            self._process.send_signal(self.parting)
            self._process.wait(ENDS_WITHIN_S)
        self._process = None

    def _launch(self, *command: str, **environment: str) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                cwd=self.folder,
                preexec_fn=_die_with_parent,
                **unprivileged(),
            )

    def _wait_until(self, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not answers():
            assert time.monotonic() < deadline, self.log.read_text(errors="replace")
            time.sleep(0.02)


def give_away(*paths: Path) -> None:
    """To the user under whom such servers run."""
    if os.getuid() == 0:
        for each in paths:
            shutil.chown(each, _user().pw_uid, _user().pw_gid)


def unprivileged() -> dict[str, Any]:
    """For whoever starts a program as that user."""
    if os.getuid() != 0:
        return {}
    return {"user": _user().pw_uid, "group": _user().pw_gid, "extra_groups": []}


def _user() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
