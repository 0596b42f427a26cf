"""
A small load generator: so many connections, each sending the next request when the last was answered.

It is written against asyncio's protocols so that it costs a fraction of what it measures.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from benchmarks.figure import quantile


@dataclass(frozen=True, slots=True)
class Load:
    """What a run came to. An answer other than 200 or 202, or none at all, is a failure."""

    seconds: float
    latencies_ms: list[float]
    failures: int

    @property
    def per_second(self) -> float:
        return len(self.latencies_ms) / self.seconds

    def quantile_ms(self, share: float) -> float:
        return quantile(self.latencies_ms, share)


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, until: float, latencies: list[float]) -> None:
        self._request = request
        self._until = until
        self._latencies = latencies
        self._buffer = b""
        self._sent_at: float | None = None
        self.failures = 0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, gap, body = self._buffer.partition(b"\r\n\r\n")
        if not gap or len(body) < _content_length(head) or self._sent_at is None:
            return
        now = time.perf_counter()
        self._latencies.append(now - self._sent_at)
        self.failures += not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202"))
        self._buffer = b""
        self._sent_at = None
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self.failures += self._sent_at is not None
        if not self.done.done():
            self.done.set_result(None)

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


def _content_length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0] or 0)


def post(path: str, body: bytes, port: int) -> bytes:
    """A whole request as it goes over the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def run(port: int, request: bytes, *, connections: int = 32, seconds: float = 5.0) -> Load:
    """Send a request over and over on so many connections for so long, and wait for every answer."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    began = time.perf_counter()
    made = [
        await loop.create_connection(
            lambda: _Connection(request, began + seconds, latencies), "127.0.0.1", port
        )
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.done for _, protocol in made))
    took = time.perf_counter() - began
    failures = sum(protocol.failures for _, protocol in made)
    return Load(took, [1_000 * latency for latency in latencies], failures)
