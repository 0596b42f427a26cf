"""One request on its way: how far it got, when its bytes left, and that no second one leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum

from headgate.sources.base import Call, NoGrant
from headgate.sources.http_options import HttpOptions
from headgate.sources.reasons import AnsweredBefore, GivenUp, NotWritten, why


class Stage(Enum):
    """How far a request got, in the words of its failure."""

    CONNECTING = "no connection"
    LEAVING = "the connection broke while the request was being sent"
    WAITING = "no answer came"
    ANSWERING = "the answer was cut off"


class Progress:
    """Follows one request by the pool's trace events and what is heard, and says its instants to the call."""

    def __init__(self, call: Call, *, answer_s: float) -> None:
        self.stage = Stage.CONNECTING
        self.deadline: asyncio.Timeout | None = None
        self._call = call
        self._answer_s = answer_s
        self._raised: BaseException | None = None

    async def trace(self, event: str, info: Mapping[str, object]) -> None:
        """Raise before the bytes leave, after a write that failed, and for an answer that is not ours."""
        with self._remembering():
            self._follow(event, info)

    def heard(self) -> None:
        """Bytes came in: the first ones after the request are the answer's."""
        if self.stage is Stage.WAITING:
            self.stage = Stage.ANSWERING
            with self._remembering():
                self._call.answered()

    def raise_what_was_raised(self) -> None:
        """Let what the call itself raised pass as it was, whatever the client made of it."""
        if self._raised is not None and not isinstance(self._raised, GivenUp):
            raise self._raised from None

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self._raised = error
            raise

    def too_slow(self, options: HttpOptions, error: TimeoutError) -> str:
        if self.deadline is None or not self.deadline.expired():
            return f"{self.stage.value} ({why(error)})"  # the operating system's own time-out
        if self.stage is Stage.CONNECTING:
            return f"no connection within {options.connect_us / 1_000_000:g} s"
        return f"no complete answer within {options.answer_us / 1_000_000:g} s"

    def _follow(self, event: str, info: Mapping[str, object]) -> None:
        match event:
            case "http11.send_request_headers.started":
                self._leave()
            case "http11.send_request_headers.failed" | "http11.send_request_body.failed":
                _give_up_write(info.get("exception"))
            case "http11.send_request_body.complete":
                self.stage = Stage.WAITING
                self._call.written()
            case "http11.receive_response_headers.complete" if self.stage is Stage.WAITING:
                raise AnsweredBefore
            case _:
                pass

    def _leave(self) -> None:
        if self.stage is not Stage.CONNECTING:
            raise NoGrant("one call was about to put a second request on the wire")
        if self.deadline is not None:
            self.deadline.reschedule(asyncio.get_running_loop().time() + self._answer_s)
        self._call.check()
        self.stage = Stage.LEAVING


def _give_up_write(error: object) -> None:
    if isinstance(error, Exception):  # a cancellation passes as it is
        raise NotWritten from error
