"""Reading a submission's body: strict, within a limit, and with errors that say where.

The usual body is decoded in one pass. Only one that is wrong, or might name a key twice, is looked at again slowly.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request

from headgate.core.errors import FieldError, InvalidInput, TooLarge
from headgate.core.ids import MAX_ERRORS, encodable
from headgate.core.model import Priority

MAX_NESTED = 1_000
"""So many lists and objects may stand in a body that is looked at slowly; a good one has two."""

MAX_VALUES = 2_000_000

LEAST_DROPPED = 1024 * 1024
PATIENCE_S = 1.0
"""Of a body that is refused, twice what one may have is still taken in and dropped, 2 MiB at least, for so long."""

MAX_DEPTH_SHOWN = 10
"""The place of a mistake is told down to so many steps: deeper down, it is that of what holds it."""

KEY = r"^[\x21-\x7e]{1,255}$"
"""What an idempotency key looks like."""

_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)


class Ingest(msgspec.Struct):
    """What `POST /ingest` takes. Which ids are good is the source's to say; here they have the right types."""

    ids: list[int | str]
    priority: str | msgspec.UnsetType = msgspec.UNSET


class Submission(Ingest):
    """What `POST /v1/ingestions` takes."""

    source: str | msgspec.UnsetType = msgspec.UNSET


_decode_ingest = msgspec.json.Decoder(Ingest).decode
_decode_submission = msgspec.json.Decoder(Submission).decode


async def read_body(request: Request, *, most: int) -> bytes:
    """The whole body of a JSON request.

    Raises TooLarge beyond `most` bytes, InvalidInput for another content type or encoding.
    """
    stream = request.stream()
    try:
        _check_headers(request, most)
        return await _whole(stream, most)
    except ClientDisconnect:
        raise InvalidInput(FieldError((), "the body was cut off", "incomplete")) from None
    except (InvalidInput, TooLarge):
        if "expect" not in request.headers:  # who asks first has sent nothing yet
            await _let_finish(stream, most)
        raise


async def _whole(stream: AsyncIterator[bytes], most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in stream:
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _let_finish(stream: AsyncIterator[bytes], most: int) -> None:
    """Take in and drop the rest of a refused body, within bounds: who is cut off while sending reads no answer."""
    left = 2 * max(most, LEAST_DROPPED)
    with suppress(TimeoutError, ClientDisconnect):
        async with asyncio.timeout(PATIENCE_S):
            async for part in stream:
                left -= len(part)
                if left < 0:
                    return


def parse_ingest(body: bytes) -> Ingest:
    """Decode what `/ingest` takes; other keys are ignored.

    Raises InvalidInput with at most 20 errors.
    """
    try:
        submitted = _decode_ingest(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(*_mistakes(_load(body), Ingest)) from None
    if _has_other_keys(body, submitted):
        _load(body)
    return submitted


def parse_submission(body: bytes) -> Submission:
    """Decode what /v1 takes; a key that it does not know is a mistake.

    Raises InvalidInput with at most 20 errors.
    """
    try:
        submitted = _decode_submission(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(*_mistakes(_load(body), Submission)) from None
    if _has_other_keys(body, submitted):
        mistakes = list(_unknown_keys(_load(body)))
        if mistakes:
            raise InvalidInput(*mistakes[:MAX_ERRORS])
    return submitted


def source_of(submitted: Submission) -> str | None:
    return None if submitted.source is msgspec.UNSET else str(submitted.source)


def priority_of(submitted: Ingest) -> Priority:
    """The priority asked for; MEDIUM if none was. Raises InvalidInput."""
    if submitted.priority is msgspec.UNSET:
        return Priority.MEDIUM
    try:
        return Priority[str(submitted.priority)]
    except KeyError:
        raise InvalidInput(_priority_mistake()) from None


def checked_key(key: str | None) -> str | None:
    """The idempotency key as it was sent, if one was. Raises InvalidInput."""
    if key is not None and not re.fullmatch(KEY, key):
        raise InvalidInput(
            FieldError(
                ("header", "Idempotency-Key"),
                "should be 1 to 255 visible ASCII characters, and no blanks",
                "idempotency_key",
            )
        )
    return key


def _check_headers(request: Request, most: int) -> None:
    headers = request.headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        raise InvalidInput(
            FieldError(
                (), "send JSON with the header `Content-Type: application/json`", "content_type"
            )
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise InvalidInput(
            FieldError(
                (), "send the body uncompressed, without Content-Encoding", "content_encoding"
            )
        )
    length = headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > most:
        raise _too_large(most)


def _too_large(most: int) -> TooLarge:
    return TooLarge(f"the body is larger than {most} bytes: hand the ids in as several submissions")


def _has_other_keys(body: bytes, submitted: Ingest) -> bool:
    """Whether a key may be unknown or stand twice: each brings a colon, and so does nothing else but a text."""
    given = [getattr(submitted, key) for key in submitted.__struct_fields__]
    named = sum(value is not msgspec.UNSET for value in given)
    return body.count(b":") != named and _TEXTS.sub(b"", body).count(b":") != named


@dataclass(frozen=True, slots=True)
class _Twice:
    """Stands for an object that names a key twice, until it is known where that object is."""

    key: str


class _Objects:
    """Makes the objects of a body; what is `repeated` was seen, and its place is to be looked for."""

    def __init__(self) -> None:
        self.repeated = False

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Twice:
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        self.repeated = True
        return _Twice(_first_repeat(key for key, _ in pairs))


def _first_repeat(keys: Iterable[str]) -> str:
    return next(key for key, times in Counter(keys).items() if times > 1)


def _place_of_repeat(value: Any) -> tuple[str | int, ...]:
    """Where a key stands twice: the outermost such place, which is looked at first."""
    line: deque[tuple[tuple[str | int, ...], Any]] = deque([((), value)])
    while line:
        place, value = line.popleft()
        if isinstance(value, _Twice):
            steps = (*place, value.key)[:MAX_DEPTH_SHOWN]
            return tuple(_plain(step) if isinstance(step, str) else step for step in steps)
        line.extend(((*place, step), inner) for step, inner in _held_by(value))
    raise AssertionError("no key stands twice")


def _held_by(value: dict[str, Any] | list[Any]) -> Iterator[tuple[str | int, Any]]:
    """What a list or an object holds that may hold more, by the step that leads there."""
    steps: Iterable[tuple[str | int, Any]]
    steps = value.items() if isinstance(value, dict) else enumerate(value)
    return ((step, inner) for step, inner in steps if isinstance(inner, dict | list | _Twice))


def _check_shape(body: bytes) -> None:
    """Refuse what would take twenty times its size when it is built: lists of empty lists, millions of keys."""
    if body.count(b"[") + body.count(b"{") <= MAX_NESTED and body.count(b",") <= MAX_VALUES:
        return
    bare = _TEXTS.sub(b"", body)
    if bare.count(b"[") + bare.count(b"{") > MAX_NESTED or bare.count(b",") > MAX_VALUES:
        message = (
            f"a body with more than {MAX_NESTED} lists or {MAX_VALUES} values is no submission"
        )
        raise InvalidInput(FieldError((), message, "json_invalid"))


def _plain(key: str) -> str:
    """A key to be shown: not at length, and with what UTF-8 cannot say written out."""
    return key[:80].encode("utf-8", "backslashreplace").decode()


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _load(body: bytes) -> Any:
    """Parse slowly and strictly. Raises InvalidInput for what is not JSON, and for a key that stands twice."""
    _check_shape(body)
    objects = _Objects()
    try:
        loaded = json.loads(body.decode(), object_pairs_hook=objects, parse_constant=_no_constant)
    except RecursionError:
        raise InvalidInput(FieldError((), "JSON nested too deeply", "json_invalid")) from None
    except UnicodeDecodeError:
        raise InvalidInput(FieldError((), "the body is not UTF-8", "json_invalid")) from None
    except json.JSONDecodeError as error:
        message = f"JSON decode error: {error.msg} at character {error.pos}"
        raise InvalidInput(FieldError((), message, "json_invalid")) from None
    except (
        ValueError
    ) as error:  # a constant that JSON does not have, an integer of thousands of digits
        message = f"JSON decode error: {str(error)[:100]}"
        raise InvalidInput(FieldError((), message, "json_invalid")) from None
    if objects.repeated:
        message = "this key stands twice: say it once"
        raise InvalidInput(FieldError(_place_of_repeat(loaded), message, "duplicate_key"))
    return loaded


def _mistakes(value: Any, taken: type[Ingest]) -> list[FieldError]:
    if not isinstance(value, dict):
        return [FieldError((), "Input should be a JSON object with `ids`", "model_attributes_type")]
    found = list(itertools.islice(_field_mistakes(value, taken), MAX_ERRORS))
    return found or [FieldError((), "Input is not a valid submission")]


def _field_mistakes(value: dict[str, Any], taken: type[Ingest]) -> Iterator[FieldError]:
    priority = value.get("priority", "MEDIUM")
    if not isinstance(priority, str) or priority not in Priority.__members__:
        yield _priority_mistake()
    if taken is Submission:
        yield from _unknown_keys(value)
        if not isinstance(value.get("source", ""), str):
            yield FieldError(("source",), "Input should be a valid string", "string_type")
        elif not encodable(value.get("source", "")):
            yield FieldError(("source",), "Text should be valid Unicode", "string_type")
    if "ids" not in value:
        yield FieldError(("ids",), "Field required", "missing")
    elif not isinstance(value["ids"], list):
        yield FieldError(("ids",), "Input should be a valid list", "list_type")
    else:
        yield from _id_mistakes(value["ids"])


def _id_mistakes(ids: list[Any]) -> Iterator[FieldError]:
    for position, value in enumerate(ids):
        if type(value) is not int and not isinstance(value, str):
            message = "Input should be a valid integer, or a string where the source takes texts"
            yield FieldError(("ids", position), message, "id_type")
        elif isinstance(value, str) and not encodable(value):
            yield FieldError(("ids", position), "Text should be valid Unicode", "id_text")


def _unknown_keys(value: dict[str, Any]) -> Iterator[FieldError]:
    known = ", ".join(Submission.__struct_fields__)
    for key in sorted(value.keys() - set(Submission.__struct_fields__)):
        yield FieldError((_plain(key),), f"unknown key: known are {known}", "extra_forbidden")


def _priority_mistake() -> FieldError:
    names = [f"'{name}'" for name in Priority.__members__]
    return FieldError(
        ("priority",), f"Input should be {', '.join(names[:-1])} or {names[-1]}", "enum"
    )
