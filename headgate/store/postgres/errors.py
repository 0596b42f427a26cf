"""What an error of the database means: run again, try again later, or a bug of ours."""

from __future__ import annotations

import os
import socket
import ssl

import asyncpg

from headgate.core.errors import HeadgateError, SourceMisconfigured, StoreMisused, Unavailable
from headgate.store.engine import RunAgain

CONTENDED = (RunAgain, asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
AGAIN = (
    *CONTENDED,
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

MISTAKEN = (
    asyncpg.ClientConfigurationError,  # an InterfaceError, too: sslmode=no-such, a certificate that is not there
    ssl.SSLCertVerificationError,  # an OSError, too; other errors of TLS are a connection that was cut
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidSchemaNameError,  # search_path names none that there is
    asyncpg.UndefinedObjectError,  # a parameter of the URL that the server does not know as a setting
)
"""Somebody has to change the URL, or what the role may do: another try is of no use."""


def may_go_by_itself(error: BaseException) -> bool:
    """Whether the same command may well succeed in a moment, once the database is there again."""
    return isinstance(error, GONE) and not isinstance(error, MISTAKEN)


def for_caller(error: BaseException) -> BaseException:
    """What an error means to whoever asked."""
    if isinstance(error, HeadgateError):
        return error
    if isinstance(error, asyncpg.DiskFullError):
        return Unavailable(
            "the database's disk is full: nothing was stored; free some space", retry_after_s=5
        )
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
        return Unavailable(
            "the database takes no writes: it is a standby, or default_transaction_read_only is on; name the primary,"
            " or several hosts with target_session_attrs=primary",
            retry_after_s=5,
        )
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return SourceMisconfigured(
            f"the database says: {error}; let a role that may run `headgate migrate`, and grant ours what"
            " docs/postgresql.md names"
        )
    if isinstance(error, MISTAKEN):
        return SourceMisconfigured(f"the database's URL: {_brief(error)}")
    if isinstance(error, (*GONE, asyncpg.InsufficientResourcesError)):
        return Unavailable(f"the database cannot be used now ({_brief(error)}); try again")
    if isinstance(error, CONTENDED):
        return Unavailable("others were faster again and again; try again")
    if isinstance(error, asyncpg.PostgresError):
        return StoreMisused(_brief(error))
    return error


def _brief(error: BaseException) -> str:
    """An error in one line, without addresses, and without what a server says of values."""
    if isinstance(error, socket.gaierror):
        return "this machine does not know the name of its host"
    if isinstance(error, FileNotFoundError):
        return "a file that its URL names is not there: sslrootcert, or the socket of the server"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not believed ({error.verify_message}): name the host as the certificate"
            " does, and in sslrootcert who signed it"
        )
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    if isinstance(error, ConnectionError) and "SSL" in str(error):
        return "the server speaks no TLS, and the URL asks for it"
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError):
        return type(error).__name__
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]
