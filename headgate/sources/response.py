"""What an answer comes to: status by status. Pure.

A reason is made of our own words and the number of the status. Nothing that the other side wrote goes into it (an
error page likes to repeat the key it was sent), but for the origin that a redirect points to.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from urllib.parse import urlsplit

from headgate.core.outcome import Failed, Fetched, Outcome, Refused, Rejected, Throttled
from headgate.sources.headers import retry_after_us
from headgate.sources.hints import nothing_left_us
from headgate.sources.records import Asked, Shape, read_records

_REFUSED = frozenset({401, 403, 407})
_MISSING = frozenset({404, 410})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AGAIN = frozenset({408, 425})
"""4xx that say nothing about the ids: the server got tired of waiting (it may, on an idle connection), or too early."""

_INFLATED = frozenset({"gzip", "x-gzip", "deflate"})
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]{1,80}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (names in lower case) and the body as it came; the body only where the status is 2xx."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


def outcome_of(
    answer: Answer, asked: Asked, shape: Shape, *, now_wall_s: float, max_bytes: int
) -> Outcome:
    """Say what one answer to a call for these ids comes to. Never raises, whatever the other side sent."""
    status, said = answer.status, in_words(answer.status)
    if 200 <= status < 300:
        found = _fetched(answer, asked, shape, max_bytes)
        return _with_hint(found, answer, now_wall_s)
    if status in _REFUSED:
        return Refused(said)
    if status in _MISSING:
        return Rejected(said, missing=True)
    if status in {429, 503}:
        return _not_now(answer, said, now_wall_s)
    if 400 <= status < 500 and status not in _AGAIN:
        return Rejected(said)
    return Failed(said + _redirection(answer))


def in_words(status: int) -> str:
    """`404 Not Found`, by our own list: the words of the other side are not repeated."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"status {status}"


def origin_of(location: str) -> str | None:
    """Scheme, host and port of an absolute http address; no user, no path, no query: those can hold secrets."""
    try:
        parts = urlsplit(location)
        port = f":{parts.port}" if parts.port else ""
        host = parts.hostname or ""
    except ValueError:
        return None
    origin = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
    return origin if _ORIGIN.fullmatch(origin) else None


def _fetched(answer: Answer, asked: Asked, shape: Shape, max_bytes: int) -> Fetched | Failed:
    body = plain_body(answer, max_bytes)
    if isinstance(body, Failed):
        return body
    if not body:
        return Failed(f"{in_words(answer.status)}, and the answer is empty")
    return read_records(body, asked, shape)


def _with_hint(found: Fetched | Failed, answer: Answer, now_wall_s: float) -> Fetched | Failed:
    """A good answer may say that it was the last one for a while."""
    if isinstance(found, Failed):
        return found
    return replace(found, nothing_left_us=nothing_left_us(answer.headers, now_wall_s=now_wall_s))


def _not_now(answer: Answer, said: str, now_wall_s: float) -> Throttled | Failed:
    headers = answer.headers
    after = retry_after_us(
        headers.get("retry-after"), now_wall_s=now_wall_s, date=headers.get("date")
    )
    if answer.status == 503 and after is None:
        return Failed(said)
    # "In 0 seconds" is no hint: without one the core backs off with jitter, with it we would hammer.
    return Throttled(after or None, said)


def _redirection(answer: Answer) -> str:
    if answer.status not in _REDIRECTS:
        return ""
    origin = origin_of(answer.headers.get("location", ""))
    return "; redirects are not followed" + (f" (this one leads to {origin})" if origin else "")


def plain_body(answer: Answer, max_bytes: int) -> bytes | Failed:
    """The body without its content coding, never more than `max_bytes`. We ask for none, but some always pack."""
    coding = answer.headers.get("content-encoding", "").strip().lower()
    if coding in {"", "identity"}:
        return answer.body
    if coding not in _INFLATED:
        return Failed("the answer is packed in a way that was not asked for")
    try:
        plain = _inflated(answer.body, max_bytes)
    except zlib.error:
        return Failed("the answer is said to be packed, and cannot be unpacked")
    return plain if plain is not None else too_large(max_bytes)


def too_large(max_bytes: int) -> Failed:
    return Failed(f"the answer is larger than {max_bytes} bytes")


def _inflated(packed: bytes, max_bytes: int) -> bytes | None:
    """Unpack gzip or zlib, or give up as soon as it grows beyond `max_bytes`: a small body can hold gigabytes."""
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    plain = unpacking.decompress(packed, max_bytes + 1)
    if len(plain) > max_bytes:
        return None
    if not unpacking.eof:
        raise zlib.error
    return plain
