"""The source that is described, not programmed: one GET, one answer, nothing behind our back.

It uses httpx2's own connection pool (httpcore2), below everything that could send a request again or remember
something: no redirects, no retries, no authentication dance, no cookies, no proxy from the environment, HTTP/1.1 only.
What is left can put one request on the wire, and the trace hook refuses a second.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress

import httpcore2
import httpx2

from headgate import __version__
from headgate.core.errors import SourceMisconfigured
from headgate.core.ids import Id
from headgate.core.outcome import Failed, Outcome, Rejected
from headgate.sources.base import Call, Wire
from headgate.sources.connection import ListeningBackend, listening
from headgate.sources.http_options import HttpOptions
from headgate.sources.progress import Progress
from headgate.sources.reasons import why
from headgate.sources.records import Shape, shape_of
from headgate.sources.request import UrlTemplate, request_url, url_template
from headgate.sources.response import Answer, outcome_of, too_large

KEEP_ALIVE_S = 3.0
"""How long an idle connection is kept: less than the 5 s after which many servers close theirs, since a close that
crosses our request on the way leaves a call of unknown fate."""

_DRAIN_S, _DRAIN_BYTES = 1.0, 65_536
"""How much of an error's body is read (and thrown away) to keep its connection."""

_IN_THREAD_BYTES = 262_144
"""A larger answer is taken apart in a thread, so that the loop goes on."""

_DEFAULT_HEADERS = {
    "accept": "application/json, */*;q=0.5",
    "accept-encoding": "identity",  # nothing to unpack, so nothing to blow up
    "user-agent": f"headgate/{__version__}",
}
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?|")
_OURS = frozenset({"content-length", "transfer-encoding", "expect", "upgrade", "te", "trailer"})


def mistakes_in(options: HttpOptions) -> list[str]:
    """List everything that is wrong in a description; never says what a header or the address holds."""
    mistakes = _header_mistakes(options.headers)
    for read in (_template_of, _shape_of):
        try:
            read(options)
        except ValueError as mistake:
            mistakes.append(str(mistake))
    return mistakes


class HttpSource:
    """Asks an HTTP API by the description given. `concurrency`: how many calls may be under way at once."""

    def __init__(
        self,
        options: HttpOptions,
        *,
        concurrency: int = 1,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        mistakes = mistakes_in(options)
        if mistakes:
            raise SourceMisconfigured(*mistakes)
        self._options = options
        self._template = _template_of(options)
        self._shape = _shape_of(options, one=self._template.one)
        self._headers = _request_headers(options.headers)
        self._wall_s = wall_s
        self._pool = _pool(concurrency)

    async def fetch(self, ids: Sequence[tuple[int, Id]], wire: Wire) -> Outcome:
        """Ask for some ids with one call. Rejected without a call where no address can name them."""
        url = request_url(self._template, [value for _, value in ids])
        if isinstance(url, Rejected):
            return url
        async with wire.call() as call:
            answer = await self._exchange(url, call)
        if isinstance(answer, Failed):
            return answer
        return await self._outcome(answer, ids)

    async def close(self) -> None:
        """Let go of connections."""
        await self._pool.aclose()

    async def _exchange(self, url: str, call: Call) -> Answer | Failed:
        """Put the request on the wire and read the answer, in bounded time.

        Two spans, one after the other: until the connection stands, then from the check to the answer's last byte.
        """
        progress = Progress(call, answer_s=self._options.answer_us / 1_000_000)
        try:
            async with asyncio.timeout(self._options.connect_us / 1_000_000) as progress.deadline:
                with listening(progress.heard):
                    return await self._ask(url, progress)
        except TimeoutError as error:
            progress.raise_what_was_raised()
            return Failed(progress.too_slow(self._options, error))
        except (
            Exception
        ) as error:  # the other side's doing, whatever its type: an outcome, not an exception
            progress.raise_what_was_raised()
            return Failed(f"{progress.stage.value} ({why(error)})")

    async def _ask(self, url: str, progress: Progress) -> Answer | Failed:
        request = _request(url, self._headers)
        request.extensions["trace"] = progress.trace
        response = await self._pool.handle_async_request(request)
        try:
            return await self._answer(response)
        finally:
            await response.aclose()

    async def _answer(self, response: httpcore2.Response) -> Answer | Failed:
        headers = _answer_headers(response)
        if not 200 <= response.status < 300:
            await _drain(response, headers)
            return Answer(response.status, headers)
        body = await _body(response, headers, self._options.max_answer_bytes)
        if body is None:
            return too_large(self._options.max_answer_bytes)
        return Answer(response.status, headers, body)

    async def _outcome(self, answer: Answer, ids: Sequence[tuple[int, Id]]) -> Outcome:
        def read() -> Outcome:
            return outcome_of(
                answer,
                ids,
                self._shape,
                now_wall_s=self._wall_s(),
                max_bytes=self._options.max_answer_bytes,
            )

        return await asyncio.to_thread(read) if len(answer.body) > _IN_THREAD_BYTES else read()


async def _body(
    response: httpcore2.Response, headers: Mapping[str, str], max_bytes: int
) -> bytes | None:
    """Read the body as it comes, or give up as soon as it is, or is said to be, larger than `max_bytes`."""
    declared = headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > max_bytes:
        return None
    body = bytearray()
    async with aclosing(response.aiter_stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > max_bytes:
                return None
    return bytes(body)


async def _drain(response: httpcore2.Response, headers: Mapping[str, str]) -> None:
    """Read a short body away, so that the connection can be used again. Not needed: the status has been said."""
    with suppress(Exception):
        async with asyncio.timeout(_DRAIN_S):
            await _body(response, headers, _DRAIN_BYTES)


def _pool(concurrency: int) -> httpcore2.AsyncConnectionPool:
    # The client's debug log shows what the other side sent; our own log decides what is said.
    logging.getLogger("httpcore2").setLevel(logging.WARNING)
    return httpcore2.AsyncConnectionPool(
        ssl_context=httpx2.create_ssl_context(trust_env=False),
        max_connections=concurrency,
        max_keepalive_connections=concurrency,
        keepalive_expiry=KEEP_ALIVE_S,
        http1=True,
        http2=False,
        retries=0,
        network_backend=ListeningBackend(),
    )


def _request(url: str, headers: Mapping[str, str]) -> httpcore2.Request:
    """What the pool sends; httpx2 knows how an address and a Host header are written."""
    request = httpx2.Request("GET", url, headers=headers)
    address = httpcore2.URL(
        scheme=request.url.raw_scheme,
        host=request.url.raw_host,
        port=request.url.port,
        target=request.url.raw_path,
    )
    return httpcore2.Request("GET", address, headers=request.headers.raw)


def _answer_headers(response: httpcore2.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _template_of(options: HttpOptions) -> UrlTemplate:
    template = url_template(options.url, options.join)
    sample = request_url(template, [1])
    try:
        if isinstance(sample, str):
            _request(sample, {})
    except (httpx2.InvalidURL, ValueError):
        raise ValueError("url: this is no address that can be called") from None
    return template


def _shape_of(options: HttpOptions, *, one: bool = False) -> Shape:
    return shape_of(options.records, options.record_id, one=one)


def _request_headers(given: Mapping[str, str]) -> dict[str, str]:
    """Our own headers, unless the description says otherwise."""
    named = {name.lower() for name in given}
    ours = {name: value for name, value in _DEFAULT_HEADERS.items() if name not in named}
    return ours | dict(given)


def _header_mistakes(headers: Mapping[str, str]) -> list[str]:
    return [mistake for name, value in headers.items() if (mistake := _header_mistake(name, value))]


def _header_mistake(name: str, value: str) -> str | None:
    if not _HEADER_NAME.fullmatch(name):
        return "headers: a name holds a character that no header's name may have"
    if name.lower() in _OURS:
        return f"headers: {name.lower()} is not yours to set"
    if not _HEADER_VALUE.fullmatch(value):
        return f"headers: the value of {name} must be plain ASCII without line breaks or blanks around it"
    return None
