"""Start the simulated API as what it is to us: another process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.processes import Piped

SERVER = Path(__file__).with_name("server.py")


class RunningServer(Piped):
    """A server of its own, for as long as the `with` lasts. It ends with this process, however that ends."""

    def __init__(self, log: Path, *flags: str) -> None:
        self.log = log
        super().__init__(
            sys.executable, "-I", str(SERVER), "--log", str(log), "--watch-stdin", *flags
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
