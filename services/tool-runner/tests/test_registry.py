from contextlib import suppress
from datetime import UTC, datetime

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_tool_runner.domain.catalogue import build_registry
from archive_tool_runner.domain.errors import ToolArgumentsInvalid, ToolError, ToolUnknown
from archive_tool_runner.domain.tool import Arguments, Registry, Tool, ToolSpec, render

REGISTRY = build_registry(lambda: datetime(2025, 11, 21, 3, 0, tzinfo=UTC))
NATIVE = [tool for tool in REGISTRY if isinstance(tool, Tool)]


def native(name: str) -> Tool[Arguments]:
    tool = REGISTRY.find(name)
    assert isinstance(tool, Tool)
    return tool


def test_every_schema_is_plain() -> None:
    for tool in REGISTRY:
        jsonschema.Draft202012Validator.check_schema(tool.schema)
        assert tool.schema["type"] == "object"
        assert "$" not in str(tool.schema)
        assert "title" not in tool.schema


def test_searches_are_listed_as_advanced() -> None:
    assert {tool.name for tool in REGISTRY if tool.advanced} == {"library_search", "memory_search"}
    assert len(REGISTRY) == len(REGISTRY.names) == len(NATIVE) + 2


def test_unknown_tool_names_the_known() -> None:
    with pytest.raises(ToolUnknown, match="calculator"):
        REGISTRY.find("telescope")


def test_results_are_rendered_for_reading() -> None:
    assert render("as it is") == "as it is"
    assert render({"é": [1, None]}) == '{"é": [1, null]}'


def test_same_name_twice_is_refused() -> None:
    tool = native("calculator")
    with pytest.raises(ValueError, match="calculator"):
        Registry([tool, tool])


@pytest.mark.parametrize("raw", ['{"expression": "2*3"}', "2*3", '"2*3"', {"expression": "2*3"}])
def test_accepts_object_json_and_bare_value(raw: str | dict[str, str]) -> None:
    assert native(" Calculator ").call(raw) == "6"


@pytest.mark.parametrize("raw", ["", "null", "{}"])
def test_no_arguments_mean_defaults(raw: str) -> None:
    assert '"zone": "UTC"' in render(native("current_time").call(raw))


@pytest.mark.parametrize("raw", ["[1]", "3", "{bad", {"text": "x"}, {"operation": "x", "text": "y", "more": 1}])
def test_wrong_arguments_say_what_is_expected(raw: str | dict[str, object]) -> None:
    with pytest.raises(ToolArgumentsInvalid) as caught:
        native("text").call(raw)
    assert '"text": string' in caught.value.next_step
    assert caught.value.message.startswith("Invalid arguments for text: ")


def test_many_problems_are_counted() -> None:
    with pytest.raises(ToolArgumentsInvalid, match="and 2 more"):
        native("text").call({"a": 1, "b": 2, "c": 3})


def test_nested_models_are_inlined() -> None:
    class Place(Arguments):
        city: str

    class Trip(Arguments):
        """Where to go."""

        title: str
        stops: list[Place]

    schema = ToolSpec(name="trip", description="", arguments=Trip).schema
    assert schema["properties"]["stops"]["items"]["properties"] == {"city": {"type": "string"}}
    assert schema["properties"]["title"] == {"type": "string"}


@given(st.sampled_from(NATIVE), st.data())
def test_tools_raise_only_their_errors(tool: Tool[Arguments], data: st.DataObject) -> None:
    values = {
        name: data.draw(
            st.sampled_from(field["enum"]) if "enum" in field else st.text(max_size=30) | st.integers() | st.floats()
        )
        for name, field in tool.schema["properties"].items()
    }
    with suppress(ToolError):
        assert isinstance(render(tool.call(values)), str)
