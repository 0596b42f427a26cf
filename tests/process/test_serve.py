"""`headgate serve` as a client feels it."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from headgate.cli.serve import first_screen, listen
from headgate.settings import load
from tests.process.gate import Gate, Server

pytestmark = pytest.mark.anyio

KEY = "a-key-that-nobody-may-see"
LIMIT = 4_000_000


async def test_answers_are_not_held_back_by_nagles_algorithm() -> None:
    """An answer of two writes would wait for the client's delayed acknowledgement: 40 ms."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP  # what asyncio goes by to set TCP_NODELAY


def test_the_first_screen_leaves_room_for_a_key_and_shows_none(tmp_path: Path) -> None:
    open_, locked = (
        first_screen(load(environ, cwd=tmp_path), 8000)
        for environ in ({}, {"HEADGATE_API_KEYS": KEY})
    )

    assert ' -H "Authorization: Bearer $KEY" ' in locked
    assert KEY not in locked
    assert "Authorization" not in open_


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Server]:
    """A server that takes bodies of 4 MB."""
    with Gate(tmp_path / "gate", "http://127.0.0.1:9", quota=[]) as gate:
        yield gate.serve(HEADGATE_MAX_BODY_BYTES=str(LIMIT))


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("size", [LIMIT + 1, 2 * LIMIT])
def test_who_sends_too_large_a_body_before_reading_is_still_answered(
    small: Server, size: int
) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{small.port}/ingest",
        data=b" " * size,
        headers={"Content-Type": "application/json"},
    )

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)

    assert refused.value.code == 413
    assert "larger than" in json.load(refused.value)["detail"]
