"""A TCP proxy whose links fail as networks do, in a process of its own: standard library only.

    python tests/machines/proxy.py    # and a line of JSON for each order, on standard input

A link listens on one address and connects to another; each of its two ways, `up` (to the server) and `down` (to the
client), is told by itself how to treat what is sent on it:

  delay    `delay_ms` and up to `jitter_ms` more, in order, however much is under way.
  drop     what is sent is swallowed and nobody is told: the connection stays open and whoever waits, waits. As TCP has
           no gaps, a connection that lost something carries nothing more on that way, also when the way is good again;
           new ones do. Dropped both ways it is a black hole, on one way a cut one.

And the link as a whole:

  refuse   nobody listens, so that who connects is refused.
  reset    every connection that stands now ends at both ends with an RST.
  cut      the next connection on which these texts are sent up, one after the other, hears nothing any more from the
           last of them on: the answer to a commit is lost, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

CHUNK = 65_536
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: an end without delay is an RST


@dataclass
class Way:
    """How one direction of a link treats what is sent on it."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    drop: bool = False
    swallowed: int = 0

    def takes_s(self) -> float:
        return self.delay_s + random.uniform(0, self.jitter_s)


class Trap:
    """Texts that a connection has to send, in this order."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = [text.encode() for text in texts]
        self._sent: dict[Connection, int] = {}

    def met(self, connection: Connection, data: bytes) -> bool:
        """Whether a connection that sends this, too, has sent them all."""
        sent = self._sent.get(connection, 0)
        for text in self._texts[sent:]:
            _, found, data = data.partition(text)
            sent += bool(found)
            if not found:
                break
        self._sent[connection] = sent
        return sent == len(self._texts)


class Stream:
    """One way of one connection: what was read waits until it is due, and is delivered or lost."""

    def __init__(self, way: Way, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        self._way = way
        self._source = source
        self._sink = sink
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._more = asyncio.Event()
        self.broken = False
        self.lost = False

    async def read(self, seen: Callable[[bytes], None]) -> None:
        """Until there is no more: an empty text is the end, and `broken` says that it was an RST."""
        clock, due, data = asyncio.get_running_loop().time, 0.0, b"."
        while data:
            try:
                data = await self._source.read(CHUNK)
            except OSError:
                data, self.broken = b"", True
            seen(data)
            due = max(due, clock() + self._way.takes_s())
            self._under_way.append((due, data))
            self._more.set()

    async def deliver(self) -> None:
        """Until the end has arrived at the other side, or is lost. Raises OSError where nobody is there any more."""
        while data := await self._next():
            if not self.lost:
                self._sink.write(data)
                await self._sink.drain()
        if not self.lost and not self.broken:
            self._sink.write_eof()

    async def _next(self) -> bytes:
        clock = asyncio.get_running_loop().time
        while not self._under_way:
            self._more.clear()
            await self._more.wait()
        due, data = self._under_way.popleft()
        await asyncio.sleep(max(0.0, due - clock()))
        self.lost = self.lost or self._way.drop
        self._way.swallowed += len(data) if self.lost else 0
        return data


class Connection:
    """A client, a server, and both ways between them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._writers: list[asyncio.StreamWriter] = []

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._link.connections.add(self)
        try:
            while self._link.up.drop:
                await self._link.changed.wait()  # as a first packet that is sent again and again
            server_reader, server_writer = await asyncio.open_connection(*self._link.target)
            self._writers.append(server_writer)
            await self._carry(
                Stream(self._link.up, reader, server_writer),
                Stream(self._link.down, server_reader, writer),
            )
        except* OSError:
            self.reset()
        finally:
            self._link.connections.discard(self)
            for each in self._writers:
                each.close()

    async def _carry(self, up: Stream, down: Stream) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(up.read(lambda data: self._watch(data, down)))
            tasks.create_task(down.read(lambda _: None))
            tasks.create_task(self._answer(up, down))
            with suppress(OSError):
                await up.deliver()
            while self._link.drops:
                await self._link.changed.wait()  # nobody is told while the link drops
            if up.lost or down.lost or up.broken:
                raise ConnectionResetError

    async def _answer(self, up: Stream, down: Stream) -> None:
        """What the server says, to its end: where that is lost the client waits."""
        await down.deliver()
        if down.broken and not down.lost and not up.lost:
            raise ConnectionResetError

    def _watch(self, data: bytes, down: Stream) -> None:
        """What is sent up may be what the link waits for."""
        if self._link.trap is not None and self._link.trap.met(self, data):
            self._link.trap, down.lost = None, True

    def reset(self) -> None:
        for each in self._writers:
            with suppress(OSError):
                each.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE
                )
            each.transport.abort()


@dataclass
class Link:
    """Where it listens, where it leads, and how it is now."""

    listen: tuple[str, int]
    target: tuple[str, int]
    up: Way = field(default_factory=Way)
    down: Way = field(default_factory=Way)
    trap: Trap | None = None
    connections: set[Connection] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _listener: asyncio.Server | None = None

    @property
    def drops(self) -> bool:
        return self.up.drop or self.down.drop

    async def open(self) -> None:
        if self._listener is None:
            host, port = self.listen
            self._listener = await asyncio.start_server(self._accepted, host, port)
            self.listen = self._listener.sockets[0].getsockname()[:2]

    async def order(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what is said, and say how it is."""
        for name, way in (("up", self.up), ("down", self.down)):
            for key, value in order.get(name, {}).items():
                setattr(way, *(key, value) if key == "drop" else (f"{key[:-3]}_s", value / 1e3))
        if "cut" in order:
            self.trap = Trap(order["cut"])
        if "refuse" in order:
            await (self._refuse() if order["refuse"] else self.open())
        for each in list(self.connections) if order.get("reset") else []:
            each.reset()
        self.changed.set()
        self.changed = asyncio.Event()
        return {
            "port": self.listen[1],
            "connections": len(self.connections),
            "swallowed": self.up.swallowed + self.down.swallowed,
            "cut_waits": self.trap is not None,
        }

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Connection(self).run(reader, writer)


async def obey() -> None:
    """Take orders until there are no more."""
    links: dict[str, Link] = {}
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    while line := await orders.readline():
        order = json.loads(line)
        if "target" in order:
            link = links[order["link"]] = Link(tuple(order["listen"]), tuple(order["target"]))
            await link.open()
        told = await links[order["link"]].order(order)
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
    os._exit(0)


def main() -> None:
    with suppress(KeyboardInterrupt):
        asyncio.run(obey())


if __name__ == "__main__":
    main()
