from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_cli import probe
from archive_cli.find import find_engines, read_models

if TYPE_CHECKING:
    from conftest import FakeGateway


def port_of(server: "FakeGateway") -> int:
    return int(server.url.rpartition(":")[2])


async def test_model_server_is_found(fake_gateway: "FakeGateway") -> None:
    fake_gateway.answer("GET", "/v1/models", {"object": "list", "data": [{"id": "llama"}]})
    (found,) = await find_engines(places=[(port_of(fake_gateway), "Ollama")], timeout_s=5)
    assert found.models == ("llama",)
    assert "engines use http://127.0.0.1" in found.hint()


async def test_own_gateway_is_no_engine(fake_gateway: "FakeGateway") -> None:
    fake_gateway.answer("GET", "/v1/models", {"data": [{"id": "llama"}]})
    fake_gateway.answer("GET", "/v1/engines", {"engines": []})
    assert await find_engines(places=[(port_of(fake_gateway), "llama.cpp")], timeout_s=5) == []


async def test_own_ports_are_not_asked(fake_gateway: "FakeGateway") -> None:
    port = port_of(fake_gateway)
    assert await find_engines(places=[(port, "llama.cpp")], own_ports={port}) == []
    assert fake_gateway.requests == []


async def test_other_web_server_is_skipped(fake_gateway: "FakeGateway") -> None:
    assert await find_engines(places=[(port_of(fake_gateway), "vLLM"), (1, "Ollama")], timeout_s=5) == []


async def test_silence_is_status_zero() -> None:
    assert (await probe.get("127.0.0.1", 1, "/")).status == 0


@given(body=st.binary(max_size=200))
def test_nonsense_is_no_model_list(body: bytes) -> None:
    assert read_models(body) is None or isinstance(read_models(body), tuple)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"services": {"a": null}}', b'{"services": {"a": {"b": null}}}'])
def test_nothing_fails_in_strange_answers(body: bytes) -> None:
    assert list(probe.failing_checks(body)) == []


def test_failing_checks_are_named() -> None:
    assert list(probe.failing_checks(b'{"services": {"a": {"bus": "away", "db": null}}}')) == ["bus: away"]
