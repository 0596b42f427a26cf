"""Why a call failed, in words that cannot hold an address, a header or anything that was received."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator

import httpcore2


class GivenUp(Exception):
    """We end the request ourselves, and its connection with it."""


class NotWritten(GivenUp):
    """The write failed. The client would go on and look for an answer; we do not know what the other side got."""


class AnsweredBefore(GivenUp):
    """An answer lay there before the request was sent, so it is to another one."""


def why(error: BaseException) -> str:
    """Say why a connection failed, in words that cannot hold an address, a header or anything that was received.

    The messages of the client can (a header's value, for one), so they are never used: only what the operating
    system and the TLS library call the error at its root.
    """
    found = type(error).__name__
    for each in _roots(error):
        match each:
            case socket.gaierror():
                return "the host's name was not found"
            case ssl.SSLCertVerificationError():
                return f"the certificate is not trusted: {_plain(each.verify_message)}"
            case ssl.SSLError():
                return "TLS could not be agreed on"
            case OSError(errno=int(number)):
                return os.strerror(number)
            case httpcore2.RemoteProtocolError():
                return "closed too soon, or not HTTP"
            case AnsweredBefore():
                return "what lay on the connection answers another request"
            case _:
                pass
    return found


def _roots(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, without walking in circles."""
    current: BaseException | None = error
    for _ in range(10):
        if current is None:
            return
        yield current
        if isinstance(current, BaseExceptionGroup) and current.exceptions:
            current = current.exceptions[0]
        else:
            current = current.__cause__ or current.__context__


def _plain(text: object) -> str:
    return "".join(each for each in str(text) if each.isascii() and each.isprintable())[:120]
