"""The code publishes and consumes what the map says, and nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from archive_contracts import streams
from archive_contracts.streams import SERVICES, Stream

ROOT = Path(__file__).parents[2]
STREAMS: dict[str, Stream] = {name: value for name, value in vars(streams).items() if isinstance(value, Stream)}


def calls(service: str) -> Iterator[ast.Call]:
    for path in (ROOT / "services" / service / "src").rglob("*.py"):
        yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))


def published(service: str) -> set[str]:
    """Streams named as `to=` of a publish, append, request or open."""
    return {
        STREAMS[keyword.value.id].name
        for call in calls(service)
        for keyword in call.keywords
        if keyword.arg == "to" and isinstance(keyword.value, ast.Name) and keyword.value.id in STREAMS
    }


def subscribed(service: str) -> set[str]:
    return {
        STREAMS[call.args[0].id].name
        for call in calls(service)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "subscribe"
        if call.args and isinstance(call.args[0], ast.Name) and call.args[0].id in STREAMS
    }


def followed(service: str) -> set[str]:
    return {
        STREAMS[call.args[0].id].name
        for call in calls(service)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "follow"
        if call.args and isinstance(call.args[0], ast.Name) and call.args[0].id in STREAMS
    }


@pytest.mark.parametrize("service", SERVICES)
def test_service_follows_what_the_map_says(service: str) -> None:
    assert followed(service) <= {stream.name for stream in STREAMS.values() if service in stream.followers}


@pytest.mark.parametrize("service", SERVICES)
def test_service_publishes_what_the_map_allows(service: str) -> None:
    allowed = {stream.name for stream in STREAMS.values() if service in stream.producers}
    assert published(service) <= allowed


@pytest.mark.parametrize("service", SERVICES)
def test_service_consumes_what_the_map_gives_it(service: str) -> None:
    given = {stream.name for stream in STREAMS.values() if service in stream.consumers}
    assert subscribed(service) == given
