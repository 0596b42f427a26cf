"""A gate under test, served in process: submit, look, wait in one line each. Raw requests where a client is polite."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from headgate.service import Service
from headgate.store.sqlite.engine import SqliteEngine

T = TypeVar("T")

JSON = {"content-type": "application/json"}
PROBLEM = "application/problem+json"
ENDED = ("completed", "failed", "cancelled")
DEADLINE_S = 10.0

UNLIMITED = """
[sources.simulated]
quota = []
latency = "0s"
concurrency = 4
"""
"""A source that holds nothing up."""

TEXTS = """
[sources.pages]
quota = []
latency = "0s"
ids = { type = "text", pattern = "[a-z:é-]+" }
"""
"""A source whose ids are texts."""


@dataclass
class Api:
    """One application, and a client of it."""

    app: FastAPI
    client: TestClient

    # -- the two public endpoints ----------------------------------------------------------------------------

    def ingest(self, *ids: object, **more: object) -> str:
        answer = self.client.post("/ingest", json={"ids": list(ids), **more})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["ingestion_id"])

    def status(self, ingestion_id: str) -> dict[str, Any]:
        return ok(self.client.get(f"/status/{ingestion_id}"))

    # -- /v1 -------------------------------------------------------------------------------------------------

    def accept(self, *ids: object, key: str | None = None, **more: object) -> dict[str, Any]:
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = self.client.post(
            "/v1/ingestions", json={"ids": list(ids), **more}, headers=headers
        )
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    def look(self, ingestion_id: str, what: str = "", **query: object) -> dict[str, Any]:
        return ok(self.client.get(f"/v1/ingestions/{ingestion_id}{what}", params=asked(query)))

    def batches(self, ingestion_id: str) -> list[dict[str, Any]]:
        return list(self.pages(f"/v1/ingestions/{ingestion_id}/batches", "batches", limit=1_000))

    def records(self, ingestion_id: str) -> list[dict[str, Any]]:
        return list(self.pages(f"/v1/ingestions/{ingestion_id}/records", "records", limit=1_000))

    def listed(self, **query: object) -> list[str]:
        """The ids of the ingestions on one page."""
        page = ok(self.client.get("/v1/ingestions", params=asked(query)))
        return [each["ingestion_id"] for each in page["ingestions"]]

    def source(self, name: str = "simulated") -> dict[str, Any]:
        return ok(self.client.get(f"/v1/sources/{name}"))

    def cancel(self, ingestion_id: str) -> httpx2.Response:
        return self.client.post(f"/v1/ingestions/{ingestion_id}:cancel")

    def pages(self, path: str, things: str, **query: object) -> Iterator[dict[str, Any]]:
        """Everything on every page, in the order of the pages."""
        page: object = None
        while True:
            found = ok(self.client.get(path, params=asked({**query, "page": page})))
            yield from found[things]
            page = found["next_page"]
            if page is None:
                return

    # -- waiting ---------------------------------------------------------------------------------------------

    def ended(self, ingestion_id: str) -> dict[str, Any]:
        """The ingestion once it has ended."""
        return until(lambda: self._if(ingestion_id, *ENDED), f"{ingestion_id} has ended")

    def triggered(self, ingestion_id: str) -> dict[str, Any]:
        """The ingestion once something of it has begun."""
        return until(lambda: self._if(ingestion_id, "triggered"), f"{ingestion_id} has begun")

    def _if(self, ingestion_id: str, *statuses: str) -> dict[str, Any] | None:
        seen = self.look(ingestion_id)
        return seen if seen["status"] in statuses else None

    # -- below HTTP ------------------------------------------------------------------------------------------

    @property
    def service(self) -> Service:
        service = self.app.state.backend.service
        assert isinstance(service, Service)
        return service

    @property
    def engine(self) -> SqliteEngine:
        engine = self.service._engine
        assert isinstance(engine, SqliteEngine)
        return engine

    def call(self, function: Callable[..., Awaitable[T]], *args: object, **more: object) -> T:
        """Await a call in the loop that the application lives in."""

        async def called() -> T:
            return await function(*args, **more)

        assert self.client.portal is not None
        return self.client.portal.call(called)

    def raw(
        self, path: str, *parts: bytes, method: str = "POST", cut: bool = False, **headers: str
    ) -> Raw:
        """A request with a body in these parts, each given only when the application asks for it."""
        request = Raw(method, path, list(parts), headers, cut)
        with suppress(
            Exception
        ):  # what the application raises, a server logs and answers with a 500
            self.call(request.send_to, self.app)
        return request


@dataclass
class Raw:
    """A request at the level of ASGI, and what came of it. `cut`: the client goes away before its end."""

    method: str
    path: str
    parts: list[bytes]
    headers: Mapping[str, str]
    cut: bool = False
    sent: list[dict[str, Any]] = field(default_factory=list)
    asked: int = 0

    async def send_to(self, app: FastAPI) -> None:
        path, _, query = self.path.partition("?")
        headers = {"host": "testserver", **self.headers}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [
                (name.replace("_", "-").encode(), value.encode("latin-1"))
                for name, value in headers.items()
            ],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8_000),
        }
        await app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        self.asked += 1
        if not self.parts:
            return {"type": "http.disconnect"}
        part = self.parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": self.cut or bool(self.parts)}

    async def _send(self, message: Mapping[str, Any]) -> None:
        self.sent.append(dict(message))

    @property
    def status_code(self) -> int | None:
        """The status of the answer; None if there was none."""
        return self.sent[0]["status"] if self.sent else None


@contextmanager
def client_of(app: FastAPI, **more: Any) -> Iterator[Api]:
    """The application with its lifespan. A bug of ours shows as the 500 that a user would see."""
    with TestClient(app, raise_server_exceptions=False, **more) as client:
        yield Api(app, client)


def routes_of(app: FastAPI) -> list[tuple[str, str]]:
    """Every method and path that the application has a route for: a new one cannot be forgotten."""
    found = set()
    for route in iter_route_contexts(app.routes):
        assert route.path is not None
        path = route.path if route.methods else f"{route.path}/some-file"  # a folder is mounted
        found |= {(method, path) for method in route.methods or {"GET"}}
    return sorted(found)


def ok(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 200, f"{answer.status_code} {answer.text[:300]}"
    return dict(answer.json())


def asked(query: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in query.items() if value is not None}


def until(seen: Callable[[], T | None], what: str) -> T:
    """Look again and again until there is something to see; not for ever."""
    give_up_at = time.monotonic() + DEADLINE_S
    while time.monotonic() < give_up_at:
        if (found := seen()) is not None:
            return found
        time.sleep(0.002)
    raise AssertionError(f"waited {DEADLINE_S} s in vain: {what}")


def assert_problem(answer: httpx2.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The answer is a problem as RFC 9457 describes them; returns it."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:300]}"
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail", "code"}
    assert problem["status"] == status
    assert code in (None, problem["code"])
    return dict(problem)


def pointers(problem: Mapping[str, Any]) -> list[str]:
    return [error["pointer"] for error in problem["errors"]]


def places(answer: httpx2.Response) -> list[Sequence[object]]:
    """Where FastAPI's `detail` finds mistakes."""
    assert answer.status_code == 422, f"{answer.status_code} {answer.text[:300]}"
    return [error["loc"] for error in answer.json()["detail"]]
