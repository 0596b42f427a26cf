"""Who gives the proxy its orders: links that a test opens, spoils and heals."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.processes import Piped

PROXY = Path(__file__).with_name("proxy.py")


class Proxy(Piped):
    """The process, for as long as the `with` lasts. It ends with this one, however that ends."""

    def __init__(self) -> None:
        super().__init__(sys.executable, "-I", str(PROXY))

    def link(self, name: str, *, listen: str, target: tuple[str, int], port: int = 0) -> Handle:
        """Open a link that listens on an address; without a port on any that is free."""
        told = self.order(name, listen=(listen, port), target=target)
        return Handle(self, name, listen, told["port"])

    def order(self, name: str, **order: Any) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"link": name, **order}).encode() + b"\n")
        stdin.flush()
        answer = stdout.readline()
        assert answer, f"the proxy has ended: {self._process.wait(5)}"
        told: dict[str, Any] = json.loads(answer)
        return told


@dataclass(frozen=True)
class Handle:
    """A link, as the tests hold it."""

    proxy: Proxy
    name: str
    host: str
    port: int

    def order(self, **order: Any) -> dict[str, Any]:
        return self.proxy.order(self.name, **order)

    def delay(self, delay_ms: float, jitter_ms: float = 0.0) -> None:
        """Each way takes so long."""
        way = {"delay_ms": delay_ms, "jitter_ms": jitter_ms}
        self.order(up=way, down=way)

    def drop(self, *, up: bool = False, down: bool = False) -> None:
        """Swallow what is sent on these ways."""
        self.order(up={"drop": up}, down={"drop": down})

    def reset(self) -> None:
        """End every connection with an RST."""
        self.order(reset=True)

    def refuse(self) -> None:
        """End every connection, and let nobody connect."""
        self.order(refuse=True, reset=True)

    def cut_the_answer_to(self, *texts: str) -> None:
        """Once: lose whatever the server says from when a client has sent these texts, in this order."""
        self.order(cut=texts)

    def has_cut(self) -> bool:
        return not self.order()["cut_waits"]

    @property
    def connections(self) -> int:
        return int(self.order()["connections"])

    @property
    def swallowed(self) -> int:
        return int(self.order()["swallowed"])

    def heal(self) -> None:
        """A good network again; what was lost stays lost."""
        good = {"delay_ms": 0, "jitter_ms": 0, "drop": False}
        self.order(up=good, down=good, refuse=False)
