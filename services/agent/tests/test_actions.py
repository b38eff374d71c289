import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_agent.domain.actions import (
    MAX_STRING,
    USUAL_STRING,
    FinalAnswer,
    Reply,
    ToolCall,
    Unreadable,
    parameters_of,
    read_reply,
    response_format,
)
from archive_contracts.tools import ToolSpec

CALL = ToolCall("hm", "calculator", '{"expression": "2*3"}')
WHOLE = json.dumps({"thought": "hm", "action": "calculator", "action_input": {"expression": "2*3"}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WHOLE, CALL),
        (f"Sure! Here it is:\n```json\n{WHOLE}\n```\nDone.", CALL),
        (f"I will {{compute}} this: {WHOLE} and {WHOLE}", CALL),
        (WHOLE.replace('{"expression": "2*3"}', '"{\\"expression\\": \\"2*3\\"}"'), CALL),
        ('{"name": "now", "arguments": {}}', ToolCall("", "now", "{}")),
        (
            '{"thought": "t", "function": {"name": "f", "arguments": {"b": 1, "a": 2}}}',
            ToolCall("t", "f", '{"a": 2, "b": 1}'),
        ),
        ('{"action": "calculator", "action_input": "2*3"}', ToolCall("", "calculator", '"2*3"')),
        ("Thought: hm\nAction: calculator\nAction Input: 2*3\nObservation: 7", ToolCall("", "calculator", '"2*3"')),
        ('Action: f\nAction Input: {"a": 1}', ToolCall("", "f", '{"a": 1}')),
        ("Thought: easy\nFinal Answer: It is 6.", FinalAnswer("", "It is 6.")),
        ('{"thought": "t", "action": "final_answer", "action_input": {"answer": "6"}}', FinalAnswer("t", "6")),
        ('{"action": "Final Answer", "action_input": "6"}', FinalAnswer("", "6")),
        ('{"action": "final_answer", "action_input": {"text": 6}}', FinalAnswer("", "6")),
        ('{"answer": "6"}', FinalAnswer("", "6")),
        ('{"final_answer": {"answer": ["a"]}}', FinalAnswer("", '["a"]')),
        (
            '{"thought": "t", "action": "final_answer", "action_input": {"answer": "It is \\"six',
            FinalAnswer("", 'It is "six'),
        ),
        ('{"answer": "a \\q b', FinalAnswer("", "a \\q b")),
        ("It is six.", Unreadable("It is six.")),
        ("[1, 2]", Unreadable("[1, 2]")),
        ('{"thought": "t"}', Unreadable('{"thought": "t"}')),
        ("", Unreadable("")),
    ],
)
def test_reads_what_models_write(text: str, expected: Reply) -> None:
    assert read_reply(text) == expected


@given(st.text() | st.text(alphabet='{}[]":,\\ action_inputanswer', max_size=200))
def test_reading_never_raises(text: str) -> None:
    assert isinstance(read_reply(text), ToolCall | FinalAnswer | Unreadable)


def test_hostile_nesting_is_unreadable() -> None:
    for text in ("{" * 20_000, '{"a":' * 20_000, "[" * 100_000):
        assert isinstance(read_reply(text), Unreadable)


@given(st.text(max_size=20), st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=4))
def test_any_constrained_call_reads_back(thought: str, given_input: dict[str, object]) -> None:
    text = json.dumps({"thought": thought, "action": "some_tool", "action_input": given_input})
    reply = read_reply(text)
    assert isinstance(reply, ToolCall)
    assert (reply.thought, reply.tool, json.loads(reply.arguments)) == (thought.strip(), "some_tool", given_input)


def tool(schema: object) -> ToolSpec:
    return ToolSpec(name="t", description="", parameters=schema if isinstance(schema, str) else json.dumps(schema))


def test_references_are_inlined_and_recursion_ends() -> None:
    schema = {
        "type": "object",
        "title": "Tree",
        "properties": {"kind": {"$ref": "#/$defs/Kind"}, "child": {"$ref": "#/$defs/Tree"}},
        "$defs": {
            "Kind": {"enum": ["a", "b"], "title": "Kind"},
            "Tree": {"type": "object", "properties": {"child": {"$ref": "#/$defs/Tree"}}},
        },
    }
    parameters = parameters_of(tool(schema))
    assert parameters["properties"]["kind"] == {"enum": ["a", "b"]}
    assert "$ref" not in json.dumps(response_format([tool(schema)]))


def test_long_strings_are_bounded_for_the_grammar() -> None:
    schema = {
        "properties": {
            "query": {"type": "string"},
            "text": {"type": "string", "maxLength": 100_000, "pattern": "^x", "default": ""},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 3},
            "either": {"oneOf": [{"type": "null"}, {"type": "integer", "exclusiveMinimum": 0}]},
        }
    }
    fields = parameters_of(tool(schema))["properties"]
    assert fields["query"] == {"type": "string", "maxLength": USUAL_STRING}
    assert fields["text"] == {"type": "string", "maxLength": MAX_STRING}
    assert fields["tags"] == {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 3}
    assert fields["either"] == {"anyOf": [{"type": "null"}, {"type": "integer"}]}


@pytest.mark.parametrize("schema", ["", "[]", "{bad", '{"$ref": "#/$defs/Missing"}'])
def test_unusable_schema_allows_any_object(schema: str) -> None:
    assert parameters_of(tool(schema)) == {"type": "object"}
