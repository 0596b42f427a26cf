"""
Bare group commit: a raw ASGI application that reads the same body and stores the same rows, and nothing else.

Whatever arrives while a group is being flushed is the next group. Nothing is dispatched, checked or told.
"""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from headgate.core.model import Priority
from headgate.store.commands.accept import SQL
from headgate.store.sqlite.file import connect, migrate

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Row = tuple[str, int, list[int | str]]

SIZE = 3


class Body(msgspec.Struct):
    ids: list[int | str]
    priority: str = "MEDIUM"


_decode = msgspec.json.Decoder(Body).decode
_encode = msgspec.json.Encoder().encode
_HEADERS = [(b"content-type", b"application/json")]


class Store:
    """One connection, one list of what waits, one thread to flush in."""

    def __init__(self, path: Path) -> None:
        self._connection = connect(path, lambda _: False)
        migrate(self._connection, lambda _: None)
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._flushing = False
        self._thread = ThreadPoolExecutor(1)

    async def insert(self, row: Row) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)
        await done

    def _flush(self) -> None:
        group, self._waiting = self._waiting, []
        self._connection.execute("begin immediate")
        for row, _ in group:
            self._store(*row)
        loop = asyncio.get_running_loop()
        flushed = loop.run_in_executor(self._thread, self._connection.execute, "commit")
        flushed.add_done_callback(lambda commit: self._flushed(group, commit.exception()))

    def _flushed(
        self, group: list[tuple[Row, asyncio.Future[None]]], error: BaseException | None
    ) -> None:
        for _, done in group:
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
        if self._waiting:
            self._flush()
        else:
            self._flushing = False

    def _store(self, ingestion_id: str, priority: int, ids: list[int | str]) -> None:
        count, now = len(ids), time.time_ns() // 1_000
        values = (ingestion_id, "default", "simulated", priority, SIZE, count, count)
        row = self._connection.execute(
            SQL.insert_ingestion.sqlite, (*values, -(-count // SIZE), now, None, None)
        ).fetchone()
        assert row is not None
        chunk = (row[0], 0, count, None, _encode(ids).decode())
        self._connection.execute(SQL.insert_chunk.sqlite, chunk)


_stores: list[Store] = []


async def app(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["method"] == "POST":
        await _ingest(receive, send)
    else:
        await _answer(send, 404, b"{}")


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    _stores.append(Store(Path(os.environ["BENCH_DATABASE"])))
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _ingest(receive: Receive, send: Send) -> None:
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    submitted = _decode(body)
    ingestion_id = str(uuid.uuid4())
    await _stores[0].insert((ingestion_id, Priority[submitted.priority], submitted.ids))
    await _answer(send, 200, _encode({"ingestion_id": ingestion_id}))


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [*_HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
