"""The application, put together: routes, error answers, the front layer, the lifespan. Making it does no I/O."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from headgate import __version__
from headgate.api import health, seed
from headgate.api.backend import OpenBackend
from headgate.api.front import Front, opened
from headgate.api.problems import on_error
from headgate.core.errors import HeadgateError


def create_app(open_backend: OpenBackend) -> FastAPI:
    """An ASGI application over the backend that `open_backend` opens: in the lifespan, or at the first request."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        backend = opened(app.state, open_backend)
        await backend.start()
        try:
            yield
        finally:
            del app.state.backend
            await backend.stop()

    app = FastAPIOffline(
        title="Headgate",
        version=__version__,
        description="Pull records by id from rate-limited APIs: durable, prioritised, never over quota.",
        lifespan=lifespan,
    )
    app.router.routes.extend([*seed.ROUTES, *health.ROUTES])
    app.add_exception_handler(HeadgateError, on_error)
    app.add_middleware(Front, open_backend=open_backend, state=app.state)
    return app
