"""The proxy's faults are real: each is seen from both ends of a connection."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import pytest

from tests.machines.links import Handle, Proxy
from tests.process.waiting import eventually

pytestmark = [pytest.mark.process]

HOST = "127.0.0.1"
SILENT_S = 0.2
"""So long nothing comes where nothing may."""


@dataclass
class Server:
    """Keeps what it hears on each connection, how it ended, and says it again."""

    heard: dict[int, bytes] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    port: int = 0

    @contextmanager
    def at_work(self) -> Iterator[Server]:
        with closing(socket.create_server((HOST, 0))) as listener:
            self.port = listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            yield self
            listener.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        for number in range(100):
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.heard[number] = b""
            threading.Thread(target=self._one, args=(number, connection), daemon=True).start()

    def _one(self, number: int, connection: socket.socket) -> None:
        with closing(connection):
            try:
                while data := connection.recv(1_000):
                    self.heard[number] += data
                    connection.sendall(data)
                self.ended[number] = "closed"
            except ConnectionResetError:
                self.ended[number] = "reset"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().at_work() as running:
        yield running


@pytest.fixture
def link(server: Server) -> Iterator[Handle]:
    with Proxy() as proxy:
        yield proxy.link("db", listen=HOST, target=(HOST, server.port))


@pytest.fixture
def client(link: Handle) -> Iterator[socket.socket]:
    """A connection that stands, over the link."""
    with closing(connected(link)) as connection:
        assert echo(connection, b"hello") == b"hello"
        yield connection


def connected(link: Handle) -> socket.socket:
    connection = socket.create_connection((HOST, link.port), timeout=5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def echo(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return received(connection, len(text))


def received(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def is_silent(connection: socket.socket) -> bool:
    """Whether nothing comes, not even an end."""
    connection.settimeout(SILENT_S)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)
    return False


def test_a_good_link_carries_every_byte_and_both_ends(link: Handle, server: Server) -> None:
    text = bytes(range(256)) * 2_000
    with closing(connected(link)) as connection:
        sending = threading.Thread(target=connection.sendall, args=(text,))
        sending.start()
        assert received(connection, len(text)) == text
        sending.join()
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b"", "the server's end comes through"

    eventually(lambda: server.ended, "the client's end comes through")
    assert (server.heard[0], server.ended[0]) == (text, "closed")
    eventually(lambda: not link.connections, "nothing of it is left")


def test_a_delay_holds_each_way_and_keeps_the_order(link: Handle, client: socket.socket) -> None:
    link.delay(60, jitter_ms=40)
    began = time.monotonic()
    texts = [b"%04d" % number for number in range(200)]
    for text in texts:
        client.sendall(text)
    assert received(client, 800) == b"".join(texts)
    took_s = time.monotonic() - began
    assert 0.12 <= took_s < 2, "each way once, and not once for each text"

    link.heal()
    began = time.monotonic()
    echo(client, b"again")
    assert time.monotonic() - began < 0.1


@pytest.mark.parametrize(
    ("up", "down"), [(True, True), (True, False), (False, True)], ids=["both", "up", "down"]
)
def test_what_is_dropped_is_swallowed_and_nobody_is_told(
    up: bool, down: bool, link: Handle, client: socket.socket, server: Server
) -> None:
    link.drop(up=up, down=down)
    client.sendall(b" lost")
    assert is_silent(client)
    assert server.heard[0] == (b"hello" if up else b"hello lost")
    assert link.swallowed == len(b" lost")

    link.heal()
    client.sendall(b" more")
    assert is_silent(client), "a connection that has lost something never carries it again"
    assert server.ended == {}
    assert server.heard[0] == (b"hello" if up else b"hello lost more")
    with closing(connected(link)) as new:
        assert echo(new, b"new") == b"new"


def test_an_end_in_a_black_hole_is_told_once_it_is_none(
    link: Handle, client: socket.socket, server: Server
) -> None:
    link.drop(up=True, down=True)
    client.sendall(b"lost")
    client.close()
    time.sleep(SILENT_S)
    assert (server.ended, link.connections) == ({}, 1)

    link.heal()
    eventually(lambda: server.ended, "the server is told")
    eventually(lambda: not link.connections, "nothing of it is left")


def test_who_connects_into_a_black_hole_gets_through_when_it_is_none(
    link: Handle, server: Server
) -> None:
    link.drop(up=True)
    with closing(connected(link)) as connection:
        connection.sendall(b"early")
        assert is_silent(connection)
        assert server.heard == {}
        link.heal()
        assert received(connection, 5) == b"early"


def test_a_reset_is_an_rst_at_both_ends(
    link: Handle, client: socket.socket, server: Server
) -> None:
    link.reset()

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    eventually(lambda: server.ended, "the server is told")
    assert server.ended[0] == "reset"
    with closing(connected(link)) as new:
        assert echo(new, b"new") == b"new"


def test_who_is_refused_cannot_connect(link: Handle, client: socket.socket) -> None:
    link.refuse()

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connected(link)
    link.heal()
    with closing(connected(link)) as new:
        assert echo(new, b"new") == b"new"


def test_one_answer_is_cut_off_and_nothing_else(
    link: Handle, client: socket.socket, server: Server
) -> None:
    link.cut_the_answer_to("insert", "commit")
    with closing(connected(link)) as other:
        assert echo(other, b"commit") == b"commit"
        assert echo(other, b"insert") == b"insert"
        assert not link.has_cut()
        client.sendall(b"insert; commit")
        assert is_silent(client)
        assert link.has_cut()
        assert server.heard[0] == b"helloinsert; commit"
        assert echo(other, b"commit") == b"commit", "only once"


def test_a_server_that_is_not_there_is_an_rst() -> None:
    """Which may come before this end has seen that it was connected."""
    with closing(socket.create_server((HOST, 0))) as gone:
        port = gone.getsockname()[1]
    with Proxy() as proxy:
        dead = proxy.link("dead", listen=HOST, target=(HOST, port))
        with pytest.raises(ConnectionResetError), closing(connected(dead)) as connection:
            connection.recv(1)
