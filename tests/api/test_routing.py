"""What is no route, or not by this method: JSON that says so."""

from __future__ import annotations

import pytest
from starlette.middleware.base import RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response

from headgate.bootstrap import make_app
from tests.api.client import Api, assert_problem, client_of, routes_of
from tests.api.conftest import Environment
from tests.api.test_access import filled

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "QUERY"]
ROUTES = routes_of(make_app())
PATHS = sorted(
    {path for _, path in ROUTES}
    - {
        "/static-offline-docs/some-file",
        "/v1/ingestions/{ingestion_id}:cancel",  # to another method it is the path of an ingestion
    }
)
BY_PATH = {path: {method for method, of in ROUTES if of == path} for path in PATHS}


@pytest.mark.parametrize(
    "path", ["/nope", "/ingests", "/status", "/status/", "/status/a/b", "/INGEST"]
)
def test_an_unknown_path_is_a_404_in_json(still: Api, path: str):
    answer = still.client.get(path)

    assert answer.status_code == 404
    assert answer.json() == {"detail": "Not Found"}


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/nope", "/v1/ingestions/a/b", "/v1/sources/a/b"]
)
def test_an_unknown_path_under_v1_is_a_problem(still: Api, path: str):
    assert_problem(still.client.get(path), 404)


def test_an_unknown_path_is_a_404_by_every_method(still: Api):
    assert {still.client.request(method, "/nope").status_code for method in METHODS} == {404}


@pytest.mark.parametrize("path", PATHS)
def test_a_method_that_a_path_does_not_have_is_a_405_in_json(still: Api, path: str):
    for method in set(METHODS) - BY_PATH[path] - {"HEAD"}:
        answer = still.client.request(method, filled(path))

        if path.startswith("/v1"):
            assert_problem(answer, 405)
        else:
            assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})


@pytest.mark.parametrize("path", PATHS)
def test_a_405_names_every_method_that_the_path_has(still: Api, path: str):
    answer = still.client.put(filled(path))

    assert {word.strip() for word in answer.headers["allow"].split(",")} == BY_PATH[path]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/status/{}"])
def test_head_is_get_without_its_body(still: Api, path: str):
    path = path.format(still.ingest(1))

    got, headed = still.client.get(path), still.client.head(path)

    assert headed.status_code == got.status_code == 200
    assert headed.content == b""
    assert headed.headers == got.headers


@pytest.mark.parametrize(("path", "word"), [("/healthz", "ok"), ("/readyz", "ready")])
def test_health_is_one_word(still: Api, path: str, word: str):
    answer = still.client.get(path)

    assert (answer.status_code, answer.text) == (200, word)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_middleware_that_somebody_adds_stands_around_every_route(environment: Environment):
    environment()
    app = make_app()
    seen: list[str] = []

    @app.middleware("http")
    async def note(request: Request, call_next: RequestResponseEndpoint) -> Response:
        seen.append(request.url.path)
        return await call_next(request)

    with client_of(app) as api:
        accepted = api.ingest(1)
        api.status(accepted)
    assert seen == ["/ingest", f"/status/{accepted}"]
