"""The official client against the gateway. The bundled model decides the wording; only structure is looked at."""

import math

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionUserMessageParam

from archive_testkit.system import ArchiveSystem

ASK: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "Say hello."}]


@pytest.fixture
def ai(system: ArchiveSystem) -> openai.OpenAI:
    """The official client."""
    return openai.OpenAI(base_url=f"{system.url}/v1", api_key="anything", timeout=120, max_retries=0)


def test_chat_answers_whole(ai: openai.OpenAI) -> None:
    answer = ai.chat.completions.create(model="auto", messages=ASK, max_tokens=12)
    assert answer.choices[0].message.content
    assert answer.usage
    assert answer.usage.completion_tokens > 0


def test_chat_streams(ai: openai.OpenAI) -> None:
    stream = ai.chat.completions.create(
        model="auto", messages=ASK, max_tokens=12, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) > 1
    assert chunks[-1].usage
    assert chunks[-1].choices == []


def test_models_are_listed(ai: openai.OpenAI) -> None:
    names = [model.id for model in ai.models.list()]
    assert "smollm2-135m-instruct" in names
    assert ai.models.retrieve(names[0]).id == names[0]


def test_embeddings_have_meaning(ai: openai.OpenAI) -> None:
    texts = ["a small boat on the lake", "a little ship on the water", "quarterly tax return"]
    vectors = [row.embedding for row in ai.embeddings.create(model="auto", input=texts).data]
    assert len(vectors[0]) == 384

    def cosine(one: list[float], other: list[float]) -> float:
        return sum(a * b for a, b in zip(one, other, strict=True))

    assert math.isclose(cosine(vectors[0], vectors[0]), 1, abs_tol=1e-3)
    assert cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2])


def test_unknown_model_is_not_found(ai: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ai.chat.completions.create(model="no-such-model", messages=ASK)
    assert caught.value.code == "model_not_found"


def test_malformed_json_is_a_bad_request(client: httpx.Client) -> None:
    reply = client.post("/v1/chat/completions", content=b'{"model": ', headers={"content-type": "application/json"})
    assert reply.status_code == 400
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def test_agent_run_ends(client: httpx.Client) -> None:
    answer = client.post("/agent/", json={"question": "What is 17*23?", "max_steps": 3}).json()
    assert set(answer) >= {"answer", "steps", "total_steps", "success", "engine", "error"}
    assert answer["total_steps"] == len(answer["steps"]) <= 3


def test_plain_chat_is_remembered(client: httpx.Client) -> None:
    reply = client.post("/chat", json={"message": "My boat is called Heron."}).json()
    assert reply["response"]
    found: list[dict[str, object]] = []
    for _ in range(100):
        found = client.post("/memories/search", json={"query": "name of the boat", "top_k": 3}).json()["memories"]
        if any("Heron" in str(item["message"]) for item in found):
            return
    raise AssertionError(f"not remembered: {found}")
