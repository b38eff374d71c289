"""Engines that the page finds, adds and removes."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from archive_console.domain.engines import NO_HOST, chatting, offer, only_bundled, preferred_model
from archive_contracts.engine import EngineRegistered, EngineSpec, ModelCard
from archive_contracts.streams import ENGINE_EVENTS, ENGINE_REGISTRY
from archive_finding import Found
from archive_testkit.waiting import eventually

MODEL = "<b>llama</b>"


def worker(engine: str, *models: str, **more: Any) -> EngineRegistered:
    given: dict[str, Any] = {"worker": engine, "engine": engine, "pool": engine, "slots": 2, "capabilities": ("chat",)}
    cards = tuple(ModelCard(id=model) for model in models)
    return EngineRegistered.model_validate(given | {"models": cards} | more)


@pytest.fixture
def server() -> Iterator[int]:
    """A model server of another program; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/v1/models" else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"data": [{"id": MODEL}]}).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_port
        running.shutdown()


async def test_found_server_is_offered_and_used(start: Any, server: int, bus_as: Any) -> None:
    async with start(engine_ports=(server,)) as console:
        assert 'data-stream="/system/offers/events"' in await console.page("/")
        offered = await fragment(console, "/system/offers/events", "Use it")
        assert "Use it" in offered
        assert "&lt;b&gt;llama" in offered
        assert MODEL not in offered
        reply = await console.post("/system/engines", url=f"http://127.0.0.1:{server}/v1", reason="found", back="/")
        assert (reply.status_code, reply.headers["location"]) == (303, "/")
        assert "Use it" not in await fragment(console, "/system/offers/events", "ENGINE_HOST")
    async with bus_as("engine") as bus:
        (entry,) = await bus.journal(ENGINE_REGISTRY, "all")
    assert entry.message.engine.base_url == f"http://127.0.0.1:{server}/v1"


async def fragment(console: Any, path: str, word: str) -> str:
    """Return the first fragment that holds a word."""
    async with asyncio.timeout(60), console.http.stream("GET", path) as reply:
        found = ""
        async for line in reply.aiter_lines():
            found = found + line if line else ""
            if word in found and line.endswith("</div>"):
                return found
    return ""


async def test_engine_is_added_and_removed_with_a_reason(start: Any) -> None:
    async with start(engine_ports=()) as console:
        assert (await console.post("/system/engines", url="big-box:8000")).status_code == 400
        await console.post("/system/engines", url="big-box:8000", model="qwen", reason="the big one")
        page = await console.page("/system/engines")
        assert "http://big-box:8000/v1" in page
        assert "qwen" in page
        await console.post("/system/engines/big-box-8000/remove", reason="it is gone")
        assert "big-box" not in await console.page("/system/engines")
        assert (await console.post("/system/engines/big-box-8000/remove", reason="again")).status_code == 404
        actions = await console.page("/system/actions")
    assert all(word in actions for word in ("added an engine", "removed an engine", "the big one", "it is gone"))


@pytest.mark.parametrize(
    "fields",
    [
        {"url": ""},
        {"url": "ftp://x"},
        {"url": "http://a:b@host"},
        {"url": "x:1", "name": "Ü"},
        {"url": "x", "name": "small"},
    ],
)
async def test_bad_engine_is_refused(console: Any, fields: dict[str, str]) -> None:
    reply = await console.post("/system/engines", reason="r", **fields)
    assert reply.status_code == 400
    assert "Added by hand" not in await console.page("/system/engines")


async def test_answering_engine_ends_the_offer(start: Any, bus_as: Any) -> None:
    async with start(engine_ports=()) as console, bus_as("engine") as bus:
        await bus.publish(worker("vllm", "embedder-small-embed", "qwen"), to=ENGINE_EVENTS)

        async def heard() -> bool:
            return "Only the bundled model" not in await console.page("/")

        await eventually(heard)
        assert await fragment(console, "/system/offers/events", "vllm answers from now on")
        assert "<option selected>qwen</option>" in await console.page("/")


def test_bundled_alone_is_only_bundled() -> None:
    bundled = worker("bundled", "smollm")
    assert only_bundled([])
    assert only_bundled([bundled, worker("ollama", healthy=False)])
    assert not only_bundled([bundled, worker("ollama")])
    assert chatting([worker("minilm", capabilities=("embedding",))]) == []


def test_model_is_preferred_without_choice() -> None:
    one = worker("ollama", "nomic-embed-text", "llama3")
    assert preferred_model([worker("bundled", "smollm"), one]) == "llama3"
    assert preferred_model([worker("bundled", "smollm")]) == ""
    assert preferred_model([one, worker("vllm", "qwen")]) == ""
    assert preferred_model([worker("ollama", "nomic-embed-text")]) == ""


def test_used_servers_are_not_offered_again() -> None:
    found = [Found("Ollama", "http://127.0.0.1:11434/v1", ()), Found("vLLM", "http://127.0.0.1:8000/v1", ())]
    workers = [worker("ollama", base_url="http://localhost:11434/v1/"), worker("bundled")]
    spec = EngineSpec(name="big", base_url="http://gpu/v1", pool="big")
    seen = offer(found, [*workers, worker("big", healthy=False, problem="refused")], [spec])
    assert [server.kind for server in seen.found] == ["vLLM"]
    assert seen.coming == ((spec, "refused"),)
    assert seen.answering == ("ollama",)


def test_engine_without_a_host_is_told() -> None:
    spec = EngineSpec(name="big", base_url="http://gpu/v1", pool="big")
    host = worker("minilm", hosts=True)
    assert offer([], [worker("bundled")], [spec]).coming == ((spec, NO_HOST),)
    assert offer([], [worker("bundled"), host], [spec]).coming == ((spec, ""),)
