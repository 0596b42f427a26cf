"""What the application serves: the service behind it and who may call. bootstrap.py makes one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

from starlette.requests import Request

from headgate.service import Service


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call, from where, with how much. Keys never print themselves."""

    api_keys: tuple[str, ...] = field(default=(), repr=False)
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_body_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SourceCard:
    """What this process's configuration says of a source, for people."""

    type: str
    default: bool


class Backend(Protocol):
    """One process's parts, opened."""

    @property
    def cards(self) -> Mapping[str, SourceCard]: ...

    @property
    def service(self) -> Service: ...

    @property
    def access(self) -> Access: ...

    def say(self, words: str) -> None:
        """A loud line about the process."""

    async def start(self) -> None:
        """Begin to dispatch."""

    async def stop(self) -> None:
        """Begin no new call, let running ones finish, and close the store."""


OpenBackend = Callable[[], Backend]


def backend_of(request: Request) -> Backend:
    """The backend of the application that a request came to; it is open by then (front.py)."""
    return cast("Backend", request.app.state.backend)
