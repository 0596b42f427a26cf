"""One default-deny layer for everything: which host was meant, which page asks, which key was sent.

What carries no data is open without a key: the pages themselves, their scripts, and the two health words.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from headgate.api.backend import Access
from headgate.api.problems import answer
from headgate.core.errors import Forbidden, HeadgateError, NotAllowed

OPEN_PATHS = frozenset(
    {
        "/",
        "/healthz",
        "/readyz",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/openapi.json",
        "/favicon.ico",
    }
)
OPEN_FOLDERS = ("/page/", "/static-offline-docs/")
Check = Callable[[Access, str, str, Headers], HeadgateError | None]
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def guarded(app: ASGIApp, access: Access) -> ASGIApp:
    """The application behind the checks that are configured; as it is, where there are none."""
    checks = [
        *([wrong_key] if access.api_keys else []),
        *([wrong_origin] if access.allowed_hosts or access.cors_origins else []),
    ]
    checked: ASGIApp = _Checked(app, access, checks) if checks else app
    if access.cors_origins:
        checked = CORSMiddleware(
            checked,
            allow_origins=access.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
            expose_headers=["Location", "Retry-After"],
        )
    return _Checked(checked, access, [wrong_host]) if access.allowed_hosts else checked


class _Checked:
    def __init__(self, app: ASGIApp, access: Access, checks: Sequence[Check]) -> None:
        self._app = app
        self._access = access
        self._checks = checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        for check in self._checks:
            error = check(self._access, scope["method"], scope["path"], headers)
            if error is not None:
                await answer(error, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)


def wrong_host(access: Access, _method: str, _path: str, headers: Headers) -> HeadgateError | None:
    """A page of a stranger may have bent a name to our address (DNS rebinding): the name gives it away."""
    if not access.allowed_hosts:
        return None
    host = headers.get("host", "").lower()
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if any(_covers(allowed, name) for allowed in access.allowed_hosts):
        return None
    return Forbidden(
        f"this host name is not served: add it to HEADGATE_ALLOWED_HOSTS ({name[:80]!r})"
    )


def _covers(allowed: str, name: str) -> bool:
    """`*` is every name, `*.example.com` every name below that one."""
    if allowed == "*":
        return True
    return name.endswith(allowed[1:]) if allowed.startswith("*.") else name == allowed


def wrong_origin(access: Access, method: str, _path: str, headers: Headers) -> HeadgateError | None:
    """Where hosts or origins are told apart, a page of another origin that is not listed may change nothing."""
    origin = headers.get("origin")
    told_apart = access.allowed_hosts or access.cors_origins
    if not told_apart or method in SAFE_METHODS or origin is None:
        return None
    if origin in access.cors_origins:
        return None
    if origin.partition("://")[2].lower() == headers.get("host", "").lower():
        return None
    return Forbidden(f"pages of {origin[:80]!r} may not do this: add it to HEADGATE_CORS_ORIGINS")


def wrong_key(access: Access, _method: str, path: str, headers: Headers) -> HeadgateError | None:
    """Where there are keys, everything that carries data needs one."""
    if not access.api_keys or path in OPEN_PATHS or path.startswith(OPEN_FOLDERS):
        return None
    scheme, _, sent = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _known(access.api_keys, sent.strip()):
        return None
    return NotAllowed()


def _known(keys: Sequence[str], sent: str) -> bool:
    """Compare with every key in constant time; digests, so that not even lengths are told."""
    digest = _digest(sent)
    matches = [hmac.compare_digest(_digest(key), digest) for key in keys]  # every one, always
    return any(matches)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
