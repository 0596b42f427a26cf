"""Which backend an application serves: that of its lifespan or, without one, that which a request had to open.

A lifespan opens what the environment names when it begins, whatever a request opened before. Nothing of the
environment is read here, that is bootstrap's; it is only looked at whether it is still the same.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import State

from headgate.api.backend import Backend, OpenBackend

LATE = (
    "the store was opened by a request: without a lifespan nothing is dispatched"
    " (serve with uvicorn, or test with `with TestClient(app)`)"
)

OURS = "HEADGATE_"
OTHERS = frozenset({"DATABASE_URL", "XDG_DATA_HOME", "HOME"})
"""What else decides where the database is."""


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """All that decides what would be opened now: the folder, and variables (which may be secret)."""

    folder: tuple[int, int]
    variables: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Late:
    """A backend that a request opened, and in which surroundings."""

    backend: Backend
    opened_in: _Surroundings


class Opening:
    """The one backend of an application, for all loops and threads; requests find it in `state.backend`."""

    def __init__(self, open_backend: OpenBackend, state: State) -> None:
        self._open = open_backend
        self._state = state
        self._late: _Late | None = None
        self._lock = threading.Lock()

    async def begin(self) -> Backend:
        """Open for a lifespan what the environment names now; what a request had opened is closed then."""
        backend = self._open()
        with self._lock:
            before = self._put(backend, None)
        await _stop(before)
        return backend

    def end(self, backend: Backend) -> None:
        """Let no request find a backend whose lifespan ends."""
        with self._lock:
            if self._state._state.get("backend") is backend:
                del self._state.backend

    def present(self) -> Backend | None:
        """The backend that serves; None if a request has to open one, or another one by now."""
        late = self._late
        if late is not None and late.opened_in != _surroundings():
            return None
        return self._state._state.get("backend")

    async def late(self) -> Backend:
        """Open for a request, once for all that come at once; what was opened late before is closed then."""
        with self._lock:
            present = self.present()
            if present is not None:
                return present
            surroundings = _surroundings()
            backend = self._open()
            before = self._put(backend, _Late(backend, surroundings))
        backend.say(LATE)
        await _stop(before)
        return backend

    def _put(self, backend: Backend, late: _Late | None) -> _Late | None:
        """Serve this one from now on; returns what had been opened late."""
        before, self._late = self._late, late
        self._state.backend = backend
        return before


async def _stop(late: _Late | None) -> None:
    if late is not None:
        await late.backend.stop()


def _surroundings() -> _Surroundings:
    here = Path().stat()  # unlike cwd(), it works in a folder that is gone
    variables = {
        name: value for name, value in os.environ.items() if name.startswith(OURS) or name in OTHERS
    }
    return _Surroundings((here.st_dev, here.st_ino), variables)
