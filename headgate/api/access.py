"""One default-deny layer for everything: which host was meant, which page asks, which key was sent.

What carries no data is open without a key: the pages themselves, their scripts, and the two health words.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence

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
        "/redoc",
        "/openapi.json",
        "/favicon.ico",
    }
)
OPEN_FOLDERS = ("/page/", "/static-offline-docs/")
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
DEFAULT_PORTS = {"http": ":80", "https": ":443"}

Check = Callable[[Access, Scope], HeadgateError | None]
"""Looks at a request; each is asked only where what it goes by is configured, and does not ask for that again."""


def guarded(app: ASGIApp, access: Access) -> ASGIApp:
    """The application behind the checks that are configured, and behind the one of origins in any case."""
    checked: ASGIApp = _Checked(app, access, wrong_origin)
    if access.api_keys:
        checked = _Checked(checked, access, wrong_key)
    if access.cors_origins:
        checked = CORSMiddleware(
            checked,
            allow_origins=access.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
            expose_headers=["Location", "Retry-After"],
        )
    return _Checked(checked, access, wrong_host) if access.allowed_hosts else checked


class _Checked:
    def __init__(self, app: ASGIApp, access: Access, check: Check) -> None:
        self._app = app
        self._access = access
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._check(self._access, scope)
        if error is None:
            await self._app(scope, receive, send)
        else:
            await answer(error, scope["path"])(scope, receive, send)


def wrong_host(access: Access, scope: Scope) -> HeadgateError | None:
    """A page of a stranger may have bent a name to our address (DNS rebinding): the name gives it away."""
    host = (_header(scope, b"host") or "").lower()
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


def wrong_origin(access: Access, scope: Scope) -> HeadgateError | None:
    """A page of another origin that is not listed may change nothing."""
    if scope["method"] in SAFE_METHODS:
        return None
    origin = _header(scope, b"origin")
    if (
        origin is None
        or origin in access.cors_origins
        or not _is_of_a_stranger(origin, access, scope)
    ):
        return None
    return Forbidden(f"pages of {origin[:80]!r} may not do this: add it to HEADGATE_CORS_ORIGINS")


def _is_of_a_stranger(origin: str, access: Access, scope: Scope) -> bool:
    """Whether a page that is not listed is not our own either.

    A proxy may have put another Host, or dropped its port, so a Host that differs proves nothing. Browsers say
    what they saw themselves in Sec-Fetch-Site, over HTTPS and to localhost; no page can forge that. Where it is
    not said, only a server that was told its names or origins may go by the Host.
    """
    if _same(origin, _header(scope, b"host") or ""):
        return False
    site = _header(scope, b"sec-fetch-site")
    if site is None:
        return bool(access.allowed_hosts or access.cors_origins)
    return site not in {"same-origin", "none"}  # none: no page at all asked for it


def _same(origin: str, host: str) -> bool:
    """Whether a Host is that of an origin; either may name the port that the scheme has anyway."""
    scheme, _, name = origin.lower().partition("://")
    port = DEFAULT_PORTS.get(scheme, "")
    return name != "" and name.removesuffix(port) == host.lower().removesuffix(port)


def wrong_key(access: Access, scope: Scope) -> HeadgateError | None:
    """Where there are keys, everything that carries data needs one."""
    if scope["path"] in OPEN_PATHS or scope["path"].startswith(OPEN_FOLDERS):
        return None
    scheme, _, sent = (_header(scope, b"authorization") or "").partition(" ")
    if scheme.lower() == "bearer" and _known(access.api_keys, sent.strip()):
        return None
    return NotAllowed()


def _header(scope: Scope, name: bytes) -> str | None:
    """The first header of a name, looked for in what the server handed over: nothing is built for the others."""
    for each, value in scope["headers"]:
        if each == name:
            return str(value, "latin-1")
    return None


def _known(keys: Sequence[str], sent: str) -> bool:
    """Compare with every key in constant time; digests, so that not even lengths are told."""
    digest = _digest(sent)
    matches = [hmac.compare_digest(_digest(key), digest) for key in keys]  # every one, always
    return any(matches)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
