# pyright: basic
# Schemathesis leaves most of what it hands out untyped.
"""Schemathesis over our OpenAPI document: no 500, no answer that the document does not know."""

import asyncio
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from archive_gateway.routes.api import ENDPOINTS
from archive_gateway.routes.asking import Asking

EXAMPLES = 5
CHECKS = [status_code_conformance, content_type_conformance]
NO_ONE_ANSWERS = {503, 504}
"""What stands for the services that do not run beside the gateway in this test."""


@pytest.mark.parametrize("group", sorted({endpoint.tag for endpoint in ENDPOINTS}))
async def test_answers_are_as_documented(start: Any, router: Any, group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, Any]", Asking.ask.__kwdefaults__), "timeout", 0.3)
    async with start(request_timeout_s=0.4, run_timeout_s=0.4, api_key="root") as gateway:
        document = (await gateway.http.get("/openapi.json", headers={"authorization": "Bearer root"})).json()
        assert await asyncio.to_thread(explore, document, gateway.url, group)


def explore(document: dict[str, Any], url: str, group: str) -> int:
    """Ask for every operation of a group in many ways, valid ones and others; return how many there are."""
    asked = 0
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation: Any = cast("Any", found).ok()
        if group in operation.definition.raw["tags"]:
            ask(operation, url)
            asked += 1
    return asked


def ask(operation: Any, url: str) -> None:
    """Ask one operation."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        reply = case.call(base_url=url, headers={"authorization": "Bearer root"})
        assert reply.status_code < 500 or reply.status_code in NO_ONE_ANSWERS, (case.as_curl_command(), reply.text)
        # What an engine says passes through, and is that of a stand-in here.
        own = case.path not in {"/v1/completions", "/v1/rerank"} or reply.status_code >= 400
        whole = own and reply.headers.get("content-type", [""])[0].startswith("application/json")
        case.validate_response(reply, checks=[*CHECKS, *([response_schema_conformance] if whole else [])])

    check()
