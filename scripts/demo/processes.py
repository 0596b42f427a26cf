"""Programs that are really run, and asked over HTTP. Knows nothing of screens."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from scripts.demo.values import Broken, Ids

HOST = "127.0.0.1"
ANSWER_S = 2.0
ENDS_WITHIN_S = 10.0
REPOSITORY = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1


class Process:
    """One program, from its start on, in a group of its own: Ctrl-C reaches the demo alone, which ends it."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        folder: Path,
        log: Path,
        environment: Mapping[str, str] | None = None,
        parting: signal.Signals = signal.SIGKILL,
        **how: Any,
    ) -> None:
        """`parting`: by what it is ended when the demo ends, also by the kernel where that can."""
        self.name = name
        self._log = log
        self._parting = parting
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=clean_environment() | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                process_group=0,
                preexec_fn=partial(_end_with_the_demo, parting),
                **how,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll()

    def assert_alive(self) -> None:
        """Raise Broken, with what it said last, if it ended by itself."""
        if self.code is not None:
            raise Broken(f"{self.name} ended by itself\n{self.last_words()}")

    def kill(self) -> None:
        """`kill -9`. Raises Broken if it had ended before."""
        self._process.kill()
        self._process.wait(ENDS_WITHIN_S)
        if self.code != -signal.SIGKILL:
            raise Broken(f"{self.name} had ended before it was killed\n{self.last_words()}")

    def end(self) -> None:
        """Leave nothing of its group behind, whatever state it is in."""
        if self.code is None:
            os.killpg(self.pid, self._parting)
        try:
            self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """The end of what it wrote on its standard output and error."""
        return last_lines(self._log)


class Closeable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closeable)


@contextmanager
def closed(whoever: C) -> Iterator[C]:
    """Close it at the end, however that comes; a second Ctrl-C does not cut that off."""
    try:
        yield whoever
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        whoever.close()


def last_lines(log: Path, count: int = 15) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(f"  {line}" for line in text.splitlines()[-count:])


def clean_environment() -> dict[str, str]:
    """Ours without any setting of Headgate, which is imported from this repository, installed or not."""
    foreign = {"DATABASE_URL", "PORT"}
    kept = {
        k: v for k, v in os.environ.items() if k not in foreign and not k.startswith("HEADGATE_")
    }
    path = os.pathsep.join(filter(None, [str(REPOSITORY), kept.get("PYTHONPATH")]))
    return {**kept, "PYTHONPATH": path}


def _end_with_the_demo(parting: signal.Signals) -> None:
    """In the child before its `exec`: on Linux it is told to end also when the demo is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, parting)


# -- over HTTP -------------------------------------------------------------------------------------


class Exchange:
    """A request that was sent: one may wait for its answer, or look now and then whether it is here."""

    def __init__(self, port: int, method: str, path: str, document: object = None) -> None:
        """Send it. Raises OSError if nobody listens."""
        body = None if document is None else json.dumps(document)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        self._connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_S)
        try:
            self._connection.request(method, path, body, headers)
        except OSError:
            self._connection.close()
            raise

    def answer(self, within_s: float = 0.0) -> tuple[int, bytes] | None:
        """The status and the body; None if they are not here yet. Raises OSError if they never will be."""
        if not select.select([self._connection.sock], [], [], within_s)[0]:
            return None
        try:
            response = self._connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise OSError(f"broken answer: {error!r}") from error
        finally:
            self.close()

    def close(self) -> None:
        self._connection.close()


class Headgate:
    """What a client asks of a server on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ready(self) -> bool:
        try:
            return self.ask("GET", "/readyz")[0] == http.HTTPStatus.OK
        except OSError:
            return False

    def submit(self, ids: Ids, priority: str) -> str:
        """Hand in ids; returns the ingestion's id."""
        try:
            return accepted(*self.ask("POST", "/ingest", {"ids": ids, "priority": priority}))
        except OSError as error:
            raise Broken(f"POST /ingest got no answer: {error}") from error

    def status(self, ingestion_id: str) -> dict[str, Any] | None:
        """What GET /status says; None where it says nothing."""
        try:
            return stands(*self.ask("GET", f"/status/{ingestion_id}"))
        except OSError:
            return None

    def ask(self, method: str, path: str, document: object = None) -> tuple[int, bytes]:
        """One request on a connection of its own. Raises OSError if it is not answered in time."""
        exchange = Exchange(self.port, method, path, document)
        try:
            answer = exchange.answer(ANSWER_S)
        finally:
            exchange.close()
        if answer is None:
            raise OSError(f"no answer within {ANSWER_S:g} s")
        return answer

    def refuses(self) -> bool:
        """Whether nobody listens there."""
        try:
            socket.create_connection((HOST, self.port), timeout=ANSWER_S).close()
        except ConnectionRefusedError:
            return True
        return False


def accepted(code: int, body: bytes) -> str:
    """The id of an ingestion, from the answer to POST /ingest."""
    if code != http.HTTPStatus.OK:
        raise Broken(f"POST /ingest was answered with {code}: {body!r}")
    return str(json.loads(body)["ingestion_id"])


def stands(code: int, body: bytes) -> dict[str, Any] | None:
    """How an ingestion stands, from the answer to GET /status; None where it cannot be told now."""
    if code == http.HTTPStatus.NOT_FOUND:
        raise Broken(f"the server does not know an ingestion that it accepted: {body!r}")
    return dict(json.loads(body)) if code == http.HTTPStatus.OK else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
