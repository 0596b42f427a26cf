"""What OpenAPI says is so: valid, whole, with examples, readable with no network, and true of the application."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import allow_header_conformance, positive_data_acceptance

from headgate.bootstrap import make_app
from tests.api.client import Api, ok, routes_of
from tests.api.conftest import Serve
from tests.api.test_access import is_open
from tests.api.wrong import BIGGEST

Node = dict[str, Any]


@pytest.fixture
def document(still: Api) -> Node:
    return ok(still.client.get("/openapi.json"))


DOCUMENT: Node = make_app().openapi()
"""The same, made without any I/O, to tell operations apart by name."""

OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]


def is_page(path: str) -> bool:
    """Whether a route is for people, not for programs: those are not part of what is described."""
    return is_open(path) and path not in {"/healthz", "/readyz"}


def operation(path: str, method: str) -> Node:
    return dict(DOCUMENT["paths"][path][method])


def nodes(value: object, at: str = "#") -> Iterator[tuple[str, Node]]:
    """Every object in the document with its place."""
    if isinstance(value, dict):
        yield at, value
        for key, inner in value.items():
            yield from nodes(inner, f"{at}/{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from nodes(inner, f"{at}/{number}")


def resolved(reference: str) -> object:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def whole(schema: Node) -> Node:
    """A schema with everything that it refers to."""
    return {**schema, "components": DOCUMENT["components"]}


# -- the document --------------------------------------------------------------------------------------------


def test_it_is_openapi_3_1_and_the_same_whether_a_client_or_a_program_asks(document: Node):
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert document["info"]["title"] == "Headgate"
    assert document == DOCUMENT


def test_every_reference_leads_somewhere():
    lost = []
    for at, node in nodes(DOCUMENT):
        reference = node.get("$ref")
        if isinstance(reference, str):
            try:
                resolved(reference)
            except KeyError:
                lost.append((at, reference))

    assert lost == []


@pytest.mark.parametrize("name", sorted(DOCUMENT["components"]["schemas"]))
def test_every_schema_is_a_json_schema(name: str):
    jsonschema_rs.meta.validate(
        {"$schema": "https://json-schema.org/draft/2020-12/schema"}
        | DOCUMENT["components"]["schemas"][name]
    )


def test_every_schema_is_used():
    referred = {node["$ref"] for _, node in nodes(DOCUMENT) if isinstance(node.get("$ref"), str)}

    assert {
        f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]
    } <= referred


def test_every_route_is_described():
    described = {
        (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    served = {
        (method, path)
        for method, path in routes_of(make_app())
        if not is_page(path) and method != "HEAD"
    }

    assert described == served


def test_every_operation_has_a_name_of_its_own():
    names = [
        each["operationId"] for methods in DOCUMENT["paths"].values() for each in methods.values()
    ]

    assert len(set(names)) == len(names)


def test_every_operation_says_in_words_what_it_does_and_to_which_group_it_belongs():
    wordless = [
        f"{method} {path}"
        for path, method in OPERATIONS
        if not (operation(path, method).get("summary") and operation(path, method).get("tags"))
    ]

    assert wordless == []


def test_every_summary_is_said_in_words_and_not_made_of_the_name_of_a_function():
    summaries = [operation(path, method)["summary"] for path, method in OPERATIONS]

    assert len(set(summaries)) == len(summaries)
    assert [each for each in summaries if len(each.split()) < 3 or each.istitle()] == []


def errors_of(path: str, method: str) -> set[str]:
    """The errors that a client of an operation can run into, by what the operation takes."""
    if path == "/healthz":
        return set()
    if path == "/readyz":
        return {"503"}
    described = operation(path, method)
    errors = {"401", "403", "503"}
    if "{" in path:
        errors.add("404")
    if "requestBody" in described:
        errors |= {"413", "422"}
    if any(each["in"] != "path" for each in described.get("parameters", [])):
        errors.add("422")
    if path.endswith(":cancel"):
        errors.add("409")
    return errors


@pytest.mark.parametrize("code", ["401", "403", "404", "409", "413", "422", "503"])
def test_every_operation_names_the_errors_that_it_can_answer_with(code: str):
    silent = [
        f"{method} {path}"
        for path, method in OPERATIONS
        if code in errors_of(path, method) - operation(path, method)["responses"].keys()
    ]

    assert silent == []


def test_every_error_is_described_in_the_form_in_which_it_comes():
    for path, method in OPERATIONS:
        kind = "application/problem+json" if path.startswith("/v1") else "application/json"
        for code, answer in operation(path, method)["responses"].items():
            if code[0] in "45" and path not in {"/healthz", "/readyz"}:
                assert list(answer["content"]) == [kind], f"{method} {path} {code}"
                assert answer["description"]


def json_bodies() -> Iterator[tuple[str, Node]]:
    """What each operation takes and what it gives when all is well, as JSON."""
    for path, method in OPERATIONS:
        described = operation(path, method)
        bodies = {"takes": described.get("requestBody", {})}
        bodies |= {c: body for c, body in described["responses"].items() if c.startswith("2")}
        for which, body in bodies.items():
            media = body.get("content", {}).get("application/json")
            if media is not None:
                yield f"{method} {path} {which}", media


def test_everything_that_is_taken_or_given_has_an_example():
    assert [which for which, media in json_bodies() if not list(examples_of(media))] == []


def examples_of(media: Node) -> Iterator[object]:
    """The examples of a body: beside its schema, or in it."""
    if "example" in media:
        yield media["example"]
    for each in media.get("examples", {}).values():
        yield each["value"]
    schema = media.get("schema", {})
    while isinstance(schema.get("$ref"), str):
        found = resolved(schema["$ref"])
        assert isinstance(found, dict)
        schema = found
    yield from schema.get("examples", [])


def test_every_example_is_valid():
    for _, media in json_bodies():
        validator = jsonschema_rs.Draft202012Validator(whole(media["schema"]))
        for example in examples_of(media):
            validator.validate(example)


def test_every_example_of_a_submission_is_taken(still: Api):
    for path in ("/ingest", "/v1/ingestions"):
        media = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        for example in examples_of(media):
            assert still.client.post(path, json=example).is_success


@pytest.mark.parametrize("model", ["IngestBody", "SubmissionBody"])
def test_an_id_is_described_with_its_limits(model: str):
    ids = DOCUMENT["components"]["schemas"][model]["properties"]["ids"]
    validator = jsonschema_rs.Draft202012Validator(whole(ids))

    good: list[object] = [0, BIGGEST, -BIGGEST, "a", "a" * 256]
    wrong: list[object] = [BIGGEST + 1, -BIGGEST - 1, 1.5, True, None, "", "a" * 257, [1], {}]

    assert [each for each in good if not validator.is_valid([each])] == []
    assert [each for each in wrong if validator.is_valid([each])] == []


def test_records_are_described_as_what_they_can_be_asked_for_as():
    content = operation("/v1/ingestions/{ingestion_id}/records", "get")["responses"]["200"][
        "content"
    ]

    assert set(content) == {"application/json", "application/x-ndjson"}


def test_the_headers_that_a_client_goes_by_are_described():
    accepted = operation("/v1/ingestions", "post")["responses"]

    assert "Location" in accepted["202"].get("headers", {})
    assert "Retry-After" in accepted["503"].get("headers", {})


def test_a_key_is_described_as_a_bearer_token_that_may_not_be_needed():
    assert DOCUMENT["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert DOCUMENT["security"] == [{}, {"key": []}]


# -- the pages -----------------------------------------------------------------------------------------------

LOADED = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)\s*=\s*["']([^"']+)"""
)


def loads(page: httpx2.Response) -> list[str]:
    """What a page loads: the addresses in its tags."""
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    return LOADED.findall(page.text)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_loads_what_it_needs_from_ourselves(still: Api, path: str):
    loaded = loads(still.client.get(path))

    assert any(address.endswith(".js") for address in loaded)
    for address in loaded:
        assert re.match(r"/(?!/)", address), address
        assert still.client.get(address).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_s_scripts_ask_nobody_else_or_are_kept_from_it(still: Api, path: str):
    page = still.client.get(path)
    kept = "img-src 'self'" in page.headers.get("content-security-policy", "")

    for address in loads(page):
        text = still.client.get(address).text
        assert kept or re.findall(r"https?://[^\"'`\s]*cdn\.[^\"'`\s]+", text) == []
        assert re.findall(r"@import|url\(\s*['\"]?https?://", text) == []


def test_with_keys_the_pages_are_open_with_all_that_they_load(serve: Serve):
    api = serve(worker="false", api_keys="k" * 16)

    for path in ("/docs", "/redoc"):
        for address in loads(api.client.get(path)):
            assert api.client.get(address).status_code == 200
    assert api.client.get("/openapi.json").status_code == 200


# -- fuzzing -------------------------------------------------------------------------------------------------


def narrowed(document: Node) -> Node:
    """The document of this one server: its only source takes integers, and nobody can guess a page's name.

    The API's own document has to allow what any source could take.
    """
    document = copy.deepcopy(document)
    schemas = document["components"]["schemas"]
    for model in ("IngestBody", "SubmissionBody"):
        schemas[model]["properties"]["ids"]["items"] = {
            "type": "integer",
            "minimum": -BIGGEST,
            "maximum": BIGGEST,
        }
    schemas["SubmissionBody"]["properties"]["source"] = {"enum": ["simulated"]}
    for path, method in OPERATIONS:
        described = document["paths"][path][method]
        given = described.get("parameters", [])
        described["parameters"] = [each for each in given if each["name"] != "page"]
    return document


FUZZED = schemathesis.openapi.from_dict(narrowed(DOCUMENT))
OF_ONE_THING = FUZZED.include(path_regex=r"\{(ingestion_id|name)\}")


its_own_chance = pytest.mark.filterwarnings("ignore:Do not use the .random. module")
"""schemathesis draws some of its values with `random`, which hypothesis does not like."""


def bounded(most: int, *, alike: bool = True) -> settings:
    """So many examples of each operation; `alike`: the same in each run."""
    return settings(
        max_examples=most,
        deadline=None,
        derandomize=alike,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def checked(api: Api, case: Any) -> None:
    """Send a request, and hold the answer against the description in every way that schemathesis knows."""
    request = case.as_transport_kwargs()
    request.pop("cookies", None)  # there are none, and httpx2 wants them on the client
    request["headers"] = {name: v.encode("latin-1") for name, v in request["headers"].items()}
    if "data" in request:
        request["content"] = request.pop("data")
    answer = api.client.request(**request)
    case.validate_response(answer, excluded_checks=excused(case, answer))


def excused(case: Any, answer: httpx2.Response) -> list[Any]:
    """The checks that cannot hold, each with its reason."""
    checks: list[Any] = []
    if "idempotency_key_reused" in answer.text:
        checks.append(positive_data_acceptance)  # that a key was used before is in no description
    if isinstance(case.body, dict) and any(isinstance(id_, float) for id_ in ids_in(case.body)):
        checks.append(positive_data_acceptance)  # 1.0 is an integer to JSON Schema, and none to us
    if case.operation.path.endswith(":cancel"):
        checks.append(allow_header_conformance)  # by another method it is the path of an ingestion
    return checks


def ids_in(body: Node) -> list[object]:
    return body["ids"] if isinstance(body.get("ids"), list) else []


def put(case: Any, named: dict[str, str]) -> Any:
    """Ask for something that is there: each time another one, but the same for the same request."""
    known = {"ingestion_id": sorted(named.values()), "name": ["simulated", "stuck"]}
    for parameter in case.path_parameters:
        things = known[parameter]
        case.path_parameters[parameter] = things[len(repr(case.query)) % len(things)]
    return case


@pytest.mark.slow
@its_own_chance
@FUZZED.parametrize()
@bounded(60)
def test_whatever_is_asked_is_answered_as_described(case: Any, still: Api):
    checked(still, case)


@pytest.mark.slow
@its_own_chance
@OF_ONE_THING.parametrize()
@bounded(30)
def test_whatever_is_asked_of_what_is_there_is_answered_as_described(
    case: Any, mixed: tuple[Api, dict[str, str]]
):
    api, named = mixed

    checked(api, put(case, named))


@pytest.mark.long
@its_own_chance
@FUZZED.parametrize()
@bounded(1_000, alike=False)
def test_at_length_whatever_is_asked_is_answered_as_described(
    case: Any, mixed: tuple[Api, dict[str, str]]
):
    checked(mixed[0], case)


@pytest.mark.long
@its_own_chance
@OF_ONE_THING.parametrize()
@bounded(500, alike=False)
def test_at_length_whatever_is_asked_of_what_is_there_is_answered_as_described(
    case: Any, mixed: tuple[Api, dict[str, str]]
):
    api, named = mixed

    checked(api, put(case, named))
