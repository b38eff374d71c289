"""A tool call comes in; its result, or why there is none, goes out."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping

from archive_bus import BusError, Delivery
from archive_contracts.memory import ChunkHit, ChunksFound, MemoriesFound, RecallMemories, SearchChunks
from archive_contracts.streams import MEMORY_QUERIES
from archive_contracts.tools import RunTool, ToolCompleted, ToolSpec
from archive_tool_runner.domain.errors import ToolError, ToolFailed
from archive_tool_runner.domain.searches import (
    LIBRARY_SEARCH,
    MAX_RESULT_CHARACTERS,
    MEMORY_SEARCH,
    LibrarySearchArguments,
    MemorySearchArguments,
)
from archive_tool_runner.domain.tool import AnySpec, Registry, Tool, render

Call = Delivery[RunTool]
SEARCH_TIMEOUT_S = 10.0


class Tools:
    """Runs the tools of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._asking: Mapping[str, Callable[[Call], Awaitable[str]]] = {
            LIBRARY_SEARCH.name: self._search_library,
            MEMORY_SEARCH.name: self._search_memory,
        }

    async def run(self, delivery: Call) -> None:
        """Run one tool. What a tool refuses is its result: whoever called it reads why and may call again."""
        call = delivery.message
        with delivery.cancellable(call.call):
            if await delivery.cancelled(call.call):
                return
            try:
                ok, result = True, await self._result(delivery)
            except ToolError as error:
                ok, result = False, str(error)
            await delivery.reply(ToolCompleted(call=call.call, tool=call.tool, ok=ok, result=result))

    async def _result(self, delivery: Call) -> str:
        spec = self._registry.find(delivery.message.tool)
        if isinstance(spec, Tool):
            return render(spec.call(delivery.message.arguments))
        return await self._asking[spec.name](delivery)

    async def _search_library(self, delivery: Call) -> str:
        arguments: LibrarySearchArguments = LIBRARY_SEARCH.parse(delivery.message.arguments)
        query = SearchChunks(query=arguments.query, top_k=arguments.top_k)
        try:
            found = await delivery.request(query, ChunksFound, to=MEMORY_QUERIES, timeout=SEARCH_TIMEOUT_S)
        except BusError as error:
            raise _no_memory(error) from error
        return "\n".join(_passage(hit) for hit in found.hits) or "Nothing was found in the documents."

    async def _search_memory(self, delivery: Call) -> str:
        arguments: MemorySearchArguments = MEMORY_SEARCH.parse(delivery.message.arguments)
        query = RecallMemories(query=arguments.query, top_k=arguments.top_k)
        try:
            found = await delivery.request(query, MemoriesFound, to=MEMORY_QUERIES, timeout=SEARCH_TIMEOUT_S)
        except BusError as error:
            raise _no_memory(error) from error
        lines = [f"{item.role}: {item.text[:MAX_RESULT_CHARACTERS]}" for item in found.items]
        return "\n".join(lines) or "Nothing was found in earlier conversations."


def announced(registry: Iterable[AnySpec]) -> tuple[ToolSpec, ...]:
    """Return the tools as they are told to callers."""
    return tuple(
        ToolSpec(
            name=tool.name,
            description=tool.description,
            parameters=json.dumps(tool.schema),
            effect=tool.effect,
            advanced=tool.advanced,
        )
        for tool in registry
    )


def _passage(hit: ChunkHit) -> str:
    return f"{hit.filename}, p. {hit.chunk.page_start}: {hit.chunk.text[:MAX_RESULT_CHARACTERS]}"


def _no_memory(error: BusError) -> ToolFailed:
    return ToolFailed(f"The search is not possible now: {error}", next_step="Answer without it, or try again later.")
