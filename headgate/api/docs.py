"""What OpenAPI is told of errors and of the routes that take a raw request: every error, with its shape."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from headgate.api.schemas import (
    IngestAnswer,
    IngestBody,
    Problem,
    SeedError,
    SeedErrors,
    StatusAnswer,
    SubmissionBody,
)

NDJSON_EXAMPLE = '{"id":1,"position":0,"ending":"fetched","record":{"id":1}}\n'

REF = "#/components/schemas/{model}"

_ERRORS = {
    401: "There are API keys, and no valid one was sent.",
    403: "This host name is not served, or a page of this origin may not do this.",
    404: "Unknown, malformed, or somebody else's.",
    409: "Not possible in the present state.",
    413: "More bytes or ids than are taken.",
    422: "The input has mistakes: at most 20, each with its place.",
    503: "The store cannot take this now; nothing was stored. Try again after `Retry-After`.",
}


def _problems(*codes: int) -> dict[str, Any]:
    schema = {"$ref": REF.format(model="Problem")}
    content = {"application/problem+json": {"schema": schema}}
    return {
        "responses": {
            code: {"description": _ERRORS[code], "content": content, **_headers(code)}
            for code in codes
        }
    }


def _headers(code: int) -> dict[str, Any]:
    if code != HTTPStatus.SERVICE_UNAVAILABLE:
        return {}
    return {"headers": {"Retry-After": _header("Seconds after which to try again.", "integer")}}


def _header(description: str, kind: str = "string") -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}}


def _takes(model: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": REF.format(model=model)}}}
    return {"requestBody": {"required": True, "content": content}}


FINDABLE: dict[str, Any] = _problems(401, 403, 404, 422, 503)
LISTED: dict[str, Any] = _problems(401, 403, 422, 503)
CANCELLABLE: dict[str, Any] = _problems(401, 403, 404, 409, 422, 503)
TAKES: dict[str, Any] = {
    "responses": {
        202: {
            "description": "Accepted, and durable.",
            "headers": {"Location": _header("Where the ingestion is.")},
        },
        **_problems(401, 403, 413, 422, 503)["responses"],
    },
    "openapi_extra": _takes("SubmissionBody"),
}


RECORDS: dict[str, Any] = _problems(401, 403, 404, 422, 503)
RECORDS["responses"][200] = {
    "description": "A page of records; as NDJSON every record from the page on, one a line.",
    "content": {"application/x-ndjson": {"schema": {"type": "string"}, "example": NDJSON_EXAMPLE}},
}


def _answer(description: str, model: str) -> dict[str, Any]:
    schema = {"$ref": REF.format(model=model)}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _seed_error(code: int, model: str = "SeedError") -> dict[str, Any]:
    return {str(code): {**_answer(_ERRORS[code], model), **_headers(code)}}


def _word(path: str, summary: str, word: str) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}, "example": word}}
    return {
        path: {
            "get": {
                "tags": ["health"],
                "summary": summary,
                "operationId": path.strip("/"),
                "responses": {
                    "200": {"description": summary, "content": content},
                    **_seed_error(403),
                    **_seed_error(503),
                },
            }
        }
    }


HEALTH_PATHS: dict[str, Any] = {
    **_word("/healthz", "The process answers", "ok"),
    **_word("/readyz", "The store answers", "ready"),
}

SEED_PATHS: dict[str, Any] = {
    "/ingest": {
        "post": {
            "tags": ["the two public endpoints"],
            "summary": "Hand in a list of ids",
            "operationId": "ingest",
            **_takes("IngestBody"),
            "responses": {
                "200": _answer("Accepted, and durable.", "IngestAnswer"),
                **_seed_error(401),
                **_seed_error(403),
                **_seed_error(413),
                **_seed_error(422, "SeedErrors"),
                **_seed_error(503),
            },
        }
    },
    "/status/{ingestion_id}": {
        "get": {
            "tags": ["the two public endpoints"],
            "summary": "Where an ingestion and each of its batches stands",
            "operationId": "status",
            "parameters": [
                {
                    "name": "ingestion_id",
                    "in": "path",
                    "required": True,
                    "schema": {"type": "string"},
                }
            ],
            "responses": {
                "200": _answer("Batches in the order of the list.", "StatusAnswer"),
                **_seed_error(401),
                **_seed_error(403),
                **_seed_error(404),
                **_seed_error(503),
            },
        }
    },
}

_MODELS = (IngestBody, IngestAnswer, StatusAnswer, SeedError, SeedErrors, SubmissionBody, Problem)


def describe(app: FastAPI) -> None:
    """Make the application's OpenAPI name the raw routes and every model that is referred to."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _described(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _described(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schema["paths"] = {**SEED_PATHS, **schema["paths"], **HEALTH_PATHS}
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in _MODELS:
        described = model.model_json_schema(ref_template=REF)
        schemas.update(described.pop("$defs", {}))
        schemas[model.__name__] = described
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{}, {"key": []}]
    return schema
