"""Who may come in: keys on every route by default, listed origins, the Host allow-list where we bound loopback."""

from __future__ import annotations

import re

import httpx2
import pytest

from headgate.api.access import OPEN_PATHS
from headgate.bootstrap import make_app
from tests.api.client import JSON, Api, assert_problem, routes_of
from tests.api.conftest import Serve

KEY, OTHER_KEY = "k" * 16, "another-key-of-24-characters"
PAGE, STRANGER = "https://app.example.com", "https://evil.example.com"

OPEN = {
    "/",
    "/healthz",
    "/readyz",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/favicon.ico",
}
"""What is open without a key: nothing here carries data. So are the files of these pages."""

OPEN_FOLDERS = ("/page/", "/static-offline-docs/")

ROUTES = routes_of(make_app())


@pytest.fixture
def locked(serve: Serve) -> Api:
    """A gate with two keys."""
    return serve(worker="false", api_keys=f"{KEY},{OTHER_KEY}")


def is_open(path: str) -> bool:
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def filled(path: str) -> str:
    return re.sub(r"\{\w+(:\w+)?\}", "x", path)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


# -- keys ----------------------------------------------------------------------------------------------------


def test_the_routes_that_are_tried_are_all_there_are():
    tried = {path for _, path in ROUTES}

    assert tried >= {"/ingest", "/status/{ingestion_id}", "/v1/ingestions", "/v1/sources/{name}"}


@pytest.mark.parametrize(("method", "path"), [each for each in ROUTES if not is_open(each[1])])
def test_every_route_needs_a_key(locked: Api, method: str, path: str):
    refused = locked.client.request(method, filled(path))
    let_in = locked.client.request(method, filled(path), headers=bearer(KEY))

    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert let_in.status_code not in {401, 403}


@pytest.mark.parametrize(("method", "path"), [each for each in ROUTES if is_open(each[1])])
def test_what_carries_no_data_needs_no_key(locked: Api, method: str, path: str):
    assert locked.client.request(method, filled(path)).status_code not in {401, 403}


@pytest.mark.parametrize(
    "path",
    ["/nope", "/v1", "/v1/nope", "/metrics", "/INGEST", "/docsx", "/openapi.json/", "/page"],
)
def test_what_is_no_route_needs_a_key_too(locked: Api, path: str):
    assert locked.client.get(path).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/docs/../status/x",
        "/page/../v1/ingestions",
        "/page/..%2fv1%2fingestions",
        "/static-offline-docs/../v1/sources",
        "/static-offline-docs/%2e%2e/v1/sources",
        "//v1/ingestions",
        "/healthz/../ingest",
    ],
)
def test_no_way_round_an_open_path_reaches_data(locked: Api, path: str):
    answer = locked.raw(path, b"", method="GET")

    assert answer.status_code in {401, 404}


def test_every_key_lets_in_and_goes_in_no_address(locked: Api):
    for key in (KEY, OTHER_KEY):
        assert locked.client.get("/v1/ingestions", headers=bearer(key)).status_code == 200
        assert locked.client.get(f"/v1/ingestions?api_key={key}&key={key}").status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        KEY,
        f"Basic {KEY}",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY},{OTHER_KEY}",
        f"Bearer {KEY.upper()}",
        f"Bearer {KEY} {KEY}",
        "Bearer \xff\xfe",
        f"Bearer {'k' * 100_000}",
    ],
)
def test_what_is_nearly_a_key_is_none(locked: Api, header: str):
    answer = locked.client.get(
        "/v1/ingestions", headers=[(b"authorization", header.encode("latin-1"))]
    )

    assert answer.status_code == 401


@pytest.mark.parametrize("header", [f"bearer {KEY}", f"BEARER {KEY}", f"Bearer   {KEY}"])
def test_the_word_bearer_is_read_as_http_means_it(locked: Api, header: str):
    assert locked.client.get("/v1/ingestions", headers={"authorization": header}).is_success


def test_without_a_key_nothing_is_stored_and_nothing_told(locked: Api):
    accepted = locked.client.post("/ingest", json={"ids": [1]}, headers=bearer(KEY)).json()

    refused = locked.client.post("/ingest", json={"ids": [2]})
    looked = locked.client.get(f"/status/{accepted['ingestion_id']}")

    assert (refused.status_code, looked.status_code) == (401, 401)
    assert "detail" in refused.json()
    assert accepted["ingestion_id"] not in looked.text
    assert len(locked.client.get("/v1/ingestions", headers=bearer(KEY)).json()["ingestions"]) == 1


def test_under_v1_a_missing_key_is_a_problem(locked: Api):
    assert_problem(locked.client.get("/v1/ingestions"), 401, "not_allowed")


def test_a_key_shows_in_no_answer_of_ours(locked: Api):
    for _, path in ROUTES:
        for headers in ({}, bearer(KEY)):
            answer = locked.client.get(filled(path), headers=headers)

            assert KEY not in answer.text or path.startswith("/static-offline-docs")


def test_without_keys_everybody_may(still: Api):
    assert still.client.get("/v1/ingestions").status_code == 200


def test_every_open_path_leads_somewhere():
    served = {path for _, path in ROUTES} | {make_app().openapi_url}

    assert served >= OPEN_PATHS == OPEN


# -- origins -------------------------------------------------------------------------------------------------


@pytest.fixture
def listing(serve: Serve) -> Api:
    """A gate that lists the origin of one page."""
    return serve(worker="false", cors_origins=PAGE)


def preflight(
    api: Api, origin: str, method: str = "POST", path: str = "/ingest"
) -> httpx2.Response:
    return api.client.options(
        path,
        headers={
            "origin": origin,
            "access-control-request-method": method,
            "access-control-request-headers": "content-type,authorization,idempotency-key",
        },
    )


def allowed_origin(answer: httpx2.Response) -> str | None:
    return answer.headers.get("access-control-allow-origin")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/ingest"), ("GET", "/status/x"), ("POST", "/v1/ingestions"), ("GET", "/v1/sources")],
)
def test_a_page_of_a_listed_origin_may_ask_whether_it_may(listing: Api, method: str, path: str):
    answer = preflight(listing, PAGE, method, path)

    assert answer.status_code == 200
    assert allowed_origin(answer) == PAGE
    assert method in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert {"content-type", "authorization", "idempotency-key"} <= set(allowed.split(", "))


def test_a_page_of_a_listed_origin_submits_and_looks(listing: Api):
    submitted = listing.client.post("/ingest", json={"ids": [1]}, headers={"origin": PAGE})
    looked = listing.client.get(
        f"/status/{submitted.json()['ingestion_id']}", headers={"origin": PAGE}
    )

    assert (submitted.status_code, looked.status_code) == (200, 200)
    assert allowed_origin(submitted) == allowed_origin(looked) == PAGE


def test_a_page_of_a_listed_origin_reads_errors_and_where_its_ingestion_is(listing: Api):
    wrong = listing.client.post("/ingest", json={"ids": []}, headers={"origin": PAGE})
    right = listing.client.post("/v1/ingestions", json={"ids": [1]}, headers={"origin": PAGE})

    assert allowed_origin(wrong) == PAGE
    exposed = right.headers["access-control-expose-headers"]
    assert {"Location", "Retry-After"} <= set(exposed.split(", "))


@pytest.mark.parametrize(
    "origin",
    [
        STRANGER,
        "null",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.com",
        "https://xapp.example.com",
    ],
)
def test_a_page_of_another_origin_may_neither_ask_nor_submit(listing: Api, origin: str):
    asked = preflight(listing, origin)
    submitted = listing.client.post("/ingest", json={"ids": [1]}, headers={"origin": origin})

    assert allowed_origin(asked) is allowed_origin(submitted) is None
    assert submitted.status_code == 403
    assert listing.listed() == []


def test_by_default_no_other_origin_is_listed(still: Api):
    asked = preflight(still, PAGE)
    looked = still.client.get("/v1/ingestions", headers={"origin": PAGE})

    assert not asked.is_success
    assert allowed_origin(asked) is allowed_origin(looked) is None


def test_a_page_of_our_own_may_submit(still: Api):
    answer = still.client.post(
        "/ingest", json={"ids": [1]}, headers={"origin": "http://testserver"}
    )

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://gate.example.com", "gate.example.com"),
        ("https://gate.example.com", "gate.example.com:443"),
        ("http://gate.example.com", "GATE.example.com:80"),
        ("http://gate.example.com:8080", "gate.example.com:8080"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
@pytest.mark.parametrize("listed", ["", "gate.example.com,[::1]"])
def test_a_page_of_our_own_may_submit_through_a_proxy_that_passes_the_name_on(
    serve: Serve, origin: str, host: str, listed: str
):
    api = serve(worker="false", allowed_hosts=listed)

    answer = api.client.post("/ingest", json={"ids": [1]}, headers={"host": host, "origin": origin})

    assert answer.status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "gate.example.com", "upstream"])
@pytest.mark.parametrize("told", [{"sec-fetch-site": "same-origin"}, {}])
def test_a_page_of_our_own_may_submit_through_a_proxy_that_puts_another_name(
    still: Api, host: str, told: dict[str, str]
):
    headers = {"host": host, "origin": "http://gate.example.com:8080", **told}

    assert still.client.post("/ingest", json={"ids": [1]}, headers=headers).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "CROSS-SITE", ""])
def test_with_nothing_configured_a_page_that_its_browser_calls_a_stranger_changes_nothing(
    still: Api, site: str
):
    accepted = still.ingest(1)
    headers = {"origin": STRANGER, "sec-fetch-site": site}

    for path in sorted(path for method, path in ROUTES if method == "POST"):
        answer = still.client.post(
            path.format(ingestion_id=accepted), json={"ids": [2]}, headers=headers
        )

        assert answer.status_code == 403, path
    assert still.listed(status="yet_to_start") == [accepted]


def test_a_page_of_a_listed_origin_may_submit_though_its_browser_calls_it_a_stranger(
    listing: Api,
):
    headers = {"origin": PAGE, "sec-fetch-site": "cross-site"}

    assert listing.client.post("/ingest", json={"ids": [1]}, headers=headers).status_code == 200


def test_a_name_that_is_none_is_not_the_same_as_no_origin(listing: Api):
    headers = {"origin": "null", "host": ""}

    assert listing.client.post("/ingest", json={"ids": [1]}, headers=headers).status_code == 403


def test_who_is_no_page_has_no_origin_and_may_submit(still: Api):
    assert still.client.post("/ingest", json={"ids": [1]}).status_code == 200


def test_with_keys_a_preflight_of_a_listed_origin_needs_none_and_the_request_does(serve: Serve):
    api = serve(worker="false", cors_origins=PAGE, api_keys=KEY)

    asked = preflight(api, PAGE)
    refused = api.client.post("/ingest", json={"ids": [1]}, headers={"origin": PAGE})
    taken = api.client.post("/ingest", json={"ids": [1]}, headers={"origin": PAGE, **bearer(KEY)})

    assert (asked.status_code, refused.status_code, taken.status_code) == (200, 401, 200)
    assert allowed_origin(refused) == PAGE


def test_several_origins_may_be_listed(serve: Serve):
    api = serve(worker="false", cors_origins=f"{PAGE}, http://localhost:3000")

    assert allowed_origin(preflight(api, "http://localhost:3000")) == "http://localhost:3000"
    assert allowed_origin(preflight(api, PAGE)) == PAGE


# -- hosts ---------------------------------------------------------------------------------------------------

OURS = ["localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:8000"]
FOREIGN = ["evil.example.com", "evil.example.com:8000", "localhost.evil.com", "127.0.0.1.nip.io"]


@pytest.fixture
def loopback(serve: Serve) -> Api:
    """A gate as `headgate serve` makes it, bound to loopback."""
    return serve(worker="false", bound_host="127.0.0.1")


@pytest.mark.parametrize("host", [*OURS, "LOCALHOST", "testserver"])
def test_bound_to_loopback_it_answers_to_the_names_of_loopback(loopback: Api, host: str):
    answer = loopback.client.post("/ingest", json={"ids": [1]}, headers={"host": host})

    assert answer.status_code == 200


@pytest.mark.parametrize("host", [*FOREIGN, "", "localhost@evil.com", "evil.com#localhost"])
@pytest.mark.parametrize("path", ["/status/x", "/v1/ingestions", "/", "/docs"])
def test_bound_to_loopback_it_answers_to_no_other_name(loopback: Api, host: str, path: str):
    answer = loopback.client.get(path, headers={"host": host})

    assert answer.status_code == 403
    if path.startswith("/v1"):
        assert_problem(answer, 403, "forbidden")


def test_bound_to_loopback_a_stranger_s_page_submits_nothing(loopback: Api):
    for host in ("127.0.0.1:8000", "localhost:8000"):
        answer = loopback.client.post(
            "/ingest", json={"ids": [1]}, headers={"host": host, "origin": STRANGER}
        )

        assert answer.status_code == 403
    assert loopback.listed() == []


@pytest.mark.parametrize("path", sorted(path for method, path in ROUTES if method == "POST"))
def test_a_stranger_s_page_may_change_nothing_on_any_route(loopback: Api, path: str):
    accepted = loopback.ingest(1)

    answer = loopback.client.post(
        path.format(ingestion_id=accepted), headers={"origin": STRANGER, **JSON}
    )

    assert answer.status_code == 403
    assert loopback.look(accepted)["status"] == "yet_to_start"


def test_bound_to_loopback_a_page_of_its_own_submits(loopback: Api):
    answer = loopback.client.post(
        "/ingest",
        json={"ids": [1]},
        headers={"host": "localhost:8000", "origin": "http://localhost:8000"},
    )

    assert answer.status_code == 200


def test_bound_to_a_public_address_any_name_is_answered(serve: Serve):
    api = serve(worker="false", bound_host="0.0.0.0")

    assert api.client.get("/v1/ingestions", headers={"host": FOREIGN[0]}).status_code == 200


def test_who_does_not_tell_its_address_answers_to_any_name(still: Api):
    assert still.client.get("/v1/ingestions", headers={"host": FOREIGN[0]}).status_code == 200


def test_allowed_hosts_are_the_only_names_that_are_answered(serve: Serve):
    api = serve(worker="false", allowed_hosts="api.example.com, gate.local")

    seen = {
        host: api.client.get("/v1/ingestions", headers={"host": host}).status_code
        for host in ("api.example.com", "API.example.com:443", "gate.local", *FOREIGN)
    }

    assert list(seen.values()) == [200, 200, 200, *[403] * len(FOREIGN)]


def test_an_allowed_host_with_a_star_is_every_name_below_it(serve: Serve):
    api = serve(worker="false", allowed_hosts="*.example.com")

    seen = [
        api.client.get("/v1/ingestions", headers={"host": host}).status_code
        for host in ("api.example.com", "a.b.example.com:8000", "example.com", "xexample.com")
    ]

    assert seen == [200, 200, 403, 403]


def test_a_long_name_is_not_echoed_at_length(loopback: Api):
    answer = loopback.client.get("/v1/ingestions", headers={"host": "x" * 50_000})

    assert answer.status_code == 403
    assert len(answer.content) < 1_000


def test_a_long_origin_is_not_echoed_at_length(listing: Api):
    answer = listing.client.post(
        "/ingest", json={"ids": [1]}, headers={"origin": "x" * 50_000, **JSON}
    )

    assert answer.status_code == 403
    assert len(answer.content) < 1_000
