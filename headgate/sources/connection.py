"""Connections that say when something was heard on them, to whoever is using them.

The client tells when an answer's headers are complete, not when its first byte came, and it cannot tell an answer from
one that lay there before the question: a server that says two things to one request leaves the second in the client's
buffer, for the next call to find. Whoever listens here can.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore2

SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

_heard: ContextVar[Callable[[], None] | None] = ContextVar("heard", default=None)


@contextmanager
def listening(heard: Callable[[], None]) -> Iterator[None]:
    """Call `heard` whenever bytes come in on the connection that this task is using."""
    token = _heard.set(heard)
    try:
        yield
    finally:
        _heard.reset(token)


class ListeningBackend(httpcore2.AsyncNetworkBackend):
    """Opens the connections of a pool; whatever they bring is announced first."""

    def __init__(self) -> None:
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        return _ListeningStream(
            await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        )


class _ListeningStream(httpcore2.AsyncNetworkStream):
    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = await self._inner.read(max_bytes, timeout)
        heard = _heard.get()
        if data and heard is not None:
            heard()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            inner = await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._inner.aclose()  # a cancelled handshake would leave the socket open
            raise
        return _ListeningStream(inner)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
