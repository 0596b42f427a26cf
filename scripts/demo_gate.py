"""A real server in a folder of its own: started, asked over HTTP, killed, started again. Knows nothing of screens."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

HOST = "127.0.0.1"
ANSWER_S = 2.0
REPOSITORY = Path(__file__).resolve().parent.parent

CONFIGURATION = """\
database_url = "sqlite:///headgate.db"

[sources.simulated]         # the default source, so slow that one sees its calls, and with a list of them
latency = "800ms"
journal = "calls.jsonl"
"""


class Broken(Exception):
    """The run cannot go on, or was not as promised; the message says why."""


class Gate:
    """One server after another on the same folder and port. Whoever makes it has to close it."""

    def __init__(self, folder: Path) -> None:
        (folder / "headgate.toml").write_text(CONFIGURATION, encoding="utf-8")
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._running().pid

    def start(self) -> None:
        """Start a server, and do not wait for it."""
        with self._log("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "headgate", "serve", "--port", str(self._port)],
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """`kill -9`, and make sure that nobody answers any more."""
        process = self._running()
        process.kill()
        if process.wait(timeout=5) != -signal.SIGKILL:
            raise Broken(f"the server had ended before it was killed\n{self.last_words()}")
        if not self._refuses():
            raise Broken("the server was killed, and something still answers on its port")

    def close(self) -> None:
        """Leave no process behind."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not cut this off
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=5)

    def assert_alive(self) -> None:
        """Raise Broken, with what it said last, if the server ended by itself."""
        if self._running().poll() is not None:
            raise Broken(f"the server ended by itself\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of what the servers wrote on their standard output and error."""
        with self._log("rb") as log:
            text: str = log.read().decode(errors="replace")
        return "\n".join(f"  {line}" for line in text.splitlines()[-15:])

    # -- over HTTP ---------------------------------------------------------------------------------

    def ready(self) -> bool:
        try:
            return self._ask("GET", "/readyz")[0] == http.HTTPStatus.OK
        except OSError:
            return False

    def submit(self, ids: Sequence[int], priority: str) -> str:
        """Hand in ids; returns the ingestion's id."""
        try:
            code, body = self._ask("POST", "/ingest", {"ids": ids, "priority": priority})
        except OSError as error:
            raise Broken(f"POST /ingest got no answer: {error}") from error
        if code != http.HTTPStatus.OK:
            raise Broken(f"POST /ingest was answered with {code}: {body!r}")
        return str(json.loads(body)["ingestion_id"])

    def status(self, ingestion_id: str) -> dict[str, Any] | None:
        """What GET /status says; None where it says nothing."""
        try:
            code, body = self._ask("GET", f"/status/{ingestion_id}")
        except OSError:
            return None
        if code == http.HTTPStatus.NOT_FOUND:
            raise Broken(f"the server does not know ingestion {ingestion_id}, which it accepted")
        return dict(json.loads(body)) if code == http.HTTPStatus.OK else None

    def _ask(self, method: str, path: str, document: object = None) -> tuple[int, bytes]:
        body = None if document is None else json.dumps(document)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        connection = http.client.HTTPConnection(HOST, self._port, timeout=ANSWER_S)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise OSError(f"broken answer: {error!r}") from error
        finally:
            connection.close()

    # -- files -------------------------------------------------------------------------------------

    def calls(self) -> list[tuple[int, tuple[int, ...]]]:
        """What the source was asked, in the order of its journal: the wall clock in microseconds, and the ids."""
        journal = self._folder / "calls.jsonl"
        if not journal.exists():
            return []
        whole = journal.read_bytes().rpartition(b"\n")[0]  # the last line may be in the making
        lines = map(json.loads, whole.splitlines())
        return [(line["at_us"], tuple(line["ids"])) for line in lines]

    def _refuses(self) -> bool:
        try:
            socket.create_connection((HOST, self._port), timeout=ANSWER_S).close()
        except ConnectionRefusedError:
            return True
        return False

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise Broken("no server was started")
        return self._process

    def _log(self, mode: str) -> IO[Any]:
        return (self._folder / "server.log").open(mode)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _environment() -> dict[str, str]:
    """Ours without any setting of Headgate, which is imported from this repository, installed or not."""
    foreign = {"DATABASE_URL", "PORT"}
    kept = {
        k: v for k, v in os.environ.items() if k not in foreign and not k.startswith("HEADGATE_")
    }
    path = os.pathsep.join(filter(None, [str(REPOSITORY), kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path}
