"""Looks for model servers of other programs on their usual ports of this machine."""

import asyncio
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from archive_finding._http import get

USUAL: Sequence[tuple[int, str]] = (
    (11434, "Ollama"),
    (1234, "LM Studio"),
    (8080, "llama.cpp"),
    (8081, "llama.cpp"),
    (8000, "vLLM"),
)


@dataclass(frozen=True, slots=True)
class Found:
    """A model server, and the models it says it has."""

    kind: str
    url: str
    models: tuple[str, ...]


async def find_engines(
    *, own_ports: Collection[int] = (), places: Sequence[tuple[int, str]] = USUAL, timeout_s: float = 1.0
) -> list[Found]:
    """Ask every usual port at once; `own_ports` are ours, and an Archive gateway elsewhere is no engine either."""
    asked = [(port, kind) for port, kind in places if port not in own_ports]
    answers = await asyncio.gather(*(_ask(port, kind, timeout_s=timeout_s) for port, kind in asked))
    return [found for found in answers if found is not None]


async def _ask(port: int, kind: str, *, timeout_s: float) -> Found | None:
    answer = await get("127.0.0.1", port, "/v1/models", timeout_s=timeout_s)
    models = read_models(answer.body) if answer.status == 200 else None
    if models is None:
        return None
    if (await get("127.0.0.1", port, "/v1/engines", timeout_s=timeout_s)).status == 200:
        return None
    return Found(kind, f"http://127.0.0.1:{port}/v1", models)


def read_models(body: bytes) -> tuple[str, ...] | None:
    """Read an OpenAI model list; None when it is something else."""
    try:
        told: Any = json.loads(body)
        listed = cast("list[Any]", told["data"])
        return tuple(str(model["id"]) for model in listed)
    except (ValueError, KeyError, TypeError):
        return None
