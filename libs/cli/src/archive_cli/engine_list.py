"""Engines that the person added: the entries of `engines.yaml`, which router and supervisor read. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from archive_cli.errors import UsageError
from archive_finding import BadPlace, place_of

RESERVED = frozenset({"small", "embed", "bundled", "minilm"})
BUNDLED = frozenset({"bundled", "small"})
BUNDLED_POOL = "small"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEntry:
    """One OpenAI-compatible server: `base_url` ends in `/v1`, `api_key_env` names the variable with its key."""

    name: str
    base_url: str
    pool: str
    model: str = ""
    api_key_env: str = ""
    slots: int = 4

    def to_json(self) -> dict[str, object]:
        """Return the entry as it stands in the file; what is empty is left out."""
        whole: dict[str, object] = {
            "name": self.name,
            "pool": self.pool,
            "base_url": self.base_url,
            "model": self.model,
            "api_key_env": self.api_key_env,
            "slots": self.slots,
        }
        return {key: value for key, value in whole.items() if value != ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineList:
    """The whole file: entries, and the pool preferred where a request leaves it open (`default` in the file)."""

    engines: tuple[EngineEntry, ...] = ()
    default_pool: str = ""

    def with_entry(self, entry: EngineEntry) -> "EngineList":
        """Return the list with this entry added, or put in place of the one with its name."""
        others = tuple(known for known in self.engines if known.name != entry.name)
        return EngineList(engines=(*others, entry), default_pool=self.default_pool)

    def without(self, name: str) -> "EngineList":
        """Return the list without an entry.

        Raises:
            UsageError: there is none of this name.
        """
        entry = self.find(name)
        rest = tuple(known for known in self.engines if known is not entry)
        orphaned = self.default_pool not in {known.pool for known in rest}
        return EngineList(engines=rest, default_pool="" if orphaned else self.default_pool)

    def preferring(self, pool: str) -> "EngineList":
        """Return the list with another default."""
        return EngineList(engines=self.engines, default_pool=pool)

    def find(self, name: str) -> EngineEntry:
        """Return the entry with this name or address.

        Raises:
            UsageError: there is none.
        """
        for entry in self.engines:
            if name in {entry.name, entry.base_url, entry.base_url.removesuffix("/v1")}:
                return entry
        known = ", ".join(entry.name for entry in self.engines) or "none"
        raise UsageError(
            f"No engine {name!r} was added (known: {known}).",
            code="unknown_engine",
            next_step="`archive engines list` shows what answers; a server is named by its URL",
        )

    def to_json(self) -> dict[str, object]:
        """Return the file's content."""
        whole: dict[str, object] = {"default": self.default_pool} if self.default_pool else {}
        whole["engines"] = [entry.to_json() for entry in self.engines]
        return whole


@dataclass(frozen=True, slots=True)
class Change:
    """What has to be done so that the running engines are the listed ones."""

    start: tuple[EngineEntry, ...]
    stop: tuple[EngineEntry, ...]


def difference(running: Iterable[EngineEntry], wanted: Iterable[EngineEntry]) -> Change:
    """Return which engine workers to stop and to start; one whose entry changed is in both."""
    before, after = set(running), set(wanted)
    return Change(
        start=tuple(sorted(after - before, key=lambda entry: entry.name)),
        stop=tuple(sorted(before - after, key=lambda entry: entry.name)),
    )


def read_list(found: object) -> EngineList:
    """Read the parsed file.

    Raises:
        UsageError: it is not of the form that `archive engines add` writes; names the entry.
    """
    if found is None:
        return EngineList()
    if not isinstance(found, dict):
        raise _broken("the file is not a mapping")
    top = cast("Mapping[str, object]", found)
    listed: object = top.get("engines")
    if listed is not None and not isinstance(listed, list):
        raise _broken("engines is not a list")
    entries = tuple(_entry(item) for item in cast("list[object]", listed or []))
    if len({entry.name for entry in entries}) < len(entries):
        raise _broken("two entries have the same name")
    return EngineList(engines=entries, default_pool=str(top.get("default") or ""))


def is_address(word: str) -> bool:
    """Tell the address of a server from a name, which has neither scheme, port nor dots."""
    return "://" in word or word == "localhost" or re.search(r"[.:\[]", word) is not None


def bad_url(url: str) -> UsageError:
    """Return that a word is no address of a server."""
    return UsageError(
        f"{url!r} is no address of an engine.",
        code="bad_url",
        next_step="give the URL of an OpenAI-compatible server, such as http://127.0.0.1:11434/v1",
    )


def make_entry(
    url: str, *, name: str = "", pool: str = "", model: str = "", api_key_env: str = "", slots: int = 4
) -> EngineEntry:
    """Return an entry from what the person typed; name and pool come from the address when not given.

    Raises:
        UsageError: the address is no http(s) URL, or a name cannot be one.
    """
    try:
        place = place_of(url)
    except BadPlace as error:
        raise bad_url(url) from error
    chosen = name or place.name
    for word in (chosen, pool or chosen):
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,39}", word):
            raise UsageError(
                f"{word!r} cannot be a name.",
                code="bad_name",
                next_step="use up to 40 lower-case letters, digits, dots and hyphens",
            )
    if chosen in RESERVED:
        raise UsageError(
            f"{chosen!r} is the name of a built-in engine.", code="bad_name", next_step="choose another with --name"
        )
    return EngineEntry(
        name=chosen,
        base_url=place.base_url,
        pool=pool or chosen,
        model=model,
        api_key_env=api_key_env,
        slots=max(1, slots),
    )


def _entry(item: object) -> EngineEntry:
    if not isinstance(item, dict):
        raise _broken(f"{item!r} is not a mapping")
    fields = cast("Mapping[str, object]", item)
    url = str(fields.get("base_url") or "")
    slots = fields.get("slots", 4)
    return make_entry(
        url,
        name=str(fields.get("name") or ""),
        pool=str(fields.get("pool") or ""),
        model=str(fields.get("model") or ""),
        api_key_env=str(fields.get("api_key_env") or ""),
        slots=slots if isinstance(slots, int) else 4,
    )


def _broken(why: str) -> UsageError:
    return UsageError(
        f"engines.yaml cannot be used: {why}.",
        code="bad_engines_file",
        next_step="mend the file, or remove it and add the engines again with `archive engines add`",
    )
