"""A client of the tests: asks over HTTP, and keeps a journal of what it was promised."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.process.waiting import now_us
from tests.simulator.checker import Accepted, load_accepted

HOST = "127.0.0.1"
ANSWER_S = 20.0


class Cut(Exception):
    """No answer came: whether the request was heeded, nobody knows."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int,
    method: str,
    path: str,
    document: object = None,
    *,
    headers: Mapping[str, str] | None = None,
    answer_s: float = ANSWER_S,
) -> Answer:
    """One request on a connection of its own. Raises Cut if it is not answered."""
    body = None if document is None else json.dumps(document)
    sent = {"Content-Type": "application/json", "Connection": "close", **(headers or {})}
    connection = http.client.HTTPConnection(HOST, port, timeout=answer_s)
    try:
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
    except (OSError, http.client.HTTPException) as error:
        raise Cut(repr(error)) from error
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A submission as it was tried. Ids are one submission's own, so that the source's log tells whose they are."""

    ids: tuple[int, ...]
    priority: str = "MEDIUM"
    key: str | None = None
    source: str | None = None


@dataclass
class Journal:
    """What a client wrote down, safe to be written to from several threads.

    `cut`: tried and not answered; `refused`: answered with 503, so that nothing of it may ever happen.
    """

    path: Path
    cut: list[Wanted] = field(default_factory=list)
    refused: list[Wanted] = field(default_factory=list)
    _next: int = 0

    def ids(self, count: int) -> tuple[int, ...]:
        """Ids that nobody else has: not safe across threads, which take their ids from ranges of their own."""
        self._next += count
        return tuple(range(self._next - count + 1, self._next + 1))

    def submit(
        self, port: int, wanted: Wanted | int, priority: str = "MEDIUM", *, key: str | None = None
    ) -> str | None:
        """Hand in ids (or so many new ones); returns the ingestion's id, or None if it was cut or refused.

        What has a key goes to /v1, what has none to /ingest.
        """
        if isinstance(wanted, int):
            wanted = Wanted(self.ids(wanted), priority, key)
        asked_us = now_us()
        try:
            answer = _submitted(port, wanted)
        except Cut:
            self.cut.append(wanted)
            return None
        if answer.status == 503:
            self.refused.append(wanted)
            return None
        assert answer.status == (200 if wanted.key is None else 202), answer
        ingestion_id = str(answer.json()["ingestion_id"])
        self._write(ingestion_id, wanted, asked_us, now_us())
        return ingestion_id

    def must_submit(
        self, port: int, wanted: Wanted | int, priority: str = "MEDIUM", *, key: str | None = None
    ) -> str:
        """The same where nothing stands in the way."""
        ingestion_id = self.submit(port, wanted, priority, key=key)
        assert ingestion_id is not None, "the submission was not accepted"
        return ingestion_id

    def accepted(self, *, without: Sequence[str] = ()) -> list[Accepted]:
        """Each ingestion once, as first promised."""
        if not self.path.exists():
            return []
        first: dict[str, Accepted] = {}
        for each in load_accepted([self.path]):
            first.setdefault(each.ingestion_id, each)
        return [each for each in first.values() if each.ingestion_id not in without]

    def _write(self, ingestion_id: str, wanted: Wanted, asked_us: int, answered_us: int) -> None:
        line = {
            "ingestion_id": ingestion_id,
            "ids": wanted.ids,
            "priority": wanted.priority,
            "asked_us": asked_us,
            "answered_us": answered_us,
        }
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, json.dumps(line).encode() + b"\n")
        finally:
            os.close(descriptor)


def _submitted(port: int, wanted: Wanted) -> Answer:
    document: dict[str, object] = {"ids": wanted.ids, "priority": wanted.priority}
    if wanted.key is None:
        return ask(port, "POST", "/ingest", document)
    document |= {} if wanted.source is None else {"source": wanted.source}
    headers = {"Idempotency-Key": wanted.key}
    return ask(port, "POST", "/v1/ingestions", document, headers=headers)
