"""POST /ingest comes thousands of times a second: it goes straight to its handler, past the router.

Innermost of all layers, so that whatever middleware is added to the application stands around it as around any route.
Measured: docs/decisions/0015-a-short-way-for-ingest.md.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from headgate.api import seed
from headgate.api.problems import answer
from headgate.core.errors import HeadgateError


class ShortWay:
    """The application, with one route found without looking for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/ingest" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            response = await seed.ingest(Request(scope, receive, send))
        except HeadgateError as error:
            response = answer(error, "/ingest")
        await response(scope, receive, send)
