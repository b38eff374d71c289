"""Model servers of other programs, and addresses that people type."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from archive_finding import BadPlace, Place, find_engines, get, place_of, read_models

Serve = Callable[[dict[str, Any]], int]
MODELS = {"object": "list", "data": [{"id": "llama"}]}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a web server that answers these paths; return its port."""
    with ExitStack() as stack:

        def serving(answers: dict[str, Any]) -> int:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    known = self.path in answers
                    self.send_response(200 if known else 404)
                    self.end_headers()
                    self.wfile.write(json.dumps(answers.get(self.path, {})).encode())

                def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                    pass

            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return server.server_port

        yield serving


async def test_model_server_is_found(serve: Serve) -> None:
    port = serve({"/v1/models": MODELS})
    (found,) = await find_engines(places=[(port, "Ollama")], timeout_s=30)
    assert (found.kind, found.url, found.models) == ("Ollama", f"http://127.0.0.1:{port}/v1", ("llama",))


async def test_own_gateway_is_no_engine(serve: Serve) -> None:
    port = serve({"/v1/models": MODELS, "/v1/engines": {"engines": []}})
    assert await find_engines(places=[(port, "llama.cpp")], timeout_s=30) == []


async def test_own_ports_are_not_asked(serve: Serve) -> None:
    port = serve({"/v1/models": MODELS})
    assert await find_engines(places=[(port, "llama.cpp")], own_ports={port}, timeout_s=30) == []


async def test_other_web_server_is_skipped(serve: Serve) -> None:
    assert await find_engines(places=[(serve({"/": {}}), "vLLM"), (1, "Ollama")], timeout_s=30) == []


async def test_silent_port_has_no_answer() -> None:
    assert (await get("127.0.0.1", 1, "/")).status == 0


@given(body=some.binary(max_size=200))
def test_nonsense_is_no_model_list(body: bytes) -> None:
    assert read_models(body) is None or isinstance(read_models(body), tuple)


@pytest.mark.parametrize(
    ("typed", "base_url", "name"),
    [
        ("localhost:11434", "http://localhost:11434/v1", "ollama"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1", "vllm"),
        ("https://gpu.Example.org", "https://gpu.Example.org/v1", "gpu-example-org"),
        ("http://gpu:8000/openai", "http://gpu:8000/openai/v1", "gpu-8000"),
    ],
)
def test_typed_address_is_completed(typed: str, base_url: str, name: str) -> None:
    assert place_of(typed) == Place(base_url, name)


@pytest.mark.parametrize(
    "typed", ["", "ftp://host", "http://", "http://[", "http://host:port", "http://me:secret@host"]
)
def test_other_addresses_are_refused(typed: str) -> None:
    with pytest.raises(BadPlace):
        place_of(typed)


@given(some.text(max_size=60))
def test_names_can_be_names(typed: str) -> None:
    try:
        place = place_of(typed)
    except BadPlace:
        return
    assert 1 <= len(place.name) <= 40
    assert set(place.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
