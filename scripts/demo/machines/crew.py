"""Everybody on several machines: the source, the database, the API and the workers. Knows nothing of screens."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from scripts.demo.machines.database import Database
from scripts.demo.machines.scene import LATENCY_US, LEASE_US, WorkerCall
from scripts.demo.processes import (
    HOST,
    REPOSITORY,
    Closeable,
    Headgate,
    Process,
    free_port,
    last_lines,
)
from scripts.demo.values import Broken

SOURCE = REPOSITORY / "tests" / "simulator" / "server.py"
"""An API with a limiter and a log of its own, which shares no line with Headgate."""

QUOTA = "1/2s"
NAME = "x-worker"

CONFIGURATION = """\
[sources.catalog]
type = "http"
url = "http://{host}:{port}/items{{?ids}}"
headers = {{ {name} = "{worker}" }}     # so that its log tells who called
records = "items"
record_id = "id"
batch_size = 3
quota = "{quota}"
counted_within = "150ms"        # it counts a request as it comes, which on one machine is soon
concurrency = 3                 # a call in the hands of a dead worker shall not hold up the others
lease = "{lease_ms}ms"
slack = "500ms"
grace = "500ms"
"""


class Source:
    """The external API. It is the witness: what it wrote down is what is judged."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._journal = folder / "calls.jsonl"
        self._process: Process | None = None

    def start(self) -> None:
        """Start it, and do not wait for it."""
        command = [sys.executable, "-I", str(SOURCE), "--log", str(self._journal)]
        command += ["--port", str(self.port), "--quota", QUOTA]
        command += ["--latency-ms", str(LATENCY_US // 1_000)]
        log = self._folder / "source.log"
        self._process = Process("the source", command, folder=self._folder, log=log)

    def calls(self) -> list[WorkerCall]:
        """What it was asked, by its boot-time clock."""
        if not self._journal.exists():
            return []
        whole = self._journal.read_bytes().rpartition(b"\n")[
            0
        ]  # the last line may be in the making
        lines = map(json.loads, whole.splitlines())
        return [
            WorkerCall(
                line["at_us"],
                tuple(map(int, line["ids"])),
                int(line["headers"][NAME]),
                line["status"],
            )
            for line in lines
        ]

    def came_up(self) -> bool:
        return not Headgate(self.port).refuses()

    def close(self) -> None:
        if self._process is not None:
            self._process.end()


class Member(Headgate):
    """A process of Headgate: one after another on the same port."""

    def __init__(
        self, name: str, command: list[str], folder: Path, environment: dict[str, str]
    ) -> None:
        super().__init__(free_port())
        self.name = name
        self._command = [sys.executable, "-m", "headgate", *command, "--port", str(self.port)]
        self._folder = folder
        self._environment = environment
        self._process: Process | None = None

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def log(self) -> Path:
        return self._folder / f"{self.name}.log".replace(" ", "-")

    def start(self) -> None:
        """Start it, and do not wait for it."""
        self._process = Process(
            self.name,
            self._command,
            folder=self._folder,
            log=self.log,
            environment=self._environment,
        )

    def came_up(self) -> bool:
        self.assert_alive()
        return self.ready()

    def assert_alive(self) -> None:
        self._running().assert_alive()

    def kill(self) -> None:
        self._running().kill()

    def close(self) -> None:
        if self._process is not None:
            self._process.end()

    def _running(self) -> Process:
        if self._process is None:
            raise Broken(f"{self.name} was not started")
        return self._process


class Crew:
    """All of them in one folder. Whoever makes it has to close it."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        self.database = Database(folder)
        self.source = Source(folder)
        serve = ["serve", "--no-worker"]
        self.api = Member("api", serve, folder, self._environment(worker=0))
        self.workers = {
            number: Member(f"worker {number}", ["worker"], folder, self._environment(number))
            for number in range(1, workers + 1)
        }

    @property
    def members(self) -> tuple[Member, ...]:
        return (self.api, *self.workers.values())

    def close(self) -> None:
        """Leave no process behind, also where one of them cannot be ended."""
        closing: list[Closeable] = [self.database, self.source, *self.members]
        with ExitStack() as last_first:
            for each in closing:
                last_first.callback(each.close)

    def last_words(self) -> str:
        """The end of what each of them wrote on its standard output and error."""
        logs = sorted(self._folder.glob("*.log"))
        return "\n".join(f" {log.stem}:\n{last_lines(log, 6)}" for log in logs)

    def _environment(self, worker: int) -> dict[str, str]:
        file = self._folder / f"{worker}.toml"
        text = CONFIGURATION.format(
            host=HOST,
            port=self.source.port,
            name=NAME,
            worker=worker,
            quota=QUOTA,
            lease_ms=LEASE_US // 1_000,
        )
        file.write_text(text, encoding="utf-8")
        return {"HEADGATE_DATABASE_URL": self.database.url, "HEADGATE_CONFIG": str(file)}
