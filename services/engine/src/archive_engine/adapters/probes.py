"""How an engine is: asked of the server, or known of the built-in model."""

from archive_contracts.engine import ModelCard
from archive_engine.adapters.openai_http import OpenAIBackend
from archive_engine.domain.errors import UpstreamError
from archive_engine.domain.ports import Condition


class ServerProbe:
    """Asks an OpenAI-compatible server for its models and whether it takes requests."""

    def __init__(self, backend: OpenAIBackend, *, only: str = "") -> None:
        self._backend = backend
        self._only = only
        self._known: Condition | None = None

    async def __call__(self) -> Condition:
        """Return its condition; what it offers is asked once for each time it comes back."""
        try:
            await self._backend.health()
            if self._known is None:
                self._known = await self._ask()
        except UpstreamError as error:
            models = self._known.models if self._known else ()
            self._known = None
            return Condition(models=models, problem=error.message)
        return self._known

    async def _ask(self) -> Condition:
        found = await self._backend.capabilities()
        ids = [name for name in found.models if not self._only or name == self._only]
        problem = "" if ids else f"the server does not have the model {self._only!r}"
        cards = tuple(ModelCard(id=name, context=found.context or 0) for name in ids)
        return Condition(models=cards, slots=found.slots, problem=problem)


class BuiltInProbe:
    """The built-in embedder runs in this process: as long as that lives, it is well."""

    def __init__(self, model: str, *, context: int) -> None:
        self._condition = Condition(models=(ModelCard(id=model, context=context),))

    async def __call__(self) -> Condition:
        """Return the condition."""
        return self._condition
