"""Ask every endpoint with the official client, in whichever version it is here: ``ask_everything.py URL KEY MEAGRE``.

``MEAGRE`` is a key that may ask once a minute. The environment has the client and nothing else: no pytest.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import openai
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
IMAGE = "data:image/png;base64,AA=="
E = TypeVar("E", bound=openai.APIError)


class Sum(BaseModel):
    """What a forced format holds."""

    answer: int


def raised(kind: type[E], call: Callable[[], object]) -> E:
    """Return the error that a call raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["m"]
    assert client.models.retrieve("m").id == "m"
    assert raised(openai.NotFoundError, lambda: client.models.retrieve("none")).code == "model_not_found"


def whole_chats(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="m", messages=MESSAGES, n=2, seed=7, extra_body={"x_wish": {"kept": None}}
    )
    answer: Any = raw.parse()
    assert [choice.message.content for choice in answer.choices] == ["Hello", "Hello"]
    assert answer.usage.total_tokens == 9
    assert answer.x_wish == {"kept": None}
    assert raw.http_response.text.count('"logprobs": null') == 2
    for name in ("x-request-id", "openai-processing-ms", "x-archive-engine", "x-archive-overhead-ms"):
        assert raw.headers[name], name
    spelled: Any = client.chat.completions.create(model="m", messages=MESSAGES, logprobs=True)
    assert [word.logprob for word in spelled.choices[0].logprobs.content] == [-0.5, -0.5]
    called: Any = client.chat.completions.create(model="m", messages=MESSAGES, tools=TOOLS)
    assert called.choices[0].finish_reason == "tool_calls"
    assert called.choices[0].message.tool_calls[0].function.arguments == '{"city":"Bonn"}'
    parsed = client.chat.completions.parse(model="m", messages=MESSAGES, response_format=Sum)
    assert parsed.choices[0].message.parsed == Sum(answer=4)
    seeing: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE}}]}]
    assert client.chat.completions.create(model="m", messages=seeing).choices[0].message.content == f"I see {IMAGE}"


def streamed_chats(client: openai.OpenAI) -> str:
    """Returns the id of a stream."""
    raw = client.chat.completions.with_raw_response.create(
        model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks: list[Any] = list(raw.parse())
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(piece.choices[0].delta.content or "" for piece in chunks if piece.choices) == "Hello"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 9
    assert float(raw.headers["x-archive-overhead-ms"]) >= 0
    plain: list[Any] = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    assert all(piece.choices and piece.usage is None for piece in plain)
    calls: dict[int, str] = {}
    for chunk in client.chat.completions.create(model="m", messages=MESSAGES, tools=TOOLS, stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            calls[call.index] = calls.get(call.index, "") + ((call.function and call.function.arguments) or "")
    assert calls == {0: '{"city":"Bonn"}'}
    with client.chat.completions.stream(model="m", messages=MESSAGES) as helper:
        assert helper.get_final_completion().choices[0].message.content == "Hello"
    return str(raw.headers["x-archive-stream"])


def resumed(client: openai.OpenAI, stream: str) -> None:
    pieces = client.get(
        f"/streams/{stream}",
        cast_to=ChatCompletionChunk,
        stream=True,
        stream_cls=openai.Stream[ChatCompletionChunk],
    )
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == "Hello"


def completions(client: openai.OpenAI) -> None:
    done = client.completions.create(model="m", prompt="Once ", suffix=" end", echo=True, best_of=2, logprobs=1)
    assert done.choices[0].text == "Once Hello end"
    assert done.choices[0].logprobs
    assert done.choices[0].logprobs.tokens == ["Hel", "lo"]
    pieces = client.completions.create(model="m", prompt="Once ", stream=True)
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices) == "Hello"


def embeddings(client: openai.OpenAI) -> None:
    packed = client.embeddings.create(model="m", input=["a", "b"])
    plain = client.embeddings.create(model="m", input=["a", "b"], encoding_format="float")
    assert [len(row.embedding) for row in packed.data] == [8, 8]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, other.embedding, strict=True))
    assert len(client.embeddings.create(model="m", input="a", dimensions=2).data[0].embedding) == 2
    assert len(client.embeddings.create(model="m", input=[9906, 1917]).data) == 1
    assert len(client.embeddings.create(model="m", input=[[9906], [1917]]).data) == 2
    assert packed.usage.total_tokens == 3


def reranking(client: openai.OpenAI) -> None:
    body = {"model": "m", "query": "q", "documents": ["a", "b", "c"], "top_n": 2}
    found: Any = client.post("/rerank", body=body, cast_to=object)
    assert [row["index"] for row in found["results"]] == [0, 1]
    assert found["odd"] is None


def failures(client: openai.OpenAI, meagre: str) -> None:
    def ask(**more: Any) -> Any:
        asked: Any = {"model": "m", "messages": MESSAGES} | more
        create: Any = client.chat.completions.create
        return create(**asked)

    unknown = raised(openai.NotFoundError, lambda: ask(model="none"))
    assert (unknown.code, unknown.param, unknown.type) == ("model_not_found", "model", "not_found_error")
    empty = raised(openai.BadRequestError, lambda: ask(messages=[]))
    assert (empty.code, empty.param) == ("invalid_value", "messages")
    large = raised(openai.APIStatusError, lambda: ask(messages=[{"role": "user", "content": "x" * 1_200_000}]))
    assert (large.status_code, large.code) == (413, "request_too_large")
    stranger = client.with_options(api_key="wrong")
    assert raised(openai.AuthenticationError, stranger.models.list).code == "invalid_api_key"
    poor = client.with_options(api_key=meagre)
    poor.chat.completions.create(model="m", messages=MESSAGES)
    limited = raised(openai.RateLimitError, lambda: poor.chat.completions.create(model="m", messages=MESSAGES))
    assert 1 <= int(limited.response.headers["retry-after"]) <= 60
    assert limited.response.headers["x-ratelimit-remaining-requests"] == "0"
    broken: Any = [{"role": "user", "content": "cut"}]
    cut = raised(openai.APIError, lambda: list(ask(messages=broken, stream=True)))
    assert cut.code == "upstream_cut", cut.code


def main(url: str, key: str, meagre: str) -> None:
    """Raise when an answer is not what the client's own types say."""
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        models(client)
        whole_chats(client)
        resumed(client, streamed_chats(client))
        completions(client)
        embeddings(client)
        reranking(client)
        failures(client, meagre)
    sys.stdout.write(openai.__version__)


if __name__ == "__main__":
    main(*sys.argv[1:])
