"""Every wrong submission that we could think of, with the place where it is wrong: the same for both faces."""

from __future__ import annotations

from typing import Any

import pytest

BIGGEST = 2**63 - 1

Place = tuple[str | int, ...]


def _deep(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + closing * depth


_WRONG: dict[str, tuple[bytes, Place]] = {
    # not JSON, or not of this shape
    "nothing": (b"", ()),
    "only-space": (b"  \n", ()),
    "not-json": (b"ids=1,2,3", ()),
    "single-quotes": (b"{'ids': [1]}", ()),
    "trailing-comma": (b'{"ids": [1,]}', ()),
    "cut-off": (b'{"ids": [1, 2', ()),
    "more-after-it": (b'{"ids": [1]} {"ids": [2]}', ()),
    "comment": (b'{"ids": [1]} // one', ()),
    "leading-zero": (b'{"ids": [01]}', ()),
    "plus-sign": (b'{"ids": [+1]}', ()),
    "hexadecimal": (b'{"ids": [0x1]}', ()),
    "null": (b"null", ()),
    "list": (b"[1, 2, 3]", ()),
    "number": (b"5", ()),
    "text": (b'"ids"', ()),
    "nan": (b'{"ids": [NaN]}', ()),
    "infinity": (b'{"ids": [-Infinity]}', ()),
    "nan-elsewhere": (b'{"ids": [1], "note": NaN}', ()),
    "bad-utf8-in-an-id": (b'{"ids": ["\xff"]}', ()),
    "bad-utf8-in-a-key": (b'{"ids": [1], "\xff": 1}', ()),
    "bad-utf8-outside-texts": (b'{"ids": [1]}\xff', ()),
    "overlong-utf8": (b'{"ids": ["\xc0\xaf"]}', ()),
    "surrogate-in-utf8": (b'{"ids": ["\xed\xa0\x80"]}', ()),
    "byte-order-mark": (b'\xef\xbb\xbf{"ids": [1]}', ()),
    "utf-16": ('{"ids": [1]}'.encode("utf-16"), ()),
    "utf-32": ('{"ids": [1]}'.encode("utf-32-le"), ()),
    "control-character": (b'{"ids": [1], "note": "\x01"}', ()),
    "nul": (b'{"ids": [1]}\x00', ()),
    "deep-ids": (b'{"ids": %s}' % _deep(100_000), ()),
    "deep-elsewhere": (b'{"ids": [1], "note": %s}' % _deep(100_000), ()),
    "deep-objects": (_deep(100_000, b'{"a":', b"}"), ()),
    "deep-and-open": (b"[" * 1_000_000, ()),
    # ids
    "no-ids": (b"{}", ("ids",)),
    "no-ids-but-a-priority": (b'{"priority": "HIGH"}', ("ids",)),
    "ids-null": (b'{"ids": null}', ("ids",)),
    "ids-a-number": (b'{"ids": 1}', ("ids",)),
    "ids-a-text": (b'{"ids": "1,2,3"}', ("ids",)),
    "ids-an-object": (b'{"ids": {"0": 1}}', ("ids",)),
    "ids-empty": (b'{"ids": []}', ("ids",)),
    "id-true": (b'{"ids": [1, true]}', ("ids", 1)),
    "id-false": (b'{"ids": [false]}', ("ids", 0)),
    "id-null": (b'{"ids": [1, 2, null]}', ("ids", 2)),
    "id-with-a-fraction": (b'{"ids": [1.5]}', ("ids", 0)),
    "id-a-whole-float": (b'{"ids": [1.0]}', ("ids", 0)),
    "id-with-an-exponent": (b'{"ids": [1e3]}', ("ids", 0)),
    "id-a-digit-as-text": (b'{"ids": [1, "5"]}', ("ids", 1)),
    "id-a-text": (b'{"ids": ["abc"]}', ("ids", 0)),
    "id-an-empty-text": (b'{"ids": [""]}', ("ids", 0)),
    "id-a-list": (b'{"ids": [[1]]}', ("ids", 0)),
    "id-an-object": (b'{"ids": [{"id": 1}]}', ("ids", 0)),
    "id-too-big": (b'{"ids": [%d]}' % (BIGGEST + 1), ("ids", 0)),
    "id-too-small": (b'{"ids": [1, %d]}' % (-BIGGEST - 1), ("ids", 1)),
    "id-beyond-64-bits": (b'{"ids": [%d]}' % 2**64, ("ids", 0)),
    "id-of-100-digits": (b'{"ids": [%s]}' % (b"9" * 100), ("ids", 0)),
    "id-of-5000-digits": (b'{"ids": [%s]}' % (b"9" * 5_000), ()),
    "id-of-a-million-digits": (b'{"ids": [-%s]}' % (b"1" * 1_000_000), ()),
    "id-a-huge-float": (b'{"ids": [1e999]}', ("ids", 0)),
    "id-a-lone-surrogate": (b'{"ids": [1, "\\ud800"]}', ("ids", 1)),
    # priority
    "priority-unknown": (b'{"ids": [1], "priority": "URGENT"}', ("priority",)),
    "priority-in-small-letters": (b'{"ids": [1], "priority": "high"}', ("priority",)),
    "priority-with-a-space": (b'{"ids": [1], "priority": "HIGH "}', ("priority",)),
    "priority-empty": (b'{"ids": [1], "priority": ""}', ("priority",)),
    "priority-null": (b'{"ids": [1], "priority": null}', ("priority",)),
    "priority-a-number": (b'{"ids": [1], "priority": 10}', ("priority",)),
    "priority-true": (b'{"ids": [1], "priority": true}', ("priority",)),
    "priority-a-list": (b'{"ids": [1], "priority": ["HIGH"]}', ("priority",)),
    "priority-endless": (b'{"ids": [1], "priority": "%s"}' % (b"H" * 1_000_000), ("priority",)),
    "priority-a-lone-surrogate": (b'{"ids": [1], "priority": "\\ud800"}', ("priority",)),
    # a key twice
    "ids-twice": (b'{"ids": [1], "ids": [2]}', ("ids",)),
    "ids-twice-once-escaped": (b'{"ids": [1], "\\u0069ds": [2]}', ("ids",)),
    "ids-twice-both-escaped": (b'{"\\u0069\\u0064s": [1], "i\\u0064s": [2]}', ("ids",)),
    "ids-twice-the-first-wrong": (b'{"ids": true, "ids": [2]}', ("ids",)),
    "priority-twice": (b'{"ids": [1], "priority": "LOW", "priority": "LOW"}', ("priority",)),
    "priority-twice-once-escaped": (
        b'{"priority": "LOW", "ids": [1], "\\u0070riority": "HIGH"}',
        ("priority",),
    ),
    "unknown-key-twice": (b'{"ids": [1], "note": 1, "note": 2}', ("note",)),
    "key-twice-in-an-unknown-key": (b'{"ids": [1], "x": {"a": 1, "a": 2}}', ("x", "a")),
    "key-twice-further-down": (
        b'{"ids": [1], "x": [{}, {"b": {"a": 1, "a": 2}}]}',
        ("x", 1, "b", "a"),
    ),
    "key-twice-in-an-id": (b'{"ids": [1, {"a": 1, "a": 2}]}', ("ids", 1, "a")),
    "key-twice-at-two-depths": (b'{"x": {"a": 1, "a": 2}, "ids": [1], "ids": [2]}', ("ids",)),
    "key-twice-at-a-great-depth": (
        b'{"ids": [1], "x": %s{"a": 1, "a": 2}%s}' % (b"[" * 90, b"]" * 90),
        ("x", *[0] * 9),
    ),
    "key-of-a-lone-surrogate-twice": (
        b'{"ids": [1], "\\ud800": 1, "\\ud800": 2}',
        ("\\ud800",),
    ),
}

WRONG = [pytest.param(body, place, id=name) for name, (body, place) in _WRONG.items()]
"""Parameters `body` and `place`."""

STRANGE_HEADERS = [
    pytest.param({}, id="no-content-type"),
    pytest.param({"content-type": "text/plain"}, id="text"),
    pytest.param({"content-type": "application/x-www-form-urlencoded"}, id="form"),
    pytest.param({"content-type": "multipart/form-data; boundary=x"}, id="multipart"),
    pytest.param({"content-type": "application/jsonp"}, id="nearly-json"),
    pytest.param({"content-type": "json"}, id="no-type-at-all"),
    pytest.param(
        {"content-type": "application/json", "content-encoding": "gzip"}, id="said-to-be-gzip"
    ),
    pytest.param(
        {"content-type": "application/json", "content-encoding": "br"}, id="said-to-be-brotli"
    ),
    pytest.param(
        {"content-type": "application/json", "content-encoding": "gzip, identity"}, id="twice"
    ),
]
"""Headers with which even a good body is not taken."""


def where(place: Place) -> list[Any]:
    """A place as FastAPI's `loc` says it."""
    return ["body", *place]


def pointer(place: Place) -> str:
    """A place as a JSON pointer (RFC 6901) says it."""
    return "".join(f"/{part}" for part in place)
