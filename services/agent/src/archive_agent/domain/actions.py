"""What a model may answer in one step of a run: the schema that constrains it, and reading what came."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from archive_contracts.tools import ToolSpec

FINAL_ANSWER = "final_answer"
MAX_THOUGHT = 300  # characters; a small model fills whatever it may
MAX_STRING = 1000  # llama.cpp refuses grammars that repeat a character much more often
USUAL_STRING = 400  # where the tool sets no limit: about 100 tokens, so that babbling still closes its quotes
MAX_REFERENCES = 8  # depth to which a schema's references are followed; one that refers to itself ends there
MAX_OBJECTS = 50  # braces tried when looking for JSON in prose

# What a grammar can hold to; everything else in a schema is for people and for the tool's own validation.
_KEPT = frozenset({"type", "enum", "const", "required", "minimum", "maximum", "minItems", "maxItems", "minLength"})
_NAMES = ("action", "tool", "tool_name", "name", "function")
_INPUTS = ("action_input", "arguments", "parameters", "input", "args")
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_CUT_ANSWER = re.compile(r'"(?:final_)?answer"\s*:\s*"((?:[^"\\]|\\.)*)', re.DOTALL)
# Blanks are matched within a line only: over line breaks they would take quadratic time on a page of empty lines.
_TEXT_FINAL = re.compile(r"^[^\S\n]*final answer[^\S\n]*:(.+)", re.IGNORECASE | re.DOTALL | re.MULTILINE)
_TEXT_ACTION = re.compile(
    r"^[^\S\n]*action[^\S\n]*:[^\S\n]*(?P<name>[\w.-]+)[^\S\n]*\n+[^\S\n]*action[ _]input[^\S\n]*:(?P<input>.+)",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)
_TEXT_OBSERVATION = re.compile(r"^[^\S\n]*observation[^\S\n]*:", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class ToolCall:
    """The model wants a tool run; `arguments` is a JSON object as text, keys sorted."""

    thought: str
    tool: str
    arguments: str


@dataclass(frozen=True)
class FinalAnswer:
    """The model is done."""

    thought: str
    answer: str


@dataclass(frozen=True)
class Unreadable:
    """Neither; `text` is what it said instead."""

    text: str


Reply = ToolCall | FinalAnswer | Unreadable


def action_schema(tools: Sequence[ToolSpec]) -> dict[str, Any]:
    """JSON Schema of one reply: a thought, then one of the tools with its arguments, or the final answer."""
    branches = [_branch(tool.name, parameters_of(tool)) for tool in tools]
    answer = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
    return {"anyOf": [*branches, _branch(FINAL_ANSWER, answer)]}


def response_format(tools: Sequence[ToolSpec]) -> dict[str, Any]:
    """`response_format` of a chat completion that holds the reply to the schema."""
    return {"type": "json_schema", "json_schema": {"name": "action", "schema": action_schema(tools)}}


def parameters_of(tool: ToolSpec) -> dict[str, Any]:
    """A tool's argument schema as far as a grammar holds to it, references inlined; any object where it is unusable."""
    try:
        decoded: object = json.loads(tool.parameters)
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        return {"type": "object"}
    schema = cast("dict[str, Any]", decoded)
    definitions = cast("dict[str, Any]", schema.get("$defs") or schema.get("definitions") or {})
    return {"type": "object"} | _for_grammar(schema, definitions, MAX_REFERENCES)


def read_reply(text: str) -> Reply:
    """Read what a model replied: the JSON asked for, JSON somewhere in prose, or ReAct's own `Action:` lines.

    JSON that was cut off still gives its answer. Never raises.
    """
    for found in _objects(text):
        reply = _interpret(found)
        if reply is not None:
            return reply
    cut = _CUT_ANSWER.search(text)
    if cut and cut.group(1).strip():
        return FinalAnswer("", _unescaped(cut.group(1)))
    final = _TEXT_FINAL.search(text)
    action = _TEXT_ACTION.search(text)
    if action and not (final and final.start() < action.start()):
        return _call("", action.group("name"), _TEXT_OBSERVATION.split(action.group("input"))[0].strip())
    if final and final.group(1).strip():
        return FinalAnswer("", final.group(1).strip())
    return Unreadable(text.strip())


def _branch(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "thought": {"type": "string", "maxLength": MAX_THOUGHT},
            "action": {"type": "string", "enum": [name]},
            "action_input": arguments,
        },
        "required": ["thought", "action", "action_input"],
        "additionalProperties": False,
    }


def _for_grammar(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if "$ref" in schema:
        target = definitions.get(str(schema["$ref"]).rsplit("/", 1)[-1])
        if depth == 0 or not isinstance(target, dict):
            return {}
        return _for_grammar(cast("dict[str, Any]", target), definitions, depth - 1)
    kept: dict[str, Any] = {key: value for key, value in schema.items() if key in _KEPT}
    if schema.get("type") == "string" and "enum" not in schema:
        length = schema.get("maxLength")
        kept["maxLength"] = min(length, MAX_STRING) if isinstance(length, int) else USUAL_STRING
    if isinstance(schema.get("properties"), dict):
        fields = cast("dict[str, Any]", schema["properties"])
        kept["properties"] = {name: _for_grammar(field, definitions, depth) for name, field in fields.items()}
        kept["additionalProperties"] = False
    if isinstance(schema.get("items"), dict):
        kept["items"] = _for_grammar(schema["items"], definitions, depth)
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            kept["anyOf"] = [_for_grammar(option, definitions, depth) for option in schema[key]]
    return kept


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """JSON objects of a text, outermost first: the whole, then code blocks, then at each brace."""
    decoder = json.JSONDecoder()
    for piece in (text, *_FENCE.findall(text)):
        position, tried = piece.find("{"), 0
        while position >= 0 and tried < MAX_OBJECTS:
            tried += 1
            try:
                value, end = decoder.raw_decode(piece, position)
            except (ValueError, RecursionError):
                end = position + 1
            else:
                yield cast("dict[str, Any]", value)
            position = piece.find("{", end)


def _interpret(found: Mapping[str, Any]) -> Reply | None:
    thought = found.get("thought")
    thought = thought.strip() if isinstance(thought, str) else ""
    name = next((found[key] for key in _NAMES if found.get(key)), None)
    present = [key for key in _INPUTS if key in found]
    given: object = found[present[0]] if present else dict[str, object]()
    if isinstance(name, dict):  # {"function": {"name": ..., "arguments": ...}}
        return _interpret({"thought": thought, **cast("dict[str, Any]", name)})
    if isinstance(name, str):
        return _call(thought, name, given)
    for key in (FINAL_ANSWER, "answer"):
        if key in found:
            return _call(thought, FINAL_ANSWER, found[key])
    return None


def _call(thought: str, name: str, said: object) -> Reply:
    name = name.strip()
    given = _decoded_object(said) if isinstance(said, str) else said
    if name.lower().replace(" ", "_") in {FINAL_ANSWER, "answer", "finish"}:
        return FinalAnswer(thought, _answer_text(given))
    # A bare value stays one: a tool with a single argument takes it, any other says what it expects.
    return ToolCall(thought, name, json.dumps(given, ensure_ascii=False, sort_keys=True))


def _decoded_object(text: str) -> object:
    """A JSON object that was sent as a string; any other string stays one."""
    try:
        decoded: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return cast("object", decoded) if isinstance(decoded, dict) else text


def _answer_text(given: object) -> str:
    if isinstance(given, dict):
        fields = cast("dict[str, object]", given)
        return _answer_text(fields.get("answer", next(iter(fields.values()), "")))
    return (given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)).strip()


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False)).strip()
    except ValueError:
        return text.strip()
