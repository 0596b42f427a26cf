"""The application, put together: routes, error answers, the front layer, the lifespan. Making it does no I/O."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from headgate import __version__
from headgate.api import health, ingestions, page, records, seed, sources, workers
from headgate.api.backend import OpenBackend
from headgate.api.docs import describe
from headgate.api.front import Front
from headgate.api.opening import Opening
from headgate.api.problems import on_error
from headgate.api.queries import only_known
from headgate.api.refusals import on_http_error, on_invalid
from headgate.api.short_way import ShortWay
from headgate.core.errors import HeadgateError


def create_app(open_backend: OpenBackend) -> FastAPI:
    """An ASGI application over the backend that `open_backend` opens: in the lifespan, or at the first request."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        backend = await opening.begin()
        try:
            await backend.start()
            yield
        finally:
            opening.end(backend)
            await backend.stop()

    app = FastAPIOffline(
        title="Headgate",
        version=__version__,
        description="Pull records by id from rate-limited APIs: durable, prioritised, never over quota.",
        lifespan=lifespan,
        docs_url=None,  # page.py serves both, under a policy that keeps them at home
        redoc_url=None,
    )
    opening = Opening(open_backend, app.state)
    app.router.routes[:0] = [
        *seed.ROUTES,
        *health.ROUTES,
        *page.ROUTES,
    ]  # the hot ones are found first
    for router in (ingestions.router, records.router, sources.router, workers.router):
        app.include_router(router, dependencies=[Depends(only_known)])
    describe(app)
    app.add_exception_handler(HeadgateError, on_error)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_middleware(ShortWay)
    app.add_middleware(Front, opening=opening)
    return app
