"""The HTTP source against a real server, which keeps its own count of what reached it."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any
from uuid import uuid4

import httpcore2
import pytest

import headgate
from headgate.core.errors import SourceMisconfigured
from headgate.core.ids import Id
from headgate.core.outcome import Failed, Fetched, Outcome, Refused, Rejected, Throttled
from headgate.sources.base import NoGrant, TooLate, Wire
from headgate.sources.http import HttpSource, mistakes_in
from headgate.sources.http_options import HttpOptions
from headgate.sources.reasons import why
from tests.contract.source.fake_wire import FakeWire
from tests.simulator.process import RunningServer

pytestmark = [pytest.mark.anyio, pytest.mark.process]

SECRET = "s3cret-key"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(tmp_path_factory.mktemp("server") / "log", "--missing", "404") as running:
        yield running


class Api:
    """One test's own corner of the server: its requests are told apart by a tag in the address."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.tag = uuid4().hex
        self._made: list[HttpSource] = []

    def options(self, mode: str = "", **how: Any) -> HttpOptions:
        url = f"{self.server.url}/items?tag={self.tag}&mode={mode}{{&ids}}"
        return replace(HttpOptions(url=url, records="items", record_id="id"), **how)

    def source(self, mode: str = "", *, concurrency: int = 1, **how: Any) -> HttpSource:
        self._made.append(HttpSource(self.options(mode, **how), concurrency=concurrency))
        return self._made[-1]

    def requests(self) -> list[dict[str, Any]]:
        return self.server.requests_for(self.tag)

    async def close(self) -> None:
        for each in self._made:
            await each.close()


@pytest.fixture
async def api(server: RunningServer) -> AsyncIterator[Api]:
    corner = Api(server)
    yield corner
    await corner.close()


async def fetch(source: HttpSource, *ids: Id, wire: Wire | None = None) -> Outcome:
    return await source.fetch(list(enumerate(ids)), wire or FakeWire())


# What is asked


async def test_the_request_is_what_was_described(api: Api) -> None:
    source = api.source(headers={"Authorization": f"Bearer {SECRET}", "x-two": ""})

    await fetch(source, 1, "a,b")

    (request,) = api.requests()
    assert request["path"] == f"/items?tag={api.tag}&mode=&ids=1,a%2Cb"
    assert request["headers"] == {
        "host": f"127.0.0.1:{api.server.port}",
        "accept": "application/json, */*;q=0.5",
        "accept-encoding": "identity",
        "user-agent": f"headgate/{headgate.__version__}",
        "authorization": f"Bearer {SECRET}",
        "x-two": "",
    }


async def test_the_description_has_the_last_word_on_headers(api: Api) -> None:
    await fetch(api.source(headers={"User-AGENT": "me (me@example.com)", "Accept": "x/y"}), 1)

    (request,) = api.requests()
    assert request["headers"]["user-agent"] == "me (me@example.com)"
    assert request["headers"]["accept"] == "x/y"


async def test_nothing_is_remembered_from_one_call_to_the_next(api: Api) -> None:
    source = api.source("cookie")
    for _ in range(2):
        await fetch(source, 1)

    assert [each["headers"].get("cookie") for each in api.requests()] == [None, None]


async def test_the_environment_sets_no_proxy(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert isinstance(await fetch(api.source(), 1), Fetched)


async def test_a_single_id_stands_in_the_path(api: Api) -> None:
    url = f"{api.server.url}/items/{{id}}?tag={api.tag}"
    source = api.source(url=url, records=None, record_id=None)

    found = await fetch(source, "a/b?")

    assert isinstance(found, Fetched)
    assert found.records[0].startswith(b'{"id":"a/b?" ,')
    assert api.requests()[0]["ids"] == ["a/b?"]
    assert await fetch(source, 404) == Rejected("404 Not Found", missing=True)


@pytest.mark.parametrize("ids", [("x" * 250,) * 300, ("\ud800",)])
async def test_what_no_address_can_ask_for_is_rejected_without_a_call(
    api: Api, ids: tuple[str, ...]
) -> None:
    wire = FakeWire()

    assert isinstance(await fetch(api.source(), *ids, wire=wire), Rejected)
    assert wire.calls == 0
    assert api.requests() == []


# What comes back


async def test_a_record_is_the_very_bytes_of_the_source(api: Api) -> None:
    found = await fetch(api.source(), 5)

    assert found == Fetched({0: b'{"id":5 , "price":1.10e2,"name":"item \\u00e9 5"}'})


@pytest.mark.parametrize(
    "mode", ["permuted", "extra", "repeated", "extra,repeated,permuted", "gzip"]
)
async def test_every_record_finds_its_id(api: Api, mode: str) -> None:
    found = await fetch(api.source(mode), 1, 404, 3)

    assert isinstance(found, Fetched)
    assert {place: record[:7] for place, record in found.records.items()} == {
        0: b'{"id":1',
        2: b'{"id":3',
    }
    assert not found.missing
    assert not found.failed


@pytest.mark.parametrize(
    ("shape", "record_id", "missing"),
    [("list", "id", set()), ("positional", None, {1}), ("keyed", None, {1})],
)
async def test_every_shape(api: Api, shape: str, record_id: str | None, missing: set[int]) -> None:
    url = f"{api.server.url}/items?tag={api.tag}&shape={shape}{{&ids}}"

    found = await fetch(api.source(url=url, records=None, record_id=record_id), 1, 404, 3)

    assert isinstance(found, Fetched)
    assert found.records.keys() == {0, 2}
    assert found.missing == missing


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("400", Rejected),
        ("401", Refused),
        ("403", Refused),
        ("404", Rejected),
        ("410", Rejected),
        ("414", Rejected),
        ("429", Throttled),
        ("304", Failed),
        ("408", Failed),
        ("500", Failed),
        ("503", Failed),
        ("503&retry_after=3", Throttled),
        ("redirect", Failed),
        ("empty", Failed),
        ("broken-json", Failed),
        ("wrong-shape", Failed),
        ("truncated", Failed),
        ("close-before-headers", Failed),
        ("reset-before-headers", Failed),
        ("close-mid-headers", Failed),
        ("garbage", Failed),
        ("slow-body&gap_ms=1", Fetched),
        ("slow-headers&gap_ms=1", Fetched),
        ("informed", Fetched),
        ("until-close", Fetched),
    ],
)
async def test_whatever_the_other_side_does_is_an_outcome(api: Api, mode: str, kind: type) -> None:
    source, wire = api.source(mode, headers={"authorization": f"Bearer {SECRET}"}), FakeWire()

    found = await fetch(source, 1, 2, wire=wire)

    assert isinstance(found, kind), found
    assert wire.words[:2] == ["check", "written"]
    assert len(api.requests()) == 1
    if not isinstance(found, Fetched):
        assert SECRET not in found.reason
        assert api.tag not in found.reason
        assert found.reason.isprintable()
        assert len(found.reason) <= 120


async def test_a_throttled_call_says_for_how_long(api: Api) -> None:
    found = await fetch(api.source("429&retry_after=2.5"), 1)

    assert found == Throttled(2_500_000, "429 Too Many Requests")


async def test_a_redirect_is_not_followed(api: Api) -> None:
    found = await fetch(api.source("redirect"), 1)

    origin = api.server.url
    assert found == Failed(f"302 Found; redirects are not followed (this one leads to {origin})")
    assert len(api.requests()) == 1


@pytest.mark.parametrize("mode", ["huge", "huge,until-close", "bomb", "huge,slow-body&gap_ms=1"])
async def test_an_answer_that_is_too_large_is_not_read_to_its_end(api: Api, mode: str) -> None:
    source = api.source(f"{mode}&size=3000000", max_answer_bytes=10_000)

    assert await fetch(source, 1) == Failed("the answer is larger than 10000 bytes")


async def test_an_answer_that_says_it_is_too_large_is_not_waited_for() -> None:
    async def promise(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n")
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(promise, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    source = HttpSource(HttpOptions(f"http://127.0.0.1:{port}/{{id}}"))
    async with listener:
        found = await fetch(source, 1)
        await source.close()

    assert found == Failed("the answer is larger than 33554432 bytes")


@pytest.mark.parametrize("mode", ["", "until-close"])
async def test_an_answer_of_just_the_allowed_size_is_read(api: Api, mode: str) -> None:
    body = b'{"total": 1, "items": [{"id":5 , "price":1.10e2,"name":"item \\u00e9 5"}]}'

    assert isinstance(await fetch(api.source(mode, max_answer_bytes=len(body)), 5), Fetched)
    assert isinstance(await fetch(api.source(mode, max_answer_bytes=len(body) - 1), 5), Failed)


async def test_a_large_answer_is_taken_apart_all_the_same(api: Api) -> None:
    ids = range(10_000_000, 10_006_000)

    found = await fetch(api.source(), *ids)

    assert isinstance(found, Fetched)
    assert len(found.records) == 6_000


# How long it may take


@pytest.mark.parametrize("mode", ["no-answer", "slow-headers&gap_ms=2000", "slow-body&gap_ms=2000"])
async def test_an_answer_has_to_be_complete_in_time(api: Api, mode: str) -> None:
    found = await fetch(api.source(mode, answer_us=100_000), 1)

    assert found == Failed("no complete answer within 0.1 s")


async def test_a_status_needs_no_body_to_be_believed(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.sources.http._DRAIN_S", 0.02)

    assert isinstance(await fetch(api.source("429,slow-body&gap_ms=500"), 1), Throttled)
    assert isinstance(await fetch(api.source("401,truncated"), 1), Refused)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_a_connection_has_to_stand_in_time(silent_port: int) -> None:
    wire = FakeWire()
    source = HttpSource(HttpOptions(f"https://127.0.0.1:{silent_port}/{{id}}", connect_us=50_000))

    assert await fetch(source, 1, wire=wire) == Failed("no connection within 0.05 s")
    assert wire.words == []
    await source.close()


async def test_nobody_there_is_a_failure_and_nothing_was_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    wire, source = FakeWire(), HttpSource(HttpOptions(f"http://127.0.0.1:{port}/{{id}}"))

    assert await fetch(source, 1, wire=wire) == Failed("no connection (Connection refused)")
    assert wire.words == []
    assert wire.ended == 1
    await source.close()


async def test_tls_with_somebody_who_does_not_speak_it() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello, I speak something else\r\n" * 100)
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    wire = FakeWire()
    source = HttpSource(
        HttpOptions(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/{{id}}")
    )
    async with listener:
        found = await fetch(source, 1, wire=wire)
        await source.close()

    assert found == Failed("no connection (TLS could not be agreed on)")
    assert wire.words == []


async def test_a_handshake_that_is_given_up_leaves_no_socket_behind(silent_port: int) -> None:
    source = HttpSource(HttpOptions(f"https://127.0.0.1:{silent_port}/{{id}}", connect_us=20_000))
    await fetch(source, 1)
    await source.close()
    await asyncio.sleep(0)

    gc.collect()  # a socket that nobody closed warns, and warnings are errors


# Its instants


async def test_the_instants_enclose_those_of_the_other_side(api: Api) -> None:
    wire = FakeWire()

    await fetch(api.source("&latency_ms=20"), 1, wire=wire)

    (request,) = api.requests()
    assert wire.instant("check") <= request["at_us"]
    assert wire.instant("answered") >= request["answer_us"]
    assert wire.instant("written") <= request["answer_us"]


async def test_the_answer_is_seen_at_its_first_byte(api: Api) -> None:
    wire = FakeWire()

    await fetch(api.source("slow-headers&gap_ms=200"), 1, wire=wire)

    (request,) = api.requests()
    assert wire.instant("answered") < request["headers_us"] + 190_000


async def test_the_check_comes_when_the_connection_stands(server: RunningServer) -> None:
    connected: list[bool] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)

        def accepted() -> None:
            time.sleep(0.01)
            listener.accept()[0].close()
            connected.append(True)

        source = HttpSource(HttpOptions(f"http://127.0.0.1:{listener.getsockname()[1]}/{{id}}"))
        found = await fetch(source, 1, wire=FakeWire(on_check=accepted))
        await source.close()

    assert connected
    assert isinstance(found, Failed)


# One fetch, one request


async def test_too_late_leaves_not_a_byte_on_the_wire() -> None:
    got: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())
        writer.close()

    listener = await asyncio.start_server(take, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    source = HttpSource(HttpOptions(f"http://127.0.0.1:{port}/{{id}}"))
    async with listener:
        for _ in range(5):
            with pytest.raises(TooLate):
                await fetch(source, 1, wire=FakeWire(late=True))
        while len(got) < 5:
            await asyncio.sleep(0.001)

    assert got == [b""] * 5
    await source.close()


async def test_too_late_on_a_connection_that_was_kept(api: Api) -> None:
    source = api.source()
    await fetch(source, 1)
    with pytest.raises(TooLate):
        await fetch(source, 2, wire=FakeWire(late=True))
    await fetch(source, 3)

    assert [each["ids"] for each in api.requests()] == [["1"], ["3"]]


async def test_what_the_wire_raises_comes_out_as_it_was(api: Api) -> None:
    class Broken(Exception):
        pass

    def broken() -> None:
        raise Broken

    with pytest.raises(Broken):
        await fetch(api.source(), 1, wire=FakeWire(on_check=broken))


async def test_a_connection_is_kept_for_the_next_call(api: Api) -> None:
    source = api.source()
    for _ in range(3):
        await fetch(source, 1)
    for _ in range(2):
        await fetch(source, 404)

    assert [each["nth"] for each in api.requests()] == [0, 1, 2, 3, 4]


async def test_the_connection_of_an_error_is_kept_too(api: Api) -> None:
    source = api.source("500")
    for _ in range(3):
        await fetch(source, 1)

    assert [each["nth"] for each in api.requests()] == [0, 1, 2]


async def test_an_answer_that_was_there_before_the_question_is_not_taken_for_its_answer(
    api: Api,
) -> None:
    source, wires = api.source("two-answers"), [FakeWire() for _ in range(4)]

    found = [await fetch(source, number, wire=wire) for number, wire in enumerate(wires)]

    assert [type(each) for each in found] == [Fetched, Failed, Fetched, Failed]
    assert wires[1].words == ["check", "written"]
    assert wires[3].words == ["check", "written"]


UNKIND = [
    "close-after",
    "reset-after",
    "close-before-headers",
    "reset-before-headers",
    "close-mid-headers",
    "truncated",
    "garbage",
    "two-answers",
    "until-close",
    "",
    "408",
]


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 4])
async def test_one_fetch_never_puts_two_requests_on_the_wire(api: Api, concurrency: int) -> None:
    wires: dict[str, FakeWire] = {}
    # One source for all, so that the good calls find connections that the bad ones have left.
    url = f"{api.server.url}/items?tag={api.tag}{{&ids}}&mode="
    sources = [api.source(url=url + mode, concurrency=concurrency) for mode in UNKIND]
    for each in sources:
        each._pool = sources[0]._pool
    room = asyncio.Semaphore(concurrency)

    async def once(number: int) -> None:
        async with room:
            wires[str(number)] = wire = FakeWire()
            await fetch(sources[number % len(UNKIND)], number, wire=wire)

    for start in range(1, 601, 60):
        await asyncio.gather(*(once(number) for number in range(start, start + 60)))
    await asyncio.sleep(0.05)  # the server may still be reading what nobody waited for

    asked = Counter(each for request in api.requests() for each in request["ids"])
    checked = {number for number, wire in wires.items() if wire.words.count("check") == 1}
    assert len(wires) == 600
    assert max(asked.values()) == 1
    assert asked.keys() <= checked
    assert all(wire.words.count("check") <= 1 for wire in wires.values())


@pytest.mark.slow
async def test_a_keep_alive_that_ends_while_the_next_request_is_on_its_way(api: Api) -> None:
    """The request is written just as the other side closes: its fate is unknown, and it is not sent again."""
    received: Counter[bytes] = Counter()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for left in (
            2,
            1,
            0,
        ):  # the third request on a connection is read, or not, and never answered
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (OSError, asyncio.IncompleteReadError):
                break
            received[head.split(b" ")[1]] += 1
            if left:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7")
        writer.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    source = HttpSource(HttpOptions(f"http://127.0.0.1:{port}/{{id}}"))
    async with listener:
        outcomes = [await fetch(source, number) for number in range(60)]
    await source.close()

    assert [type(each) for each in outcomes] == [Fetched, Fetched, Failed] * 20
    assert received == {b"/%d" % number: 1 for number in range(60)}


async def test_a_second_start_under_one_call_is_refused(api: Api) -> None:
    """Should the client ever begin a request again by itself, the trace hook stops it."""
    source, wire = api.source(), FakeWire()
    once = source._pool.handle_async_request

    async def twice(request: httpcore2.Request) -> httpcore2.Response:
        response = await once(request)
        await response.aread()
        await response.aclose()
        return await once(request)

    source._pool.handle_async_request = twice  # type: ignore[method-assign]

    with pytest.raises(NoGrant):
        await fetch(source, 1, wire=wire)
    assert len(api.requests()) == 1


async def test_several_calls_at_once(api: Api) -> None:
    source = api.source("&latency_ms=100", concurrency=8)
    began = time.monotonic()

    found = await asyncio.gather(*(fetch(source, number) for number in range(8)))

    assert all(isinstance(each, Fetched) for each in found)
    assert time.monotonic() - began < 8 * 0.1
    assert len({each["connection"] for each in api.requests()}) == 8


async def test_a_cancelled_fetch_leaves_the_source_usable(api: Api) -> None:
    source = api.source("&latency_ms=100")
    for number in range(3):
        wire = FakeWire()
        task = asyncio.create_task(fetch(source, number, wire=wire))
        while "written" not in wire.words:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert isinstance(await fetch(source, 9), Fetched)


@pytest.mark.parametrize("mode", ["no-answer", "slow-body&gap_ms=300", "slow-headers&gap_ms=300"])
async def test_what_took_too_long_holds_no_place_among_the_connections(api: Api, mode: str) -> None:
    slow, good = api.source(mode, answer_us=20_000), api.source()
    good._pool = slow._pool
    for _ in range(3):
        assert isinstance(await fetch(slow, 1), Failed)
        assert slow._pool.connections == []
        assert isinstance(await fetch(good, 1), Fetched)


async def test_a_connection_that_never_stood_holds_no_place_either(silent_port: int) -> None:
    source = HttpSource(HttpOptions(f"https://127.0.0.1:{silent_port}/{{id}}", connect_us=20_000))
    for _ in range(3):
        await fetch(source, 1)
        assert source._pool.connections == []
    await source.close()


# What it does not say


async def test_no_log_shows_what_was_sent_or_received(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.INFO)

    await fetch(api.source("cookie", headers={"x-key": SECRET}), 1)

    assert api.tag not in caplog.text
    assert SECRET not in caplog.text
    assert "session=abc" not in caplog.text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (HttpOptions(f"https://{SECRET}@h/{{id}}"), "url: "),
        (HttpOptions(f"https://h/?key={SECRET}"), "url: "),
        (HttpOptions("https://h:1h/{id}"), "url: "),
        (HttpOptions("https://h.\ud800/{id}"), "url: "),
        (HttpOptions("https://h/{id}", records="a["), "records: "),
        (HttpOptions("https://h/{id}", record_id="a["), "record_id: "),
        (HttpOptions("https://h/{id}", headers={"a b": SECRET}), "headers: "),
        (HttpOptions("https://h/{id}", headers={"": SECRET}), "headers: "),
        (HttpOptions("https://h/{id}", headers={"a": f"{SECRET}\n"}), "headers: "),
        (HttpOptions("https://h/{id}", headers={"a": f"{SECRET}\r\nb: c"}), "headers: "),
        (HttpOptions("https://h/{id}", headers={"a": f" {SECRET}"}), "headers: "),
        (HttpOptions("https://h/{id}", headers={"a": f"{SECRET}é"}), "headers: "),
        (HttpOptions("https://h/{id}", headers={"Content-Length": "5"}), "headers: "),
        (HttpOptions("https://h/{id}", headers={"transfer-encoding": "chunked"}), "headers: "),
    ],
)
def test_a_mistake_in_the_description_is_named_without_its_secrets(
    options: HttpOptions, said: str
) -> None:
    with pytest.raises(SourceMisconfigured) as mistake:
        HttpSource(options)

    assert [each[: len(said)] for each in mistake.value.mistakes] == [said]
    assert SECRET not in str(mistake.value)


def test_every_mistake_is_found_at_once() -> None:
    options = HttpOptions("h", headers={"a b": ""}, records="[", record_id="")

    assert len(mistakes_in(options)) == 3


def chained(*errors: BaseException) -> BaseException:
    for outer, inner in pairwise(errors):
        outer.__context__ = inner
    return errors[0]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (chained(OSError(), socket.gaierror(-2, SECRET)), "the host's name was not found"),
        (
            chained(OSError(), ConnectionRefusedError(errno.ECONNREFUSED, SECRET)),
            "Connection refused",
        ),
        (chained(ValueError(SECRET), ssl.SSLError(1, SECRET)), "TLS could not be agreed on"),
        (chained(ValueError(), OSError(SECRET)), "ValueError"),
        (httpcore2.LocalProtocolError(f"Illegal header value b'{SECRET}'"), "LocalProtocolError"),
        (
            chained(ValueError(), ExceptionGroup(SECRET, [OSError(errno.ENETUNREACH, SECRET)])),
            "Network is unreachable",
        ),
    ],
)
def test_a_failure_is_told_in_words_that_cannot_hold_a_secret(
    error: BaseException, said: str
) -> None:
    assert why(error) == said


def test_a_certificate_that_is_not_trusted_says_why() -> None:
    error = ssl.SSLCertVerificationError(1, SECRET)
    error.verify_message = "certificate has expired\n"

    assert why(error) == "the certificate is not trusted: certificate has expired"


def test_an_error_that_leads_back_to_itself_has_an_end() -> None:
    first, second = ValueError(), KeyError()
    first.__context__, second.__context__ = second, first

    assert why(first) == "ValueError"
