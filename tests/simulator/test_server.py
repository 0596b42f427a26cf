"""The simulated API itself: strict, honest in its log, and hard to upset."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.simulator import checker
from tests.simulator.process import SERVER, RunningServer

pytestmark = pytest.mark.process


def get(server: RunningServer, path: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_every_request_has_its_line(tmp_path: Path) -> None:
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000
    with RunningServer(tmp_path / "log", "--latency-ms", "5") as server:
        get(server, "/items?ids=1,b")
        get(server, "/items/7")
        lines = server.requests()
    after = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000

    assert [each["ids"] for each in lines] == [["1", "b"], ["7"]]
    assert [each["path"] for each in lines] == ["/items?ids=1,b", "/items/7"]
    for each in lines:
        assert before <= each["at_us"] <= each["headers_us"] <= after
        assert each["answer_us"] == each["headers_us"] + 5_000
        assert each["status"] == 200


def test_the_quota_is_strict_and_the_checker_sees_who_broke_it(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "log", "--quota", "3/1s", "--quota", "100/day") as server:
        answers = [get(server, "/items?ids=1") for _ in range(5)]
        log = checker.load_arrivals(server.log)

    assert [status for status, _, _ in answers] == [200, 200, 200, 429, 429]
    assert answers[3][1]["retry-after"] == "1"
    assert not checker.check(log, [checker.parse_window("3/s")]).good
    assert checker.check(log, [checker.parse_window("100/day")]).good


@pytest.mark.slow
def test_a_place_is_free_again_when_its_window_is_over(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "log", "--quota", "1/400ms", "--no-retry-after") as server:
        assert get(server, "/items?ids=1")[0] == 200
        refused = get(server, "/items?ids=1")
        time.sleep(0.41)
        assert get(server, "/items?ids=1")[0] == 200

    assert refused[0] == 429
    assert "retry-after" not in refused[1]


def test_ids_can_be_missing_or_be_poison(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "log", "--missing", "4,5", "--id", "13=400") as server:
        _, _, body = get(server, "/items?ids=3,4&ids=5")
        assert [each["id"] for each in json.loads(body)["items"]] == [3]
        assert get(server, "/items/4")[0] == 404
        assert get(server, "/items?ids=1,13")[0] == 400
        assert get(server, "/items?ids=1")[0] == 200


def test_flags_are_for_every_request_and_the_query_goes_before_them(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "log", "--mode", "500") as server:
        assert get(server, "/items?ids=1")[0] == 500
        assert get(server, "/items?ids=1&mode=")[0] == 200
        assert get(server, "/items?ids=1&mode=503&retry_after=9")[1]["retry-after"] == "9"
        assert get(server, "/items?ids=1&mode=nonsense")[0] == 599


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x00",
        b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
    ],
)
def test_nonsense_upsets_nobody(tmp_path: Path, sent: bytes) -> None:
    with RunningServer(tmp_path / "log") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as rude:
            rude.sendall(sent)
        with socket.create_connection(("127.0.0.1", server.port)):
            pass
        assert get(server, "/items?ids=1")[0] == 200


def test_a_request_that_was_cut_is_seen_too(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "log") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as rude:
            rude.sendall(b"GET /items?ids=1 HT")
        lines = wait_for(server)

    assert lines[0]["headers_us"] is None
    assert checker.load_arrivals(server.log)[0].at_us == lines[0]["at_us"]


def test_a_client_that_goes_away_leaves_its_line(tmp_path: Path) -> None:
    with RunningServer(tmp_path / "log", "--latency-ms", "50") as server:
        with socket.create_connection(("127.0.0.1", server.port)) as rude:
            rude.sendall(b"GET /items?ids=1 HTTP/1.1\r\nhost: x\r\n\r\n")
        lines = wait_for(server)
        assert get(server, "/items?ids=2&latency_ms=0")[0] == 200

    assert lines[0]["ids"] == ["1"]


def test_it_does_not_outlive_whoever_started_it(tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(SERVER), "--log", str(tmp_path / "log"), "--watch-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline().strip().isdigit()
        process.stdin.close()

        assert process.wait(10) == 0


def test_it_ends_at_a_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(SERVER), "--log", str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()

        assert process.wait(10) == -signal.SIGTERM


def wait_for(server: RunningServer, count: int = 1) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        lines = server.requests()
        if len(lines) >= count:
            return lines
        time.sleep(0.002)
    raise AssertionError("the server wrote no line")
