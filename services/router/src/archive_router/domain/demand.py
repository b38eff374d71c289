"""What decides where a request may go and should go."""

from dataclasses import dataclass

from archive_contracts.chat import Capability, Priority
from archive_contracts.engine import Tier

CHARS_A_TOKEN = 4
"""What prose takes; for estimates only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A request as the router sees it.

    ``tier`` and ``context`` (tokens) are wishes: lanes that meet them go first, and where none does the nearest serve.
    ``tags`` are wishes too. ``marks`` are the hashes of the prompt's beginnings, shortest first; ``session`` is empty
    when the request belongs to none.
    """

    model: str
    needs: frozenset[Capability]
    prompt_chars: int = 0
    tier: Tier | None = None
    context: int = 0
    tags: frozenset[str] = frozenset()
    tenant: str = "default"
    priority: Priority = "interactive"
    session: str = ""
    marks: tuple[str, ...] = ()

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, estimated."""
        return self.prompt_chars // CHARS_A_TOKEN
