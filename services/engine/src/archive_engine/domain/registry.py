"""The engines that were added by API: the fold of their journal."""

from collections.abc import Mapping

from archive_contracts.base import Message
from archive_contracts.engine import EngineSpec, RegisterEngine, RemoveEngine


class Registry:
    """What should run now, by name."""

    def __init__(self) -> None:
        self._specs: dict[str, EngineSpec] = {}

    def hear(self, message: Message) -> bool:
        """Take in an entry of the journal. True: something has to start or stop."""
        before = dict(self._specs)
        if isinstance(message, RegisterEngine):
            self._specs[message.engine.name] = message.engine
        elif isinstance(message, RemoveEngine):
            self._specs.pop(message.name, None)
        return before != self._specs

    @property
    def specs(self) -> Mapping[str, EngineSpec]:
        """The engines by name."""
        return self._specs
