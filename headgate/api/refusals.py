"""What FastAPI and its router refuse by themselves, answered as every other error is (`problems.py`)."""

from __future__ import annotations

from http import HTTPStatus

from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from headgate.api.problems import answer
from headgate.core.errors import FieldError, HeadgateError, InvalidInput
from headgate.core.ids import MAX_ERRORS


async def on_invalid(request: Request, error: Exception) -> Response:
    """The handler for what FastAPI itself finds wrong with a query, a path or a header."""
    assert isinstance(error, RequestValidationError)
    found = [
        FieldError(tuple(mistake["loc"]), mistake["msg"], mistake["type"])
        for mistake in error.errors()[:MAX_ERRORS]
    ]
    return answer(InvalidInput(*found), request.url.path)


async def on_http_error(request: Request, error: Exception) -> Response:
    """The handler for what the router refuses: no such route, not this method."""
    assert isinstance(error, HTTPException)
    if not request.url.path.startswith("/v1"):
        return await http_exception_handler(request, error)
    refused = HeadgateError(str(error.detail))
    refused.status, refused.code = error.status_code, "http_error"
    response = answer(refused, request.url.path)
    response.headers.update(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = ", ".join(sorted(_methods_at(request)))
    return response


def _methods_at(request: Request) -> set[str]:
    """Every method that some route has at this path; the router names those of the first one only."""
    found: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.methods and route.path_regex.match(request.scope["path"]):
            found |= route.methods
    return found
