"""`headgate serve` as a client feels it."""

from __future__ import annotations

import socket

import pytest

from headgate.cli.serve import listen

pytestmark = pytest.mark.anyio


async def test_answers_are_not_held_back_by_nagles_algorithm() -> None:
    """An answer of two writes would wait for the client's delayed acknowledgement: 40 ms."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP  # what asyncio goes by to set TCP_NODELAY
