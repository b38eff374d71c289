"""What counts as a break between two schemas of one message."""

import copy
import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_contracts.base import Message, Model
from archive_contracts.compat import Reader, compare, compare_all
from archive_contracts.schemas import json_schemas

Json = dict[str, Any]
OLD, NEW, BOTH = Reader.OLD, Reader.NEW, Reader.BOTH
STRING: Json = {"type": "string"}
INTEGER: Json = {"type": "integer"}
NULL: Json = {"type": "null"}


def holding(field: Json, *, required: bool = True, **more: Any) -> Json:
    """A message with one field, f."""
    return {"type": "object", "properties": {"f": field}, "required": ["f"] if required else [], **more}


FIELD_CHANGES: list[tuple[Json, Json, list[tuple[str, Reader]]]] = [
    (STRING, INTEGER, [("m.f", BOTH)]),
    (INTEGER, {"type": "number"}, [("m.f", OLD)]),
    ({"type": "number"}, INTEGER, [("m.f", NEW)]),
    ({}, STRING, [("m.f", NEW)]),
    (STRING, {}, [("m.f", OLD)]),
    ({"type": ["string", "null"]}, {"anyOf": [NULL, STRING]}, []),
    (STRING, {"anyOf": [STRING, INTEGER]}, [("m.f", OLD)]),
    (STRING, {"anyOf": [STRING, NULL]}, [("m.f", OLD)]),
    ({"anyOf": [STRING, INTEGER]}, {"oneOf": [STRING]}, [("m.f", NEW)]),
    ({"const": "a"}, {"enum": ["a"]}, []),
    ({"enum": ["a", "b"]}, {"enum": ["b", "c"]}, [("m.f", NEW), ("m.f", OLD)]),
    (STRING, {**STRING, "enum": ["a"]}, [("m.f", NEW)]),
    ({**STRING, "enum": ["a"]}, STRING, [("m.f", OLD)]),
    ({**INTEGER, "minimum": 1}, {**INTEGER, "minimum": 2}, [("m.f", NEW)]),
    ({**INTEGER, "exclusiveMinimum": 1}, INTEGER, [("m.f", OLD)]),
    ({**INTEGER, "maximum": 9}, {**INTEGER, "maximum": 10}, [("m.f", OLD)]),
    (STRING, {**STRING, "maxLength": 10}, [("m.f", NEW)]),
    (STRING, {**STRING, "minLength": 0}, []),
    (STRING, {**STRING, "pattern": "a"}, [("m.f", NEW)]),
    ({**STRING, "pattern": "a"}, STRING, [("m.f", OLD)]),
    ({**STRING, "format": "uuid"}, {**STRING, "format": "date-time"}, [("m.f", BOTH)]),
    ({"type": "array"}, {"type": "array", "items": STRING}, [("m.f[]", NEW)]),
    ({"type": "array", "items": STRING}, {"type": "array", "items": False}, [("m.f[]", BOTH)]),
    ({"type": "array", "items": {"anyOf": [STRING]}}, {"type": "array", "items": STRING}, []),
    ({"prefixItems": [STRING]}, {"prefixItems": [INTEGER]}, [("m.f[0]", BOTH)]),
    ({"prefixItems": [STRING]}, {"prefixItems": [STRING, STRING]}, [("m.f", BOTH)]),
    ({"additionalProperties": STRING}, {"additionalProperties": INTEGER}, [("m.f{}", BOTH)]),
    ({"type": "object"}, {"type": "object", "additionalProperties": False}, [("m.f{}", NEW)]),
    ({"type": "object", "additionalProperties": False}, {"type": "object"}, [("m.f{}", OLD)]),
    ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}, []),
    ({**STRING, "format": "uuid"}, {**STRING, "format": "uuid"}, []),
    ({"title": "A", "description": "one"}, {"title": "B", "examples": [2]}, []),
]


@pytest.mark.parametrize(("old", "new", "expected"), FIELD_CHANGES)
def test_change_of_field_is_judged(old: Json, new: Json, expected: list[tuple[str, Reader]]) -> None:
    found = compare(holding(old), holding(new), name="m")
    assert [(one.path, one.reader) for one in found] == expected


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        (holding(STRING), {"type": "object"}, ["f: field removed (readers on both sides)"]),
        (holding(STRING, required=False), {"type": "object"}, ["f: field removed (new readers of old messages)"]),
        ({"type": "object"}, holding(STRING, required=False), []),
        ({"type": "object"}, holding(STRING), ["f: required field added (new readers of old messages)"]),
        (holding(STRING), holding(STRING, required=False), ["f: field became optional (old readers of new messages)"]),
        (holding(STRING, required=False), holding(STRING), ["f: field became required (new readers of old messages)"]),
        (
            {"type": "object", "additionalProperties": False},
            holding(STRING, required=False, additionalProperties=False),
            ["{}: fields added where unknown ones are refused (old readers of new messages)"],
        ),
    ],
)
def test_coming_and_going_of_fields(old: Json, new: Json, reasons: list[str]) -> None:
    assert [str(one) for one in compare(old, new)] == reasons


def test_absent_field_keeps_its_meaning() -> None:
    old = holding({**INTEGER, "default": 5}, required=False)
    new = holding({**INTEGER, "default": 10}, required=False)
    assert [one.reader for one in compare(old, new)] == [BOTH]


def test_optional_field_may_become_nullable() -> None:
    # Messages leave None out, so that an old reader never meets a null.
    old = holding({**INTEGER, "default": 5}, required=False)
    new = holding({"anyOf": [INTEGER, NULL], "default": 5}, required=False)
    assert compare(old, new) == []


class Leaf(Model):
    size: int


class Twig(Model):
    leaf: Leaf | None = None
    twigs: tuple["Twig", ...] = ()


class Tree(Message):
    type = "tree.v1"
    twig: Twig | Leaf


def tree() -> Json:
    return Tree.model_json_schema()


def test_names_of_definitions_are_free() -> None:
    text = json.dumps(tree()).replace("/Leaf", "/Blade").replace('"Leaf": {', '"Blade": {')
    assert compare(tree(), json.loads(text)) == []


def test_change_deep_in_a_recursive_definition_is_found() -> None:
    new = copy.deepcopy(tree())
    new["$defs"]["Leaf"]["properties"]["size"]["type"] = "string"
    assert [str(one) for one in compare(tree(), new, name="t")] == [
        "t.twig.leaf.size: type 'integer' became 'string' (readers on both sides)",
        "t.twig.twigs[].leaf.size: type 'integer' became 'string' (readers on both sides)",
        "t.twig.size: type 'integer' became 'string' (readers on both sides)",
    ]


def test_order_of_alternatives_is_free() -> None:
    new = copy.deepcopy(tree())
    new["properties"]["twig"]["anyOf"].reverse()
    assert compare(tree(), new) == []


def test_renamed_alternative_is_compared_with_its_like() -> None:
    new = copy.deepcopy(tree())
    new["$defs"]["Leaf"] |= {"title": "Blade", "properties": {"size": STRING}}
    assert {one.reader for one in compare(tree(), new)} == {BOTH}


def test_type_goes_only_after_its_successor_came() -> None:
    one, two = holding(STRING), holding(INTEGER)
    assert [found.path for found in compare_all({"a.v1": one}, {"a.v2": two})] == ["a.v1"]
    assert [found.path for found in compare_all({"a.v1": one, "b.v2": two}, {"b.v2": two})] == ["a.v1"]
    assert compare_all({"a.v1": one}, {"a.v1": one, "a.v2": two}) == []
    assert compare_all({"a.v1": one, "a.v2": two}, {"a.v2": two}) == []


def test_every_message_is_compatible_with_itself() -> None:
    assert compare_all(json_schemas(), json_schemas()) == []


# Schemas as messages have them, with values around their edges: the judgement is held against a validator.


@st.composite
def scalars(draw: st.DrawFn) -> Json:
    match draw(st.sampled_from(["boolean", "minimum", "maximum", "maxLength", "enum"])):
        case "enum":
            return {"type": "string", "enum": sorted(draw(st.sets(st.sampled_from("abc"), min_size=1)))}
        case "maxLength":
            return {"type": "string", "maxLength": draw(st.integers(0, 3))}
        case "boolean":
            return {"type": "boolean"}
        case bound:
            return {"type": "integer", bound: draw(st.integers(-3, 3))}


@st.composite
def objects(draw: st.DrawFn, *, depth: int) -> Json:
    names = sorted(draw(st.sets(st.sampled_from("xyz"))))
    needed = [name for name in names if draw(st.booleans())]
    return {"type": "object", "properties": {name: draw(schemas(depth=depth)) for name in names}, "required": needed}


@st.composite
def schemas(draw: st.DrawFn, *, depth: int) -> Json:
    match draw(st.sampled_from(["scalar", "object", "array", "anyOf"])) if depth else "scalar":
        case "object":
            return draw(objects(depth=depth - 1))
        case "array":
            return {"type": "array", "items": draw(schemas(depth=depth - 1))}
        case "anyOf":
            return {"anyOf": [draw(schemas(depth=depth - 1)), draw(schemas(depth=depth - 1))]}
        case _:
            return draw(scalars())


def instances(schema: Json) -> st.SearchStrategy[Any]:
    if "anyOf" in schema:
        return st.one_of([instances(branch) for branch in schema["anyOf"]])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            return st.integers(schema.get("minimum", -9), schema.get("maximum", 9))
        case "string":
            return st.sampled_from(schema["enum"]) if "enum" in schema else st.text("abc", max_size=schema["maxLength"])
        case "array":
            return st.lists(instances(schema["items"]), max_size=2)
        case _:
            fields = {name: instances(field) for name, field in schema["properties"].items()}
            needed = set(schema["required"])
            return st.fixed_dictionaries(
                {name: value for name, value in fields.items() if name in needed},
                optional={name: value for name, value in fields.items() if name not in needed},
            )


def grown(schema: Json, draw: Callable[[st.SearchStrategy[Any]], Any]) -> Json:
    """The schema with an optional field more in some of its objects."""
    if "anyOf" in schema:
        return {"anyOf": [grown(branch, draw) for branch in schema["anyOf"]]}
    if "items" in schema:
        return {**schema, "items": grown(schema["items"], draw)}
    if "properties" not in schema:
        return schema
    fields = {name: grown(field, draw) for name, field in schema["properties"].items()}
    more = {"new": draw(scalars())} if draw(st.booleans()) else {}
    return {**schema, "properties": fields | more}


def accepts(schema: Json, message: object) -> bool:
    try:
        jsonschema.validate(message, schema)  # pyright: ignore[reportUnknownMemberType] - its stubs are partial
    except jsonschema.ValidationError:
        return False
    return True


def breaks_for(reader: Reader, old: Json, new: Json) -> bool:
    return any(one.reader in {reader, BOTH} for one in compare(old, new))


@given(schemas(depth=2))
def test_schema_is_compatible_with_itself(schema: Json) -> None:
    assert compare(schema, copy.deepcopy(schema)) == []


@given(st.data())
def test_growth_by_optional_fields_is_no_break(data: st.DataObject) -> None:
    old = data.draw(objects(depth=2))
    assert compare(old, grown(old, data.draw)) == []


@given(st.data())
def test_refused_message_is_explained_by_a_break(data: st.DataObject) -> None:
    old = data.draw(objects(depth=1))
    new = data.draw(st.one_of(objects(depth=1), st.just(grown(old, data.draw))))
    assert accepts(new, data.draw(instances(old))) or breaks_for(NEW, old, new)
    assert accepts(old, data.draw(instances(new))) or breaks_for(OLD, old, new)
