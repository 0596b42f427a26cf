"""One word each: is the process alive, and would it do its work now."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from headgate.api.backend import backend_of


async def healthz(_: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("ok")


async def readyz(request: Request) -> Response:
    """The store answers. 503 otherwise, by the error that it raises."""
    await backend_of(request).service.ready()
    return PlainTextResponse("ready")


ROUTES = [
    Route("/healthz", healthz, methods=["GET"]),
    Route("/readyz", readyz, methods=["GET"]),
]
