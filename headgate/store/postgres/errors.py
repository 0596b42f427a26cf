"""What an error of the database means: run again, try again later, or a bug of ours."""

from __future__ import annotations

import asyncpg

from headgate.core.errors import HeadgateError, StoreMisused, Unavailable
from headgate.store.engine import RunAgain

AGAIN = (
    RunAgain,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,  # somebody was faster with the same key: now it is there to be read
)
"""Nothing of the command is stored, and another try may well succeed."""

GONE = (
    OSError,  # TimeoutError is one
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server's last word came while a question was on its way
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # an administrator's shutdown, a cancelled statement, starting up
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that was the primary a moment ago
    asyncpg.TooManyConnectionsError,
    asyncpg.LockNotAvailableError,
)
"""The connection or the server is lost, or as good as lost. Whether a commit came through is not known."""


def for_caller(error: BaseException) -> BaseException:
    """What an error means to whoever asked."""
    if isinstance(error, HeadgateError):
        return error
    if isinstance(error, asyncpg.DiskFullError):
        return Unavailable(
            "the database's disk is full: nothing was stored; free some space", retry_after_s=5
        )
    if isinstance(error, (*GONE, asyncpg.InsufficientResourcesError)):
        return Unavailable(f"the database cannot be used now ({_brief(error)}); try again")
    if isinstance(error, (*AGAIN, asyncpg.PostgresError)):
        return StoreMisused(_brief(error))
    return error


def _brief(error: BaseException) -> str:
    """An error in one line, without what a server says of values."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
