"""An HTTP source with its own way of writing JSON, which answers when the test lets it.

What is shown of its records must be their own bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

DEADLINE_S = 10


def odd_record(number: int) -> bytes:
    """Spaces, an exponent, escapes, bare UTF-8, an integer of many digits, keys out of order."""
    return (
        b'{ "z":1.10e2 ,"id": %d, "a" : "\\u00e9\\/", "n":12345678901234567890123, "t":"\xc3\xa9" }'
        % number
    )


def tall_record(number: int) -> bytes:
    """The same over several lines, as some sources send theirs."""
    return odd_record(number).replace(b" ,", b",\r\n  ").replace(b" }", b"\n}")


class OddSource(ThreadingHTTPServer):
    """/items has odd records, /tall tall ones. While it is held, requests are read and wait for their answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.may_answer = threading.Event()
        self.may_answer.set()

    def hold(self) -> None:
        self.may_answer.clear()

    def let_go(self) -> None:
        self.may_answer.set()

    def toml(self, path: str = "/items") -> str:
        """It as the only source of a headgate.toml."""
        return f"""
            [sources.catalog]
            type = "http"
            url = "http://127.0.0.1:{self.server_port}{path}?ids={{ids}}"
            quota = []
            batch_size = 3
            records = "items"
            record_id = "id"
            """


class _Handler(BaseHTTPRequestHandler):
    server: OddSource

    def do_GET(self) -> None:
        self.server.may_answer.wait(DEADLINE_S)
        url = urlsplit(self.path)
        record = tall_record if url.path == "/tall" else odd_record
        ids = parse_qs(url.query)["ids"][0].split(",")
        body = b'{"items":[%s]}' % b",".join(record(int(each)) for each in ids)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def served() -> Iterator[OddSource]:
    """The source for as long as the `with` lasts."""
    with OddSource() as source:
        thread = threading.Thread(target=source.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield source
        finally:
            source.let_go()
            source.shutdown()
            thread.join()
