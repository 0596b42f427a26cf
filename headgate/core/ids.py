"""Which ids a source takes. An id is an integer within +-(2^63-1) or a text of at most 256 characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

Id = int | str

MAX_INTEGER = 2**63 - 1
MAX_TEXT = 256
MAX_ERRORS = 20


class IdType(StrEnum):
    INTEGER = "integer"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class IdRule:
    """The type of a source's ids with the range (integers) or the pattern (texts, the whole text must match)."""

    type: IdType = IdType.INTEGER
    min: int = -MAX_INTEGER
    max: int = MAX_INTEGER
    pattern: str | None = None


def first_wrong(
    rule: IdRule, ids: Sequence[object], most: int = MAX_ERRORS
) -> list[tuple[int, str]]:
    """List (position, what is wrong) of at most `most` ids that the source does not take; empty if all are good."""
    if _all_good(rule, ids):
        return []
    wrong: list[tuple[int, str]] = []
    for position, value in enumerate(ids):
        mistake = mistake_in(rule, value)
        if mistake:
            wrong.append((position, mistake))
            if len(wrong) == most:
                break
    return wrong


def mistake_in(rule: IdRule, value: object) -> str | None:
    """Say what is wrong with one id, or None."""
    if rule.type is IdType.INTEGER:
        return _integer_mistake(rule, value)
    return _text_mistake(rule, value)


def _all_good(rule: IdRule, ids: Sequence[object]) -> bool:
    """A quick yes for a million good integers, at the speed of the interpreter's own loops."""
    if rule.type is not IdType.INTEGER or set(map(type, ids)) != {int}:
        return False
    integers: Sequence[int] = ids  # type: ignore[assignment]  # every one was just seen to be an int
    return rule.min <= min(integers) and max(integers) <= rule.max


def _integer_mistake(rule: IdRule, value: object) -> str | None:
    if type(value) is not int:
        return "Input should be a valid integer"
    if value < rule.min:
        return f"Input should be greater than or equal to {rule.min}"
    if value > rule.max:
        return f"Input should be less than or equal to {rule.max}"
    return None


def _text_mistake(rule: IdRule, value: object) -> str | None:
    if not isinstance(value, str):
        return "Input should be a valid string"
    if not value:
        return "Text should have at least 1 character"
    if len(value) > MAX_TEXT:
        return f"Text should have at most {MAX_TEXT} characters"
    if not encodable(value):
        return "Text should be valid Unicode: it has a lone surrogate"
    if rule.pattern is not None and not _compiled(rule.pattern).fullmatch(value):
        return f"Text should match the pattern '{rule.pattern}'"
    return None


def encodable(text: str) -> bool:
    """Whether a text can be stored and sent: JSON can smuggle in lone surrogates, which UTF-8 cannot say."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
