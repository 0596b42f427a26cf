r"""JSON taken apart without being rewritten: each part is the very bytes that were sent. Pure.

msgspec does the work. It refuses half a surrogate pair (`"\ud83d"`, what is left of an emoji that somebody cut),
which is legal JSON and does happen, so such an answer is read a second time by the standard library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import msgspec

T = TypeVar("T")

_BOM = b"\xef\xbb\xbf"
_BLANK = re.compile(r"[ \t\n\r]*")
_BETWEEN = re.compile(r"[ \t\n\r,:]*")
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
_LONGEST_INTEGER = 4_000
"""Digits; Python itself refuses to read integers that are much longer."""

_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)

_read_value = msgspec.json.Decoder()
_read_raw = msgspec.json.Decoder(msgspec.Raw)
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_read_elements = msgspec.json.Decoder(list[msgspec.Raw])


class NotJson(ValueError):
    """The bytes are not the JSON that was expected."""


def document(body: bytes) -> bytes:
    """Check a whole answer once and give its one value, without a byte order mark and blanks around it."""
    try:
        body.decode()  # msgspec takes a text apart without looking whether its bytes are UTF-8
    except UnicodeDecodeError:
        raise NotJson from None
    body = body.removeprefix(_BOM)
    return _either(body, lambda: bytes(_read_raw.decode(body)), lambda text: _whole(text).encode())


def members(value: bytes) -> dict[str, bytes]:
    """The members of an object, each with its own bytes; of a repeated name the last."""
    return _either(
        value,
        lambda: {name: bytes(raw) for name, raw in _read_members.decode(value).items()},
        _split_object,
    )


def elements(value: bytes) -> list[bytes]:
    """The elements of an array, each with its own bytes."""
    return _either(
        value,
        lambda: [bytes(raw) for raw in _read_elements.decode(value)],
        _split_array,
    )


def scalar(value: bytes) -> object:
    """A short value as Python has it: an id."""
    return _either(value, lambda: _read_value.decode(value), json.loads)


def tree(value: bytes) -> Any:
    """The whole value as Python has it, with every number remembering how it was written."""
    try:
        return json.loads(
            value, parse_float=_Written, parse_int=_integer, parse_constant=_no_such_number
        )
    except (ValueError, RecursionError):
        raise NotJson from None


def written(value: object) -> bytes:
    """JSON again, for what came out of an expression: the same value, numbers as they were written."""
    try:
        return msgspec.json.encode(value, enc_hook=_as_written)
    except UnicodeEncodeError:
        pass  # half a surrogate pair: only as an escape can it be said
    except (ValueError, TypeError, RecursionError, OverflowError):
        raise NotJson from None
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError):
        raise NotJson from None


class _Written(float):
    """A number that remembers its text."""

    __slots__ = ("text",)

    def __new__(cls, text: str) -> _Written:
        number = super().__new__(cls, text)
        number.text = text
        return number

    text: str


# JMESPath's functions look at the name of a type, not at the type.
_Written.__name__ = "float"


def _integer(text: str) -> int | _Written:
    return _Written(text) if text == "-0" or len(text) > _LONGEST_INTEGER else int(text)


def _as_written(value: object) -> msgspec.Raw:
    if isinstance(value, _Written):
        return msgspec.Raw(value.text.encode())
    raise TypeError


def _no_such_number(_: str) -> NoReturn:
    raise NotJson


def _either(value: bytes, fast: Callable[[], T], patient: Callable[[str], T]) -> T:
    try:
        return fast()
    except _UNREADABLE:
        if not _HALF_PAIR.search(value):
            raise NotJson from None
    try:
        return patient(value.decode())
    except _UNREADABLE:
        raise NotJson from None


_patient = json.JSONDecoder(parse_constant=_no_such_number, parse_int=len, parse_float=len)
"""Finds where values end. What numbers are does not matter to it, and `len` takes integers of any length."""


def _whole(text: str) -> str:
    start = _after(_BLANK, text, 0)
    end = _patient.raw_decode(text, start)[1]
    if _after(_BLANK, text, end) != len(text):
        raise NotJson
    return text[start:end]


def _split_object(text: str) -> dict[str, bytes]:
    parts = _split(text, "{")
    return {json.loads(name): value.encode() for name, value in zip(parts, parts, strict=True)}


def _split_array(text: str) -> list[bytes]:
    return [part.encode() for part in _split(text, "[")]


def _split(text: str, opening: str) -> Iterator[str]:
    """The values directly inside; of an object names and values in turn. The text was found to be JSON before."""
    if not text.startswith(opening):
        raise NotJson
    at = _after(_BETWEEN, text, 1)
    while text[at] not in "]}":
        end = _patient.raw_decode(text, at)[1]
        yield text[at:end]
        at = _after(_BETWEEN, text, end)


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
