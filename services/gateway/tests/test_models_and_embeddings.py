"""Models, engines and embeddings."""

import base64
import struct
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest

from archive_bus import Delivery
from archive_contracts.engine import Embedded, EmbedRequested, EngineLeft, EngineRegistered, ModelCard
from archive_contracts.streams import EMBEDDING_REQUESTS, ENGINE_EVENTS
from archive_testkit.waiting import eventually


def engine(worker: str = "w1", *models: str, healthy: bool = True) -> EngineRegistered:
    return EngineRegistered(
        worker=worker,
        engine="bundled",
        pool="small",
        models=tuple(ModelCard(id=name, context=8192) for name in models or ("org/small",)),
        capabilities=("chat",),
        slots=2,
        healthy=healthy,
    )


@pytest.fixture
async def client(gateway: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
        yield client


async def test_models_come_from_heartbeats(gateway: Any, client: openai.AsyncOpenAI, bus_as: Any) -> None:
    async with bus_as("engine") as bus:
        await bus.publish(engine(), to=ENGINE_EVENTS)
        await bus.publish(engine("w2", "sick", healthy=False), to=ENGINE_EVENTS)
        await eventually(lambda: gateway.info()["models"])
    listed = [model.id async for model in client.models.list()]
    assert listed == ["org/small"]
    assert (await client.models.retrieve("org/small")).owned_by == "archive-ai"
    engines = (await gateway.http.get("/v1/engines")).json()["engines"]
    assert [(found["worker"], found["healthy"]) for found in engines] == [("w1", True), ("w2", False)]


async def test_engine_that_left_is_gone(gateway: Any, bus_as: Any) -> None:
    async with bus_as("engine") as bus:
        await bus.publish(engine(), to=ENGINE_EVENTS)
        await eventually(lambda: gateway.info()["models"])
        await bus.publish(EngineLeft(worker="w1", pool="small"), to=ENGINE_EVENTS)
        await eventually(lambda: not gateway.info()["models"])
    assert (await gateway.http.get("/v1/models")).json() == {"object": "list", "data": []}


async def test_unknown_model_is_not_found(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("no/such model")
    assert caught.value.code == "model_not_found"


ANSWERED: dict[str, Any] = {"engine": "minilm", "upstream_ms": 3_600_000.0, "headers": (("x-model-version", "7"),)}


@pytest.fixture
async def embedder(peer: Any) -> Any:
    seen: list[EmbedRequested] = []

    async def embed(delivery: Delivery[EmbedRequested]) -> None:
        texts = delivery.message.texts
        seen.append(delivery.message)
        raw = b"".join(struct.pack("<3f", index, 0.5, -1) for index in range(len(texts)))
        vectors = base64.b64encode(raw).decode()
        await delivery.reply(
            Embedded(model="minilm", dim=3, vectors=vectors, counts=(1,) * len(texts), tokens=7, **ANSWERED)
        )

    async with peer("router", EMBEDDING_REQUESTS, {EmbedRequested: embed}):
        yield seen


async def test_official_client_embeds(client: openai.AsyncOpenAI, embedder: Any) -> None:
    found = await client.embeddings.create(model="embed", input=["a", "b"], dimensions=3)
    assert [item.embedding for item in found.data] == [[0.0, 0.5, -1.0], [1.0, 0.5, -1.0]]
    assert found.usage.prompt_tokens == 7
    assert embedder[0].dimensions == 3


async def test_embeddings_say_who_answered(gateway: Any, embedder: Any) -> None:
    reply = await gateway.http.post("/v1/embeddings", json={"model": "embed", "input": "a"})
    assert reply.headers["x-archive-engine"] == "minilm"
    assert reply.headers["x-archive-overhead-ms"] == "0.00"
    assert reply.headers["x-model-version"] == "7"
    assert {"x-request-id", "openai-processing-ms"} <= reply.headers.keys()


async def test_floats_come_when_asked(gateway: Any, embedder: Any) -> None:
    asked = {"model": "embed", "input": "a", "encoding_format": "float"}
    reply = await gateway.http.post("/v1/embeddings", json=asked)
    assert reply.json()["data"] == [{"object": "embedding", "index": 0, "embedding": [0.0, 0.5, -1.0]}]


async def test_token_arrays_are_embedded_as_text(gateway: Any, embedder: Any) -> None:
    pairs: list[tuple[object, tuple[str, ...]]] = [
        ([9906, 1917], ("Hello world",)),
        ([[9906], [1917]], ("Hello", " world")),
    ]
    for given, texts in pairs:
        reply = await gateway.http.post("/v1/embeddings", json={"model": "embed", "input": given})
        assert reply.status_code == 200
        assert embedder[-1].texts == texts


BAD_INPUT: list[tuple[object, str]] = [
    ([2**30], "invalid_token"),
    ([[1, 2], [100_300]], "invalid_token"),
    ([1, -2], "invalid_value"),
    ([[]], "invalid_value"),
    ("", "invalid_value"),
    ([], "invalid_value"),
    (["a", ""], "invalid_value"),
    (None, "invalid_value"),
]


@pytest.mark.parametrize(("given", "code"), BAD_INPUT)
async def test_bad_input_is_refused(gateway: Any, given: object, code: str) -> None:
    reply = await gateway.http.post("/v1/embeddings", json={"model": "embed", "input": given})
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"].partition(".")[0]) == (400, code, "input")


@pytest.mark.parametrize("item", ["a", [1]])
async def test_too_many_texts_are_told_as_such(gateway: Any, item: object) -> None:
    reply = await gateway.http.post("/v1/embeddings", json={"model": "embed", "input": [item] * 2049})
    assert "at most 2048 items" in reply.json()["error"]["message"]
