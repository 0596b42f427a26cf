"""Start the simulated API as what it is to us: another process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

SERVER = Path(__file__).with_name("server.py")


class RunningServer:
    """A server of its own, for as long as the `with` lasts. It ends with this process, however that ends."""

    def __init__(self, log: Path, *flags: str) -> None:
        self.log = log
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(SERVER), "--log", str(log), "--watch-stdin", *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline()
        assert port.strip().isdigit(), "the simulated API did not start"
        self.port = int(port)
        self.url = f"http://127.0.0.1:{self.port}"

    def requests(self) -> list[dict[str, Any]]:
        """Every request so far, by the server's own log."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_bytes().splitlines()]

    def requests_for(self, tag: str) -> list[dict[str, Any]]:
        """Those whose address has this in it: several tests may share a server."""
        return [each for each in self.requests() if tag in each.get("path", "")]

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
