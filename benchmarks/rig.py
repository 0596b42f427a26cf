"""What the figures share: folders on a real disk, servers as child processes on 127.0.0.1, a look into /proc."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
START_S = 30.0
STOP_S = 15.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PEERS_VARIABLES = ("PG", "PROCRASTINATE_", "BENCH_")
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


# -- folders --------------------------------------------------------------------------------------


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder on a disk: a figure about durability means nothing in memory."""
    with tempfile.TemporaryDirectory(prefix="headgate-bench-", dir=_on_disk()) as name:
        yield Path(name)


def _on_disk() -> Path:
    candidates = [Path(tempfile.gettempdir()), Path("/var/tmp"), REPOSITORY]
    return next(
        (place for place in candidates if file_system(place) not in _IN_MEMORY), candidates[0]
    )


def file_system(place: Path) -> str:
    """The type of the file system that a place is on, as Linux says; "?" elsewhere."""
    mounts = Path("/proc/self/mounts")
    if not mounts.exists():
        return "?"
    found, kind = "", "?"
    for line in mounts.read_text(encoding="utf-8").splitlines():
        _, at, its_kind = line.split()[:3]
        if len(at) >= len(found) and place.resolve().is_relative_to(at):
            found, kind = at, its_kind
    return kind


def fdatasync_ms(place: Path, times: int = 100) -> list[float]:
    """How long this disk takes to make 4 KiB durable."""
    took = []
    descriptor = os.open(place / "fdatasync", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(times):
            os.write(descriptor, b"x" * 4_096)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            took.append(1_000 * (time.perf_counter() - began))
    finally:
        os.close(descriptor)
    return took


# -- servers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs as a child process."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def pid(self) -> int:
        return self.process.pid

    def request(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One request on a connection of its own: the status and the body."""
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=30)) as connection:
            return exchange(connection, method, path, body)

    def submit(self, ids: Sequence[int], priority: str = "MEDIUM") -> str:
        status, answer = self.request("POST", "/ingest", {"ids": ids, "priority": priority})
        assert status == 200, (status, answer[:200])
        return str(json.loads(answer)["ingestion_id"])

    def peak_mib(self) -> float:
        """The most memory that was resident at once since the start."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1_024

    def cpu_s(self) -> float:
        """Processor time used so far: utime + stime."""
        return sum(cpu_ticks(self.pid)[:2]) / TICKS_A_SECOND


def cpu_ticks(pid: int) -> list[int]:
    """utime and stime of a process, and of its children that have ended."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    return [int(each) for each in stat.rpartition(")")[2].split()[11:15]]


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None
) -> tuple[int, bytes]:
    """One request on an open connection: the status and the body."""
    sent = None if body is None else json.dumps(body)
    connection.request(method, path, sent, {"Content-Type": "application/json"} if sent else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


@contextmanager
def uvicorn(
    app: str,
    place: Path,
    environment: Mapping[str, str],
    *,
    ready: str = "/",
    python: str = sys.executable,
) -> Iterator[Server]:
    """Serve an ASGI application; the same settings for every one of them."""
    arguments = ["-m", "uvicorn", "--app-dir", str(REPOSITORY), "--log-level", "warning", app]
    port = free_port()
    arguments += ["--host", HOST, "--port", str(port)]
    with started(arguments, port, place, environment, python=python) as up:
        wait_for(up, ready)
        yield up


@contextmanager
def headgate(place: Path, configuration: str = "", *, url: str = "") -> Iterator[Server]:
    """Serve Headgate as its users do, with a configuration file if there is one.

    On a database in the folder, or on the PostgreSQL database of the URL.
    """
    environment = environment_of(place, configuration)
    if url:
        environment["HEADGATE_DATABASE_URL"] = url
    with uvicorn("main:app", place, environment, ready="/readyz") as server:
        yield server


def environment_of(place: Path, configuration: str = "") -> dict[str, str]:
    if configuration:
        (place / "headgate.toml").write_text(configuration, encoding="utf-8")
    return {"HEADGATE_DATABASE_URL": f"sqlite:///{database(place)}", "HEADGATE_LOG_LEVEL": "error"}


def database(place: Path) -> Path:
    return place / "headgate.db"


@contextmanager
def started(
    arguments: Sequence[str],
    port: int,
    place: Path,
    environment: Mapping[str, str],
    *,
    python: str = sys.executable,
    errors: Path | None = None,
) -> Iterator[Server]:
    """A Python process that lives as long as the block; what it complains about is shown, or kept in a file."""
    with ExitStack() as stack:
        process = subprocess.Popen(
            [python, *arguments],
            cwd=place,
            env={**_clean_environment(), **environment},
            stdout=subprocess.DEVNULL,
            stderr=None if errors is None else stack.enter_context(errors.open("wb")),
        )
        stack.callback(_end, process)
        yield Server(process, port)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _clean_environment() -> dict[str, str]:
    """Ours without what would configure the server that is measured."""
    foreign = ("HEADGATE_", "DATABASE_URL", "PORT", "WEB_CONCURRENCY", "UVICORN_", *PEERS_VARIABLES)
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def wait_for(server: Server, path: str, *, pause_s: float = 0.01) -> None:
    """Return when the server answers this path, whatever it says below 500."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert server.process.poll() is None, "the server ended before it answered"
        try:
            if server.request("GET", path)[0] < 500:
                return
        except OSError:
            pass
        time.sleep(pause_s)
    raise TimeoutError(f"{path} did not answer within {START_S} s")


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


# -- ids ------------------------------------------------------------------------------------------


def distinct_ids(count: int, *, seed: int = 1) -> list[int]:
    """So many different ids of up to nine digits, in no order."""
    return random.Random(seed).sample(range(1, 1_000_000_000), count)
