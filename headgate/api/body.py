"""Reading a submission's body: strict, within a limit, and with errors that say where.

The usual body is decoded in one pass. Only one that is wrong, or might name a key twice, is looked at again slowly.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.requests import Request

from headgate.core.errors import FieldError, InvalidInput, TooLarge
from headgate.core.ids import MAX_ERRORS
from headgate.core.model import Priority


class Submitted(msgspec.Struct):
    """What a client hands in. Which ids are good is the source's to say; here they have the right types."""

    ids: list[int | str]
    priority: str | msgspec.UnsetType = msgspec.UNSET
    source: str | msgspec.UnsetType = msgspec.UNSET


_decode = msgspec.json.Decoder(Submitted).decode


async def read_body(request: Request, *, most: int) -> bytes:
    """The whole body of a JSON request.

    Raises TooLarge beyond `most` bytes, InvalidInput for another content type or encoding.
    """
    _check_headers(request, most)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def parse(body: bytes, *, strict_keys: bool = False) -> Submitted:
    """Decode a submission; `strict_keys`: one that we do not know is a mistake.

    Raises InvalidInput with at most 20 errors.
    """
    try:
        submitted = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput(*_mistakes(body)) from None
    if _has_other_keys(body, submitted):
        unknown = _load(body).keys() - set(Submitted.__struct_fields__)
        if strict_keys and unknown:
            raise InvalidInput(*_unknown_keys(unknown))
    return submitted


def source_of(submitted: Submitted) -> str | None:
    return None if submitted.source is msgspec.UNSET else str(submitted.source)


def priority_of(submitted: Submitted) -> Priority:
    """The priority asked for; MEDIUM if none was. Raises InvalidInput."""
    if submitted.priority is msgspec.UNSET:
        return Priority.MEDIUM
    try:
        return Priority[str(submitted.priority)]
    except KeyError:
        raise InvalidInput(_priority_mistake()) from None


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


def _has_other_keys(body: bytes, submitted: Submitted) -> bool:
    """Whether a key may be unknown or stand twice: each brings a colon, and so does nothing else but a text."""
    named = 1 + (submitted.priority is not msgspec.UNSET) + (submitted.source is not msgspec.UNSET)
    return body.count(b":") != named


class _RepeatedKey(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _RepeatedKey(key[:80])
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _load(body: bytes) -> Any:
    """Parse slowly and strictly. Raises InvalidInput for what is not JSON, and for a key that stands twice."""
    try:
        return json.loads(body, object_pairs_hook=_unique, parse_constant=_no_constant)
    except _RepeatedKey as error:
        raise InvalidInput(
            FieldError((str(error),), "this key stands twice: say it once", "duplicate_key")
        ) from None
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


def _mistakes(body: bytes) -> list[FieldError]:
    value = _load(body)
    if not isinstance(value, dict):
        return [FieldError((), "Input should be a JSON object with `ids`", "model_attributes_type")]
    found = [error for _, error in zip(range(MAX_ERRORS), _field_mistakes(value), strict=False)]
    return found or [FieldError((), "Input is not a valid submission")]


def _field_mistakes(value: dict[str, Any]) -> Iterator[FieldError]:
    priority = value.get("priority", "MEDIUM")
    if not isinstance(priority, str) or priority not in Priority.__members__:
        yield _priority_mistake()
    if not isinstance(value.get("source", ""), str):
        yield FieldError(("source",), "Input should be a valid string", "string_type")
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


def _unknown_keys(keys: set[str]) -> list[FieldError]:
    known = ", ".join(Submitted.__struct_fields__)
    return [
        FieldError((key[:80],), f"unknown key: known are {known}", "extra_forbidden")
        for key in sorted(keys)[:MAX_ERRORS]
    ]


def _priority_mistake() -> FieldError:
    names = [f"'{name}'" for name in Priority.__members__]
    return FieldError(
        ("priority",), f"Input should be {', '.join(names[:-1])} or {names[-1]}", "enum"
    )
