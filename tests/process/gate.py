"""Headgate as people run it: a folder with a file, a database, and the server processes on it.

A server is a child of this process, is ended by its process id, and cannot outlive the test: the kernel ends it with
whoever started it, and an alarm that survives the `exec` ends it after ALARM_S at the latest.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.postgres import run_sql
from tests.process.client import Answer, Cut, ask
from tests.process.stored import Stored, stored, stored_in
from tests.process.waiting import PATIENCE_S, eventually, now_us
from tests.processes import children_of, free_port

REPOSITORY = Path(__file__).resolve().parents[2]
SERVE = (sys.executable, "-m", "headgate", "serve")
UVICORN = (sys.executable, "-m", "uvicorn", "--app-dir", str(REPOSITORY), "main:app")
ALARM_S = 600
_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1

QUICK: Mapping[str, Any] = {"slack": "500ms", "grace": "500ms", "backoff": "100ms"}
"""So that a call of unknown fate does not hold a short quota for the 6 s of the defaults."""

LEASE_S = 3
SHARED: Mapping[str, Any] = {"lease": f"{LEASE_S}s"}
"""On PostgreSQL nobody can tell a dead process from a slow one: its batches come back when their lease is over."""

SESSIONS = (
    "select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
)


class Server:
    """One server process, from its start on."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._process = process
        self.port = port
        self.log = log

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, method: str, path: str, document: object = None, **how: Any) -> Answer:
        return ask(self.port, method, path, document, **how)

    def get(self, path: str) -> Any:
        """What a GET that must succeed says."""
        answer = self.ask("GET", path)
        assert answer.status == 200, (path, answer)
        return answer.json()

    def ready(self) -> Server:
        """Wait until it says that it is."""

        def says_so() -> bool:
            ended = self._process.poll()
            assert ended is None, f"the server ended by itself with {ended}\n{self.last_words()}"
            try:
                return self.ask("GET", "/readyz", answer_s=2.0).status == 200
            except Cut:
                return False

        eventually(says_so, "the server is ready")
        return self

    def signal(self, number: signal.Signals) -> int:
        """Send a signal; returns the instant before."""
        before = now_us()
        self._process.send_signal(number)
        return before

    def kill(self) -> int:
        """`kill -9`; returns the instant before."""
        before = self.signal(signal.SIGKILL)
        assert self.ended() == -signal.SIGKILL
        return before

    def ended(self, *, within_s: float = PATIENCE_S) -> int:
        """Wait until the process has ended; returns its exit code."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"the server has not ended within {within_s:g} s\n{self.last_words()}"
            ) from None

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End it in the friendly way."""
        self.signal(signal.SIGTERM)
        assert self.ended() in {0, -signal.SIGTERM}, self.last_words()

    def close(self) -> None:
        """Leave nothing of it behind, workers of its own included."""
        workers = children_of(self.pid) if self.alive else []
        if self.alive:
            self._process.kill()
        self._process.wait(PATIENCE_S)
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def facts(self, words: str) -> list[dict[str, Any]]:
        """What it logged with these words."""
        return [line for line in self._lines() if words in line.get("event", "")]

    def last_words(self) -> str:
        text: str = self.log.read_text(errors="replace")
        return "\n".join(f"  {line}" for line in text.splitlines()[-20:])

    def _lines(self) -> list[dict[str, Any]]:
        found = []
        for text in self.log.read_bytes().splitlines():
            with suppress(ValueError):
                line = json.loads(text)
                found += [line] if isinstance(line, dict) else []
        return found


class Gate:
    """A folder with a configuration, and a database. Whoever makes it has to close it."""

    def __init__(
        self, folder: Path, source_url: str = "", *, postgres: str | None = None, **keys: Any
    ) -> None:
        """`keys`: of the source `catalog`, which asks `source_url` with batches of 3 unless told otherwise.

        `postgres`: the URL of a database of its own; else it is a file in the folder.
        """
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.database = folder / "headgate.db"
        self.postgres = postgres
        self._url = source_url
        self._keys = {**QUICK, **(SHARED if postgres else {}), **keys}
        self._servers: list[Server] = []
        self.configure()

    def configure(self, name: str = "headgate.toml", **changes: Any) -> Path:
        """Write a configuration: the keys that this gate was made with, and these changes."""
        keys = {"url": f"{self._url}/items{{?ids}}", **self._keys, **changes}
        described = {"type": "http", "records": "items", "record_id": "id", "batch_size": 3, **keys}
        return self.write(name, {"catalog": described})

    def write(self, name: str, sources: Mapping[str, Mapping[str, Any]]) -> Path:
        """Write a configuration with any sources; the first is the default."""
        path = self.folder / name
        url = self.postgres or f"sqlite:///{self.database}"
        path.write_text(toml(url, sources), encoding="utf-8")
        return path

    def start(
        self,
        *,
        failpoint: str = "",
        config: str = "headgate.toml",
        command: Sequence[str] = SERVE,
        port: int | None = None,
        under: Sequence[str] = (),
        **environment: str,
    ) -> Server:
        """Start a server, and do not wait for it. `under`: a command that becomes it, such as `unshare`."""
        port = port or self.port
        log = self.folder / f"server-{len(self._servers) + 1}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*under, *command, "--port", str(port)],
                cwd=self.folder,
                env=_environment(self.folder / config, failpoint, environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                preexec_fn=_end_with_the_test,
            )
        self._servers.append(Server(process, port, log))
        return self._servers[-1]

    def serve(self, **how: Any) -> Server:
        """Start a server and wait until it is ready."""
        return self.start(**how).ready()

    def run(self, *command: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command that ends by itself, beside the servers: `run("check")`."""
        return subprocess.run(
            [sys.executable, "-m", "headgate", *command],
            cwd=self.folder,
            env=_environment(self.folder / "headgate.toml", failpoint, {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def change(self, sql: str) -> None:
        """Change the database by hand."""
        if self.postgres:
            run_sql(self.postgres, sql)
            return
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(sql)

    def stored(self) -> Stored:
        """What the database holds now: a file is looked at in a copy."""
        if self.postgres:
            self._wait_for_last_words(self.postgres)
            return stored_in(self.postgres)
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for file in ("headgate.db", "headgate.db-wal"):
            if (self.database.parent / file).exists():
                shutil.copy(self.database.parent / file, copy / file)
        return stored(copy / "headgate.db")

    def _wait_for_last_words(self, url: str) -> None:
        """What the dead had sent to the database before they died is done, or never will be."""
        if not any(server.alive for server in self._servers):
            eventually(lambda: not run_sql(url, SESSIONS), "every session of the dead has ended")

    @property
    def servers(self) -> tuple[Server, ...]:
        """Every server that was started on it, also those that have ended."""
        return tuple(self._servers)

    def close(self) -> None:
        for server in self._servers:
            server.close()

    def __enter__(self) -> Gate:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def toml(database_url: str, sources: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        f'default_source = "{next(iter(sources))}"',
        f'database_url = "{database_url}"',
        'log_format = "json"',
    ]
    for name, keys in sources.items():
        lines += ["", f"[sources.{name}]"]
        lines += [f"{key} = {_value(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)


def _environment(config: Path, failpoint: str, more: Mapping[str, str]) -> dict[str, str]:
    """Ours without any setting of Headgate, which is imported from this repository, installed or not."""
    foreign = {"DATABASE_URL", "PORT"}
    kept = {
        k: v for k, v in os.environ.items() if k not in foreign and not k.startswith("HEADGATE_")
    }
    path = os.pathsep.join(filter(None, [str(REPOSITORY), kept.get("PYTHONPATH")]))
    own = {"PYTHONPATH": path, "HEADGATE_CONFIG": str(config)}
    return kept | own | ({"HEADGATE_FAILPOINT": failpoint} if failpoint else {}) | dict(more)


def _end_with_the_test() -> None:
    """In the child before its `exec`: end with the thread that started it, and after ALARM_S in any case."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.alarm(ALARM_S)
