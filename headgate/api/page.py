"""The pages without data: the one at `/` with its files, and the two that show the API, which work offline.

Each says in its Content-Security-Policy that it talks to nobody but this server. They carry no data, so no key
is needed for them (access.py). Files are read once, at the first request; only names that are there are served.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

INDEX: Final = "index.html"
ICON: Final = "icon.svg"
OFFLINE: Final = "/static-offline-docs"
"""Where fastapi-offline serves Swagger UI and ReDoc."""
REDOC: Final = "/page/redoc.standalone.js"
REDOC_LOGO: Final = b"https://cdn.redoc.ly/redoc/logo-mini.svg"

_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; connect-src 'self'; style-src 'self'{styles};"
    " img-src 'self' data:; {more}frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
_PLAIN = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_INLINE_STYLES = " 'unsafe-inline'"
_WORKERS = "worker-src blob:; "


def policy(*, scripts: str = "", styles: str = "", more: str = "") -> str:
    """A Content-Security-Policy: this server only, and what a page needs beside it."""
    return _POLICY.format(scripts=scripts, styles=styles, more=more)


# --- the page at / ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Served:
    """A file as it is served."""

    body: bytes
    kind: str
    etag: str


@cache
def shelf() -> dict[str, Served]:
    """Every file of the page by its name."""
    folder = files("headgate") / "dashboard"
    return {
        item.name: _served(item.name, item.read_bytes())
        for item in folder.iterdir()
        if _kind(item.name) is not None
    }


def _kind(name: str) -> str | None:
    return next((kind for ending, kind in _KINDS.items() if name.endswith(ending)), None)


def _served(name: str, body: bytes) -> Served:
    return Served(body, _kind(name) or "", f'"{hashlib.sha256(body).hexdigest()[:32]}"')


async def index(request: Request) -> Response:
    """The page."""
    return _answer(request, INDEX)


async def icon(request: Request) -> Response:
    """What browsers ask for by themselves."""
    return _answer(request, ICON)


async def file(request: Request) -> Response:
    """A file of the page, by its exact name."""
    return _answer(request, request.path_params["name"])


def _answer(request: Request, name: str) -> Response:
    found = shelf().get(name)
    if found is None:
        raise HTTPException(404, "Not Found")
    headers = {
        **_PLAIN,
        "Cache-Control": "no-cache",
        "Content-Security-Policy": policy(),
        "ETag": found.etag,
    }
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.body, headers=headers, media_type=found.kind)


# --- the pages of the API -----------------------------------------------------------------------


async def swagger(request: Request) -> Response:
    """/docs: every route, to read and to try."""
    root = request.scope.get("root_path", "")
    page = get_swagger_ui_html(
        openapi_url=f"{root}{request.app.openapi_url}",
        title=f"{request.app.title}: the API",
        swagger_js_url=f"{root}{OFFLINE}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{OFFLINE}/swagger-ui.css",
        swagger_favicon_url=f"{root}/page/{ICON}",
    )
    return _guarded(page, policy(scripts=_hashes(bytes(page.body)), styles=_INLINE_STYLES))


async def redoc(request: Request) -> Response:
    """/redoc: the same to read."""
    root = request.scope.get("root_path", "")
    page = get_redoc_html(
        openapi_url=f"{root}{request.app.openapi_url}",
        title=f"{request.app.title}: the API",
        redoc_js_url=f"{root}{REDOC}",
        redoc_favicon_url=f"{root}/page/{ICON}",
        with_google_fonts=False,
    )
    return _guarded(page, policy(styles=_INLINE_STYLES, more=_WORKERS))


async def redoc_script(_: Request) -> Response:
    """ReDoc, without the one thing that it would fetch from outside; the policy would stop it, but not quietly."""
    return Response(_homely_redoc(), headers=_PLAIN, media_type=_KINDS[".js"])


@cache
def _homely_redoc() -> bytes:
    script = (files("fastapi_offline") / "static" / "redoc.standalone.js").read_bytes()
    return script.replace(REDOC_LOGO, b"data:,")  # an image that is none is not shown


def _guarded(page: HTMLResponse, allowed: str) -> Response:
    page.headers.update({**_PLAIN, "Content-Security-Policy": allowed})
    return page


def _hashes(html: bytes) -> str:
    """Name the scripts within a page, so that no other may run there."""
    digests = [hashlib.sha256(script).digest() for script in _INLINE_SCRIPT.findall(html)]
    return "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


ROUTES = [
    Route("/", index),
    Route(REDOC, redoc_script),
    Route("/page/{name}", file),
    Route("/favicon.ico", icon),
    Route("/docs", swagger),
    Route("/redoc", redoc),
]
