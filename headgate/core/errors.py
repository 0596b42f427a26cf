"""The exception tree. An outcome of a call is a value (outcome.py); these are callers' mistakes and our limits.

HeadgateError                 .code (stable), .status (HTTP hint), facts as attributes
├── InvalidInput        422   the body's shape or values
├── NotAllowed          401   no key, or not a known one
├── Forbidden           403   a host name or a web page that may not
├── NotFound            404   unknown, malformed, or somebody else's
├── Conflict            409   not possible in the present state
├── KeyReused           422   an Idempotency-Key with another body
├── TooLarge            413   more bytes or ids than are taken
├── Unavailable         503   the store cannot commit now; nothing was stored; try again
│   └── ClockUnwatched  503   a newcomer cannot say yet what time it is
├── SourceMisconfigured       refuses to start
└── StoreMisused              a bug of ours: a command waited for something else, or broke a constraint
"""

from __future__ import annotations

from dataclasses import dataclass


class HeadgateError(Exception):
    """Something went wrong in Headgate."""

    code = "error"
    status = 500

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def message(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class FieldError:
    """One mistake in the input: where it is, what is wrong, and a stable name for its kind."""

    where: tuple[str | int, ...]
    message: str
    kind: str = "value_error"


class InvalidInput(HeadgateError):
    """The input is not valid."""

    code = "invalid_input"
    status = 422

    def __init__(self, *errors: FieldError) -> None:
        self.errors = errors
        first = errors[0]
        place = ".".join(map(str, first.where))
        super().__init__(f"{place}: {first.message}" if place else first.message)


class NotAllowed(HeadgateError):
    """A valid API key is needed: send `Authorization: Bearer KEY`."""

    code = "not_allowed"
    status = 401


class Forbidden(HeadgateError):
    """That is not allowed from there."""

    code = "forbidden"
    status = 403


class NotFound(HeadgateError):
    """There is no such object."""

    code = "not_found"
    status = 404


class Conflict(HeadgateError):
    """That is not possible in the present state."""

    code = "conflict"
    status = 409


class KeyReused(HeadgateError):
    """This Idempotency-Key was used with another body: use a new key for a new submission."""

    code = "idempotency_key_reused"
    status = 422


class TooLarge(HeadgateError):
    """The body is too large."""

    code = "too_large"
    status = 413


class Unavailable(HeadgateError):
    """The store cannot take this now; nothing was stored. Try again."""

    code = "unavailable"
    status = 503

    def __init__(self, message: str | None = None, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ClockUnwatched(Unavailable):
    """This process has yet to see that the database's clock is watched: within seconds."""

    code = "clock_unwatched"


class SourceMisconfigured(HeadgateError):
    """The configuration has mistakes."""

    code = "misconfigured"

    def __init__(self, *mistakes: str) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


class StoreMisused(HeadgateError):
    """A command did what no command may: it waited for something else than its transaction, or broke a constraint."""

    code = "store_misused"
