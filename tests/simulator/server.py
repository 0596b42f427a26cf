"""An external API for the tests: its own process, its own clock, its own strict quota, its own log.

    python tests/simulator/server.py --log FILE --quota 1/5s --latency-ms 5

It prints its port on the first line. Standard library only, and no line shared with headgate: what it says about a
call is a stranger's word. It ends by SIGTERM or SIGKILL, and with `--watch-stdin` when its standard input ends, so
that it does not outlive a test that was killed.

The log gets one line of JSON per request, written in one piece when the headers are complete and before anything is
answered (a request whose headers never came gets its line when the connection ends):

    at_us         CLOCK_BOOTTIME in microseconds when the first byte was seen
    headers_us    the same when the headers were complete, or null
    answer_us     the instant at which the answer may begin: headers_us and the latency
    path, ids, status, mode, connection, nth (on its connection), headers

Paths: /items?ids=1,2 (also repeated, also with ; or |), /items/5. Parameters of the query, or flags for all requests:

    mode=a,b      misbehaviour, see MODES; `mode=500` or any other number answers that status
    id flags      --id 13=400 : any request that has this id gets that mode
    missing=5,6   ids that do not exist
    shape=        items {"items": [..]} (default), list, keyed, positional, single, values
    latency_ms=, retry_after=, size= (bytes of `huge`), pieces= and gap_ms= (of `slow-body`)
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import re
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

HEAD_BYTES = 256 * 1024
BODY_BYTES = 64 * 1024 * 1024

MODES = {
    "missing": "the first id is left out (null, where the shape is by position)",
    "permuted": "the records come in another order",
    "extra": "records that nobody asked for",
    "repeated": "each record twice",
    "empty": "no body at all",
    "broken-json": "JSON that ends in the middle, with a right Content-Length",
    "wrong-shape": "JSON of another kind",
    "gzip": "packed, although nobody asked",
    "bomb": "a small packed body that unpacks to `size`",
    "huge": "`size` bytes of JSON",
    "truncated": "the connection is closed in the middle of the body",
    "slow-body": "the body in `pieces`, with `gap_ms` between them",
    "slow-headers": "the headers in two halves, with `gap_ms` between them",
    "no-answer": "the request is read and nothing ever said",
    "close-before-headers": "the request is read, the connection closed",
    "reset-before-headers": "the request is read, the connection reset",
    "close-mid-headers": "the connection is closed in the middle of the headers",
    "garbage": "an answer that is not HTTP",
    "close-after": "a good answer that promises to keep the connection, which is then closed at once",
    "reset-after": "the same, reset",
    "redirect": "302 to the same address",
    "cookie": "a good answer with a Set-Cookie",
    "informed": "a 103 before the good answer",
    "until-close": "a good answer without a Content-Length, which ends with the connection",
    "two-answers": "a second answer right behind the first, for a request that was never made",
}


CLOSING = {
    "reset-after",
    "close-after",
    "close-mid-headers",
    "truncated",
    "garbage",
    "until-close",
}


def boottime_us() -> int:
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime_ns(clock) // 1_000


def parse_quota(text: str) -> tuple[int, int]:
    """`1/5s`, `10/s`, `1/500ms`, `100000/day` as (N, W in microseconds)."""
    units = {"us": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "m": 60_000_000}
    units |= {"h": 3_600_000_000, "d": 86_400_000_000, "day": 86_400_000_000}
    match = re.fullmatch(r"(\d+)/(\d*)([a-z]+)", text)
    if match is None or match[3] not in units or not int(match[1]):
        raise argparse.ArgumentTypeError(f"not a quota: {text} (write it as 1/5s)")
    return int(match[1]), int(match[2] or 1) * units[match[3]]


@dataclass
class SlidingLog:
    """A strict server-side limiter: at most N taken in any window of W, to the microsecond."""

    n: int
    window_us: int
    taken: deque[int] = field(default_factory=deque)

    def wait(self, now: int) -> int:
        """Say how many microseconds until there is a place; 0: there is one."""
        while self.taken and self.taken[0] <= now - self.window_us:
            self.taken.popleft()
        return self.taken[0] + self.window_us - now if len(self.taken) >= self.n else 0


class Journal:
    """One line a request, each in one write, so that a kill never leaves half a line of ours behind."""

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, **line: object) -> None:
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")


@dataclass
class Request:
    at_us: int
    headers_us: int
    path: str
    headers: dict[str, str]
    options: Callable[[str, str], str]
    ids: list[str]
    modes: list[str]


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Server:
    def __init__(self, flags: argparse.Namespace) -> None:
        self.flags = flags
        self.journal = Journal(flags.log)
        self.limits = [SlidingLog(n, window) for n, window in flags.quota]
        self.bad_ids = dict(pair.split("=", 1) for pair in flags.id)
        self.connections = 0

    async def run(self) -> None:
        server = await asyncio.start_server(
            self.connected, "127.0.0.1", self.flags.port, limit=HEAD_BYTES, backlog=1_024
        )
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        async with server:
            await server.serve_forever()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number, nth = self.connections, 0
        try:
            while await self.one_request(reader, writer, number, nth):
                nth += 1
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away; others go on
        except (ValueError, LookupError):
            pass  # it does not speak HTTP; others go on
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def one_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int, nth: int
    ) -> bool:
        """Serve one request; whether the connection goes on."""
        first = await reader.read(1)
        if not first:
            return False
        at_us = boottime_us()
        try:
            head = first + await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            self.journal.write(at_us=at_us, headers_us=None, connection=number, nth=nth, ids=[])
            return False
        request = self.understood(head, at_us)
        answer = self.decided(request)
        latency_us = int(float(request.options("latency_ms", str(self.flags.latency_ms))) * 1_000)
        self.journal.write(
            at_us=at_us,
            headers_us=request.headers_us,
            answer_us=request.headers_us + latency_us,
            path=request.path,
            ids=request.ids,
            status=answer.status,
            mode=",".join(request.modes),
            connection=number,
            nth=nth,
            headers=request.headers,
        )
        await reader.readexactly(min(int(request.headers.get("content-length", 0)), BODY_BYTES))
        if latency_us:
            await asyncio.sleep(latency_us / 1_000_000)
        return await self.answered(writer, request, answer)

    def understood(self, head: bytes, at_us: int) -> Request:
        headers_us = boottime_us()
        lines = head.decode("latin-1").split("\r\n")
        target = lines[0].split(" ")[1]
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        parts = urlsplit(target)
        query = parse_qs(parts.query, keep_blank_values=True)

        def option(name: str, otherwise: str) -> str:
            return query[name][0] if name in query else otherwise

        ids = [each for text in query.get("ids", []) for each in re.split(r"[,|;]", text) if each]
        if parts.path.startswith("/items/"):
            ids += [unquote(parts.path.removeprefix("/items/"))]
        modes = [each for each in option("mode", self.flags.mode).split(",") if each]
        modes = [self.bad_ids[each] for each in ids if each in self.bad_ids][:1] or modes
        return Request(at_us, headers_us, target, headers, option, ids, modes)

    # What to answer

    def decided(self, request: Request) -> Answer:
        over = self.over_quota(request.headers_us)
        if over:
            request.modes[:] = ["quota"]
            return self.too_many(over)
        if any(mode not in MODES and not mode.isdigit() for mode in request.modes):
            return Answer(599, b'{"error": "the test asked for a mode that does not exist"}')
        status = next((int(mode) for mode in request.modes if mode.isdigit()), None)
        if status is not None:
            return self.bare(status, request)
        if "redirect" in request.modes:
            return Answer(302, b"", {"Location": f"http://{request.headers['host']}{request.path}"})
        return self.good(request)

    def over_quota(self, now: int) -> int:
        """Take a place in every limit, or none and say how long to wait."""
        wait = max((limit.wait(now) for limit in self.limits), default=0)
        for limit in self.limits if not wait else []:
            limit.taken.append(now)
        return wait

    def too_many(self, wait_us: int) -> Answer:
        headers = {"Retry-After": str(-(-wait_us // 1_000_000))} if self.flags.say_when else {}
        return Answer(429, b'{"error": "too many"}', headers)

    def bare(self, status: int, request: Request) -> Answer:
        after = request.options("retry_after", "")
        body = json.dumps({"error": status, "you_sent": request.headers}).encode()
        return Answer(status, body, {"Retry-After": after} if after else {})

    def good(self, request: Request) -> Answer:
        gone = set(request.options("missing", self.flags.missing).split(","))
        found: list[tuple[str, str | None]] = [
            (each, None if each in gone else record(each)) for each in request.ids
        ]
        if "missing" in request.modes and found:
            found[0] = (found[0][0], None)
        if "repeated" in request.modes:
            found = [each for each in found for _ in range(2)]
        if "extra" in request.modes:
            found += [(each, record(each)) for each in ("999999001", "999999002")]
        if "permuted" in request.modes:
            found = found[1:][::-1] + found[:1]
        shape = request.options(
            "shape", "single" if request.path.startswith("/items/") else "items"
        )
        if shape == "single" and found and found[0][1] is None:
            return Answer(404, b'{"error": "no such item"}')
        body = shaped(found, shape).encode()
        headers = {"Set-Cookie": "session=abc; Path=/"} if "cookie" in request.modes else {}
        return self.spoilt(Answer(200, body, headers), request)

    def spoilt(self, answer: Answer, request: Request) -> Answer:
        size = int(request.options("size", "1000000"))
        for mode in request.modes:
            if mode == "empty":
                answer.body = b""
            elif mode == "broken-json":
                answer.body = answer.body[: len(answer.body) // 2]
            elif mode == "wrong-shape":
                answer.body = b'"surprise"'
            elif mode == "huge":
                answer.body = b'["' + b"x" * size + b'"]'
            elif mode in {"gzip", "bomb"}:
                plain = answer.body if mode == "gzip" else b'["' + b"x" * size + b'"]'
                answer.body = gzip.compress(plain)
                answer.headers["Content-Encoding"] = "gzip"
        return answer

    # How to say it

    async def answered(
        self, writer: asyncio.StreamWriter, request: Request, answer: Answer
    ) -> bool:
        """Say it, or fail to in the way that was ordered; whether the connection goes on."""
        modes = set(request.modes)
        written = rendered(answer, length="until-close" not in modes)
        if modes & {"close-before-headers", "reset-before-headers"}:
            return self.hang_up(writer, reset="reset-before-headers" in modes)
        if "no-answer" in modes:
            await asyncio.sleep(3_600)
        if "garbage" in modes:
            written = b"what is this, HTTP?\r\n\r\n"
        if "informed" in modes:
            written = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + written
        if "two-answers" in modes:
            written += rendered(Answer(200, shaped([("1", record("999"))], "items").encode()))
        if modes & {"close-mid-headers", "truncated"}:
            written = written[
                : 30 if "close-mid-headers" in modes else -(len(answer.body) // 2 + 1)
            ]
        await self.written(writer, request, written)
        if modes & CLOSING:
            return self.hang_up(writer, reset="reset-after" in modes)
        return "close" not in request.headers.get("connection", "").lower()

    async def written(self, writer: asyncio.StreamWriter, request: Request, text: bytes) -> None:
        gap_s = float(request.options("gap_ms", "50")) / 1_000
        for piece in pieces_of(text, request):
            writer.write(piece)
            await writer.drain()
            if piece is not text:
                await asyncio.sleep(gap_s)

    def hang_up(self, writer: asyncio.StreamWriter, *, reset: bool) -> bool:
        if reset:
            connection = writer.get_extra_info("socket")
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        return False


def record(value: str) -> str:
    """A record as this API writes it: odd blanks and numbers, so that a rewritten one is noticed."""
    number = re.fullmatch(r"-?[0-9]{1,18}", value)
    shown = value if number else json.dumps(value)
    return f'{{"id":{shown} , "price":1.10e2,"name":"item \\u00e9 {json.dumps(value)[1:-1]}"}}'


def shaped(found: list[tuple[str, str | None]], shape: str) -> str:
    there = [text for _, text in found if text is not None]
    match shape:
        case "items":
            return f'{{"total": {len(there)}, "items": [{", ".join(there)}]}}'
        case "list":
            return f"[{', '.join(there)}]"
        case "keyed":
            members = (f"{json.dumps(key)}: {text or 'null'}" for key, text in found)
            return f"{{{', '.join(members)}}}"
        case "positional":
            return f"[{', '.join(text or 'null' for _, text in found)}]"
        case "single":
            return there[0] if there else "null"
        case _:
            return json.dumps(shape)


def rendered(answer: Answer, *, length: bool = True) -> bytes:
    headers = {"Content-Type": "application/json", **answer.headers}
    if length:
        headers["Content-Length"] = str(len(answer.body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} Said\r\n{lines}\r\n".encode() + answer.body


def pieces_of(text: bytes, request: Request) -> list[bytes]:
    if "slow-headers" in request.modes:
        return [text[:20], text[20:]]
    if "slow-body" not in request.modes:
        return [text]
    head, _, body = text.partition(b"\r\n\r\n")
    count = int(request.options("pieces", "10"))
    step = max(1, -(-len(body) // count))
    return [head + b"\r\n\r\n", *(body[at : at + step] for at in range(0, len(body), step))]


def end_with_stdin() -> None:
    """Read standard input to its end, then stop at once."""
    while sys.stdin.buffer.read(4_096):
        pass
    os._exit(0)


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An API with a strict quota, for tests.")
    parser.add_argument("--log", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--quota", type=parse_quota, action="append", default=[])
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument(
        "--mode", default="", help="misbehave at every request: " + ", ".join(MODES)
    )
    parser.add_argument("--id", action="append", default=[], metavar="ID=MODE")
    parser.add_argument("--missing", default="", help="ids that do not exist, with commas")
    parser.add_argument("--no-retry-after", dest="say_when", action="store_false")
    parser.add_argument("--watch-stdin", action="store_true")
    return parser.parse_args(arguments)


def main() -> None:
    flags = parsed(sys.argv[1:])
    if flags.watch_stdin:
        threading.Thread(target=end_with_stdin, daemon=True).start()
    with suppress(KeyboardInterrupt):
        asyncio.run(Server(flags).run())


if __name__ == "__main__":
    main()
