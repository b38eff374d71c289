"""What was used: counts by day, tenant, key and model."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Account(NamedTuple):
    """Whose and what: the place that usage is booked to. ``day`` is ISO 8601, in UTC."""

    day: str
    tenant: str
    key: str
    model: str


@dataclass(slots=True)
class Counts:
    """What was used on an account.

    ``cut`` counts answers that broke off, ``estimated`` those whose tokens no engine counted.
    """

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cut: int = 0
    estimated: int = 0

    def add(self, other: "Counts") -> None:
        """Add another count to this one."""
        self.requests += other.requests
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.cut += other.cut
        self.estimated += other.estimated

    @property
    def total_tokens(self) -> int:
        """Prompt and answer together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(slots=True)
class UsageSheet:
    """What was used since the sheet was last taken away."""

    _counts: dict[Account, Counts] = field(default_factory=lambda: defaultdict(Counts))

    def book(self, account: Account, used: Counts) -> None:
        """Write down what a request used."""
        self._counts[account].add(used)

    def take(self) -> Mapping[Account, Counts]:
        """Return what was written down, and begin anew."""
        taken, self._counts = self._counts, defaultdict(Counts)
        return taken


CHARS_A_TOKEN = 4
"""What prose in English takes; only for answers that nobody counted, and for what a request reserves."""


def tokens_in(chars: int) -> int:
    """Return about how many tokens a text of so many characters is."""
    return -(-chars // CHARS_A_TOKEN)
