"""The body that goes to an engine, and the rest of an answer that another one began."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_contracts.base import Spent
from archive_contracts.chat import ChatRequested, Usage
from archive_contracts.engine import GenerateRequested, Parameters, Resumption
from archive_engine.domain.request import can_go_on, outgoing
from archive_engine.domain.rest import Rest

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def job(body: str, *, model: str = "m", stream: bool = False, kind: Any = "chat", **facts: Any) -> GenerateRequested:
    request = ChatRequested(body=body, model="m", stream=stream, kind=kind)
    return GenerateRequested(request=request, request_id="r", pool="p", model=model, **facts)


def sent(body: dict[str, Any], **facts: Any) -> dict[str, Any]:
    return json.loads(outgoing(job(json.dumps(body), **facts), meter=False).body)


@given(st.dictionaries(st.text(), json_values))
def test_body_passes_byte_for_byte(fields: dict[str, Any]) -> None:
    body = json.dumps(fields)
    assert outgoing(job(body), meter=True).body == body
    assert outgoing(job(body, stream=True), meter=False).body == body
    assert outgoing(job(body, stream=True, kind="rerank"), meter=True).body == body


@given(st.dictionaries(st.text(), json_values))
def test_metering_adds_one_field(fields: dict[str, Any]) -> None:
    fields.pop("stream_options", None)
    found = outgoing(job(json.dumps(fields), stream=True), meter=True)
    if found.hides_usage:
        assert json.loads(found.body) == {**fields, "stream_options": {"include_usage": True}}
    else:
        assert fields == {}


@pytest.mark.parametrize(
    ("options", "hides"),
    [({"include_usage": True}, False), ({"include_usage": False, "x": 1}, True), (None, True), ("odd", True)],
)
def test_clients_own_wish_for_usage_stands(options: object, hides: bool) -> None:
    body = json.dumps({"stream_options": options, "model": "m"})
    found = outgoing(job(body, stream=True), meter=True)
    assert found.hides_usage is hides
    assert json.loads(found.body)["stream_options"]["include_usage"] is True
    assert (found.body == body) is not hides


def test_odd_bodies_are_left_alone() -> None:
    for body in ("[1]", "{}", " { } "):
        assert outgoing(job(body, stream=True), meter=True).body == body


def test_parameters_fill_what_is_missing() -> None:
    brought = Parameters(max_tokens=100, temperature=0.2)
    assert sent({"model": "x"}, parameters=brought) == {"model": "m", "max_tokens": 100, "temperature": 0.2}
    kept = {"model": "m", "temperature": 0, "max_completion_tokens": 5}
    assert sent(kept, parameters=brought) == kept
    assert sent({"a": 1}, parameters=Parameters()) == {"a": 1, "model": "m"}


def test_chat_goes_on_behind_what_was_written() -> None:
    had = Resumption(text="Hel", completion_tokens=4)
    body = sent({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10}, resumption=had)
    assert body["messages"][-1] == {"role": "assistant", "content": "Hel"}
    assert (body["max_tokens"], body["continue_final_message"], body["add_generation_prompt"]) == (6, True, False)
    assert sent({"max_tokens": 2}, resumption=had)["max_tokens"] == 1


def test_completion_goes_on_behind_its_prompt() -> None:
    body = sent({"prompt": "One, ", "echo": True}, kind="completion", resumption=Resumption(text="two"))
    assert body == {"model": "m", "prompt": "One, two"}


FREE_TEXT: list[tuple[Any, bool]] = [
    ({}, True),
    ({"n": 1, "response_format": {"type": "text"}}, True),
    ({"n": 2}, False),
    ({"best_of": 2}, False),
    ({"tools": [{}]}, False),
    ({"functions": [{}]}, False),
    ({"response_format": {"type": "json_object"}}, False),
    ({"prompt": ["a", "b"]}, False),
    ([], False),
]


@pytest.mark.parametrize(("body", "can"), FREE_TEXT)
def test_only_free_text_can_go_on(body: object, can: bool) -> None:
    assert can_go_on(json.dumps(body)) is can
    assert not can_go_on("{")


def test_rest_reads_as_one_answer() -> None:
    rest = Rest(Resumption(text="Hel", completion_tokens=2, head='{"id": "a", "created": 1, "model": "x"}'))
    chunk = {"id": "b", "created": 2, "model": "y", "choices": [{"delta": {"role": "assistant", "content": "lo"}}]}
    assert json.loads(rest.rewritten(chunk)) == {
        "id": "a",
        "created": 1,
        "model": "x",
        "choices": [{"delta": {"content": "lo"}}],
    }
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "details": None}
    told = json.loads(rest.rewritten({"choices": [], "usage": usage}))["usage"]
    assert told == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12, "details": None}
    assert rest.usage(Usage(completion_tokens=1)) == Usage(completion_tokens=3, total_tokens=3)


@pytest.mark.parametrize("head", ["", "[]"])
@pytest.mark.parametrize(
    "chunk", [{}, {"choices": None}, {"choices": ["odd", {"text": "x"}, {"delta": None}]}, {"usage": None, "id": "b"}]
)
def test_odd_rest_passes(head: str, chunk: dict[str, Any]) -> None:
    assert json.loads(Rest(Resumption(text="", head=head)).rewritten(chunk)) == chunk


def test_half_a_character_has_a_form_on_the_way() -> None:
    half: dict[str, Any] = {"choices": [{"delta": {"content": "\ud83d"}}]}
    assert json.loads(Rest(Resumption(text="")).rewritten(half).encode()) == half
    for body in (r'{"x":"\ud83d"}', r'{"x":"\ud83d","stream_options":{}}'):
        found = outgoing(job(body, model="n", stream=True), meter=True).body
        assert json.loads(found.encode())["x"] == "\ud83d"


@pytest.mark.parametrize(("estimated", "prompt"), [(True, 20), (False, 13)])
def test_rest_that_breaks_off_counts_whole(estimated: bool, prompt: int) -> None:
    part = Spent(engine="e", model="m", prompt_tokens=20, completion_tokens=2, estimated=estimated)
    whole = Rest(Resumption(text="Hel", completion_tokens=7)).spent(part)
    assert (whole.prompt_tokens, whole.completion_tokens) == (prompt, 9)
