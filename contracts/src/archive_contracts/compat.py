"""Whether the new schema of a message can live beside its old one.

Old and new processes run side by side while a system is updated, and messages lie on streams longer than an update
takes. So both must hold: new readers read what old writers wrote, and old readers read what new writers write. What
remains is growth by optional fields, which old readers ignore and old writers leave out; anything else is a break.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

Json = Mapping[str, Any]

# Keywords that say something to people only, or that are followed elsewhere.
_SILENT = frozenset(
    "$schema $id $comment $defs title description examples default deprecated readOnly writeOnly discriminator".split()
)
_FOLLOWED = frozenset("type enum const anyOf oneOf required properties additionalProperties items prefixItems".split())
_LOWER: Mapping[str, float] = {
    "minimum": float("-inf"),
    "exclusiveMinimum": float("-inf"),
    "minLength": 0,
    "minItems": 0,
    "minProperties": 0,
}
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_UNSAID = object()


class Reader(StrEnum):
    """Who reads a message wrongly, or not at all."""

    OLD = "old readers of new messages"
    NEW = "new readers of old messages"
    BOTH = "readers on both sides"


@dataclass(frozen=True, slots=True)
class Break:
    """One difference that is not growth by an optional field.

    ``path`` leads to it: the message type, then field names, ``[]`` for the items of a list and ``{}`` for the values
    of a map.
    """

    path: str
    reason: str
    reader: Reader

    def __str__(self) -> str:
        return f"{self.path}: {self.reason} ({self.reader})"


def compare(old: Json, new: Json, *, name: str = "") -> list[Break]:
    """Return what breaks when the JSON Schema ``old`` of a message becomes ``new``; nothing when both can be in use.

    Only what readers do is compared: titles, descriptions and the names of definitions may change. A field that may be
    absent may also become nullable, since messages leave None out.
    """
    return list(_Comparison(old, new).node(old, new, name))


def compare_all(old: Mapping[str, Json], new: Mapping[str, Json]) -> list[Break]:
    """Return what breaks between two states of all messages, schemas by type.

    A version may go when a later version of the same message was there before it went: a change that brings the
    successor and another, later one that retires the predecessor.
    """
    found: list[Break] = []
    for name, schema in sorted(old.items()):
        if name in new:
            found += compare(schema, new[name], name=name)
        elif not any(_supersedes(later, name) and later in new for later in old):
            found.append(Break(name, "message type removed", Reader.BOTH))
    return found


def _supersedes(later: str, name: str) -> bool:
    stem, _, version = name.rpartition(".v")
    other, _, number = later.rpartition(".v")
    return other == stem and int(number) > int(version)


class _Comparison:
    """Two documents, each with the definitions that its references point to."""

    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new
        self._open: set[tuple[str, str]] = set()

    def node(self, old: Json, new: Json, path: str, *, absent: bool = False) -> Iterator[Break]:
        """Compare two schemas at a place; ``absent`` says that a message may leave this place out."""
        names = (str(old.get("$ref", "")), str(new.get("$ref", "")))
        if all(names):
            if names in self._open:  # a definition that contains itself has been compared further up
                return
            self._open.add(names)
        yield from self._alternatives(_branches(old, self._old), _branches(new, self._new), path, absent=absent)
        self._open.discard(names)

    def _alternatives(self, old: list[Json], new: list[Json], path: str, *, absent: bool) -> Iterator[Break]:
        if len(old) == len(new) == 1:
            yield from self._branch(old[0], new[0], path)
            return
        pairs, gone, come = _paired(old, new)
        for before, after in pairs:
            yield from self._branch(before, after, path)
        for branch in gone:
            yield Break(path, f"alternative {_kind(branch)} removed", Reader.NEW)
        for branch in come:
            if not (absent and branch.get("type") == "null"):
                yield Break(path, f"alternative {_kind(branch)} added", Reader.OLD)

    def _branch(self, old: Json, new: Json, path: str) -> Iterator[Break]:
        if old.get("type") != new.get("type"):
            yield _retyped(old.get("type"), new.get("type"), path)
            return
        yield from _values(old, new, path)
        yield from _bounds(old, new, path)
        yield from _rest(old, new, path)
        yield from self._fields(old, new, path)
        yield from self._open_fields(old, new, path)
        yield from self._items(old, new, path)

    def _fields(self, old: Json, new: Json, path: str) -> Iterator[Break]:
        before, after = old.get("properties", {}), new.get("properties", {})
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        for name in before:
            place = f"{path}.{name}" if path else name
            if name not in after:
                yield Break(place, "field removed", Reader.BOTH if name in needed else Reader.NEW)
                continue
            if name in needs - needed:
                yield Break(place, "field became required", Reader.NEW)
            if name in needed - needs:
                yield Break(place, "field became optional", Reader.OLD)
            absent = name not in needed | needs
            if absent and _default(before[name]) != _default(after[name]):
                yield Break(place, "default changed, so that an absent field means something else", Reader.BOTH)
            yield from self.node(before[name], after[name], place, absent=absent)
        for name in sorted((needs & set(after)) - set(before)):
            yield Break(f"{path}.{name}" if path else name, "required field added", Reader.NEW)

    def _open_fields(self, old: Json, new: Json, path: str) -> Iterator[Break]:
        """Compare what is said of fields that have no schema of their own."""
        before, after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        place = f"{path}{{}}"
        if after is False and before is not False:
            yield Break(place, "unknown fields are refused now", Reader.NEW)
        elif before is False:
            if after is not False or set(new.get("properties", {})) - set(old.get("properties", {})):
                yield Break(place, "fields added where unknown ones are refused", Reader.OLD)
        elif before is not after:
            yield from self.node(_schema(before), _schema(after), place)

    def _items(self, old: Json, new: Json, path: str) -> Iterator[Break]:
        if "items" in old or "items" in new:
            yield from self.node(_schema(old.get("items", True)), _schema(new.get("items", True)), f"{path}[]")
        before, after = old.get("prefixItems", ()), new.get("prefixItems", ())
        if len(before) != len(after):
            yield Break(path, f"tuple of {len(before)} became one of {len(after)}", Reader.BOTH)
            return
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from self.node(one, other, f"{path}[{index}]")


def _schema(value: bool | Json) -> Json:
    """Return a schema for the shorthand True, anything, or False, nothing."""
    if isinstance(value, bool):
        return {} if value else {"type": "nothing"}
    return value


def _branches(schema: Json, document: Json) -> list[Json]:
    """Return the alternatives of a schema, references followed and unions in unions made flat."""
    if "$ref" in schema:
        definition = document["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        return _branches(definition | {key: schema[key] for key in schema if key != "$ref"}, document)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            beside = {key: value for key, value in schema.items() if key != union and key not in _SILENT}
            return [branch for part in schema[union] for branch in _branches({**beside, **part}, document)]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": one} for one in schema["type"]]
    return [schema]


def _paired(old: list[Json], new: list[Json]) -> tuple[list[tuple[Json, Json]], list[Json], list[Json]]:
    """Return the alternatives that belong together, those that are gone and those that came.

    Objects belong together by their title first, so that a union of several keeps its order free.
    """
    pairs: list[tuple[Json, Json]] = []
    gone, come = list(old), list(new)
    for alike in (_same_kind_and_title, _same_kind):
        for before in tuple(gone):
            after = next((branch for branch in come if alike(before, branch)), None)
            if after is not None:
                pairs.append((before, after))
                gone = [branch for branch in gone if branch is not before]
                come = [branch for branch in come if branch is not after]
    return pairs, gone, come


def _same_kind(one: Json, other: Json) -> bool:
    return one.get("type") == other.get("type")


def _same_kind_and_title(one: Json, other: Json) -> bool:
    return _same_kind(one, other) and one.get("title") == other.get("title")


def _kind(branch: Json) -> str:
    return f"'{branch.get('type', 'any')}'"


def _retyped(old: str | None, new: str | None, path: str) -> Break:
    reason = f"type '{old or 'any'}' became '{new or 'any'}'"
    if new is None or (old, new) == ("integer", "number"):
        return Break(path, reason, Reader.OLD)
    if old is None or (old, new) == ("number", "integer"):
        return Break(path, reason, Reader.NEW)
    return Break(path, reason, Reader.BOTH)


def _values(old: Json, new: Json, path: str) -> Iterator[Break]:
    before, after = _allowed(old), _allowed(new)
    if before is None and after is None:
        return
    if before is None:
        yield Break(path, "only listed values are allowed now", Reader.NEW)
    elif after is None:
        yield Break(path, "any value is allowed now", Reader.OLD)
    else:
        yield from (Break(path, f"value {value!r} removed", Reader.NEW) for value in before if value not in after)
        yield from (Break(path, f"value {value!r} added", Reader.OLD) for value in after if value not in before)


def _allowed(schema: Json) -> Sequence[object] | None:
    return [schema["const"]] if "const" in schema else cast("Sequence[object] | None", schema.get("enum"))


def _bounds(old: Json, new: Json, path: str) -> Iterator[Break]:
    for key, none in _LOWER.items():
        yield from _bound(key, old, new, path, narrower=new.get(key, none) - old.get(key, none))
    for key in _UPPER:
        yield from _bound(key, old, new, path, narrower=old.get(key, float("inf")) - new.get(key, float("inf")))


def _bound(key: str, old: Json, new: Json, path: str, *, narrower: float) -> Iterator[Break]:
    reason = f"{key} {old.get(key, 'none')} became {new.get(key, 'none')}"
    if narrower > 0:
        yield Break(path, reason, Reader.NEW)
    elif narrower < 0:
        yield Break(path, reason, Reader.OLD)


def _rest(old: Json, new: Json, path: str) -> Iterator[Break]:
    """Compare keywords whose values have no order (pattern, format, multipleOf, ...): added means narrower."""
    known = _SILENT | _FOLLOWED | set(_LOWER) | set(_UPPER)
    for key in sorted((set(old) | set(new)) - known):
        if key not in old:
            yield Break(path, f"{key} added", Reader.NEW)
        elif key not in new:
            yield Break(path, f"{key} removed", Reader.OLD)
        elif old[key] != new[key]:
            yield Break(path, f"{key} changed", Reader.BOTH)


def _default(schema: Json) -> object:
    return schema.get("default", _UNSAID)
