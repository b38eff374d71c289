"""The OpenAPI document, made from the table of routes and their models: it cannot say anything else than they do."""

import json
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from archive_gateway.domain.faces import speaks_openai
from archive_gateway.routes.openai.shapes import OpenAIError
from archive_gateway.routes.table import Endpoint

Tree = dict[str, Any]

ALWAYS = (401, 403, 500, 503)
"""What every address can answer: no key, a foreign page, a fault, a server that is away."""


class PlatformError(BaseModel):
    """What went wrong, and what to do."""

    detail: str
    code: str
    next_step: str


def document(endpoints: Sequence[Endpoint], *, version: str) -> bytes:
    """Return the OpenAPI 3.1 document of the table as JSON."""
    schemas, definitions = _schemas(endpoints)
    paths: dict[str, Tree] = {}
    for endpoint in endpoints:
        path = re.sub(r"\{(\w+):\w+\}", r"{\1}", endpoint.path)
        paths.setdefault(path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    tree: Tree = {
        "openapi": "3.1.0",
        "info": {
            "title": "Archive-AI",
            "version": version,
            "description": "An assistant platform on your own machines. `/v1` speaks OpenAI's language.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"key": []}],
    }
    return json.dumps(tree, ensure_ascii=False).encode()


Schemas = dict[tuple[type[BaseModel], str], Tree]


def _schemas(endpoints: Sequence[Endpoint]) -> tuple[Schemas, Tree]:
    taken: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        (OpenAIError, "serialization"),
        (PlatformError, "serialization"),
    ]
    for endpoint in endpoints:
        taken.extend((model, "validation") for model in _read(endpoint))
        taken.extend((model, "serialization") for model in _written(endpoint))
    found, whole = models_json_schema(list(dict.fromkeys(taken)), ref_template="#/components/schemas/{model}")
    schemas = {(model, mode): found[model, mode] for model, mode in taken}
    return schemas, whole.get("$defs", {})


def _read(endpoint: Endpoint) -> Iterable[type[BaseModel]]:
    return (model for model in (endpoint.body, endpoint.upload, endpoint.query) if model)


def _written(endpoint: Endpoint) -> Iterable[type[BaseModel]]:
    return (model for model in (endpoint.answer, endpoint.several, *endpoint.events.values()) if model)


def _operation(endpoint: Endpoint, schemas: Schemas) -> Tree:
    tree: Tree = {
        "operationId": endpoint.operation,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.description:
        tree["description"] = endpoint.description
    if parameters := [*_path_parameters(endpoint), *_query_parameters(endpoint)]:
        tree["parameters"] = parameters
    if endpoint.body:
        tree["requestBody"] = _content("application/json", schemas[endpoint.body, "validation"], required=True)
    if endpoint.upload:
        tree["requestBody"] = _content("multipart/form-data", schemas[endpoint.upload, "validation"], required=True)
    return tree


def _responses(endpoint: Endpoint, schemas: Schemas) -> Tree:
    answers: Tree = {str(endpoint.status): _success(endpoint, schemas)}
    also = (400, 408, 413, 415) if endpoint.body or endpoint.upload else (400,) if endpoint.query else ()
    error = OpenAIError if speaks_openai(endpoint.path) else PlatformError
    for status in sorted({*ALWAYS, *also, *endpoint.errors} - {endpoint.status}):
        answers[str(status)] = {
            "description": HTTPStatus(status).phrase,
            **_content("application/json", schemas[error, "serialization"]),
        }
    return answers


def _success(endpoint: Endpoint, schemas: Schemas) -> Tree:
    content: Tree = {}
    whole = [schemas[model, "serialization"] for model in (endpoint.answer, endpoint.several) if model]
    if whole:
        content["application/json"] = {"schema": whole[0] if len(whole) == 1 else {"oneOf": whole}}
    if endpoint.events:
        events = [schemas[model, "serialization"] for model in endpoint.events.values()]
        named = ", ".join(f"`{name}`" for name in endpoint.events if name)
        content["text/event-stream"] = {
            "schema": {
                "type": "string",
                "description": f"Server-sent events{': ' + named if named else ''}; `data` is JSON.",
                "contentMediaType": "application/json",
                "contentSchema": events[0] if len(events) == 1 else {"oneOf": events},
            }
        }
    tree: Tree = {"description": HTTPStatus(endpoint.status).phrase}
    if content:
        tree["content"] = content
    if endpoint.headers:
        tree["headers"] = {
            name: {"description": about, "schema": {"type": "string"}} for name, about in endpoint.headers.items()
        }
    return tree


def _path_parameters(endpoint: Endpoint) -> list[Tree]:
    names: list[str] = re.findall(r"\{(\w+)(?::\w+)?\}", endpoint.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(endpoint: Endpoint) -> list[Tree]:
    if endpoint.query is None:
        return []
    properties: dict[str, Tree] = endpoint.query.model_json_schema()["properties"]
    return [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]


def _content(media: str, schema: Tree, **more: object) -> Tree:
    return {"content": {media: {"schema": schema}}, **more}
