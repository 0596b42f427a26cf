"""The outermost layer: it opens the backend before the first request, then lets in who may come in."""

from __future__ import annotations

import logging
import sys
import threading
from typing import cast

from starlette.datastructures import State
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headgate.api.access import guarded
from headgate.api.backend import Backend, OpenBackend
from headgate.api.problems import answer
from headgate.core.errors import HeadgateError, SourceMisconfigured, Unavailable

_opening = threading.Lock()


class Front:
    """Opens on demand: under a lifespan it was opened before; without one (a bare TestClient) it is opened here."""

    def __init__(self, app: ASGIApp, *, open_backend: OpenBackend, state: State) -> None:
        self._app = app
        self._open = open_backend
        self._state = state
        self._guarded: tuple[Backend, ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, _in_plain_words(send))
            return
        try:
            app = self._behind_checks()
        except HeadgateError as error:
            await answer(error, scope["path"])(scope, receive, send)
            return
        await app(scope, receive, send)

    def _behind_checks(self) -> ASGIApp:
        backend = self._state._state.get("backend")
        if backend is None:
            backend = self._open_late()
            backend.say(
                "the store was opened by a request: without a lifespan nothing is dispatched"
                " (serve with uvicorn, or test with `with TestClient(app)`)"
            )
        if self._guarded is None or self._guarded[0] is not backend:
            self._guarded = (backend, guarded(self._app, backend.access))
        return self._guarded[1]

    def _open_late(self) -> Backend:
        """Open for a request; what is wrong with the configuration is for our log, and not for strangers."""
        try:
            return opened(self._state, self._open)
        except SourceMisconfigured as error:
            logging.getLogger("headgate").error("%s", error)  # noqa: TRY400 - its words are enough
            raise Unavailable(
                "the store cannot be opened: the log of the server says why", retry_after_s=5
            ) from error


def _in_plain_words(send: Send) -> Send:
    """A start that fails for what the configuration says needs its words, not a traceback."""

    async def plain(message: Message) -> None:
        error = sys.exception()
        if message["type"] == "lifespan.startup.failed" and isinstance(error, HeadgateError):
            message = {**message, "message": error.message}
        await send(message)

    return plain


def opened(state: State, open_backend: OpenBackend) -> Backend:
    """The backend, opened once for all loops and threads."""
    backend = state._state.get("backend")
    if backend is None:
        with _opening:
            backend = state._state.get("backend")
            if backend is None:
                backend = state.backend = open_backend()
    return cast("Backend", backend)
