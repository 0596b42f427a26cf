"""What the headers of an answer say about waiting. Pure; every header is a stranger's text.

Only sane values are believed, and a value can only make us wait longer: what cannot be read is as if it were not there.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from headgate.core.retry import MAX_PAUSE_US

_LONGEST = 64
"""No delay and no date needs more characters; a longer text is not read at all."""

_SECONDS = re.compile(r"([0-9]+)(?:\.([0-9]+))?", re.ASCII)
_DATE = re.compile(r"[A-Za-z]{3,9},? .*[0-9]{2}:[0-9]{2}:[0-9]{2}.*", re.ASCII)


def retry_after_us(value: str | None, *, now_wall_s: float, date: str | None = None) -> int | None:
    """Say for how long a Retry-After asks us to wait: 0 to a day, or None where it says nothing that makes sense.

    Seconds may have a fraction (rounded up to a microsecond); a sign, an exponent, NaN and other digits than 0-9
    say nothing. An HTTP date in any of its three forms is counted from the answer's own `date` header where that
    is within a day of our clock, so that a wrong clock of either side does no harm; a date that has passed is 0.
    """
    if value is None or len(value) > _LONGEST:
        return None
    text = value.strip(" \t")
    seconds = _SECONDS.fullmatch(text)
    if seconds:
        return min(_microseconds(seconds[1], seconds[2] or ""), MAX_PAUSE_US)
    until = http_date(text)
    if until is None:
        return None
    delay = math.ceil((until - _their_now(date, now_wall_s)) * 1_000_000)
    return min(max(0, delay), MAX_PAUSE_US)


def http_date(value: str | None) -> float | None:
    """Read an HTTP date (RFC 9110 5.6.7, all three forms) as seconds since 1970, or None."""
    if value is None or len(value) > _LONGEST or not _DATE.fullmatch(value):
        return None
    try:
        parsed = parsedate_to_datetime(value)
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    return _utc(parsed).timestamp()


def _utc(parsed: datetime) -> datetime:
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _microseconds(whole: str, fraction: str) -> int:
    """By integers alone: no float to overflow, to lose digits or to be no number."""
    exact = int((fraction + "000000")[:6])
    rest = 1 if fraction[6:].strip("0") else 0
    return int(whole) * 1_000_000 + exact + rest


def _their_now(date: str | None, now_wall_s: float) -> float:
    theirs = http_date(date.strip(" \t")) if date else None
    if theirs is None or abs(theirs - now_wall_s) > MAX_PAUSE_US / 1_000_000:
        return now_wall_s
    return theirs
