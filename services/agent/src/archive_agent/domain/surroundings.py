"""What is known of engines and tools: folds of their heartbeats."""

from archive_contracts.engine import EngineLeft, EngineRegistered
from archive_contracts.tools import ToolRunnerLeft, ToolSpec, ToolsRegistered

MISSED_BEATS = 3
USUAL_CONTEXT = 4096
"""Tokens, where no engine says."""


class Toolbox:
    """The tools that living runners offer. Times are seconds on any clock that does not go back."""

    def __init__(self) -> None:
        self._runners: dict[str, tuple[ToolsRegistered, float]] = {}

    def hear(self, event: ToolsRegistered | ToolRunnerLeft, *, now: float) -> None:
        """Take in one event."""
        if isinstance(event, ToolRunnerLeft):
            self._runners.pop(event.runner, None)
        else:
            self._runners[event.runner] = (event, now)

    def at(self, now: float, *, advanced: bool) -> tuple[ToolSpec, ...]:
        """Return the tools on offer, each once, in the order the runners list them."""
        found: dict[str, ToolSpec] = {}
        for runner, seen in self._runners.values():
            if now - seen <= runner.heartbeat_s * MISSED_BEATS:
                for tool in runner.tools:
                    found.setdefault(tool.name, tool)
        return tuple(tool for tool in found.values() if advanced or not tool.advanced)


class Contexts:
    """How many tokens the engines take."""

    def __init__(self) -> None:
        self._workers: dict[str, tuple[EngineRegistered, float]] = {}

    def hear(self, event: EngineRegistered | EngineLeft, *, now: float) -> None:
        """Take in one event."""
        if isinstance(event, EngineLeft):
            self._workers.pop(event.worker, None)
        else:
            self._workers[event.worker] = (event, now)

    def smallest(self, now: float, *, model: str = "") -> int:
        """Return the tokens that fit whichever chat engine takes the request, prompt and answer together."""
        known = [
            card.context
            for worker, seen in self._workers.values()
            if now - seen <= worker.heartbeat_s * MISSED_BEATS and worker.healthy and "chat" in worker.capabilities
            for card in worker.models
            if card.context and (not model or model in {card.id, worker.pool})
        ]
        return min(known, default=USUAL_CONTEXT)
