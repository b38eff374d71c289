import json
from fractions import Fraction
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive_tool_runner.domain.errors import ToolFailed
from archive_tool_runner.domain.json_tool import JSON, extract
from archive_tool_runner.domain.text_tools import COUNT_IN_TEXT, TEXT
from archive_tool_runner.domain.units import CONVERT_UNITS, convert

DOCUMENT = '{"a": {"b": [1, {"c.d": "x", "e/f": null}]}}'


@pytest.mark.parametrize(
    ("operation", "text", "expected"),
    [
        ("length", " ab ", 4),
        ("word_count", "one  two\nthree", 3),
        ("reverse", "abc", "cba"),
        ("upper", "straße", "STRASSE"),
        ("lower", "ABC", "abc"),
        ("title", "a tale", "A Tale"),
        ("extract_numbers", "In 2020-05 we sold 1,200 at $3.50, minus -4 of P204.", [2020, 5, 1200, 3.5, -4, 204]),
        ("extract_numbers", "none", []),
        ("extract_numbers", "9" * 500, ["9" * 500]),
    ],
)
def test_text_operations(operation: str, text: str, expected: object) -> None:
    assert TEXT.call({"operation": operation, "text": text}) == expected


def test_counts_occurrences() -> None:
    assert COUNT_IN_TEXT.call({"text": "Strawberry", "find": "R"}) == 3


@given(st.text(max_size=200))
def test_reversing_twice_changes_nothing(text: str) -> None:
    once = TEXT.call({"operation": "reverse", "text": text})
    assert TEXT.call({"operation": "reverse", "text": once}) == text


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.b[0]", 1),
        ("$.a.b[0]", 1),
        ("/a/b/0", 1),
        ("a.b[1]['c.d']", "x"),
        ("/a/b/1/e~1f", None),
        ("", json.loads(DOCUMENT)),
        ("$", json.loads(DOCUMENT)),
    ],
)
def test_extracts_by_path(path: str, expected: object) -> None:
    assert JSON.call({"operation": "extract", "text": DOCUMENT, "path": path}) == expected


@pytest.mark.parametrize(
    ("path", "says"), [("a.x", "It has: b"), ("a.b[7]", "2 items"), ("a.b[0].c", "nothing below"), ("a[", "no path")]
)
def test_missing_path_says_what_is_there(path: str, says: str) -> None:
    with pytest.raises(ToolFailed, match=says.replace("[", r"\[")):
        JSON.call({"operation": "extract", "text": DOCUMENT, "path": path})


def test_validates_and_formats() -> None:
    assert JSON.call({"operation": "validate", "text": "[1]"}) == {"valid": True, "type": "array"}
    assert JSON.call({"operation": "validate", "text": "1.5"}) == {"valid": True, "type": "number"}
    assert JSON.call({"operation": "pretty", "text": '{"a":1}'}) == '{\n  "a": 1\n}'


@pytest.mark.parametrize("text", ['{"a":}', "", "NaN", "[" * 5000, "9" * 5000, "{'a': 1}"])
def test_invalid_json_is_said(text: str) -> None:
    report: Any = JSON.call({"operation": "validate", "text": text})
    assert report["valid"] is False
    with pytest.raises(ToolFailed):
        JSON.call({"operation": "pretty", "text": text})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_every_pointer_leads_to_its_value(value: Any) -> None:
    def walk(node: Any, pointer: str) -> None:
        assert extract(value, pointer) == node
        if isinstance(node, list):
            node = dict(enumerate(cast("list[Any]", node)))
        for key, child in cast("dict[Any, Any]", node).items() if isinstance(node, dict) else ():
            walk(child, f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}")

    walk(value, "")


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (26.2, "miles", "km", "42.1648128 km"),
        (100, "F", "celsius", "37.7777777777778 celsius"),
        (-40, "°C", "degrees Fahrenheit", "-40 degrees Fahrenheit"),
        (90, "km per h", "m/s", "25 m/s"),
        (1, "GiB", "MB", "1073.741824 MB"),
        (0.1, "square feet", "m²", "0.009290304 m²"),
        (2, "cups", "tablespoons", "32 tablespoons"),
    ],
)
def test_converts_units(value: float, source: str, target: str, expected: str) -> None:
    assert CONVERT_UNITS.call({"value": value, "from_unit": source, "to_unit": target}) == expected


def test_units_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ToolFailed, match="length"):
        convert(Fraction(1), "mile", "kg")
    with pytest.raises(ToolFailed, match="kilometer"):
        convert(Fraction(1), "kilomeeter", "m")
    with pytest.raises(ToolFailed, match="temperature"):
        convert(Fraction(1), "§§§", "m")


@given(st.fractions(), st.sampled_from([("mile", "m"), ("F", "K"), ("psi", "bar"), ("knot", "km/h")]))
def test_conversion_reverses_exactly(value: Fraction, units: tuple[str, str]) -> None:
    there, back = units
    assert convert(convert(value, there, back), back, there) == value
