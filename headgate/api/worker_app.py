"""The face of a process that only calls sources: whether it is alive, and whether it would do its work now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from headgate.api import health
from headgate.api.backend import OpenBackend
from headgate.api.problems import on_error
from headgate.core.errors import HeadgateError


def create_worker_app(open_backend: OpenBackend) -> Starlette:
    """An ASGI application whose lifespan is the worker's."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        backend = app.state.backend = open_backend()
        try:
            await backend.start()
            yield
        finally:
            await backend.stop()

    handlers = {HeadgateError: on_error}
    return Starlette(routes=health.ROUTES, lifespan=lifespan, exception_handlers=handlers)
