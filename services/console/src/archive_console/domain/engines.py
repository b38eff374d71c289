"""What answers: the engines that announce themselves, those that were added, and those that could be."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from archive_contracts.engine import EngineRegistered, EngineSpec

BUNDLED = "bundled"
RESERVED = frozenset({"small", "embed", BUNDLED, "minilm"})
"""Names and lanes of the engines that come with the system."""
PROFILES: Mapping[str, str] = {
    "smart": "As the question needs",
    "fast-response": "Quick answers",
    "assistant": "All-round",
    "planner-pro": "Plans",
    "code-expert": "Code",
    "expert-reasoning": "Hard questions",
}
"""Names that the router takes for a kind of work, and what people call it."""
NO_HOST = "no engine worker that is alive runs engines that are added (ENGINE_HOST=true)"
_SAME = frozenset({"127.0.0.1", "localhost", "[::1]"})


class Server(Protocol):
    """A model server that was found on this machine."""

    @property
    def kind(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def models(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a person may do about engines.

    ``coming`` were added and do not answer yet, each with what keeps it; ``answering`` are the names of those that do,
    beside the bundled one.
    """

    found: tuple[Server, ...]
    coming: tuple[tuple[EngineSpec, str], ...]
    answering: tuple[str, ...]


def chatting(workers: Iterable[EngineRegistered]) -> list[EngineRegistered]:
    """Return the workers that answer chats now."""
    return [worker for worker in workers if worker.healthy and "chat" in worker.capabilities]


def only_bundled(workers: Iterable[EngineRegistered]) -> bool:
    """Whether nobody answers chats but the model that comes with the system."""
    return {worker.engine for worker in chatting(workers)} <= {BUNDLED}


def preferred_model(workers: Iterable[EngineRegistered]) -> str:
    """Return the model to offer first: that of the one lane beside the bundled; nothing where there is a choice."""
    added = [worker for worker in chatting(workers) if worker.engine != BUNDLED]
    if len({worker.pool for worker in added}) != 1:
        return ""
    # Servers list what they embed with beside what they chat with.
    models = [card.id for card in added[0].models if "embed" not in card.id.lower()]
    return models[0] if models else ""


def offer(found: Iterable[Server], workers: Collection[EngineRegistered], specs: Collection[EngineSpec]) -> Offer:
    """Return what can be used beside what is used."""
    used = {_same(address) for address in (*(w.base_url for w in workers), *(spec.base_url for spec in specs))}
    said = {worker.engine: worker for worker in workers}
    healthy = {worker.engine for worker in workers if worker.healthy}
    waiting = [spec for spec in specs if spec.name not in healthy]
    silent = "" if any(worker.hosts for worker in workers) else NO_HOST
    return Offer(
        found=tuple(server for server in found if _same(server.url) not in used),
        coming=tuple((spec, said[spec.name].problem if spec.name in said else silent) for spec in waiting),
        answering=tuple(sorted({worker.engine for worker in chatting(workers)} - {BUNDLED})),
    )


def _same(address: str) -> str:
    """Return an address in the one form that all spellings of it share."""
    parsed = urlsplit(address)
    host, _, port = parsed.netloc.rpartition(":") if ":" in parsed.netloc else (parsed.netloc, "", "")
    return f"{parsed.scheme}://{'localhost' if host in _SAME else host}:{port}{parsed.path.rstrip('/')}"
