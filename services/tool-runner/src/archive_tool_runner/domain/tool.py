"""What a tool is: a name, a description, an argument model, an effect, and for native ones a function."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from archive_contracts.tools import Effect
from archive_tool_runner.domain.errors import ToolArgumentsInvalid, ToolUnknown

MAX_REPORTED_PROBLEMS = 3


class Arguments(BaseModel):
    """Base of all argument models; an unknown argument is an error, since a model that invents one meant something."""

    model_config = ConfigDict(frozen=True, extra="forbid")


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True, kw_only=True)
class ToolSpec(Generic[A]):
    """The face of a tool, without the means to run it.

    Tools whose work is a message to another service (library and memory search) are only this; the handlers run them.
    """

    name: str
    description: str
    arguments: type[A]
    effect: Effect = "pure"  # what a second run would do: nothing, nothing more, or harm
    advanced: bool = False  # reaches beyond its arguments

    @property
    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments, with references inlined and titles dropped, since each token costs."""
        schema = self.arguments.model_json_schema()
        definitions = cast("dict[str, Any]", schema.pop("$defs", {}))
        return cast("dict[str, Any]", _inlined(schema, definitions))

    def parse(self, raw: str | Mapping[str, Any]) -> A:
        """Validate arguments: a JSON object, its text, or the bare value of a tool that requires one string.

        Raises:
            ToolArgumentsInvalid: with what was wrong and what was expected.
        """
        try:
            return self.arguments.model_validate(self._as_object(raw))
        except ValidationError as error:
            raise ToolArgumentsInvalid(self.name, wrong=_problems(error), expected=self.expected) from error

    @property
    def expected(self) -> str:
        """The arguments in one line, as error messages show them."""
        schema = self.schema
        properties = cast("dict[str, dict[str, Any]]", schema.get("properties", {}))
        required = set(cast("list[str]", schema.get("required", [])))
        parts = [
            f'"{name}": {_shape(field)}{"" if name in required else " (optional)"}'
            for name, field in properties.items()
        ]
        return "{" + ", ".join(parts) + "}"

    def _as_object(self, raw: str | Mapping[str, Any]) -> object:
        if not isinstance(raw, str):
            return raw
        if raw.strip() in {"", "null"}:
            return {}
        try:
            decoded: object = json.loads(raw)
        except (ValueError, RecursionError):
            decoded = raw
        if isinstance(decoded, dict):
            return cast("dict[str, Any]", decoded)
        only = self._only_string()
        if only is None:
            raise ToolArgumentsInvalid(self.name, wrong="they are no JSON object", expected=self.expected)
        return {only: decoded if isinstance(decoded, str) else raw}

    def _only_string(self) -> str | None:
        required = [name for name, field in self.arguments.model_fields.items() if field.is_required()]
        if len(required) == 1 and self.arguments.model_fields[required[0]].annotation is str:
            return required[0]
        return None


@dataclass(frozen=True, kw_only=True)
class Tool(ToolSpec[A]):
    """A tool that this process runs itself: `run` takes validated arguments and returns a JSON value.

    `run` raises ToolFailed, and nothing else, for what it cannot answer.
    """

    run: Callable[[A], JsonValue]

    def call(self, raw: str | Mapping[str, Any]) -> JsonValue:
        """Validate and run; raises ToolArgumentsInvalid or ToolFailed."""
        return self.run(self.parse(raw))


AnySpec = ToolSpec[Any]


class Registry:
    """The tools of one runner, by name; iterates in the order of registration."""

    def __init__(self, tools: Iterable[AnySpec]) -> None:
        self._tools: dict[str, AnySpec] = {}
        for tool in tools:
            if tool.name in self._tools:
                raise ValueError(f"two tools are named {tool.name!r}")
            self._tools[tool.name] = tool

    def __iter__(self) -> Iterator[AnySpec]:
        return iter(self._tools.values())

    def __len__(self) -> int:
        return len(self._tools)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of registration."""
        return tuple(self._tools)

    def find(self, name: str) -> AnySpec:
        """The tool of this name, whatever its case; raises ToolUnknown."""
        tool = self._tools.get(name) or self._tools.get(name.strip().lower())
        if tool is None:
            raise ToolUnknown(name, known=self.names)
        return tool


def render(value: JsonValue) -> str:
    """The text of a result: a string as it is, anything else as compact JSON."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _problems(error: ValidationError) -> str:
    problems = [
        f"{'.'.join(str(part) for part in item['loc']) or 'arguments'}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    more = len(problems) - MAX_REPORTED_PROBLEMS
    return "; ".join(problems[:MAX_REPORTED_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")


def _shape(field: dict[str, Any]) -> str:
    if "enum" in field:
        return "|".join(json.dumps(option) for option in cast("list[object]", field["enum"]))
    return str(field.get("type", "value"))


def _inlined(node: object, definitions: Mapping[str, Any]) -> object:
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in cast("list[object]", node)]
    if not isinstance(node, dict):
        return node
    mapping = cast("dict[str, Any]", node)
    if "$ref" in mapping:
        target = cast("dict[str, Any]", definitions[str(mapping["$ref"]).rsplit("/", 1)[-1]])
        siblings = {key: value for key, value in mapping.items() if key != "$ref"}
        return _inlined({**target, **siblings}, definitions)
    return {
        key: (
            {name: _inlined(field, definitions) for name, field in cast("dict[str, Any]", value).items()}
            if key == "properties"
            else _inlined(value, definitions)
        )
        for key, value in mapping.items()
        if key != "title" and not (key == "description" and "properties" in mapping)
    }
