"""What the tests of the page hold in their hands: a server that can be killed, and a window that keeps account."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Request

from tests.processes import free_port

DEADLINE_S = 15

STATES_SEEN = """
window.seen = [];
window.counted = [];
window.states = [];
new MutationObserver((news) => {
  for (const { target, type } of news) {
    if (type === "attributes" && target.classList.contains("chip")) {
      window.seen.push([target.querySelector(".ids").textContent, target.dataset.state]);
    }
    if (type === "attributes" && target === document.body) window.states.push(target.dataset.state);
    if (type === "childList" && target.classList?.contains("digits")) window.counted.push(target.textContent);
  }
}).observe(document, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-state"] });
window.asking = 0;
window.askedAtOnce = 0;
const fetched = window.fetch;
window.fetch = async (...given) => {
  window.askedAtOnce = Math.max(window.askedAtOnce, ++window.asking);
  try { return await fetched(...given); } finally { window.asking -= 1; }
};
"""
"""Keeps account, in the page: states of batches and of the page, the countdown, how many requests are out at once."""


class Gate:
    """`headgate serve` as a child process, or another command that says whether it is ready."""

    def __init__(
        self,
        folder: Path,
        configuration: str,
        environ: Mapping[str, str],
        command: Sequence[str] = ("serve",),
    ) -> None:
        self._folder = folder
        self._command = command
        self._config = folder / "headgate.toml"
        self._config.write_text(configuration)
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._others: list[Gate] = []
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, and return once it answers."""
        with (self._folder / "errors.log").open("ab") as errors:
            self._process = self._started(errors)
        self._wait()

    def _started(self, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("HEADGATE_")}
        return subprocess.Popen(
            [sys.executable, "-m", "headgate", *self._command, "--port", str(self.port)],
            cwd=self._folder,
            env={
                **inherited,
                "HEADGATE_CONFIG": str(self._config),
                "HEADGATE_DATABASE_URL": f"sqlite:///{self._folder / 'headgate.db'}",
                **self._environ,
            },
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )

    def _wait(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=1):
                    return
            except OSError:
                assert self._process is not None
                assert self._process.poll() is None, (self._folder / "errors.log").read_text()
                time.sleep(0.03)
        raise AssertionError("the server did not come up")

    def beside(self, *command: str) -> Gate:
        """Start another process of the same configuration on the same database."""
        other = Gate(self._folder, self._config.read_text(), self._environ, command)
        self._others.append(other)
        other.start()
        return other

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """As by a power cut."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def end(self) -> None:
        """Kill it and those that were started beside it."""
        for gate in (*self._others, self):
            gate.kill()

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    def submit(self, ids: list[int] | list[str], **more: str) -> str:
        request = urllib.request.Request(
            f"{self.url}/v1/ingestions",
            json.dumps({"ids": ids, **more}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(json.load(answer)["ingestion_id"])

    def wait_for_begun(self, ingestion_id: str, count: int) -> None:
        self._wait_until(
            ingestion_id, lambda seen: seen["counts"]["begun"] >= count, f"begun {count}"
        )

    def wait_for_end(self, ingestion_id: str) -> None:
        self._wait_until(ingestion_id, lambda seen: seen["ended_at"] is not None, "ended")

    def _wait_until(self, ingestion_id: str, has: Callable[[Any], bool], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not has(self.get(f"ingestions/{ingestion_id}")):
            assert time.monotonic() < deadline, f"{ingestion_id} has not {what}"
            time.sleep(0.03)


class Served(Protocol):
    """What has an address to open."""

    url: str


class Look:
    """A window on the page, with everything that it asked for and complained of."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        context.set_default_timeout(DEADLINE_S * 1_000)
        context.add_init_script(STATES_SEEN)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context.on("request", self._asked)
        context.on("console", self._complained)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self.page: Page = context.new_page()

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)

    def _complained(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def open(self, gate: Served, path: str = "/") -> Page:
        """Open the page, and return once it shows something."""
        self.page.goto(gate.url + path)
        if path == "/":
            self.page.locator("body:not([data-state=loading])").wait_for()
        return self.page

    def outside(self, gate: Gate) -> list[str]:
        """What was asked of anybody but this server."""
        return [
            url for url in self.requests if not url.startswith((gate.url + "/", "data:", "blob:"))
        ]

    def close(self) -> None:
        self.context.close()


def eventually(page: Page, expression: str) -> None:
    """Wait until an expression is true in the page. (Playwright's own way needs `eval`, which the policy forbids.)"""
    deadline = time.monotonic() + DEADLINE_S
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(30)


def hand_in(page: Page, ids: str, priority: str = "MEDIUM") -> None:
    """Fill the form in and send it."""
    page.fill("#ids", ids)
    page.locator(f"label[for=priority-{priority}]").click()
    page.locator("#form button[type=submit]").click()
