"""A real server in a folder of its own: started, killed, started again. Knows nothing of screens."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from scripts.demo.processes import Headgate, Process, free_port, last_lines
from scripts.demo.values import Broken, Call

CONFIGURATION = """\
database_url = "sqlite:///headgate.db"

[sources.simulated]         # the default source, so slow that one sees its calls, and with a list of them
latency = "800ms"
journal = "calls.jsonl"
"""


class Gate(Headgate):
    """One server after another on the same folder and port. Whoever makes it has to close it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(free_port())
        (folder / "headgate.toml").write_text(CONFIGURATION, encoding="utf-8")
        self._folder = folder
        self._log = folder / "server.log"
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> None:
        """Start a server, and do not wait for it."""
        command = [sys.executable, "-m", "headgate", "serve", "--port", str(self.port)]
        self._process = Process("the server", command, folder=self._folder, log=self._log)

    def kill(self) -> None:
        """`kill -9`, and make sure that nobody answers any more."""
        self._running().kill()
        if not self.refuses():
            raise Broken("the server was killed, and something still answers on its port")

    def close(self) -> None:
        """Leave no process behind."""
        if self._process is not None:
            self._process.end()

    def assert_alive(self) -> None:
        """Raise Broken, with what it said last, if the server ended by itself."""
        self._running().assert_alive()

    def last_words(self) -> str:
        """The end of what the servers wrote on their standard output and error."""
        return last_lines(self._log)

    def calls(self) -> list[Call]:
        """What the source was asked, in the order of its journal, by the wall clock."""
        journal = self._folder / "calls.jsonl"
        if not journal.exists():
            return []
        whole = journal.read_bytes().rpartition(b"\n")[0]  # the last line may be in the making
        lines = map(json.loads, whole.splitlines())
        return [Call(line["at_us"], tuple(line["ids"])) for line in lines]

    def _running(self) -> Process:
        if self._process is None:
            raise Broken("no server was started")
        return self._process
