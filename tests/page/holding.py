"""Servers of the tests' own: one between the page and its gate that holds bodies back, one that lets nobody in."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.page.gate import DEADLINE_S, Gate
from tests.processes import HOST, free_port


class Front:
    """Passes on what it is asked. A GET that it `holds` gets headers and the first byte, and the rest once let go."""

    def __init__(self, gate: Gate) -> None:
        self._port = gate.port
        self._path: str | None = None
        self._held = threading.Event()
        self._let_go = threading.Event()
        self.url = ""

    def hold(self, path: str) -> None:
        """Hold the next answer to a GET of this path under /v1; return once it is held."""
        self._path = f"/v1/{path}"
        assert self._held.wait(DEADLINE_S), f"nobody asked for {path}"

    def let_go(self) -> None:
        self._let_go.set()

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        body = to.rfile.read(int(to.headers.get("Content-Length", 0)))
        connection = HTTPConnection(HOST, self._port, timeout=DEADLINE_S)
        connection.request(to.command, to.path, body, dict(to.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        to.send_response(answer.status)
        for name in ("Content-Type", "Content-Security-Policy", "Location"):
            if (value := answer.headers.get(name)) is not None:
                to.send_header(name, value)
        to.send_header("Content-Length", str(len(content)))
        to.end_headers()
        if self._is_held(to):
            to.wfile.write(content[:1])
            self._held.set()
            self._let_go.wait(DEADLINE_S)
            content = content[1:]
        to.wfile.write(content)

    def _is_held(self, request: BaseHTTPRequestHandler) -> bool:
        if request.command != "GET" or request.path.partition("?")[0] != self._path:
            return False
        self._path = None
        return True


@contextmanager
def in_front_of(gate: Gate) -> Iterator[Front]:
    """A front of a gate, for as long as the context lasts."""
    front = Front(gate)

    class Handler(_Quiet):
        def handle_any(self) -> None:
            front.answer(self)

    with _served(Handler) as front.url:
        yield front
        front.let_go()


@contextmanager
def refusing() -> Iterator[str]:
    """The address of an API to which every key is wrong."""

    class Handler(_Quiet):
        def handle_any(self) -> None:
            self.send_response(401)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with _served(Handler) as url:
        yield url


class _Quiet(BaseHTTPRequestHandler):
    def handle_any(self) -> None:
        raise NotImplementedError

    def do_GET(self) -> None:
        with suppress(OSError):  # who asked has gone
            self.handle_any()

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer((HOST, free_port()), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
