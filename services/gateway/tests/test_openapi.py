"""The OpenAPI document describes what is served."""

import re
from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from archive_gateway.routes.api import ENDPOINTS


async def test_document_is_valid_and_complete(gateway: Any) -> None:
    tree = (await gateway.http.get("/openapi.json")).json()
    OpenAPIV31SpecValidator(tree).validate()
    described = {(method.upper(), path) for path, item in tree["paths"].items() for method in item}
    assert described == {(end.method, re.sub(r":\w+}", "}", end.path)) for end in ENDPOINTS}


async def test_every_operation_has_an_error(gateway: Any) -> None:
    tree = (await gateway.http.get("/openapi.json")).json()
    for path, item in tree["paths"].items():
        for operation in item.values():
            schema = operation["responses"]["401"]["content"]["application/json"]["schema"]["$ref"]
            assert schema.endswith("OpenAIError" if path.startswith("/v1/") else "PlatformError")


def test_operations_have_their_own_names() -> None:
    names = [endpoint.operation for endpoint in ENDPOINTS]
    assert len(names) == len(set(names))
