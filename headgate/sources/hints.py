"""What the headers of a good answer say about the source's own limit. Pure; every header is a stranger's text.

Three dialects: RateLimit (IETF draft-ietf-httpapi-ratelimit-headers: `"default";r=0;t=30`), the RateLimit-Remaining
and -Reset pair of its older versions, and the X-RateLimit-* one, whose reset may be seconds or an instant. A hint
can only make us wait: nothing is ever granted because of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from headgate.core.retry import MAX_PAUSE_US

_NUMBER = re.compile(r"[0-9]{1,12}", re.ASCII)
_PARAMETER = re.compile(r";\s*([a-z]+)\s*=\s*([0-9]{1,12})(?![0-9.])", re.ASCII)
_PAIRS = (
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
)
_LONGEST = 512
_EPOCH_S = 1_000_000_000
"""A reset from here on is an instant in seconds since 1970: nobody's limit lasts thirty years."""


def nothing_left_us(headers: Mapping[str, str], *, now_wall_s: float) -> int | None:
    """For how long the source says that nothing is left of its limit; None if it says no such thing.

    Names of `headers` are in lower case. At most a day; of several limits the one that lasts longest.
    """
    waits = [*_of_draft(headers.get("ratelimit", "")), *_of_pairs(headers, now_wall_s)]
    longest = max(waits, default=0)
    return min(longest * 1_000_000, MAX_PAUSE_US) or None


def _of_draft(value: str) -> Iterable[int]:
    for item in value[:_LONGEST].split(","):
        said = {name: int(number) for name, number in _PARAMETER.findall(item)}
        if said.get("r") == 0:
            yield said.get("t", 0)


def _of_pairs(headers: Mapping[str, str], now_wall_s: float) -> Iterable[int]:
    for remaining, reset in _PAIRS:
        if _number(headers.get(remaining, "")) == 0:
            yield _until(_number(headers.get(reset, "")), now_wall_s)


def _until(reset: int | None, now_wall_s: float) -> int:
    if reset is None:
        return 0
    return reset if reset < _EPOCH_S else max(0, reset - int(now_wall_s))


def _number(text: str) -> int | None:
    text = text.strip(" \t")
    return int(text) if _NUMBER.fullmatch(text) else None
