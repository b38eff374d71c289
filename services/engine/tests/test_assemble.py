import random
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_engine.domain.assemble import Assembler

Json = dict[str, Any]
Strategy = st.SearchStrategy[dict[str, Any]]
Text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
Call: Strategy = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": Text.filter(bool), "arguments": Text}),
    }
)
Message: Strategy = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | Text},
    optional={"tool_calls": st.lists(Call, min_size=1, max_size=3), "reasoning_content": Text},
)
Logprobs = st.none() | st.fixed_dictionaries(
    {"content": st.lists(st.fixed_dictionaries({"token": Text, "logprob": st.floats(-9, 0)}), max_size=4)}
)
Choice: Strategy = st.fixed_dictionaries(
    {"message": Message, "finish_reason": st.sampled_from(["stop", "length", "tool_calls"]), "logprobs": Logprobs}
)
Usage = st.fixed_dictionaries({"prompt_tokens": st.integers(0, 99), "completion_tokens": st.integers(0, 99)})


@st.composite
def completions(draw: st.DrawFn) -> Json:
    choices = [{"index": index, **choice} for index, choice in enumerate(draw(st.lists(Choice, max_size=3)))]
    head = {"id": draw(Text), "object": "chat.completion", "created": 7, "model": draw(Text)}
    return {**head, "choices": choices, "usage": draw(Usage), "timings": {"predicted_n": 1}}


def _cut(text: str, rng: random.Random) -> list[str]:
    edges = sorted({0, len(text), *(rng.randint(0, len(text)) for _ in range(3))})
    return [text[begin:end] for begin, end in pairwise(edges)]


def _call_parts(index: int, call: Json, rng: random.Random) -> list[Json]:
    first = {**call, "index": index, "function": {**call["function"], "arguments": ""}}
    return [
        first,
        *({"index": index, "function": {"arguments": part}} for part in _cut(call["function"]["arguments"], rng)),
    ]


def _deltas(message: Json, rng: random.Random) -> list[Json]:
    deltas: list[Json] = [{"role": "assistant", "content": None if message["content"] is None else ""}]
    for name in ("reasoning_content", "content"):
        if name in message and message[name] is not None:
            deltas += [{name: ""}, *({name: part} for part in _cut(message[name], rng))]
    queues: list[list[Json]] = [
        _call_parts(index, call, rng) for index, call in enumerate(message.get("tool_calls", []))
    ]
    while queues:
        queue = rng.choice(queues)
        deltas.append({"tool_calls": [queue.pop(0)]})
        queues = [queue for queue in queues if queue]
    return deltas


def _split(completion: Json, rng: random.Random) -> list[Json]:
    """Stream a completion as a server would: choices interleaved, usage in a last chunk of its own."""
    head = {name: completion[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    queues: list[list[Json]] = []
    for choice in completion["choices"]:
        parts = [{"delta": delta, "finish_reason": None, "logprobs": None} for delta in _deltas(choice["message"], rng)]
        parts.append({"delta": {}, "finish_reason": choice["finish_reason"], "logprobs": None})
        if choice["logprobs"] is not None:
            parts.append({"delta": {}, "finish_reason": None, "logprobs": {"content": []}})
            parts += [{"delta": {}, "logprobs": {"content": [entry]}} for entry in choice["logprobs"]["content"]]
        queues.append([{"index": choice["index"], **part} for part in parts])
    chunks: list[Json] = []
    while queues:
        queue = rng.choice(queues)
        chunks.append({**head, "choices": [queue.pop(0)], "usage": None})
        queues = [queue for queue in queues if queue]
    return [*chunks, {**head, "choices": [], "usage": completion["usage"], "timings": completion["timings"]}]


def _assemble(chunks: list[Json]) -> Json:
    assembler = Assembler()
    for chunk in chunks:
        assembler.add(chunk)
    return assembler.result()


@given(completion=completions(), seed=st.integers(0, 2**32))
def test_split_then_assembled_is_equal(completion: Json, seed: int) -> None:
    assert _assemble(_split(completion, random.Random(seed))) == completion


def test_text_completion_keeps_its_shape() -> None:
    head = {"id": "c", "object": "text_completion"}
    chunks = [
        {**head, "choices": [{"index": 0, "text": "a", "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "text": "b", "finish_reason": "stop"}]},
    ]
    assert _assemble(chunks) == {**head, "choices": [{"index": 0, "text": "ab", "finish_reason": "stop"}]}


def test_calls_without_index_stay_apart() -> None:
    parts: list[Json] = [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}},
        {"function": {"arguments": "}"}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]} for part in parts]
    calls = _assemble(chunks)["choices"][0]["message"]["tool_calls"]
    assert [(call["id"], call["function"]) for call in calls] == [
        ("a", {"name": "f", "arguments": "{}"}),
        ("b", {"name": "g", "arguments": "{}"}),
    ]


@given(
    chunk=st.recursive(
        st.none() | st.integers() | Text,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["choices", "delta", "index", "tool_calls", "function", "name", "id", "role", "text"]),
                inner,
                max_size=4,
            )
        ),
    )
)
def test_misshapen_chunks_never_raise(chunk: Any) -> None:
    result = _assemble([{"choices": [chunk, {"index": 0, "delta": chunk}]}, {"choices": chunk}])
    assert result["object"] == "chat.completion"


def test_log_probabilities_are_joined() -> None:
    parts = [{"content": [{"token": "a"}], "refusal": None}, None, {"content": [{"token": "b"}], "refusal": []}]
    (choice,) = _assemble([{"choices": [{"index": 0, "logprobs": part}]} for part in parts])["choices"]
    assert choice["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}], "refusal": []}


def test_null_does_not_take_back_what_was_said() -> None:
    chunks: list[Json] = [{"usage": {"total_tokens": 3}, "choices": []}, {"usage": None, "choices": None}]
    assert _assemble(chunks)["usage"] == {"total_tokens": 3}


@pytest.mark.parametrize("odd", [{"index": "first"}, {"index": 0, "delta": "text"}, "choice", None])
def test_misshapen_choice_is_left_out(odd: Any) -> None:
    good = {"index": 0, "delta": {"content": "kept"}}
    assert _assemble([{"choices": [good, odd]}])["choices"][0]["message"]["content"] == "kept"


def test_repeated_call_name_kept_once() -> None:
    parts: list[Json] = [{"index": 0, "id": "a", "function": {"name": "f", "arguments": part}} for part in "{}"]
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": [part]}}]} for part in parts]
    (call,) = _assemble(chunks)["choices"][0]["message"]["tool_calls"]
    assert call == {"id": "a", "function": {"name": "f", "arguments": "{}"}}
