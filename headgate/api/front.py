"""The outermost layer: it opens the backend before the first request, then lets in who may come in."""

from __future__ import annotations

import sys

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headgate.api.access import guarded
from headgate.api.backend import Backend
from headgate.api.opening import Opening
from headgate.api.problems import answer
from headgate.core.errors import HeadgateError


class Front:
    """Opens on demand: under a lifespan it was opened before; without one (a bare TestClient) it is opened here."""

    def __init__(self, app: ASGIApp, *, opening: Opening) -> None:
        self._app = app
        self._opening = opening
        self._guarded: tuple[Backend, ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, _in_plain_words(send))
            return
        try:
            backend = self._opening.present() or await self._opening.late()
        except HeadgateError as error:
            await answer(error, scope["path"])(scope, receive, send)
            return
        await self._behind_checks(backend)(scope, receive, send)

    def _behind_checks(self, backend: Backend) -> ASGIApp:
        made = self._guarded
        if made is None or made[0] is not backend:
            made = self._guarded = (backend, guarded(self._app, backend.access))
        return made[1]


def _in_plain_words(send: Send) -> Send:
    """A start that fails for what the configuration says needs its words, not a traceback."""

    async def plain(message: Message) -> None:
        error = sys.exception()
        if message["type"] == "lifespan.startup.failed" and isinstance(error, HeadgateError):
            message = {**message, "message": error.message}
        await send(message)

    return plain
