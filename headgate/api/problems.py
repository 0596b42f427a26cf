"""The one place that turns an error into an answer: FastAPI's `detail` for the two public endpoints,
problem details (RFC 9457) with a JSON pointer (RFC 6901) for each bad field under /v1.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from headgate.core.errors import (
    HeadgateError,
    InvalidInput,
    NotAllowed,
    SourceMisconfigured,
    StoreMisused,
    Unavailable,
)


def answer(error: HeadgateError, path: str) -> Response:
    """The answer to a request for `path` that ended in this error.

    What is ours to mend, a mistake in the configuration or in the code, is for our log and not for strangers.
    """
    if isinstance(error, SourceMisconfigured | StoreMisused):
        logging.getLogger("headgate").error("%s: %s", type(error).__name__, error)
        error = _for_strangers(error)
    if path.startswith("/v1"):
        return _response(error, problem(error), "application/problem+json")
    return _response(error, {"detail": _detail(error)}, "application/json")


def _for_strangers(error: SourceMisconfigured | StoreMisused) -> HeadgateError:
    if isinstance(error, StoreMisused):
        return StoreMisused("this is a mistake of Headgate: the log of the server says which")
    return Unavailable("the store cannot be used: the log of the server says why", retry_after_s=5)


def problem(error: HeadgateError) -> dict[str, Any]:
    """An error as problem details."""
    body: dict[str, Any] = {
        "type": f"urn:headgate:problem:{error.code}",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
        "code": error.code,
    }
    if isinstance(error, InvalidInput):
        body["errors"] = [
            {"pointer": _pointer(e.where), "detail": e.message, "code": e.kind}
            for e in error.errors
        ]
    return body


async def on_error(request: Request, error: Exception) -> Response:
    """The handler that the application registers for HeadgateError."""
    assert isinstance(error, HeadgateError)
    return answer(error, request.url.path)


def _detail(error: HeadgateError) -> Any:
    if not isinstance(error, InvalidInput):
        return error.message
    return [{"type": e.kind, "loc": _loc(e.where), "msg": e.message} for e in error.errors]


def _loc(where: tuple[str | int, ...]) -> list[str | int]:
    """As FastAPI says where: in the body, but for what is named with another place."""
    return [*where] if where[:1] == ("header",) else ["body", *where]


def _response(error: HeadgateError, body: Any, media_type: str) -> Response:
    return Response(
        msgspec.json.encode(body), error.status, headers=_headers(error), media_type=media_type
    )


def _headers(error: HeadgateError) -> Mapping[str, str]:
    if isinstance(error, NotAllowed):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, Unavailable):
        return {"Retry-After": str(error.retry_after_s)}
    return {}


def _pointer(where: tuple[str | int, ...]) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in where)
