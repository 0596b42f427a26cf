"""A million ids in one POST: how long it takes, what it costs in memory, and whether others wait for it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median

from benchmarks import load, rig
from benchmarks.figure import Line, at_most, below, none_of, note

IDS = 1_000_000
WRONG: dict[str, Callable[[int], object]] = {
    "texts": str,
    "fractions": lambda value: value + 0.5,
    "true": lambda _: True,
    "null": lambda _: None,
    "beyond 2^63": lambda value: value + 2**63,
}


@dataclass(frozen=True, slots=True)
class Post:
    """One big POST to a fresh server: its answer, how long it took, the most memory that the server used."""

    status: int
    seconds: float
    peak_mib: float


def measure(quick: bool) -> list[Line]:
    samples = 2 if quick else 5
    ids = rig.distinct_ids(IDS)
    good = _several(body_of(ids), samples)
    repeated = _several(body_of(ids[: IDS // 2] * 2), samples)
    wrong = {
        kind: _several(body_of([make(value) for value in ids]), samples)
        for kind, make in WRONG.items()
    }
    seconds, peak = _seconds(good), _peak(good)
    return [
        below(f"{IDS:,} ids (stretch: 0.4)", seconds, 0.5, "s"),
        below("peak of resident memory", peak, 300, "MiB"),
        note("the same, each id twice", _seconds(repeated), "s"),
        below("its peak of resident memory", _peak(repeated), 300, "MiB"),
        *(
            at_most(f"wrong ids ({kind})", _seconds(posts), seconds, "s")
            for kind, posts in wrong.items()
        ),
        below("their peak of resident memory", max(map(_peak, wrong.values())), 300, "MiB"),
        *_beside(body_of(ids), 2 * samples),
        none_of("unexpected answers", _unexpected([*good, *repeated], wrong)),
    ]


def body_of(ids: Sequence[object]) -> bytes:
    return json.dumps({"ids": list(ids), "priority": "LOW"}).encode()


def _several(body: bytes, samples: int) -> list[Post]:
    return [_one(body) for _ in range(samples)]


def _one(body: bytes) -> Post:
    with rig.folder() as place, rig.headgate(place) as server:
        server.submit([1, 2, 3, 4, 5])  # the server has worked before
        status, seconds = post(server.port, body)
        return Post(status, seconds, server.peak_mib())


def post(port: int, body: bytes) -> tuple[int, float]:
    """The status of the answer, and how long it took from the first byte sent to the last one received."""
    request = load.post("/ingest", body, port).replace(
        b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1
    )
    with closing(socket.create_connection((rig.HOST, port), timeout=60)) as connection:
        began = time.perf_counter()
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
        return int(answer.split(b" ", 2)[1]), time.perf_counter() - began


def _beside(body: bytes, times: int) -> list[Line]:
    """Small POSTs, one after the other, while big ones go on."""
    with rig.folder() as place, rig.headgate(place) as server:
        over = threading.Event()
        took: list[float] = []
        small = threading.Thread(target=_small_posts, args=(server.port, over, took))
        small.start()
        try:
            for _ in range(times):
                post(server.port, body)
        finally:
            over.set()
            small.join()
    return [
        at_most("a small POST beside it, slowest", 1_000 * max(took), 200, "ms"),
        note("a small POST beside it, median", 1_000 * median(took), "ms"),
    ]


def _small_posts(port: int, over: threading.Event, took: list[float]) -> None:
    with closing(http.client.HTTPConnection(rig.HOST, port, timeout=60)) as connection:
        while not over.wait(0.005):
            began = time.perf_counter()
            status, _ = rig.exchange(connection, "POST", "/ingest", {"ids": [1, 2, 3, 4, 5]})
            took.append(time.perf_counter() - began)
            assert status == 200, status


def _seconds(posts: list[Post]) -> float:
    return median(post.seconds for post in posts)


def _peak(posts: list[Post]) -> float:
    return max(post.peak_mib for post in posts)


def _unexpected(accepted: list[Post], refused: dict[str, list[Post]]) -> int:
    wrong = [post for posts in refused.values() for post in posts]
    return sum(post.status != 200 for post in accepted) + sum(post.status != 422 for post in wrong)
